/* maximum.c - the larger (smaller) of two: y = max(a, b), y = min(a, b).
 *
 * The gradient goes to the operand that was chosen; where both are equal, half of it to each. */
#include "autograd/formula.h"
#include "autograd/list.h"

static tx_status forward(tx_call *call, tx_binary_op op) {
  tx_save(call, 0, call->in[0]);
  tx_save(call, 1, call->in[1]);
  return tx_binary(call->op->name, op, call->in[0], call->in[1], &call->out[0]);
}

/* `wins` compares so that a is chosen. */
static tx_status backward(tx_call *call, tx_binary_op wins) {
  tx_formula f = tx_formula_begin(call);
  tx_tensor *a = tx_saved(call, 0), *b = tx_saved(call, 1), *dy = call->dout[0];
  tx_tensor *tie = tx_f_mul(&f, dy, tx_f_scale(&f, tx_f_binary(&f, TX_EQ, a, b), 0.5));
  for (int i = 0; i < 2; i++) {
    if (!call->needs[i]) continue;
    tx_tensor *chosen = i == 0 ? tx_f_binary(&f, wins, a, b) : tx_f_binary(&f, wins, b, a);
    tx_f_gradient(&f, i, tx_f_where(&f, chosen, dy, tie));
  }
  return tx_formula_end(&f);
}

#define MAXIMUM(word, code, wins, larger)                                                    \
  static tx_status word##_forward(tx_call *call) { return forward(call, code); }             \
  static tx_status word##_backward(tx_call *call) { return backward(call, wins); }           \
  const tx_op tx_op_##word = {                                                               \
      .name = #word,                                                                         \
      .inputs = "a b",                                                                       \
      .outputs = 1,                                                                          \
      .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_INPUT_NUMBERS,                             \
      .forward = word##_forward,                                                             \
      .backward = word##_backward,                                                           \
      .doc = #word "(a, b): the " larger                                                     \
                   " of both, elementwise with broadcasting; either may be a number; equal " \
                   "ones share the gradient.",                                               \
  };

MAXIMUM(maximum, TX_MAXIMUM, TX_GT, "larger")
MAXIMUM(minimum, TX_MINIMUM, TX_LT, "smaller")
