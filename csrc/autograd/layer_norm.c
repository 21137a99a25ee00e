/* layer_norm.c - y = (x - mean) / sqrt(var + eps) * gamma + beta, mean and variance being those of a row of the last
 * dimension; gradients in passes/layer_norm.h. */
#include "passes/layer_norm.h"

#include "autograd/layer.h"
#include "autograd/list.h"

enum { X, GAMMA, BETA };
enum { SAVED_X, SAVED_GAMMA, SAVED_STATISTICS }; /* {2,rows}: mean and 1 / sqrt(var + eps), f64 */

typedef struct params {
  double eps;
} params;

/* x {...,N} with elements, contiguous; beta NULL in backward. */
static tx_layer_norm describe(const params *p, const tx_tensor *x, const tx_tensor *gamma, const tx_tensor *beta,
                              const tx_tensor *statistics) {
  const int64_t n = x->shape[x->dims - 1], rows = tx_numel(x) / n;
  double *mean = tx_f64(statistics);
  return (tx_layer_norm){.dtype = x->dtype,
                         .rows = rows,
                         .n = n,
                         .eps = p->eps,
                         .x = tx_data(x),
                         .gamma = tx_data(gamma),
                         .beta = tx_data_or_null(beta),
                         .mean = mean,
                         .invstd = mean + rows};
}

static tx_status check(const tx_call *call) {
  const tx_tensor *x = call->in[X];
  const params *p = call->params;
  TX_TRY(tx_want_float(call, X));
  if (x->dims < 1) return tx_fail(TX_EINVAL, "layer_norm: x is %s: {...,C} is needed", tx_shape_of(x));
  const int64_t c = x->shape[x->dims - 1];
  TX_TRY(tx_want_vector(call, GAMMA, X, c, "channels in the last dimension of x"));
  TX_TRY(tx_want_vector(call, BETA, X, c, "channels in the last dimension of x"));
  if (!(p->eps >= 0)) return tx_fail(TX_EINVAL, "layer_norm: eps is %g: 0 or more is needed", p->eps);
  return TX_OK;
}

static tx_status run_forward(tx_call *call, tx_tensor *x, tx_tensor *gamma, tx_tensor *beta) {
  tx_tensor *statistics;
  const int64_t n = x->shape[x->dims - 1];
  TX_TRY(tx_empty_like(x, &call->out[0]));
  TX_TRY(tx_empty(TX_F64, 2, (int64_t[]){2, n > 0 ? tx_numel(x) / n : 0}, &statistics));
  if (tx_numel(x) > 0) {
    const tx_layer_norm l = describe(call->params, x, gamma, beta, statistics);
    tx_layer_norm_forward(&l, tx_data(call->out[0]));
  }
  tx_save(call, SAVED_X, x);
  tx_save(call, SAVED_GAMMA, gamma);
  tx_save(call, SAVED_STATISTICS, statistics);
  tx_unref(statistics);
  return TX_OK;
}

static tx_status forward(tx_call *call) {
  tx_tensor *x = NULL, *gamma = NULL, *beta = NULL;
  TX_TRY(check(call));
  tx_status status = tx_contiguous(call->in[X], &x);
  if (status == TX_OK) status = tx_contiguous(call->in[GAMMA], &gamma);
  if (status == TX_OK) status = tx_contiguous(call->in[BETA], &beta);
  if (status == TX_OK) status = run_forward(call, x, gamma, beta);
  tx_unref(x);
  tx_unref(gamma);
  tx_unref(beta);
  return status;
}

static tx_status backward(tx_call *call) {
  const tx_tensor *x = tx_saved(call, SAVED_X), *gamma = tx_saved(call, SAVED_GAMMA);
  const tx_tensor *like[] = {x, gamma, gamma};
  tx_tensor *dy;
  for (int i = X; i <= BETA; i++) {
    if (call->needs[i]) TX_TRY(tx_zeros_like(like[i], &call->din[i]));
  }
  if (tx_numel(x) == 0) return TX_OK;
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  const tx_layer_norm l = describe(call->params, x, gamma, NULL, tx_saved(call, SAVED_STATISTICS));
  const tx_status status = tx_layer_norm_backward(&l, tx_data(dy), tx_data_or_null(call->din[X]),
                                                  tx_data_or_null(call->din[GAMMA]), tx_data_or_null(call->din[BETA]));
  tx_unref(dy);
  return status;
}

static const tx_param parameters[] = {TX_PARAM(params, eps, TX_PARAM_NUMBER, "1e-5"), {NULL}};

const tx_op tx_op_layer_norm = {
    .name = "layer_norm",
    .inputs = "x gamma beta",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "layer_norm(x, gamma, beta, {eps=1e-5}): normalizes every row of the last dimension of x {...,C} by its own "
        "mean "
        "and (biased) variance, times gamma {C} plus beta {C}; the same in training and evaluation.",
};
