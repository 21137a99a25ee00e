/* image.h - image files: PNG; JPEG, BMP, TGA (stb_image); PGM and PPM, text and binary.
 *
 * Images are {H,W,C} with C = 1 (gray) or 3 (RGB); alpha is dropped unless 2 or 4 channels are wanted. 8 bits per channel give
 * u8, 16 bits f32 in 0..1. A file that was cut short or whose check sums are wrong is refused.
 * Messages of the functions on memory hold the reason only; those on files start with "operation: path: ".
 */
#ifndef TX_DATA_IMAGE_H
#define TX_DATA_IMAGE_H

#include "data/source.h"
#include "tensor/tensor.h"

/* What the header says. */
typedef struct tx_image_info {
  int64_t height, width, channels; /* channels: 1 or 3 */
  int bits;                        /* 8 or 16 */
} tx_image_info;

/* How images are wanted; zero: as they are. */
typedef struct tx_image_options {
  int64_t channels;      /* 1: gray is 0.299 R + 0.587 G + 0.114 B; 3: gray is copied to all three; 2, 4: with alpha */
  int64_t height, width; /* resized to that, with antialiasing */
  int64_t max_pixels;    /* of the file's image; 0: TX_MAX_PIXELS, and no more than 1 GiB out of a small file */
  bool skip_bad;         /* of a source: see tx_image_source */
} tx_image_options;

enum { TX_MAX_PIXELS = 1 << 27 };

tx_status tx_image_read_info(const uint8_t *bytes, size_t size, const tx_image_options *options, tx_image_info *info);
tx_status tx_image_decode(const uint8_t *bytes, size_t size, const tx_image_options *options, tx_tensor **out);

/* An image file as a tensor. */
tx_status tx_load_image(const char *operation, const char *path, const tx_image_options *options, tx_tensor **out);

/* Writes {H,W} or {H,W,C}, C = 1 to 4, u8 or float (0..1, clamped), as an 8-bit PNG. */
tx_status tx_write_png(const char *path, const tx_tensor *image);

/* Image files, decoded when they are read, as a source. The headers of all are read now: without a wanted size all must
 * be as large as the first; channels are those of the richest; u8 unless one has 16 bits. `paths` are copied. With skip_bad all
 * are decoded now, and those that can't be are no failure, unless all are: reading one gives its message. */
tx_status tx_image_source(const char *const *paths, int64_t count, const tx_image_options *options, tx_source **out);

/* Why image `index` (0-based) of such a source can't be read; NULL: it can. */
const char *tx_image_source_trouble(const tx_source *source, int64_t index);

#endif
