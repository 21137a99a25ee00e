/* mod.c - Lua's % and //: idiv(a, b) = floor(a / b), mod(a, b) = a - b * floor(a / b), which has the sign of b.
 *
 * Between its jumps mod has da = dy, db = -dy * floor(a / b). idiv is flat there, so its result carries no gradient. */
#include "autograd/formula.h"
#include "autograd/list.h"

static tx_status mod_forward(tx_call *call) {
  if (call->needs[1]) {
    tx_save(call, 0, call->in[0]);
    tx_save(call, 1, call->in[1]);
  }
  return tx_binary("mod", TX_MOD, call->in[0], call->in[1], &call->out[0]);
}

static tx_status mod_backward(tx_call *call) {
  tx_formula f = tx_formula_begin(call);
  tx_tensor *dy = call->dout[0];
  if (call->needs[0]) tx_f_gradient(&f, 0, dy);
  if (call->needs[1]) {
    tx_tensor *times = tx_f_binary(&f, TX_IDIV, tx_saved(call, 0), tx_saved(call, 1));
    tx_f_gradient(&f, 1, tx_f_unary(&f, TX_NEG, tx_f_mul(&f, dy, times)));
  }
  return tx_formula_end(&f);
}

const tx_op tx_op_mod = {
    .name = "mod",
    .inputs = "a b",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_INPUT_NUMBERS,
    .forward = mod_forward,
    .backward = mod_backward,
    .doc = "mod(a, b): a % b as in Lua (the sign of b), elementwise with broadcasting; either may be a number.",
};

static tx_status idiv_forward(tx_call *call) {
  return tx_binary("idiv", TX_IDIV, call->in[0], call->in[1], &call->out[0]);
}

const tx_op tx_op_idiv = {
    .name = "idiv",
    .inputs = "a b",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_INPUT_NUMBERS,
    .forward = idiv_forward,
    .doc =
        "idiv(a, b): floor(a / b), Lua's a // b, elementwise with broadcasting; either may be a number; no gradient.",
};
