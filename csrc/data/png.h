/* png.h - PNG files: every kind of the standard is read (1 to 16 bits, palettes, interlaced); 8 bits are written.
 *
 *     89 "PNG" 0D 0A 1A 0A   IHDR sizes, kind   PLTE colours   tRNS their alpha   IDAT packed rows ...   IEND
 *
 * each chunk as <length> <name> <data> <CRC-32 of name and data>, numbers high byte first. All check sums are compared, and no
 * more is unpacked than the sizes ask for, so that damage is noticed and a small file cannot fill the memory. Messages hold the
 * reason only.
 */
#ifndef TX_DATA_PNG_H
#define TX_DATA_PNG_H

#include "base/file.h"
#include "tensor/tensor.h"

/* What stands before the pixels; pointers lead into the file. */
typedef struct tx_png {
  const uint8_t *bytes;
  size_t size;
  int64_t height, width;
  int64_t channels; /* of the tensor: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha */
  int depth;        /* bits of a stored sample: 1, 2, 4, 8, 16 */
  int samples;      /* stored per pixel */
  bool interlaced;
  const uint8_t *palette, *alpha; /* of 3 bytes, of 1 byte per colour; NULL: none */
  int64_t colours, alphas;
  size_t data, packed; /* where the first IDAT chunk begins; bytes in all of them */
} tx_png;

bool tx_is_png(const uint8_t *bytes, size_t size);

/* Reads everything but the pixels of a file that lies in memory and stays there. */
tx_status tx_png_parse(const uint8_t *bytes, size_t size, tx_png *png);

/* The pixels {H,W,channels}: u8, of 16 bits f32 in 0..1. */
tx_status tx_png_decode(const tx_png *png, tx_tensor **out);

/* Writes pixels {H,W,C}, C = 1 to 4, as a whole file. */
tx_status tx_png_write(tx_writer *writer, const uint8_t *pixels, int64_t height, int64_t width, int64_t channels);

#endif
