/* div.c - y = a / b; da = dy / b, db = -dy * y / b. */
#include "autograd/formula.h"
#include "autograd/list.h"

static tx_status forward(tx_call *call) {
  tx_tensor *a = call->in[0], *b = call->in[1];
  TX_TRY(tx_binary("div", TX_DIV, a, b, &call->out[0]));
  tx_save(call, 0, b);
  if (call->needs[1]) tx_save(call, 1, call->out[0]);
  return TX_OK;
}

static tx_status backward(tx_call *call) {
  tx_formula f = tx_formula_begin(call);
  tx_tensor *b = tx_saved(call, 0), *y = tx_saved(call, 1);
  tx_tensor *da = tx_f_div(&f, call->dout[0], b);
  if (call->needs[0]) tx_f_gradient(&f, 0, da);
  if (call->needs[1]) tx_f_gradient(&f, 1, tx_f_unary(&f, TX_NEG, tx_f_mul(&f, da, y)));
  return tx_formula_end(&f);
}

const tx_op tx_op_div = {
    .name = "div",
    .inputs = "a b",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_INPUT_NUMBERS,
    .forward = forward,
    .backward = backward,
    .doc = "div(a, b): a / b, elementwise with broadcasting; integers give f32; either may be a number.",
};
