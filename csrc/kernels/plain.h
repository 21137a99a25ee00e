/* plain.h - the f64 twins of kernels in list.h: plain C, one version for every CPU, for gradient checks.
 *
 * tx_<name>_f64 computes in double what tx_<name>_f32_ref computes in float; both come from one text,
 * kernels/ref/<...>_body.h.
 */
#ifndef TX_KERNELS_PLAIN_H
#define TX_KERNELS_PLAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/list.h"

void tx_channel_sum_f64(int64_t rows, int64_t c, const double *x, double *sum);
void tx_channel_square_f64(int64_t rows, int64_t c, const double *x, const double *sum, double *square);
void tx_norm_apply_f64(int64_t rows, int64_t c, const double *x, const double *scale, const double *shift,
                       const double *residual, bool relu, bool residual_last, double *y);
void tx_norm_grad_sums_f64(int64_t rows, int64_t c, const double *x, const double *mean, const double *dy,
                           const double *y, const double *scale, const double *shift, double *sum, double *product);
void tx_norm_grad_f64(int64_t rows, int64_t c, const double *x, const double *dy, const double *y, const double *scale,
                      const double *shift, const double *of_dz, const double *of_x, const double *constant, double *dx,
                      double *dresidual);

void tx_layer_norm_f64(int64_t rows, int64_t n, double eps, const double *x, const double *gamma, const double *beta,
                       double *mean, double *invstd, double *y);
void tx_layer_norm_grad_f64(int64_t rows, int64_t n, const double *x, const double *dy, const double *gamma,
                            const double *mean, const double *invstd, double *dx, double *dgamma, double *dbeta);

void tx_sgd_f64(int64_t n, double *p, const double *gradient, double *velocity, const tx_sgd_factors *f);
void tx_adam_f64(int64_t n, double *p, const double *gradient, double *mean, double *square, const tx_adam_factors *f);

void tx_activate_f64(tx_activation kind, int64_t n, double slope, const double *x, double *y);
void tx_activate_grad_f64(tx_activation kind, int64_t n, double slope, const double *x, const double *dy, double *dx);

void tx_softmax_f64(int64_t rows, int64_t n, bool logarithm, const double *x, double *y);
void tx_softmax_grad_f64(int64_t rows, int64_t n, bool logarithm, const double *y, const double *dy, double *dx);
void tx_log_sum_exp_f64(int64_t rows, int64_t n, const double *x, double *highest, double *logsum);
void tx_scaled_softmax_f64(int64_t rows, int64_t n, const double *x, const double *highest, const double *logsum,
                           const double *factor, double *y);
double tx_squared_distance_f64(int64_t n, const double *a, const double *b);

void tx_max_window_f64(int64_t rows, int64_t columns, int64_t row_step, int64_t c, const double *x, int64_t first,
                       int64_t index_step, double *y, uint16_t *index);
void tx_max_window_grad_f64(int64_t rows, int64_t columns, int64_t row_step, int64_t c, const double *dy,
                            const uint16_t *index, int64_t first, int64_t index_step, int64_t column_step, double *dx);
void tx_sum_window_f64(int64_t rows, int64_t columns, int64_t row_step, int64_t c, const double *x, double factor,
                       bool accumulate, double *y);
void tx_dropout_f64(int64_t n, int64_t first, uint64_t seed, uint64_t stream, uint32_t threshold, double scale,
                    const double *x, double *y);

void tx_sum_rows_f64(int64_t rows, int64_t n, const double *x, double *sum);
void tx_square_rows_f64(int64_t rows, int64_t n, const double *x, const double *centre, double *sum);
void tx_exp_rows_f64(int64_t rows, int64_t n, const double *x, const double *centre, double *sum);
void tx_max_rows_f64(int64_t rows, int64_t n, const double *x, double *most);
void tx_min_rows_f64(int64_t rows, int64_t n, const double *x, double *least);

#endif
