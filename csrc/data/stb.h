/* stb.h - what codecs of JPEG, BMP and TGA take from stb_image. `kind` is the format as messages call it, NULL: that no codec knows
 * the file's beginning. */
#ifndef TX_DATA_STB_H
#define TX_DATA_STB_H

#include "data/image.h"

tx_status tx_stb_info(const char *kind, const uint8_t *bytes, size_t size, tx_image_info *info);

/* u8 {H,W,C}; C: 1 or 3, with_alpha one more. */
tx_status tx_stb_decode(const char *kind, const uint8_t *bytes, size_t size, bool with_alpha, tx_tensor **out);

#endif
