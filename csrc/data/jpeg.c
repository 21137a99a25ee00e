/* jpeg.c - JPEG files: what must hold before stb_image may see them, and what stb_image does not notice: that one was cut short.
 *
 * stb_image 2.27 trusts two things that a hostile file can break: that a Huffman table has at most 256 codes (it writes
 * past the end of an array otherwise), and that a scan uses tables that were defined (it reads memory that was never
 * written). A file is a row of segments, FF <marker> <length, high byte first> <data>, with coded pixels behind SOS:
 *
 *     FFD8 SOI   FFE0 APP0   FFDB DQT   FFC0 SOF   FFC4 DHT   FFDA SOS coded pixels   FFD9 EOI
 *
 * The walk through the segments keeps in step with stb_image: where that one would fail, what follows does not matter.
 */
#include <inttypes.h>

#include "data/codec.h"
#include "data/stb.h"

enum { DHT = 0xC4, EOI = 0xD9, SOS = 0xDA, SOF_PROGRESSIVE = 0xC2, TABLES = 4 };
enum { SCANS_MAX = 500 }; /* of one image; each of a few bytes goes through all of its pixels */

typedef struct walk {
  bool defined[2][TABLES]; /* of class (0 DC, 1 AC) and number */
  bool progressive, ended;
  int scans;
} walk;

/* A DHT segment's data: tables of <class, number>, 16 counts of codes, the codes. */
static bool read_tables(walk *w, const uint8_t *data, size_t size) {
  while (size > 0) {
    if (size < 17) return false;
    unsigned class = data[0] >> 4, number = data[0] & 15u;
    size_t codes = 0;
    for (int i = 1; i <= 16; i++) codes += data[i];
    if (class > 1 || number >= TABLES || codes > 256 || 17 + codes > size) return false;
    w->defined[class][number] = true;
    data += 17 + codes;
    size -= 17 + codes;
  }
  return true;
}

/* A SOS segment's data: <components>, for each <component> <DC table, AC table>, first and last coefficient, <bits>. */
static bool check_scan(const walk *w, const uint8_t *data, size_t size) {
  if (size < 4 || size != 4 + 2 * (size_t)data[0]) return false;
  const uint8_t *spectrum = data + size - 3;
  bool refines = spectrum[2] >> 4 != 0;
  bool uses_dc = !w->progressive || (spectrum[0] == 0 && !refines), uses_ac = !w->progressive || spectrum[0] != 0;
  for (int c = 0; c < data[0]; c++) {
    unsigned dc = data[2 + 2 * c] >> 4, ac = data[2 + 2 * c] & 15u;
    if (uses_dc && (dc >= TABLES || !w->defined[0][dc])) return false;
    if (uses_ac && (ac >= TABLES || !w->defined[1][ac])) return false;
  }
  return true;
}

/* Markers that stand alone: fillers, restarts, SOI, EOI. */
static bool has_data(uint8_t marker) {
  return marker != 0x00 && marker != 0x01 && marker != 0xFF && !(marker >= 0xD0 && marker <= EOI);
}

static tx_status fail_tables(void) { return tx_fail(TX_EWORLD, "the JPEG image is damaged (its tables)"); }

static tx_status check_segments(const uint8_t *bytes, size_t size) {
  walk w = {0};
  size_t at = 0;
  while (size - at >= 2) {
    uint8_t marker = bytes[at + 1];
    if (bytes[at] == 0xFF && marker == EOI && w.scans > 0) w.ended = true;
    if (size - at < 4) {
      at++;
      continue;
    }
    if (bytes[at] != 0xFF || !has_data(marker)) { /* coded pixels, padding, or FF FF */
      at++;
      continue;
    }
    size_t length = (size_t)bytes[at + 2] << 8 | bytes[at + 3], left = size - at - 2;
    if (length < 2) return fail_tables();
    if (marker == DHT || marker == SOS) {
      if (length > left) return fail_tables();
      const uint8_t *data = bytes + at + 4;
      if (marker == DHT ? !read_tables(&w, data, length - 2) : !check_scan(&w, data, length - 2)) return fail_tables();
      if (marker == SOS && ++w.scans > SCANS_MAX)
        return tx_fail(TX_EWORLD, "the JPEG image has over %d scans", SCANS_MAX);
    }
    if (marker == SOF_PROGRESSIVE) w.progressive = true;
    if (length > left) break;
    at += 2 + length;
  }
  return w.ended ? TX_OK : tx_fail(TX_EWORLD, "the JPEG image is truncated");
}

/* Whatever stb_image may take for a JPEG. */
static bool is_jpeg(const uint8_t *bytes, size_t size) { return size > 0 && bytes[0] == 0xFF; }

static tx_status jpeg_info(const uint8_t *bytes, size_t size, tx_image_info *info) {
  enum { PIXELS_PER_BYTE = 512 }; /* 8 x 8 pixels take a bit at least */
  TX_TRY(check_segments(bytes, size));
  TX_TRY(tx_stb_info("JPEG", bytes, size, info));
  if (info->width * info->height / PIXELS_PER_BYTE <= (int64_t)size) return TX_OK;
  return tx_fail(TX_EWORLD, "the JPEG image declares %" PRId64 " x %" PRId64 " pixels, more than its data can hold",
                 info->height, info->width);
}

static tx_status jpeg_decode(const uint8_t *bytes, size_t size, bool with_alpha, tx_tensor **out) {
  return tx_stb_decode("JPEG", bytes, size, with_alpha, out);
}

const tx_codec tx_codec_jpeg = {is_jpeg, jpeg_info, jpeg_decode};
