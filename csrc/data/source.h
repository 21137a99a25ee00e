/* source.h - where the pixels of a data set come from.
 *
 * A source is a read-only row of equally large images, numbered 0 .. count-1. It is ref-counted, holds no labels and knows
 * no order: a data set in Lua is a source, a list of positions in it and a label for each, so that subsets, splits and
 * shuffles copy no pixel. There are two kinds:
 *
 *   strided   base != NULL: the images lie in memory or in a mapped file, u8, i64, f32 or f64, with any byte strides
 *                 base + i*stride[0] + row*stride[1] + column*stride[2] + channel*stride[3]
 *   decoded   base == NULL: `read` produces one image, from a compressed file, another byte order, several sources, ...
 *
 * Pixels are handed out as f32 {H,W,C}: stored value * scale; data/scale.h says what the scale is.
 *
 * Every function may be called from any thread; `read` must be able to run on several threads at once. The images of a
 * mapped file are read from the file, past the mapping (which would make everything resident that was ever touched, and up
 * to 2 MiB for each touch). Only where an image is not one run of bytes is it picked from the mapping, whose pages are then
 * given back every so often. Either way the resident size stays bounded, however large the file is.
 */
#ifndef TX_DATA_SOURCE_H
#define TX_DATA_SOURCE_H

#include "base/file.h"
#include "tensor/tensor.h"

typedef struct tx_source {
  int64_t count, height, width, channels;
  tx_dtype dtype; /* of the stored pixels; of a decoded source TX_F32, or TX_U8 where all pixels are (0..255) * scale */
  float scale;    /* see above; `read` has applied it already */
  float guessed; /* the factor that the values told, where the type did not and nobody said it (data/scale.h); else 0 */

  uint64_t most; /* bytes that may be made of the packed file when it is cached (data/limit.h); 0: any number */

  const void *base; /* strided: pixel 0 of image 0 */
  int64_t stride[4];
  const tx_mapped_file
      *file; /* the read-only mapping that they lie in, open as long as the source lives; NULL: memory */

  const tx_storage *storage; /* strided, of a tensor: that of the tensor, else NULL */

  /* decoded: writes height*width*channels values to `pixels`; on failure the message names the file */
  tx_status (*read)(void *owner, int64_t index, float *pixels);

  void (*release)(void *owner); /* called once, when the last reference goes; NULL: nothing to do */
  void *owner;

  atomic_int refs;        /* set by tx_source_new, as is the next */
  atomic_size_t resident; /* bytes read from the mapping since its pages were last given back */
} tx_source;

/* A new source as `description` says (its refs and resident are ignored). On failure nothing is released. */
tx_status tx_source_new(const tx_source *description, tx_source **out);

/* The sizes {N,H,W,C} of an array of images {N,H,W} or {N,H,W,C}: for every reader the one place where the shape of an array
 * becomes that of images. One of more than 4 channels and 1 to 4 rows is refused, as it lies channels first. `code` is the
 * status of a failure, whose message holds the reason only. */
tx_status tx_image_sizes(tx_status code, int dims, const int64_t *shape, int64_t sizes[4]);

/* A source over a {N,H,W} or {N,H,W,C} tensor, of which it keeps a reference. `kind` and `bytes` are the type that the pixels
 * have in the file they were read from (data/scale.h), kind 0: that of the tensor. scale 0: what the rule there says. */
tx_status tx_source_from_tensor(const tx_tensor *images, char kind, int bytes, double scale, tx_source **out);

tx_source *tx_source_ref(tx_source *source); /* returns source */
void tx_source_unref(tx_source *source);     /* NULL is ignored */

/* Values in one image. */
static inline int64_t tx_source_pixels(const tx_source *source) {
  return source->height * source->width * source->channels;
}

/* Writes image `index` (0-based; checked) as f32 {H,W,C}, channels last, to `pixels`. */
tx_status tx_source_read(tx_source *source, int64_t index, float *pixels);

#endif
