/* pnm.c - PGM and PPM files.
 *
 *     P5 <width> <height> <maximum><one white space><samples>        # a comment may stand before any number
 *
 * P2, P3: gray, RGB as text; P5, P6: binary, two bytes, high one first, when the maximum is above 255.
 */
#include "data/codec.h"

typedef struct pnm {
  const uint8_t *at, *end;
  bool text;
  int64_t height, width, channels, maximum;
} pnm;

static bool is_pnm(const uint8_t *bytes, size_t size) {
  return size > 2 && bytes[0] == 'P' && (bytes[1] == '2' || bytes[1] == '3' || bytes[1] == '5' || bytes[1] == '6');
}

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* The next number, 0..65535 x 65536; -1 when there is none. */
static int64_t pnm_number(pnm *p) {
  while (p->at < p->end && (is_space(*p->at) || *p->at == '#')) {
    if (*p->at == '#') {
      while (p->at < p->end && *p->at != '\n') p->at++;
    } else {
      p->at++;
    }
  }
  if (p->at == p->end || *p->at < '0' || *p->at > '9') return -1;
  int64_t value = 0;
  for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
    value = value * 10 + (*p->at - '0');
    if (value > UINT32_MAX) return -1;
  }
  return value;
}

static tx_status pnm_header(const uint8_t *bytes, size_t size, pnm *p) {
  *p = (pnm){.at = bytes + 2, .end = bytes + size, .text = bytes[1] < '5'};
  p->channels = bytes[1] == '3' || bytes[1] == '6' ? 3 : 1;
  p->width = pnm_number(p);
  p->height = pnm_number(p);
  p->maximum = pnm_number(p);
  if (p->width < 1 || p->height < 1 || p->maximum < 1 || p->maximum > 65535) {
    return tx_fail(TX_EWORLD, "the header of the PNM image is damaged");
  }
  if (p->at < p->end) p->at++; /* the one white space */
  return TX_OK;
}

static int64_t pnm_sample(pnm *p, int bytes) {
  if (p->text) return pnm_number(p);
  int64_t value = p->at[0];
  if (bytes == 2) value = value << 8 | p->at[1];
  p->at += bytes;
  return value;
}

static tx_status read_samples(pnm *p, tx_tensor **out) {
  int bytes = p->maximum > 255 ? 2 : 1;
  int64_t samples = p->height * p->width * p->channels;
  if ((int64_t)(p->end - p->at) < (p->text ? samples : samples * bytes)) return tx_fail(TX_EWORLD, "truncated");
  int64_t shape[3] = {p->height, p->width, p->channels};
  TX_TRY(tx_empty(bytes == 2 ? TX_F32 : TX_U8, 3, shape, out));
  for (int64_t i = 0; i < samples; i++) {
    int64_t value = pnm_sample(p, bytes);
    if (value < 0 || value > p->maximum) {
      tx_unref(*out);
      return tx_fail(TX_EWORLD, value < 0 ? "truncated" : "a sample is above the maximum");
    }
    if (bytes == 2) {
      tx_f32(*out)[i] = (float)value / (float)p->maximum;
    } else {
      tx_u8(*out)[i] = (uint8_t)((value * 255 + p->maximum / 2) / p->maximum);
    }
  }
  return TX_OK;
}

static tx_status pnm_info(const uint8_t *bytes, size_t size, tx_image_info *info) {
  pnm p;
  TX_TRY(pnm_header(bytes, size, &p));
  *info = (tx_image_info){p.height, p.width, p.channels, p.maximum > 255 ? 16 : 8};
  return TX_OK;
}

static tx_status pnm_decode(const uint8_t *bytes, size_t size, bool with_alpha, tx_tensor **out) {
  (void)with_alpha; /* there is none */
  pnm p;
  TX_TRY(pnm_header(bytes, size, &p));
  return read_samples(&p, out);
}

const tx_codec tx_codec_pnm = {is_pnm, pnm_info, pnm_decode};
