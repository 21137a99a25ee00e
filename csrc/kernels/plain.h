/* plain.h - the f64 twins of kernels in list.h: plain C, one version for every CPU, for gradient checks.
 *
 * tx_<name>_f64 computes in double what tx_<name>_f32_ref computes in float; both come from one text, kernels/ref/<...>_body.h.
 */
#ifndef TX_KERNELS_PLAIN_H
#define TX_KERNELS_PLAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/list.h"

void tx_channel_sum_f64(int64_t rows, int64_t c, const double *x, double *sum);
void tx_channel_square_f64(int64_t rows, int64_t c, const double *x, const double *sum, double *square);
void tx_norm_apply_f64(int64_t rows, int64_t c, const double *x, const double *scale, const double *shift,
                       const double *residual, bool relu, double *y);
void tx_norm_grad_sums_f64(int64_t rows, int64_t c, const double *x, const double *mean, const double *dy, const double *y,
                           const double *scale, const double *shift, double *sum, double *product);
void tx_norm_grad_f64(int64_t rows, int64_t c, const double *x, const double *dy, const double *y, const double *scale,
                      const double *shift, const double *of_dz, const double *of_x, const double *constant, double *dx,
                      double *dresidual);

void tx_sgd_f64(int64_t n, double *p, const double *gradient, double *velocity, const tx_sgd_factors *f);
void tx_adam_f64(int64_t n, double *p, const double *gradient, double *mean, double *square, const tx_adam_factors *f);

#endif
