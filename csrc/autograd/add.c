/* add.c - y = a + b; da = dy, db = dy, each summed over the dimensions along which its operand was broadcast. */
#include "autograd/formula.h"
#include "autograd/list.h"

static tx_status forward(tx_call *call) { return tx_binary("add", TX_ADD, call->in[0], call->in[1], &call->out[0]); }

static tx_status backward(tx_call *call) {
  tx_formula f = tx_formula_begin(call);
  for (int i = 0; i < 2; i++) {
    if (call->needs[i]) tx_f_gradient(&f, i, call->dout[0]);
  }
  return tx_formula_end(&f);
}

const tx_op tx_op_add = {
    .name = "add",
    .inputs = "a b",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_AS_FUNCTIONAL | TX_INPUT_NUMBERS,
    .forward = forward,
    .backward = backward,
    .doc =
        "add(a, b): a + b, elementwise with broadcasting; either may be a number, which the dtype of the other must be "
        "able to "
        "hold (a fraction makes integers f32). Results of integers that do not fit wrap around, as in Lua.",
};
