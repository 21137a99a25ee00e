/* bitmap.h - whether BMP and TGA files hold all pixels that their headers declare.
 *
 * stb_image takes what lies behind the end of a file for zeros.
 */
#ifndef TX_DATA_BITMAP_H
#define TX_DATA_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A file that begins with "BM". */
bool tx_bmp_is_whole(const uint8_t *bytes, size_t size);

/* A file that stb_image takes for TGA. */
bool tx_tga_is_whole(const uint8_t *bytes, size_t size);

#endif
