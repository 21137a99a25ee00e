/* where.c - y = condition ? a : b, all three broadcast; da = dy where the condition holds, db = dy elsewhere. */
#include "autograd/formula.h"
#include "autograd/list.h"

static tx_status forward(tx_call *call) {
  tx_save(call, 0, call->in[0]);
  return tx_where(call->in[0], call->in[1], call->in[2], &call->out[0]);
}

static tx_status backward(tx_call *call) {
  tx_formula f = tx_formula_begin(call);
  tx_tensor *condition = tx_saved(call, 0), *dy = call->dout[0], *zero = tx_f_number(&f, 0);
  if (call->needs[1]) tx_f_gradient(&f, 1, tx_f_where(&f, condition, dy, zero));
  if (call->needs[2]) tx_f_gradient(&f, 2, tx_f_where(&f, condition, zero, dy));
  if (call->needs[0]) tx_f_gradient(&f, 0, tx_f_zeros(&f, tx_input_meta(call, 0))); /* a float one */
  return tx_formula_end(&f);
}

const tx_op tx_op_where = {
    .name = "where",
    .inputs = "condition a b",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_INPUT_NUMBERS,
    .forward = forward,
    .backward = backward,
    .doc =
        "where(condition, a, b): the elements of a where the condition is not 0, else those of b; all three broadcast; "
        "a and b may be numbers.",
};
