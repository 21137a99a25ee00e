/* mul.c - y = a * b; da = dy * b, db = dy * a. */
#include "autograd/formula.h"
#include "autograd/list.h"

static tx_status forward(tx_call *call) {
  tx_tensor *a = call->in[0], *b = call->in[1];
  if (call->needs[1]) tx_save(call, 0, a);
  if (call->needs[0]) tx_save(call, 1, b);
  return tx_binary("mul", TX_MUL, a, b, &call->out[0]);
}

static tx_status backward(tx_call *call) {
  tx_formula f = tx_formula_begin(call);
  tx_tensor *a = tx_saved(call, 0), *b = tx_saved(call, 1), *dy = call->dout[0];
  if (call->needs[0]) tx_f_gradient(&f, 0, tx_f_mul(&f, dy, b));
  if (call->needs[1]) tx_f_gradient(&f, 1, tx_f_mul(&f, dy, a));
  return tx_formula_end(&f);
}

const tx_op tx_op_mul = {
    .name = "mul",
    .inputs = "a b",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_INPUT_NUMBERS,
    .forward = forward,
    .backward = backward,
    .doc =
        "mul(a, b): a * b, elementwise with broadcasting; either may be a number, which the dtype of the other must be "
        "able to "
        "hold (a fraction makes integers f32). Results of integers that do not fit wrap around, as in Lua.",
};
