/* norm.c - y = (sum |x|^p)^(1/p) over some dimensions; p = inf: the largest |x|.
 *
 *     p = 2       dx = dy x / y
 *     finite p    dx = dy sign(x) (|x| / y)^(p-1)
 *     p = inf     dy sign(x) / n at the n elements with |x| = y
 *
 * 0 where y = 0, and where x = 0. */
#include <math.h>

#include "autograd/list.h"
#include "autograd/reduction.h"

typedef struct params {
  tx_reduction over;
  double p;
} params;

static const tx_param parameters[] = {
    TX_REDUCTION_PARAMS(params, over),
    TX_PARAM(params, p, TX_PARAM_NUMBER, "2"),
    {0},
};

static tx_tensor *power_norm(tx_formula *f, tx_tensor *x, const params *p) {
  tx_tensor *size = tx_f_unary(f, TX_ABS, x);
  tx_tensor *sum = tx_f_reduce(f, TX_SUM, tx_f_pow(f, size, tx_f_number(f, p->p)), p->over.dim, p->over.keepdim, 0);
  return tx_f_pow(f, sum, tx_f_number(f, 1 / p->p));
}

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  if (!(p->p > 0)) return tx_fail(TX_EINVAL, "norm: p is %g, must be above 0 (inf: the largest)", p->p);
  tx_formula f = tx_formula_begin(call);
  tx_tensor *x = call->in[0], *y;
  if (p->p == 2) {
    y = tx_f_reduce(&f, TX_NORM, x, p->over.dim, p->over.keepdim, 0);
  } else if (isinf(p->p)) {
    y = tx_f_reduce(&f, TX_MAX, tx_f_unary(&f, TX_ABS, x), p->over.dim, p->over.keepdim, 0);
  } else {
    y = power_norm(&f, x, p);
  }
  tx_f_output(&f, 0, y);
  tx_save(call, 0, x);
  tx_save(call, 1, call->out[0]);
  return tx_formula_end(&f);
}

/* dx / dy where neither x nor y is 0. */
static tx_tensor *slope(tx_formula *f, tx_tensor *x, tx_tensor *y, const params *p) {
  if (p->p == 2) return tx_f_div(f, x, y);
  tx_tensor *sign = tx_f_unary(f, TX_SIGN, x), *size = tx_f_unary(f, TX_ABS, x);
  if (isinf(p->p)) {
    tx_tensor *largest = tx_f_binary(f, TX_EQ, size, y);
    return tx_f_div(f, tx_f_mul(f, sign, largest), tx_f_reduce(f, TX_SUM, largest, p->over.dim, true, 0));
  }
  return tx_f_mul(f, sign, tx_f_pow(f, tx_f_div(f, size, y), tx_f_number(f, p->p - 1)));
}

static tx_status backward(tx_call *call) {
  const params *p = call->params;
  const tx_meta *meta = tx_input_meta(call, 0);
  tx_formula f = tx_formula_begin(call);
  tx_tensor *x = tx_saved(call, 0), *zero = tx_f_number(&f, 0);
  tx_tensor *y = tx_f_unreduce(&f, tx_saved(call, 1), meta, p->over.dim);
  tx_tensor *dy = tx_f_unreduce(&f, call->dout[0], meta, p->over.dim);
  tx_tensor *flat = tx_f_binary(&f, TX_EQ, x, zero); /* y = 0 only where x = 0 */
  tx_f_gradient(&f, 0, tx_f_mul(&f, dy, tx_f_where(&f, flat, zero, slope(&f, x, y, p))));
  return tx_formula_end(&f);
}

const tx_op tx_op_norm = {
    .name = "norm",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "norm(x, dim, keepdim=false, p = 2): (sum |x| ^ p) ^ (1 / p) over a dimension, a list of them, or everything "
        "(keepdim leaves them, with size 1); "
        "p = math.huge: the largest |x|.",
};
