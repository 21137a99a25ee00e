/* jpeg.h - what must hold of a JPEG file before stb_image may see it.
 *
 * stb_image 2.27 trusts two things that a hostile file can break: that a Huffman table has at most 256 codes (it writes
 * past the end of an array otherwise), and that a scan uses tables that were defined (it reads memory that was never
 * written). A file is a row of segments, FF <marker> <length, high byte first> <data>, with coded pixels behind SOS:
 *
 *     FFD8 SOI   FFE0 APP0   FFDB DQT   FFC0 SOF   FFC4 DHT   FFDA SOS coded pixels   FFD9 EOI
 */
#ifndef TX_DATA_JPEG_H
#define TX_DATA_JPEG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the tables of a JPEG file are sound. Everything else is stb_image's to check. */
bool tx_jpeg_tables_sound(const uint8_t *bytes, size_t size);

#endif
