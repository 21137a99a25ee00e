/* own_norm.c - what layer_norm and group_norm share. */
#include "autograd/own_norm.h"

enum { X, GAMMA, BETA };
enum { SAVED_X, SAVED_GAMMA, SAVED_STATISTICS }; /* {2,count}: mean and invstd, f64 */

tx_status tx_own_norm_check(const tx_call *call, double eps) {
  const tx_tensor *x = call->in[X];
  const int64_t c = x->shape[x->dims - 1];
  TX_TRY(tx_want_vector(call, GAMMA, X, c, "channels in the last dimension of x"));
  TX_TRY(tx_want_vector(call, BETA, X, c, "channels in the last dimension of x"));
  if (!(eps >= 0)) return tx_fail(TX_EINVAL, "%s: eps is %g: 0 or more is needed", call->op->name, eps);
  return TX_OK;
}

static tx_own_norm_operands operands(const tx_tensor *x, const tx_tensor *gamma, const tx_tensor *beta,
                                     const tx_tensor *statistics) {
  double *mean = tx_f64(statistics);
  return (tx_own_norm_operands){
      .x = x, .gamma = gamma, .beta = beta, .mean = mean, .invstd = mean + statistics->shape[1]};
}

static tx_status run(tx_call *call, const tx_own_norm *norm, tx_tensor *x, tx_tensor *gamma, tx_tensor *beta) {
  tx_tensor *statistics;
  TX_TRY(tx_empty_like(x, &call->out[0]));
  TX_TRY(tx_empty(TX_F64, 2, (int64_t[]){2, norm->count(x)}, &statistics));
  tx_status status = TX_OK;
  if (tx_numel(x) > 0) {
    const tx_own_norm_operands o = operands(x, gamma, beta, statistics);
    status = norm->forward(call->params, &o, tx_data(call->out[0]));
  }
  tx_save(call, SAVED_X, x);
  tx_save(call, SAVED_GAMMA, gamma);
  tx_save(call, SAVED_STATISTICS, statistics);
  tx_unref(statistics);
  return status;
}

tx_status tx_own_norm_run(tx_call *call, const tx_own_norm *norm) {
  tx_tensor *x = NULL, *gamma = NULL, *beta = NULL;
  tx_status status = tx_contiguous(call->in[X], &x);
  if (status == TX_OK) status = tx_contiguous(call->in[GAMMA], &gamma);
  if (status == TX_OK) status = tx_contiguous(call->in[BETA], &beta);
  if (status == TX_OK) status = run(call, norm, x, gamma, beta);
  tx_unref(x);
  tx_unref(gamma);
  tx_unref(beta);
  return status;
}

tx_status tx_own_norm_grad(tx_call *call, const tx_own_norm *norm) {
  const tx_tensor *x = tx_saved(call, SAVED_X), *gamma = tx_saved(call, SAVED_GAMMA);
  const tx_tensor *like[] = {x, gamma, gamma};
  tx_tensor *dy;
  for (int i = X; i <= BETA; i++) {
    if (call->needs[i]) TX_TRY(tx_zeros_like(like[i], &call->din[i]));
  }
  if (tx_numel(x) == 0) return TX_OK;
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  const tx_own_norm_operands o = operands(x, gamma, NULL, tx_saved(call, SAVED_STATISTICS));
  const tx_status status = norm->backward(call->params, &o, tx_data(dy), tx_data_or_null(call->din[X]),
                                          tx_data_or_null(call->din[GAMMA]), tx_data_or_null(call->din[BETA]));
  tx_unref(dy);
  return status;
}
