/* logsumexp.c - y = log sum exp(x) over some dimensions, without overflow; dx = dy * exp(x - y), 0 where y = -inf. */
#include <math.h>

#include "autograd/list.h"
#include "autograd/reduction.h"

static tx_status forward(tx_call *call) {
  const tx_reduction *p = call->params;
  TX_TRY(tx_reduce("logsumexp", TX_LOGSUMEXP, call->in[0], p->dim, p->keepdim, 0, &call->out[0]));
  tx_save(call, 0, call->in[0]);
  tx_save(call, 1, call->out[0]);
  return TX_OK;
}

static tx_status backward(tx_call *call) {
  const tx_reduction *p = call->params;
  const tx_meta *meta = tx_input_meta(call, 0);
  tx_formula f = tx_formula_begin(call);
  tx_tensor *y = tx_f_unreduce(&f, tx_saved(call, 1), meta, p->dim);
  tx_tensor *dy = tx_f_unreduce(&f, call->dout[0], meta, p->dim);
  tx_tensor *shares = tx_f_unary(&f, TX_EXP, tx_f_sub(&f, tx_saved(call, 0), y));
  tx_tensor *nothing = tx_f_binary(&f, TX_EQ, y, tx_f_number(&f, -INFINITY));
  tx_f_gradient(&f, 0, tx_f_mul(&f, dy, tx_f_where(&f, nothing, tx_f_number(&f, 0), shares)));
  return tx_formula_end(&f);
}

const tx_op tx_op_logsumexp = {
    .name = "logsumexp",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(tx_reduction),
    .params = tx_reduction_params,
    .forward = forward,
    .backward = backward,
    .doc =
        "logsumexp(x, dim, keepdim=false): log of the sum of e ^ x over a dimension, a list of them, or everything "
        "(keepdim leaves them, with size 1).",
};
