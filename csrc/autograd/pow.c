/* pow.c - y = a ^ b; da = dy * b * a^(b-1), 0 where b = 0; db = dy * y * log(a), 0 where a = 0 and b >= 0. */
#include "autograd/formula.h"
#include "autograd/list.h"

static tx_status forward(tx_call *call) {
  tx_tensor *a = call->in[0], *b = call->in[1];
  TX_TRY(tx_binary("pow", TX_POW, a, b, &call->out[0]));
  tx_save(call, 0, a);
  tx_save(call, 1, b);
  if (call->needs[1]) tx_save(call, 2, call->out[0]);
  return TX_OK;
}

/* dy * b * a^(b-1) for one number b: squares and the like need no power. */
static tx_tensor *da_of_number(tx_formula *f, tx_tensor *a, double b, tx_tensor *dy) {
  if (b == 0 || b == 1) return tx_f_scale(f, dy, b);
  tx_tensor *power = b == 2 ? a : tx_f_pow(f, a, tx_f_number(f, b - 1));
  return tx_f_mul(f, dy, tx_f_scale(f, power, b));
}

static tx_tensor *da_of_tensor(tx_formula *f, tx_tensor *a, tx_tensor *b, tx_tensor *dy) {
  tx_tensor *zero = tx_f_number(f, 0);
  tx_tensor *slope = tx_f_mul(f, b, tx_f_pow(f, a, tx_f_shift(f, b, -1)));
  return tx_f_mul(f, dy, tx_f_where(f, tx_f_binary(f, TX_EQ, b, zero), zero, slope));
}

static tx_tensor *db_of(tx_formula *f, tx_tensor *a, tx_tensor *b, tx_tensor *y, tx_tensor *dy) {
  tx_tensor *zero = tx_f_number(f, 0);
  tx_tensor *flat = tx_f_mul(f, tx_f_binary(f, TX_EQ, a, zero), tx_f_binary(f, TX_GE, b, zero));
  tx_tensor *slope = tx_f_mul(f, y, tx_f_unary(f, TX_LOG, a));
  return tx_f_mul(f, dy, tx_f_where(f, flat, zero, slope));
}

static tx_status backward(tx_call *call) {
  tx_formula f = tx_formula_begin(call);
  tx_tensor *a = tx_saved(call, 0), *b = tx_saved(call, 1), *y = tx_saved(call, 2), *dy = call->dout[0];
  if (call->needs[0]) {
    tx_f_gradient(&f, 0, b->dims == 0 ? da_of_number(&f, a, tx_item(b), dy) : da_of_tensor(&f, a, b, dy));
  }
  if (call->needs[1]) tx_f_gradient(&f, 1, db_of(&f, a, b, y, dy));
  return tx_formula_end(&f);
}

const tx_op tx_op_pow = {
    .name = "pow",
    .inputs = "a b",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_INPUT_NUMBERS,
    .forward = forward,
    .backward = backward,
    .doc = "pow(a, b): a ^ b, elementwise with broadcasting; integers give f32; either may be a number.",
};
