/* norm.h - normalization over channels: the passes of batch norm, alone or fused with a residual addition and ReLU.
 *
 * The data is a matrix of `rows` x `c`, x[row * c + channel]: an image batch {N,H,W,C} has N*H*W rows, a batch of
 * features {N,C} has N. With statistics per channel
 *
 *     z = (x - mean) * invstd * gamma + beta [+ residual]        y = relu ? max(z, 0) : z
 *
 * or, with residual_last, the residual is added to y, as in the block x + relu(norm(conv(x))).
 *
 * Source: Ioffe, Szegedy, "Batch normalization", ICML 2015. All passes run on several threads, over blocks of rows
 * that depend on rows and c alone; statistics are accumulated in f64.
 */
#ifndef TX_PASSES_NORM_H
#define TX_PASSES_NORM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/status.h"

/* One normalization; pointers are borrowed. */
typedef struct tx_norm {
  tx_dtype dtype; /* f32 or f64: of x, gamma, beta, residual, y and of the gradients */
  int64_t rows, c;
  const void *x;
  const void *gamma, *beta;    /* [c] */
  const double *mean, *invstd; /* [c] */
  const void *residual;        /* [rows * c]; NULL: none */
  bool relu, residual_last;
} tx_norm;

/* Mean and biased variance of every channel (M2 / rows); needs rows >= 1. The error of the variance does not grow
 * with the mean: blocks are measured around their own mean and joined by Chan's formula. */
tx_status tx_norm_moments(tx_dtype dtype, int64_t rows, int64_t c, const void *x, double *mean, double *variance);

/* z = x * scale + shift: the same normalization as two factors per channel, in n->dtype. */
void tx_norm_affine(const tx_norm *n, void *scale, void *shift);

/* Writes y [rows * c]; y may be x or residual. */
tx_status tx_norm_forward(const tx_norm *n, void *y);

/* Gradients from dy [rows * c]; a NULL target is left out. y is what forward wrote; it is read only where ReLU
 * follows a residual addition, and may be NULL otherwise. dresidual is for that case, too: in the others it is dy.
 * `batch` says that mean and invstd were taken from x itself (training), so that the gradient flows through them;
 * else they are constants. dx may be dy or x.
 *
 *     dz = relu ? (y > 0 ? dy : 0) : dy      dresidual = dz
 *     dbeta = sum dz      dgamma = sum dz * (x - mean) * invstd
 *     dx = gamma * invstd * (dz - [batch] (dbeta + (x - mean) * invstd * dgamma) / rows)
 */
tx_status tx_norm_backward(const tx_norm *n, const void *y, bool batch, const void *dy, void *dx, void *dresidual,
                           void *dgamma, void *dbeta);

#endif
