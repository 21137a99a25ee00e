/* pool.h - the largest pixel of windows, their mean, and the mean of whole images; per channel.
 *
 *     x {N,H,W,C}     y {N,P,Q,C}     window (p,q) starts at row p * stride_p - top, column q * stride_q - left; what lies
 *                                     outside the image is padding
 */
#ifndef TX_PASSES_POOL_H
#define TX_PASSES_POOL_H

#include <stdbool.h>

#include "base/dtype.h"
#include "base/status.h"

typedef struct tx_window {
  tx_dtype dtype; /* f32 or f64 */
  int64_t n, h, w, c, p, q, r, s, stride_p, stride_q, top, left;
} tx_window;

/* y and where in its window each maximum stood: row * S + column in index {N,P,Q,C}; the first of equals, a NaN before all
 * others, never padding. R * S <= 65536. */
void tx_max_pool_forward(const tx_window *window, const void *x, void *y, uint16_t *index);
/* dx: a pixel gets dy of those windows that chose it. */
void tx_max_pool_backward(const tx_window *window, const void *dy, const uint16_t *index, void *dx);

/* The mean of every window: its sum divided by R * S (`whole`: padding counts as zeros) or by its pixels in the image. */
void tx_avg_pool_forward(const tx_window *window, bool whole, const void *x, void *y);
void tx_avg_pool_backward(const tx_window *window, bool whole, const void *dy, void *dx);

/* y {N,C}, the mean over `pixels` pixels of each of n images {pixels,C}; dx = dy / pixels. */
tx_status tx_global_avg_pool_forward(tx_dtype dtype, int64_t n, int64_t pixels, int64_t c, const void *x, void *y);
void tx_global_avg_pool_backward(tx_dtype dtype, int64_t n, int64_t pixels, int64_t c, const void *dy, void *dx);

#endif
