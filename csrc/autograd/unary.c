/* unary.c - differentiable functions of one element: y = f(x), dx = dy * f'(x).
 *
 *     neg      -1              exp      y                  log      1 / x
 *     sqrt     1 / (2 y)       abs      sign(x), 0 at 0    tanh     1 - y^2
 *     sigmoid  y (1 - y)       erf      2 / sqrt(pi) exp(-x^2)
 *
 * Each keeps either its input or its output for backward, whichever the slope is written in. */
#include "autograd/formula.h"
#include "autograd/list.h"

typedef enum keep { KEEP_NOTHING, KEEP_INPUT, KEEP_OUTPUT } keep;

static tx_status forward(tx_call *call, tx_unary_op op, keep what) {
  TX_TRY(tx_unary(op, call->in[0], &call->out[0]));
  if (what != KEEP_NOTHING) tx_save(call, 0, what == KEEP_INPUT ? call->in[0] : call->out[0]);
  return TX_OK;
}

/* `dx` computes the gradient from dy and what was kept. */
static tx_status backward(tx_call *call, tx_tensor *(*dx)(tx_formula *f, tx_tensor *dy, tx_tensor *kept)) {
  tx_formula f = tx_formula_begin(call);
  tx_f_gradient(&f, 0, dx(&f, call->dout[0], tx_saved(call, 0)));
  return tx_formula_end(&f);
}

static tx_tensor *neg_dx(tx_formula *f, tx_tensor *dy, tx_tensor *kept) {
  (void)kept;
  return tx_f_unary(f, TX_NEG, dy);
}
static tx_tensor *exp_dx(tx_formula *f, tx_tensor *dy, tx_tensor *y) { return tx_f_mul(f, dy, y); }
static tx_tensor *log_dx(tx_formula *f, tx_tensor *dy, tx_tensor *x) { return tx_f_div(f, dy, x); }
static tx_tensor *sqrt_dx(tx_formula *f, tx_tensor *dy, tx_tensor *y) { return tx_f_div(f, dy, tx_f_scale(f, y, 2)); }
static tx_tensor *abs_dx(tx_formula *f, tx_tensor *dy, tx_tensor *x) {
  return tx_f_mul(f, dy, tx_f_unary(f, TX_SIGN, x));
}
static tx_tensor *tanh_dx(tx_formula *f, tx_tensor *dy, tx_tensor *y) {
  return tx_f_sub(f, dy, tx_f_mul(f, dy, tx_f_mul(f, y, y)));
}
static tx_tensor *sigmoid_dx(tx_formula *f, tx_tensor *dy, tx_tensor *y) {
  return tx_f_mul(f, dy, tx_f_sub(f, y, tx_f_mul(f, y, y)));
}
static tx_tensor *erf_dx(tx_formula *f, tx_tensor *dy, tx_tensor *x) {
  tx_tensor *bell = tx_f_unary(f, TX_EXP, tx_f_unary(f, TX_NEG, tx_f_mul(f, x, x)));
  return tx_f_mul(f, dy, tx_f_scale(f, bell, 1.1283791670955126)); /* 2 / sqrt(pi) */
}

/* Where a function is found in Lua: activations also in nn.functional. */
#define MATH (TX_AS_METHOD | TX_AS_FUNCTION)
#define ACTIVATION (MATH | TX_AS_FUNCTIONAL)

#define UNARY(word, code, what, places, text)                                           \
  static tx_status word##_forward(tx_call *call) { return forward(call, code, what); }  \
  static tx_status word##_backward(tx_call *call) { return backward(call, word##_dx); } \
  const tx_op tx_op_##word = {                                                          \
      .name = #word,                                                                    \
      .inputs = "x",                                                                    \
      .outputs = 1,                                                                     \
      .where = places,                                                                  \
      .forward = word##_forward,                                                        \
      .backward = word##_backward,                                                      \
      .doc = #word "(x): " text "; elementwise, any shape.",                            \
  };

UNARY(neg, TX_NEG, KEEP_NOTHING, MATH, "-x")
UNARY(exp, TX_EXP, KEEP_OUTPUT, MATH, "e ^ x; integers give f32")
UNARY(log, TX_LOG, KEEP_INPUT, MATH, "the natural logarithm; -inf at 0, NaN below; integers give f32")
UNARY(sqrt, TX_SQRT, KEEP_OUTPUT, MATH, "the square root; NaN below 0; integers give f32")
UNARY(abs, TX_ABS, KEEP_INPUT, MATH, "the absolute value")
UNARY(tanh, TX_TANH, KEEP_OUTPUT, ACTIVATION, "the hyperbolic tangent; integers give f32")
UNARY(sigmoid, TX_SIGMOID, KEEP_OUTPUT, ACTIVATION, "1 / (1 + e ^ -x); integers give f32")
UNARY(erf, TX_ERF, KEEP_INPUT, MATH, "the error function; integers give f32")
