/* list.h - the one list of kernels that are chosen at run time.
 *
 * A row is TX_KERNEL(name, return type, (arguments)). It gives the dispatch table a member, the header of each instruction
 * set a declaration (tx_<name>_<isa>), and the specs and the benchmark a row to walk. All kernels work on raw pointers,
 * know nothing of tensors, allocate nothing and start no threads.
 */
#ifndef TX_KERNELS_LIST_H
#define TX_KERNELS_LIST_H

#include <stdbool.h>
#include <stdint.h>

/* What the optimizer steps multiply with; see tensor/optim.h for the rules they come from. */
typedef struct tx_sgd_factors {
  double lr, decay;                /* decay is of the weights, added to the gradient */
  double keep, fresh;              /* velocity = keep * velocity + fresh * gradient */
  double of_gradient, of_velocity; /* the direction of the step */
} tx_sgd_factors;

typedef struct tx_adam_factors {
  double beta1, beta2, eps;
  double step;          /* lr / (1 - beta1^t) */
  double correction;    /* 1 / sqrt(1 - beta2^t) */
  double decay, shrink; /* gradient += decay * p; p *= shrink */
} tx_adam_factors;

/* clang-format off */
#define TX_KERNELS(TX_KERNEL) \
  /* y[i] = f(x[i]); x == y is allowed */ \
  TX_KERNEL(exp_f32,     void, (int64_t n, const float *x, float *y)) \
  \
  /* -- channels: x, y, dy ... are rows x c, one row after the other; other arrays have c elements ---------------- */ \
  /* sum[j] = sum over rows of x[., j] */ \
  TX_KERNEL(channel_sum_f32, void, (int64_t rows, int64_t c, const float *x, double *sum)) \
  /* square[j] = sum over rows of (x[., j] - sum[j] / rows)^2 */ \
  TX_KERNEL(channel_square_f32, void, (int64_t rows, int64_t c, const float *x, const double *sum, double *square)) \
  /* y = x * scale + shift (+ residual, unless NULL), then max(y, 0) when relu; y may be x or residual */ \
  TX_KERNEL(norm_apply_f32, void, (int64_t rows, int64_t c, const float *x, const float *scale, const float *shift, \
                                   const float *residual, bool relu, float *y)) \
  /* dz is dy where y > 0, else 0; with y NULL: where x * scale + shift > 0; with scale NULL too: dy everywhere. */ \
  /* sum[j] = sum of dz, product[j] = sum of dz * (x - mean) */ \
  TX_KERNEL(norm_grad_sums_f32, void, (int64_t rows, int64_t c, const float *x, const float *mean, const float *dy, \
                                       const float *y, const float *scale, const float *shift, double *sum, \
                                       double *product)) \
  /* dx = dz * of_dz + x * of_x + constant and dresidual = dz, with the same dz; NULL targets are left out */ \
  TX_KERNEL(norm_grad_f32, void, (int64_t rows, int64_t c, const float *x, const float *dy, const float *y, \
                                  const float *scale, const float *shift, const float *of_dz, const float *of_x, \
                                  const float *constant, float *dx, float *dresidual)) \
  \
  /* -- optimizer steps: parameter p, gradient, state; velocity may be NULL -------------------------------------- */ \
  TX_KERNEL(sgd_f32, void, (int64_t n, float *p, const float *gradient, float *velocity, const tx_sgd_factors *f)) \
  TX_KERNEL(adam_f32, void, (int64_t n, float *p, const float *gradient, float *mean, float *square, \
                             const tx_adam_factors *f))
/* clang-format on */

#endif
