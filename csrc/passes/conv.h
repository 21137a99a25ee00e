/* conv.h - 2-D convolution on plain arrays: forward, gradient to the input, gradient to the weights.
 *
 *     x  {N,H,W,C}     w  {R,S,C/groups,K}     y  {N,P,Q,K}          all contiguous
 *
 *     y[n,p,q,k] = sum over r,s,c of  x[n, p*stride - pad + r*dilation, q*stride - pad + s*dilation, c] * w[r,s,c,k]
 *
 * where x is 0 outside its borders. Padding below and to the right follows from P and Q.
 *
 * For each pass a planner chooses an algorithm from the shape alone (tx_conv_choose says which, tx_conv_why why):
 *
 *     winograd    3x3, stride 1: a quarter of the multiplications,    conv_winograd.c, conv_winograd_gradient.c,
 *                 stride 2: 0.56 of them                              kernels/winograd.h
 *     gemm        everything else: blocks of rows are gathered from   conv_gemm.c, kernels/gemm.h
 *                 x and multiplied with packed weights
 *     depthwise   one input and one output channel per group          conv_depthwise.c
 *     naive       f64: the definition, seven loops                    conv_naive.c
 *
 * Work is cut into blocks by the shape and the instruction set, and partial sums are added in the order of the blocks: the
 * same bits for any number of threads.
 */
#ifndef TX_PASSES_CONV_H
#define TX_PASSES_CONV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/status.h"

typedef struct tx_conv_shape {
  tx_dtype dtype;     /* f32 or f64: of all arrays */
  int64_t n, h, w, c; /* input */
  int64_t r, s, k;    /* weights */
  int64_t p, q;       /* output */
  int64_t stride[2], dilation[2];
  int64_t top, left; /* padding */
  int64_t groups;
} tx_conv_shape;

typedef enum tx_conv_pass { TX_CONV_FORWARD = 0, TX_CONV_INPUT_GRADIENT, TX_CONV_WEIGHT_GRADIENT } tx_conv_pass;

typedef enum tx_conv_algorithm {
  TX_CONV_GEMM = 0,
  TX_CONV_WINOGRAD,
  TX_CONV_DEPTHWISE,
  TX_CONV_NAIVE
} tx_conv_algorithm;

typedef struct tx_conv_plan {
  tx_conv_algorithm algorithm;
  double winograd_share; /* of the direct method's work that winograd would take; 0: it does not apply */
} tx_conv_plan;

tx_conv_plan tx_conv_choose(const tx_conv_shape *shape, tx_conv_pass pass);
const char *tx_conv_algorithm_name(tx_conv_algorithm algorithm);
/* The reason in words; returns text. */
enum { TX_CONV_WHY = 128 };
const char *tx_conv_why(const tx_conv_shape *shape, const tx_conv_plan *plan, char text[TX_CONV_WHY]);

/* What is done to y while it is in the cache, in this order:
 *
 *     mean, variance of y     y * scale + shift     + residual     max(0, y)     (residual_last: + residual here instead)
 *
 * Each may be absent: NULL or false. */
typedef struct tx_conv_epilogue {
  const void *scale, *shift; /* {K}: a bias is a shift */
  const void *residual;      /* the shape of y */
  bool relu, residual_last;
  double *mean, *variance; /* {K}, written: over N, P and Q; the variance is the biased one */
} tx_conv_epilogue;

/* Packed weights, as forward passes multiply with them. A pass makes those it needs and finds NULL; the caller keeps
 * them for as long as the weights don't change. Starts as zeros. */
typedef struct tx_conv_weights {
  float *packed;      /* panels for gemm */
  float *winograd[2]; /* U in panels, for stride 1 and 2 */
} tx_conv_weights;

void tx_conv_release_weights(tx_conv_weights *kept);

/* y = conv(x, w). kept may be NULL: then nothing is kept. epilogue may be NULL. */
tx_status tx_conv_forward(const tx_conv_shape *shape, const void *x, const void *w, tx_conv_weights *kept,
                          const tx_conv_epilogue *epilogue, void *y);
/* dx from dy; dx is overwritten. `accumulated` is added on the way where tx_conv_adds says so, else it is NULL. */
bool tx_conv_adds(const tx_conv_shape *shape);
tx_status tx_conv_input_gradient(const tx_conv_shape *shape, const void *dy, const void *w, const void *accumulated,
                                 void *dx);
/* dw from x and dy; dw is overwritten. */
tx_status tx_conv_weight_gradient(const tx_conv_shape *shape, const void *x, const void *dy, void *dw);

#endif
