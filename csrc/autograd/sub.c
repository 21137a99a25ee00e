/* sub.c - y = a - b; da = dy, db = -dy. */
#include "autograd/formula.h"
#include "autograd/list.h"

static tx_status forward(tx_call *call) { return tx_binary("sub", TX_SUB, call->in[0], call->in[1], &call->out[0]); }

static tx_status backward(tx_call *call) {
  tx_formula f = tx_formula_begin(call);
  if (call->needs[0]) tx_f_gradient(&f, 0, call->dout[0]);
  if (call->needs[1]) tx_f_gradient(&f, 1, tx_f_unary(&f, TX_NEG, call->dout[0]));
  return tx_formula_end(&f);
}

const tx_op tx_op_sub = {
    .name = "sub",
    .inputs = "a b",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_INPUT_NUMBERS,
    .forward = forward,
    .backward = backward,
    .doc =
        "sub(a, b): a - b, elementwise with broadcasting; either may be a number, which the dtype of the other must be "
        "able to "
        "hold (a fraction makes integers f32). Results of integers that do not fit wrap around, as in Lua.",
};
