/* sum.c - y = sum of x over some dimensions; dx = dy, spread over them. */
#include "autograd/list.h"
#include "autograd/reduction.h"

static tx_status forward(tx_call *call) {
  const tx_reduction *p = call->params;
  return tx_reduce("sum", TX_SUM, call->in[0], p->dim, p->keepdim, 0, &call->out[0]);
}

static tx_status backward(tx_call *call) {
  const tx_reduction *p = call->params;
  const tx_meta *x = tx_input_meta(call, 0);
  tx_formula f = tx_formula_begin(call);
  tx_tensor *dy = tx_f_unreduce(&f, call->dout[0], x, p->dim);
  tx_f_gradient(&f, 0, tx_f_expand(&f, dy, x->dims, x->shape));
  return tx_formula_end(&f);
}

const tx_op tx_op_sum = {
    .name = "sum",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(tx_reduction),
    .params = tx_reduction_params,
    .forward = forward,
    .backward = backward,
    .doc =
        "sum(x, dim, keepdim=false): sum over a dimension, a list of them, or everything (keepdim leaves them, with "
        "size 1); integers give i64.",
};
