/* layer_norm.c - y = (x - mean) / sqrt(var + eps) * gamma + beta, mean and variance being those of a row of the last
 * dimension; gradients in passes/layer_norm.h. */
#include "passes/layer_norm.h"

#include "autograd/list.h"
#include "autograd/own_norm.h"

enum { X };

typedef struct params {
  double eps;
} params;

static int64_t count(const tx_tensor *x) {
  const int64_t n = x->shape[x->dims - 1];
  return n > 0 ? tx_numel(x) / n : 0;
}

static tx_layer_norm describe(const params *p, const tx_own_norm_operands *o) {
  return (tx_layer_norm){.dtype = o->x->dtype,
                         .rows = count(o->x),
                         .n = o->x->shape[o->x->dims - 1],
                         .eps = p->eps,
                         .x = tx_data(o->x),
                         .gamma = tx_data(o->gamma),
                         .beta = tx_data_or_null(o->beta),
                         .mean = o->mean,
                         .invstd = o->invstd};
}

static tx_status run(const void *p, const tx_own_norm_operands *o, void *y) {
  const tx_layer_norm l = describe(p, o);
  tx_layer_norm_forward(&l, y);
  return TX_OK;
}

static tx_status grad(const void *p, const tx_own_norm_operands *o, const void *dy, void *dx, void *dgamma,
                      void *dbeta) {
  const tx_layer_norm l = describe(p, o);
  return tx_layer_norm_backward(&l, dy, dx, dgamma, dbeta);
}

static const tx_own_norm of_rows = {count, run, grad};

static tx_status forward(tx_call *call) {
  const tx_tensor *x = call->in[X];
  const params *p = call->params;
  TX_TRY(tx_want_float(call, X));
  if (x->dims < 1) return tx_fail(TX_EINVAL, "layer_norm: x is %s: {...,C} is needed", tx_shape_of(x));
  TX_TRY(tx_own_norm_check(call, p->eps));
  return tx_own_norm_run(call, &of_rows);
}

static tx_status backward(tx_call *call) { return tx_own_norm_grad(call, &of_rows); }

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
