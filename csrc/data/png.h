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

/* Writes pixels {H,W,C}, C = 1 to 4, as a whole file. */
tx_status tx_png_write(tx_writer *writer, const uint8_t *pixels, int64_t height, int64_t width, int64_t channels);

#endif
