/* mean.c - y = sum of x over some dimensions / n; dx = dy / n, spread over them. */
#include "autograd/list.h"
#include "autograd/reduction.h"

static tx_status forward(tx_call *call) {
  const tx_reduction *p = call->params;
  return tx_reduce("mean", TX_MEAN, call->in[0], p->dim, p->keepdim, 0, &call->out[0]);
}

static tx_status backward(tx_call *call) {
  const tx_reduction *p = call->params;
  const tx_meta *x = tx_input_meta(call, 0);
  tx_formula f = tx_formula_begin(call);
  tx_tensor *share = tx_f_scale(&f, call->dout[0], 1.0 / (double)tx_reduced_count(x, p->dim));
  share = tx_f_unreduce(&f, share, x, p->dim);
  tx_f_gradient(&f, 0, tx_f_expand(&f, share, x->dims, x->shape));
  return tx_formula_end(&f);
}

const tx_op tx_op_mean = {
    .name = "mean",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(tx_reduction),
    .params = tx_reduction_params,
    .forward = forward,
    .backward = backward,
    .doc =
        "mean(x, dim, keepdim=false): mean over a dimension, a list of them, or everything (keepdim leaves them, with "
        "size 1); integers give f32; NaN of "
        "nothing.",
};
