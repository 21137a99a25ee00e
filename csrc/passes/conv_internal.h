/* conv_internal.h - what the files conv_*.c share. */
#ifndef TX_PASSES_CONV_INTERNAL_H
#define TX_PASSES_CONV_INTERNAL_H

#include "passes/conv.h"

/* -- the algorithms ---------------------------------------------------------------------------------------------------- */

/* Applies the epilogue to y in pieces, one for each block: runs of adjacent pixels, here called rows, as each has K
 * channels. */
typedef struct tx_conv_finish {
  const tx_conv_epilogue *epilogue; /* NULL: nothing to do */
  int64_t k, pieces;
  float *origin, *sum, *square; /* {pieces, K}: the first row; sums of the differences from it, and of their squares */
  int64_t *count;               /* {pieces}: how many rows; 0 until they are finished */
} tx_conv_finish;

/* Gets ready for `pieces` pieces. */
tx_status tx_conv_finish_open(tx_conv_finish *finish, const tx_conv_epilogue *epilogue, int64_t pieces, int64_t k);
/* Pixels [row0, row0 + rows) and filters [k0, k0 + columns) of y hold the raw sums: gathers statistics, applies the
 * rest. */
void tx_conv_finish_rows(const tx_conv_finish *finish, int64_t piece, float *y, int64_t row0, int64_t rows, int64_t k0,
                         int64_t columns);
/* Adds up the statistics in the order of the pieces; lets the memory go. */
void tx_conv_finish_close(tx_conv_finish *finish);

/* `kept`: the packed weights of an earlier call, or NULL and set here; kept NULL: they are not kept. */
tx_status tx_conv_gemm_forward(const tx_conv_shape *shape, const float *x, const float *w, float **kept,
                               const tx_conv_epilogue *epilogue, float *y);
tx_status tx_conv_gemm_input_gradient(const tx_conv_shape *shape, const float *dy, const float *w, float *dx);
tx_status tx_conv_gemm_weight_gradient(const tx_conv_shape *shape, const float *x, const float *dy, float *dw);

/* 3x3, stride 1 or 2 (the same along both axes), no dilation, one group; stride 2 takes padding up to 2. */
int64_t tx_conv_winograd_tiles(const tx_conv_shape *shape, tx_conv_pass pass);
tx_status tx_conv_winograd_forward(const tx_conv_shape *shape, const float *x, const float *w, float **kept,
                                   const tx_conv_epilogue *epilogue, float *y);
tx_status tx_conv_winograd_input_gradient(const tx_conv_shape *shape, const float *dy, const float *w,
                                          const float *accumulated, float *dx);
tx_status tx_conv_winograd_weight_gradient(const tx_conv_shape *shape, const float *x, const float *dy, float *dw);

tx_status tx_conv_depthwise_forward(const tx_conv_shape *shape, const float *x, const float *w,
                                    const tx_conv_epilogue *epilogue, float *y);
tx_status tx_conv_depthwise_input_gradient(const tx_conv_shape *shape, const float *dy, const float *w, float *dx);
tx_status tx_conv_depthwise_weight_gradient(const tx_conv_shape *shape, const float *x, const float *dy, float *dw);

/* Everything, in f64. */
tx_status tx_conv_naive_forward(const tx_conv_shape *shape, const double *x, const double *w,
                                const tx_conv_epilogue *epilogue, double *y);
void tx_conv_naive_input_gradient(const tx_conv_shape *shape, const double *dy, const double *w, double *dx);
void tx_conv_naive_weight_gradient(const tx_conv_shape *shape, const double *x, const double *dy, double *dw);

/* -- gathering --------------------------------------------------------------------------------------------------------- */

/* Reads a source image {n,h,w,pixel} on a grid: at grid point (i, j) tap t looks at source pixel
 * (i * step[0] + offset_h[t], j * step[1] + offset_w[t]), channels first..first+channels-1, zeros outside. */
typedef struct tx_conv_gather {
  const float *x;
  int64_t h, w, pixel; /* pixel: channels of the source */
  int64_t first, channels;
  int64_t rows, columns; /* of the grid, per image */
  int64_t step[2];
  int64_t taps;
  const int64_t *offset_h, *offset_w; /* {taps} */
} tx_conv_gather;

/* The grid points [point0, point0 + points), counted over all images, taps [tap0, tap1) one after the other:
 * out[point][tap][channel] with `row` floats from point to point. */
void tx_conv_gather_rows(const tx_conv_gather *gather, int64_t point0, int64_t points, int64_t tap0, int64_t tap1,
                         float *out, int64_t row);

#endif
