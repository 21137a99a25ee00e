/* codec.h - one format of image files: how a file is known, what its header says, its pixels.
 *
 * A new format is one file with a tx_codec, and its name in the list. A file is read by the first whose `is` says yes; TGA, which
 * has no magic word, comes last. Messages hold the reason only.
 */
#ifndef TX_DATA_CODEC_H
#define TX_DATA_CODEC_H

#include "data/image.h"

typedef struct tx_codec {
  bool (*is)(const uint8_t *bytes, size_t size);
  tx_status (*read_info)(const uint8_t *bytes, size_t size, tx_image_info *info);
  /* The pixels {H,W,C} as the file has them, u8 or f32 in 0..1. with_alpha: with that which it may have; a codec may give it in any
   * case. Called when read_info was content. */
  tx_status (*decode)(const uint8_t *bytes, size_t size, bool with_alpha, tx_tensor **out);
} tx_codec;

#define TX_CODECS(CODEC) CODEC(pnm) CODEC(png) CODEC(jpeg) CODEC(bmp) CODEC(tga)

#define TX_DECLARE_CODEC(name) extern const tx_codec tx_codec_##name;
TX_CODECS(TX_DECLARE_CODEC)
#undef TX_DECLARE_CODEC

#endif
