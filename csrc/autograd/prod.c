/* prod.c - y = product of x over some dimensions; dx_i = dy * product of all x_j with j /= i.
 *
 * With no zero among them that is dy * y / x_i. With one zero, only its own gradient is not 0: dy times the product of the
 * others. With more, all are 0. */
#include "autograd/list.h"
#include "autograd/reduction.h"

static tx_status forward(tx_call *call) {
  const tx_reduction *p = call->params;
  tx_save(call, 0, call->in[0]);
  return tx_reduce("prod", TX_PROD, call->in[0], p->dim, p->keepdim, 0, &call->out[0]);
}

static tx_status backward(tx_call *call) {
  const tx_reduction *p = call->params;
  tx_formula f = tx_formula_begin(call);
  tx_tensor *x = tx_saved(call, 0), *zero = tx_f_number(&f, 0), *one = tx_f_number(&f, 1);
  tx_tensor *dy = tx_f_unreduce(&f, call->dout[0], tx_input_meta(call, 0), p->dim);
  tx_tensor *is_zero = tx_f_binary(&f, TX_EQ, x, zero);
  tx_tensor *zeros = tx_f_reduce(&f, TX_SUM, is_zero, p->dim, true, 0);
  tx_tensor *factors = tx_f_where(&f, is_zero, one, x); /* zeros left out */
  tx_tensor *rest = tx_f_mul(&f, dy, tx_f_reduce(&f, TX_PROD, factors, p->dim, true, 0));
  tx_tensor *at_zero = tx_f_where(&f, tx_f_binary(&f, TX_EQ, zeros, one), rest, zero);
  tx_tensor *elsewhere = tx_f_div(&f, tx_f_where(&f, tx_f_binary(&f, TX_EQ, zeros, zero), rest, zero), factors);
  tx_f_gradient(&f, 0, tx_f_where(&f, is_zero, at_zero, elsewhere));
  return tx_formula_end(&f);
}

const tx_op tx_op_prod = {
    .name = "prod",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(tx_reduction),
    .params = tx_reduction_params,
    .forward = forward,
    .backward = backward,
    .doc =
        "prod(x, dim, keepdim=false): product over a dimension, a list of them, or everything (keepdim leaves them, "
        "with size 1); integers give i64.",
};
