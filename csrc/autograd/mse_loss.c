/* mse_loss.c - (x - target)^2, its mean or its sum; dx = 2 (x - target) dy, dtarget = -dx.
 * The gradient of the mean carries 1 / count, that of "none" has a dy for every element. */
#include "autograd/layer.h"
#include "autograd/list.h"
#include "autograd/loss.h"
#include "passes/distance.h"

enum { X, TARGET };

typedef struct params {
  int reduction;
} params;

static tx_distance describe(const tx_tensor *x, const tx_tensor *target) {
  return (tx_distance){x->dtype, tx_numel(x), tx_data(x), tx_data(target)};
}

static tx_status run_forward(tx_call *call, tx_tensor *x, tx_tensor *target) {
  const params *given = call->params;
  const tx_distance d = describe(x, target);
  tx_save(call, X, x);
  tx_save(call, TARGET, target);
  if (given->reduction == TX_REDUCTION_NONE) {
    TX_TRY(tx_empty_like(x, &call->out[0]));
    tx_distance_each(&d, tx_data(call->out[0]));
    return TX_OK;
  }
  double sum;
  TX_TRY(tx_distance_sum(&d, &sum));
  if (given->reduction == TX_REDUCTION_MEAN) sum /= (double)d.n;
  TX_TRY(tx_empty(d.dtype, 0, NULL, &call->out[0]));
  tx_set_real(d.dtype, tx_data(call->out[0]), 0, sum);
  return TX_OK;
}

static tx_status forward(tx_call *call) {
  tx_tensor *x = NULL, *target = NULL;
  TX_TRY(tx_want_float(call, X));
  TX_TRY(tx_want_dtype_of(call, TARGET, X));
  TX_TRY(tx_want_shape_of(call, TARGET, X));
  tx_status status = tx_contiguous(call->in[X], &x);
  if (status == TX_OK) status = tx_contiguous(call->in[TARGET], &target);
  if (status == TX_OK) status = run_forward(call, x, target);
  tx_unref(x);
  tx_unref(target);
  return status;
}

static tx_status run_backward(tx_call *call, const tx_tensor *dy) {
  const params *given = call->params;
  const tx_tensor *x = tx_saved(call, X);
  const tx_distance d = describe(x, tx_saved(call, TARGET));
  for (int i = X; i <= TARGET; i++) {
    if (!call->needs[i]) continue;
    TX_TRY(tx_empty_like(x, &call->din[i]));
    double factor = i == X ? 2 : -2;
    if (given->reduction == TX_REDUCTION_MEAN) factor /= (double)d.n;
    tx_distance_backward(&d, factor, tx_data(dy), given->reduction == TX_REDUCTION_NONE, tx_data(call->din[i]));
  }
  return TX_OK;
}

static tx_status backward(tx_call *call) {
  tx_tensor *dy;
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  tx_status status = run_backward(call, dy);
  tx_unref(dy);
  return status;
}

static const tx_param parameters[] = {TX_PARAM_CHOICES(params, reduction, "mean", TX_REDUCTION_CHOICES), {NULL}};

const tx_op tx_op_mse_loss = {
    .name = "mse_loss",
    .inputs = "x target",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "mse_loss(x, target, {reduction=\"mean\"}): the mean of (x - target)^2, its sum, or (\"none\") the squares "
        "themselves; both of the same shape.",
};
