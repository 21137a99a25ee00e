/* quantized.h - layers of networks in 8 bits, on plain arrays: kernels/quantized.h has the arithmetic.
 *
 * A value is a batch of images of bytes, each with a border that holds the zero, so that convolutions need no copy of their
 * input with padding around it:
 *
 *     image   z z z z z z      top, bottom: rows of zeros        row      bytes from a row to the next
 *             z a b c d z      left, right: pixels of zeros      image    bytes from an image to the next
 *             z e f g h z
 *             z z z z z z      a pixel: c bytes
 *
 * A layer is cut into parts that may run on any thread, in any order, and write to their own places: of rows (or rows of
 * Winograd's tiles), of all images together, and of panels of output channels. Sums are exact and each value is computed
 * by itself, so that bits don't depend on how it is cut.
 */
#ifndef TX_PASSES_QUANTIZED_H
#define TX_PASSES_QUANTIZED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct tx_qlayout {
  int64_t h, w, c;
  int64_t top, left, bottom, right;
  int64_t row, image;
  int32_t zero;
} tx_qlayout;

/* Sets row and image; kernels may read TX_QSLACK bytes behind the last image. Whoever plans has checked that the sizes fit. */
enum { TX_QSLACK = 64 };
void tx_qlayout_finish(tx_qlayout *layout);

typedef struct tx_qvalue {
  const tx_qlayout *layout;
  uint8_t *data;
} tx_qvalue;

/* The first byte of a pixel; y and x may lie in the border. */
static inline uint8_t *tx_qpixel(tx_qvalue v, int64_t image, int64_t y, int64_t x) {
  const tx_qlayout *l = v.layout;
  return v.data + image * l->image + (y + l->top) * l->row + (x + l->left) * l->c;
}

/* A convolution, or a dense layer as one of 1x1. */
typedef struct tx_qconv {
  int64_t r, s, c, k, groups;
  int64_t stride[2], dilation[2], top, left;
  bool winograd, relu, residual_last;
  float residual_factor;
  /* made by tx_qconv_pack; each NULL or from tx_alloc */
  void *weight; /* packed: of winograd {panel of channels, 36, C}, of others {group, panel} */
  int32_t *start;
  float *factor, *shift; /* {K}; of winograd {panel, 36, columns of the panel} */
} tx_qconv;

/* Takes weights {R,S,C/groups,K} of 8 bits, or {36,C,K} of 16 bits, as files have them, and their factors. `zero`: of the
 * input. */
tx_status tx_qconv_pack(tx_qconv *conv, const uint8_t *weight, const float *factor, const float *shift, int32_t zero);
void tx_qconv_release(tx_qconv *conv);

/* What it needs around its input, for an output of p x q. */
void tx_qconv_border(const tx_qconv *conv, const tx_qlayout *x, int64_t p, int64_t q, tx_qlayout *wanted);

/* The parts that `images` images are cut into for so many threads, and the bytes of scratch that a part needs. */
typedef struct tx_qparts {
  int64_t rows, channels; /* so many parts; all in all their product */
  int64_t row_block, panel_block;
} tx_qparts;
tx_qparts tx_qconv_parts(const tx_qconv *conv, const tx_qlayout *y, int64_t images, int threads);
int64_t tx_qconv_scratch(const tx_qconv *conv, const tx_qlayout *y);

/* Does part number `part`. residual.data NULL: none. floats: y as f32 {images, K} in the place of bytes, for 1x1 outputs. */
void tx_qconv_part(const tx_qconv *conv, const tx_qparts *parts, int64_t part, int64_t images, tx_qvalue x,
                   tx_qvalue residual, tx_qvalue y, float *floats, void *scratch);

/* The others work on rows [first, first + count) of all images together, and fill the border of what they write. */
typedef struct tx_qwindow {
  int64_t r, s, stride[2], top, left;
  bool largest;          /* else the mean */
  bool with_border;      /* the mean divides by r * s, not by the pixels inside */
  double scale, scale_y; /* of the mean: what the bytes of x and y are worth */
} tx_qwindow;
void tx_qpool_rows(const tx_qwindow *window, tx_qvalue x, tx_qvalue y, int64_t first, int64_t count);

/* y = nearest(a * factor_a + b * factor_b + zero), a and b less their zeros; relu: not below zero. */
typedef struct tx_qsum {
  float factor[2];
  bool relu;
} tx_qsum;
void tx_qadd_rows(const tx_qsum *sum, tx_qvalue a, tx_qvalue b, tx_qvalue y, int64_t first, int64_t count);
/* y = nearest(a * b * factor + zero); b may have one pixel, for all of a's. */
void tx_qmultiply_rows(float factor, tx_qvalue a, tx_qvalue b, tx_qvalue y, int64_t first, int64_t count);
/* Channels [at, at + x's) of y = nearest(x * factor + zero); bytes are copied where factor is 1 and the zeros are the same. */
void tx_qcopy_rows(float factor, tx_qvalue x, tx_qvalue y, int64_t at, int64_t first, int64_t count);
/* y = table[x] */
void tx_qlookup_rows(const uint8_t table[256], tx_qvalue x, tx_qvalue y, int64_t first, int64_t count);
/* Images {H,W,C} f32 to bytes, and back. */
void tx_qquantize_rows(float inverse, const float *x, tx_qvalue y, int64_t first, int64_t count);
void tx_qdequantize_rows(float scale, tx_qvalue x, float *y, int64_t first, int64_t count);
/* All bytes of an image side by side: y is {1,1,H*W*C}; rows are images. */
void tx_qflatten_rows(tx_qvalue x, tx_qvalue y, int64_t first, int64_t count);

#endif
