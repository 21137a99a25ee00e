/* layer_norm.h - normalization of every row by itself.
 *
 *     x {rows,N}     y = (x - mean) * invstd * gamma + beta     mean and invstd = 1 / sqrt(var + eps) of the row, gamma, beta {N}
 *
 * Source: Ba, Kiros, Hinton, "Layer normalization", 2016. Statistics are accumulated in f64.
 */
#ifndef TX_PASSES_LAYER_NORM_H
#define TX_PASSES_LAYER_NORM_H

#include "base/dtype.h"
#include "base/status.h"

typedef struct tx_layer_norm {
  tx_dtype dtype;  /* f32 or f64 */
  int64_t rows, n; /* n is at least 1 */
  double eps;
  const void *x, *gamma, *beta;
  double *mean, *invstd; /* {rows}: forward writes them, backward reads them */
} tx_layer_norm;

/* Writes y like x. */
void tx_layer_norm_forward(const tx_layer_norm *l, void *y);

/* Gradients from dy; a NULL target is left out. With xhat = (x - mean) * invstd and g = gamma * dy
 *
 *     dbeta = sum dy     dgamma = sum dy * xhat     dx = invstd * (g - mean of g - xhat * mean of g * xhat), those of the row
 */
tx_status tx_layer_norm_backward(const tx_layer_norm *l, const void *dy, void *dx, void *dgamma, void *dbeta);

#endif
