/* bitmap.c - BMP and TGA files. stb_image takes what lies behind the end of a file for zeros: whether they hold all pixels that
 * their headers declare is looked at here. Numbers in both formats have their low byte first. */
#include <stdlib.h>

#include "base/integers.h"
#include "data/codec.h"
#include "data/stb.h"

static uint32_t load(const uint8_t *at, int bytes) {
  uint32_t value = 0;
  for (int i = 0; i < bytes; i++) value |= (uint32_t)at[i] << 8 * i;
  return value;
}

/*  0 "BM"   10 where the pixels begin   14 size of what follows: 12 (sizes of 2 bytes), or 40 and more (of 4 bytes)
 * 18 width, height (negative: from the top), planes, bits per pixel. Rows are filled up to 4 bytes. */
static bool bmp_is_whole(const uint8_t *bytes, size_t size) {
  if (size < 30) return false;
  bool old = tx_load_le(bytes + 14, 4) == 12;
  int64_t width = old ? (int64_t)tx_load_le(bytes + 18, 2) : (int32_t)tx_load_le(bytes + 18, 4);
  int64_t height = old ? (int64_t)tx_load_le(bytes + 20, 2) : llabs((int32_t)tx_load_le(bytes + 22, 4));
  int64_t bits = (int64_t)tx_load_le(bytes + (old ? 24 : 28), 2), start = (int64_t)tx_load_le(bytes + 10, 4);
  if (width < 1 || height < 1 || bits < 1 || bits > 32) return false;
  int64_t row = (width * bits + 31) / 32 * 4, last = (width * bits + 7) / 8;
  return height - 1 <= ((int64_t)size - start - last) / row;
}

enum { TGA_HEADER = 18 };

/* Packed pixels: <1 and count - 1 in 7 bits> one pixel, or <0 and count - 1> so many. */
static bool runs_are_whole(const uint8_t *bytes, size_t size, size_t at, size_t pixel, uint64_t pixels) {
  while (pixels > 0) {
    if (at >= size) return false;
    uint64_t count = (bytes[at] & 127u) + 1;
    size_t length = bytes[at] & 128u ? pixel : (size_t)count * pixel;
    at++;
    if (length > size - at || count > pixels) return false;
    at += length;
    pixels -= count;
  }
  return true;
}

/*  0 bytes of text behind the header   1 whether there is a palette   2 kind, from 8 on packed
 *  5 colours of the palette (2 bytes), bits of a colour   12 width, height (2 bytes each), bits per pixel */
static bool tga_is_whole(const uint8_t *bytes, size_t size) {
  if (size < TGA_HEADER) return false;
  size_t palette = bytes[1] == 1 ? load(bytes + 5, 2) * (size_t)((bytes[7] + 7) / 8) : 0;
  size_t start = TGA_HEADER + (size_t)bytes[0] + palette, pixel = (size_t)(bytes[16] + 7) / 8;
  uint64_t pixels = (uint64_t)load(bytes + 12, 2) * load(bytes + 14, 2);
  if (start > size) return false;
  return bytes[2] >= 8 ? runs_are_whole(bytes, size, start, pixel, pixels) : pixels * pixel <= size - start;
}

static bool is_bmp(const uint8_t *bytes, size_t size) { return size >= 2 && bytes[0] == 'B' && bytes[1] == 'M'; }

static tx_status bmp_info(const uint8_t *bytes, size_t size, tx_image_info *info) {
  TX_TRY(tx_stb_info("BMP", bytes, size, info));
  return bmp_is_whole(bytes, size) ? TX_OK : tx_fail(TX_EWORLD, "the BMP image is truncated");
}

static tx_status bmp_decode(const uint8_t *bytes, size_t size, bool with_alpha, tx_tensor **out) {
  return tx_stb_decode("BMP", bytes, size, with_alpha, out);
}

/* There is no magic word: what no other codec knows may be one. */
static bool is_tga(const uint8_t *bytes, size_t size) {
  (void)bytes;
  return size > 0;
}

static tx_status tga_info(const uint8_t *bytes, size_t size, tx_image_info *info) {
  TX_TRY(tx_stb_info(NULL, bytes, size, info));
  return tga_is_whole(bytes, size) ? TX_OK : tx_fail(TX_EWORLD, "the TGA image is truncated");
}

static tx_status tga_decode(const uint8_t *bytes, size_t size, bool with_alpha, tx_tensor **out) {
  return tx_stb_decode(NULL, bytes, size, with_alpha, out);
}

const tx_codec tx_codec_bmp = {is_bmp, bmp_info, bmp_decode};
const tx_codec tx_codec_tga = {is_tga, tga_info, tga_decode};
