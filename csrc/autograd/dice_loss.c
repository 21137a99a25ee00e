/* dice_loss.c - 1 - (2 I + s) / (D + s) for each image, I the sum of p t over it and D the sum of p + t, 0 where D + s is; their
 * mean or sum.
 * dp = dy (r - 2 t) / (D + s) with r = (2 I + s) / (D + s), dt the same with p; the gradient of the mean carries 1 / images.
 *
 * Source: Milletari, Navab, Ahmadi, "V-Net", 2016 (with sums in place of squares, as segmentation libraries have it). */
#include <math.h>

#include "autograd/layer.h"
#include "autograd/list.h"
#include "autograd/loss.h"

enum { X, TARGET };

typedef struct params {
  double smooth;
  int reduction;
} params;

/* What both directions start with: {N,1} each. */
typedef struct overlap {
  tx_tensor *rows, *targets; /* {N,elements of an image} */
  tx_tensor *whole,
      *ratio; /* D + s; (2 I + s) / (D + s). inf and 1 where D + s is 0: nothing is found where nothing is */
} overlap;

static tx_tensor *sum_of_rows(tx_formula *f, tx_tensor *t) { return tx_f_reduce(f, TX_SUM, t, 2, true, 0); }

static overlap overlap_of(tx_formula *f, tx_tensor *x, tx_tensor *target, double smooth) {
  const int64_t n = x->shape[0], shape[] = {n, n > 0 ? tx_numel(x) / n : 0};
  overlap of = {.rows = tx_f_reshape(f, x, 2, shape), .targets = tx_f_reshape(f, target, 2, shape)};
  tx_tensor *both = sum_of_rows(f, tx_f_mul(f, of.rows, of.targets));
  tx_tensor *whole = tx_f_shift(f, sum_of_rows(f, tx_f_add(f, of.rows, of.targets)), smooth);
  tx_tensor *empty = tx_f_binary(f, TX_EQ, whole, tx_f_number(f, 0));
  of.whole = tx_f_where(f, empty, tx_f_number(f, INFINITY), whole);
  of.ratio = tx_f_div(f, tx_f_shift(f, tx_f_scale(f, both, 2), smooth), of.whole);
  of.ratio = tx_f_where(f, empty, tx_f_number(f, 1), of.ratio);
  return of;
}

static tx_status check(const tx_call *call) {
  const params *p = call->params;
  TX_TRY(tx_want_float(call, X));
  TX_TRY(tx_want_dtype_of(call, TARGET, X));
  TX_TRY(tx_want_shape_of(call, TARGET, X));
  if (call->in[X]->dims < 2) {
    return tx_fail(TX_EINVAL, "%s: x is %s: {N,...} is needed, N images", call->op->name, tx_shape_of(call->in[X]));
  }
  if (p->smooth >= 0 && isfinite(p->smooth)) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: smooth is %g: a finite number of 0 or more is needed", call->op->name, p->smooth);
}

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  tx_tensor *x = call->in[X], *target = call->in[TARGET];
  TX_TRY(check(call));
  tx_save(call, X, x);
  tx_save(call, TARGET, target);
  tx_formula f = tx_formula_begin(call);
  overlap of = overlap_of(&f, x, target, p->smooth);
  tx_tensor *each = tx_f_reshape(&f, tx_f_shift(&f, tx_f_scale(&f, of.ratio, -1), 1), 1, x->shape);
  tx_f_output(&f, 0, tx_f_loss(&f, p->reduction, each));
  return tx_formula_end(&f);
}

/* dy (r - 2 other) / (D + s), in the shape of x. */
static tx_tensor *slope_of(tx_formula *f, const overlap *of, tx_tensor *other, tx_tensor *dy, const tx_tensor *x) {
  tx_tensor *slope = tx_f_div(f, tx_f_sub(f, of->ratio, tx_f_scale(f, other, 2)), of->whole);
  return tx_f_reshape(f, tx_f_mul(f, slope, dy), x->dims, x->shape);
}

static tx_status backward(tx_call *call) {
  const params *p = call->params;
  tx_tensor *x = tx_saved(call, X), *target = tx_saved(call, TARGET);
  const int64_t column[] = {x->shape[0], 1};
  tx_formula f = tx_formula_begin(call);
  overlap of = overlap_of(&f, x, target, p->smooth);
  tx_tensor *dy = tx_f_loss_grad(&f, p->reduction, call->dout[0], x->shape[0]);
  if (p->reduction == TX_REDUCTION_NONE) dy = tx_f_reshape(&f, dy, 2, column);
  if (call->needs[X]) tx_f_gradient(&f, X, slope_of(&f, &of, of.targets, dy, x));
  if (call->needs[TARGET]) tx_f_gradient(&f, TARGET, slope_of(&f, &of, of.rows, dy, x));
  return tx_formula_end(&f);
}

static const tx_param parameters[] = {
    TX_PARAM(params, smooth, TX_PARAM_NUMBER, "1"),
    TX_PARAM_CHOICES(params, reduction, "mean", TX_REDUCTION_CHOICES),
    {NULL},
};

const tx_op tx_op_dice_loss = {
    .name = "dice_loss",
    .inputs = "x target",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "dice_loss(x, target, {smooth=1, reduction=\"mean\"}): for probabilities x {N,...} and a target in 0..1 of the "
        "same shape, 1 - (2 sum(x target) + smooth) / (sum(x) + sum(target) + smooth) of each image, with smooth=0 0 "
        "where both are 0 alone: their mean, their sum, or (\"none\") all N of them.",
};
