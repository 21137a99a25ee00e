/* smooth_l1_loss.c - with d = x - target: d^2 / (2 beta) where |d| < beta, else |d| - beta / 2; its mean or its sum.
 * dx = dy d / beta or dy sign(d), dtarget = -dx; the gradient of the mean carries 1 / count.
 *
 * Source: Girshick, "Fast R-CNN", ICCV 2015. */
#include <math.h>

#include "autograd/layer.h"
#include "autograd/list.h"
#include "autograd/loss.h"

enum { X, TARGET };

typedef struct params {
  double beta;
  int reduction;
} params;

/* What both directions start with. */
typedef struct difference {
  tx_tensor *d, *size; /* x - target, and its magnitude */
  tx_tensor *near;     /* size < beta */
  tx_tensor *ratio;    /* d / beta; not finite where beta is 0, but then nothing is near */
} difference;

static difference difference_of(tx_formula *f, tx_tensor *x, tx_tensor *target, double beta) {
  tx_tensor *d = tx_f_sub(f, x, target), *size = tx_f_unary(f, TX_ABS, d), *number = tx_f_number(f, beta);
  return (difference){d, size, tx_f_binary(f, TX_LT, size, number), tx_f_div(f, d, number)};
}

/* beta as the dtype of x holds it: one that f32 rounds to 0 is 0 in the comparison too. */
static double beta_of(const tx_call *call, tx_dtype dtype) {
  const params *p = call->params;
  return dtype == TX_F32 ? (double)(float)p->beta : p->beta;
}

static tx_status check(const tx_call *call) {
  const params *p = call->params;
  TX_TRY(tx_want_float(call, X));
  TX_TRY(tx_want_dtype_of(call, TARGET, X));
  TX_TRY(tx_want_shape_of(call, TARGET, X));
  if (p->beta >= 0 && isfinite(beta_of(call, call->in[X]->dtype))) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: beta is %g: a finite number of 0 or more is needed", call->op->name, p->beta);
}

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  tx_tensor *x = call->in[X], *target = call->in[TARGET];
  TX_TRY(check(call));
  tx_save(call, X, x);
  tx_save(call, TARGET, target);
  const double beta = beta_of(call, x->dtype);
  tx_formula f = tx_formula_begin(call);
  difference of = difference_of(&f, x, target, beta);
  tx_tensor *square = tx_f_scale(&f, tx_f_mul(&f, of.d, of.ratio), 0.5);
  tx_tensor *y = tx_f_where(&f, of.near, square, tx_f_shift(&f, of.size, -0.5 * beta));
  tx_f_output(&f, 0, tx_f_loss(&f, p->reduction, y));
  return tx_formula_end(&f);
}

static tx_status backward(tx_call *call) {
  const params *p = call->params;
  tx_tensor *x = tx_saved(call, X), *dy = call->dout[0];
  tx_formula f = tx_formula_begin(call);
  difference of = difference_of(&f, x, tx_saved(call, TARGET), beta_of(call, x->dtype));
  tx_tensor *slope = tx_f_where(&f, of.near, of.ratio, tx_f_unary(&f, TX_SIGN, of.d));
  tx_tensor *dx = tx_f_mul(&f, slope, tx_f_loss_grad(&f, p->reduction, dy, tx_numel(x)));
  if (call->needs[X]) tx_f_gradient(&f, X, dx);
  if (call->needs[TARGET]) tx_f_gradient(&f, TARGET, tx_f_unary(&f, TX_NEG, dx));
  return tx_formula_end(&f);
}

static const tx_param parameters[] = {
    TX_PARAM(params, beta, TX_PARAM_NUMBER, "1"),
    TX_PARAM_CHOICES(params, reduction, "mean", TX_REDUCTION_CHOICES),
    {NULL},
};

const tx_op tx_op_smooth_l1_loss = {
    .name = "smooth_l1_loss",
    .inputs = "x target",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "smooth_l1_loss(x, target, {beta=1, reduction=\"mean\"}): with d = x - target the mean of d^2 / (2 beta) where "
        "|d| < beta, else |d| - beta / 2; or the sum, or (\"none\") the values themselves; both of the same shape. "
        "beta=0 gives |d|.",
};
