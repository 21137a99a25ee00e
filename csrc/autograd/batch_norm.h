/* batch_norm.h - what batch_norm and the functions fused with it share: parameters, checks, statistics.
 *
 * The inputs  gamma beta running_mean? running_var? residual?  stand next to each other in a call, gamma at position
 * `at`.
 */
#ifndef TX_AUTOGRAD_BATCH_NORM_H
#define TX_AUTOGRAD_BATCH_NORM_H

#include "autograd/op.h"
#include "passes/norm.h"

typedef struct tx_batch_norm_params {
  bool training, relu, residual_last;
  double momentum, eps;
} tx_batch_norm_params;

/* Rows of an op's parameter list, for a member of type tx_batch_norm_params. */
#define TX_BATCH_NORM_PARAMS(type, member)                         \
  TX_PARAM_IN(type, member, training, TX_PARAM_BOOL, "false"),     \
      TX_PARAM_IN(type, member, momentum, TX_PARAM_NUMBER, "0.1"), \
      TX_PARAM_IN(type, member, eps, TX_PARAM_NUMBER, "1e-5"),     \
      TX_PARAM_IN(type, member, relu, TX_PARAM_BOOL, "false"),     \
      TX_PARAM_IN(type, member, residual_last, TX_PARAM_BOOL, "false")

/* The tensors of one normalization, contiguous and owned; x {...,C} is what is normalized, statistics f64 {2,C}
 * hold the mean and 1 / sqrt(var + eps). residual may be NULL. */
typedef struct tx_batch_norm {
  tx_tensor *x, *gamma, *beta, *statistics, *residual;
} tx_batch_norm;

/* Checks the inputs from gamma on for a tensor {shape} that is normalized; `counted` says what its channels are. */
tx_status tx_batch_norm_check(const tx_call *call, int at, const tx_batch_norm_params *params, int dims,
                              const int64_t *shape, const char *counted);
/* Fills t from the inputs (x stays NULL) and makes room for statistics. On failure, too, t is to be released. */
tx_status tx_batch_norm_take(const tx_call *call, int at, tx_batch_norm *t);
void tx_batch_norm_release(tx_batch_norm *t);
/* statistics hold mean and variance of the batch (training with rows > 0): moves the running tensors towards them;
 * else they are filled from the running ones. Then turns the variance into 1 / sqrt(var + eps). */
void tx_batch_norm_settle(const tx_call *call, int at, const tx_batch_norm_params *params, int64_t rows,
                          tx_batch_norm *t);
/* The normalization of t->x for the passes of passes/norm.h; valid as long as t. */
tx_norm tx_batch_norm_describe(const tx_batch_norm_params *params, const tx_batch_norm *t);
/* Whether backward needs y: else where ReLU let through follows from x. */
bool tx_batch_norm_needs_y(const tx_batch_norm_params *params, const tx_batch_norm *t);
/* Where the gradient of what was normalized, which was saved in x_slot, is to be written: over dy or over x if nobody else
 * wants that, else a new tensor. */
tx_status tx_batch_norm_gradient_buffer(tx_call *call, int at, int x_slot, const tx_tensor *y, tx_tensor **dx);
/* Gradients of gamma, beta and residual, where needed, and dx unless it is NULL. y is NULL unless it was needed. */
tx_status tx_batch_norm_backward(tx_call *call, int at, const tx_batch_norm_params *params, const tx_batch_norm *t,
                                 const tx_tensor *y, tx_tensor *dx);

#endif
