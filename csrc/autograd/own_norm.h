/* own_norm.h - what layer_norm and group_norm share: y = (x - mean) * invstd * gamma + beta, whose mean and
 * invstd = 1 / sqrt(var + eps) are those of parts of x; inputs are x, gamma {C} and beta {C}, C being the last dimension of x.
 */
#ifndef TX_AUTOGRAD_OWN_NORM_H
#define TX_AUTOGRAD_OWN_NORM_H

#include "autograd/layer.h"

/* x is contiguous and has elements; beta is NULL in backward. */
typedef struct tx_own_norm_operands {
  const tx_tensor *x, *gamma, *beta;
  double *mean, *invstd; /* {count}: forward writes them, backward reads them */
} tx_own_norm_operands;

typedef struct tx_own_norm {
  int64_t (*count)(const tx_tensor *x); /* how many means there are */
  tx_status (*forward)(const void *params, const tx_own_norm_operands *o, void *y);
  /* A NULL target is left out. */
  tx_status (*backward)(const void *params, const tx_own_norm_operands *o, const void *dy, void *dx, void *dgamma,
                        void *dbeta);
} tx_own_norm;

/* gamma and beta must be {C}, eps 0 or more. */
tx_status tx_own_norm_check(const tx_call *call, double eps);

/* Forward and backward; x, gamma and the statistics are kept. */
tx_status tx_own_norm_run(tx_call *call, const tx_own_norm *norm);
tx_status tx_own_norm_grad(tx_call *call, const tx_own_norm *norm);

#endif
