/* cumsum.c - running sums along a dimension: y_i = x_1 + ... + x_i; dx_i = dy_i + ... + dy_n, the sums from the far end. */
#include "autograd/formula.h"
#include "autograd/list.h"
#include "tensor/create.h"

typedef struct params {
  int dim;
} params;

static const tx_param parameters[] = {TX_PARAM(params, dim, TX_PARAM_DIM, NULL), {0}};

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  return tx_cumsum(call->in[0], p->dim, &call->out[0]);
}

static tx_status backward(tx_call *call) {
  const params *p = call->params;
  tx_formula f = tx_formula_begin(call);
  tx_tensor *dy = call->dout[0], *sums = NULL;
  tx_f_hold(&f, tx_cumsum(dy, p->dim, &sums), &sums);
  tx_tensor *total = tx_f_reduce(&f, TX_SUM, dy, 1u << p->dim, true, 0);
  tx_f_gradient(&f, 0, tx_f_add(&f, dy, tx_f_sub(&f, total, sums)));
  return tx_formula_end(&f);
}

const tx_op tx_op_cumsum = {
    .name = "cumsum",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc = "cumsum(x, dim): running sums along a dimension; integers give i64.",
};
