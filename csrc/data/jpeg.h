/* jpeg.h - what must hold of a JPEG file before stb_image may see it, and what stb_image does not notice: that it was cut short.
 *
 * stb_image 2.27 trusts two things that a hostile file can break: that a Huffman table has at most 256 codes (it writes
 * past the end of an array otherwise), and that a scan uses tables that were defined (it reads memory that was never
 * written). A file is a row of segments, FF <marker> <length, high byte first> <data>, with coded pixels behind SOS:
 *
 *     FFD8 SOI   FFE0 APP0   FFDB DQT   FFC0 SOF   FFC4 DHT   FFDA SOS coded pixels   FFD9 EOI
 */
#ifndef TX_DATA_JPEG_H
#define TX_DATA_JPEG_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Whether the tables of a JPEG file are sound, and its end is there. Everything else is stb_image's to check. The message of a
 * failure holds the reason only. */
tx_status tx_jpeg_check(const uint8_t *bytes, size_t size);

#endif
