/* group_norm.h - normalization of every image by itself, over groups of its channels.
 *
 *     x {N,pixels,C}     group g of an image: its channels g * C / groups ... of all pixels
 *     y = (x - mean) * invstd * gamma + beta     mean and invstd = 1 / sqrt(var + eps) of the image's group, gamma, beta {C}
 *
 * Source: Wu, He, "Group normalization", ECCV 2018. An image is one block of work; statistics are accumulated in f64.
 */
#ifndef TX_PASSES_GROUP_NORM_H
#define TX_PASSES_GROUP_NORM_H

#include "base/dtype.h"
#include "base/status.h"

typedef struct tx_group_norm {
  tx_dtype dtype;               /* f32 or f64 */
  int64_t n, pixels, c, groups; /* groups divides c; a group has at least one element */
  double eps;
  const void *x, *gamma, *beta;
  double *mean, *invstd; /* {N,C}, the same for all channels of a group: forward writes them, backward reads them */
} tx_group_norm;

/* Writes y like x. */
tx_status tx_group_norm_forward(const tx_group_norm *g, void *y);

/* Gradients from dy; a NULL target is left out. With xhat = (x - mean) * invstd and m elements in a group
 *
 *     dbeta = sum dy     dgamma = sum dy * xhat
 *     dx = gamma * invstd * dy - invstd / m * (sum of gamma dy + xhat * sum of gamma dy xhat), the sums over the group
 */
tx_status tx_group_norm_backward(const tx_group_norm *g, const void *dy, void *dx, void *dgamma, void *dbeta);

#endif
