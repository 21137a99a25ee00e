/* bce_with_logits.c - binary cross-entropy of sigmoid(x) and a target t in 0..1, with a weight w of the positive side:
 * (1 - t) x + c softplus(-x), c = 1 + (w - 1) t; its mean or its sum. It neither overflows nor loses what is small.
 *
 * dx = dy (1 - t + c (sigmoid(x) - 1)), dt = dy ((w - 1) softplus(-x) - x); the gradient of the mean carries 1 / count. */
#include <math.h>

#include "autograd/layer.h"
#include "autograd/list.h"
#include "autograd/loss.h"
#include "passes/activation.h"

enum { X, TARGET };

typedef struct params {
  double pos_weight;
  int reduction;
} params;

static tx_tensor *softplus_of_minus(tx_formula *f, tx_tensor *x) {
  tx_tensor *minus = tx_f_unary(f, TX_NEG, x), *y = NULL;
  if (f->status != TX_OK) return NULL;
  const tx_status status = tx_empty_like(minus, &y);
  const tx_activation_pass pass = {.dtype = minus->dtype, .kind = TX_ACT_SOFTPLUS, .n = tx_numel(minus)};
  if (status == TX_OK) tx_activation_forward(&pass, tx_data(minus), tx_data(y));
  return tx_f_hold(f, status, &y);
}

/* 1 - t and c. */
static tx_tensor *negative_side(tx_formula *f, tx_tensor *target) {
  return tx_f_shift(f, tx_f_scale(f, target, -1), 1);
}

static tx_tensor *positive_weight(tx_formula *f, tx_tensor *target, double pos_weight) {
  return tx_f_shift(f, tx_f_scale(f, target, pos_weight - 1), 1);
}

static tx_status check(const tx_call *call) {
  const params *p = call->params;
  TX_TRY(tx_want_float(call, X));
  TX_TRY(tx_want_dtype_of(call, TARGET, X));
  TX_TRY(tx_want_shape_of(call, TARGET, X));
  if (p->pos_weight >= 0 && isfinite(p->pos_weight)) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: pos_weight is %g: a finite number of 0 or more is needed", call->op->name,
                 p->pos_weight);
}

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  tx_tensor *x = call->in[X], *target = call->in[TARGET];
  TX_TRY(check(call));
  tx_save(call, X, x);
  tx_save(call, TARGET, target);
  tx_formula f = tx_formula_begin(call);
  tx_tensor *negative = tx_f_mul(&f, negative_side(&f, target), x);
  tx_tensor *positive = tx_f_mul(&f, positive_weight(&f, target, p->pos_weight), softplus_of_minus(&f, x));
  tx_f_output(&f, 0, tx_f_loss(&f, p->reduction, tx_f_add(&f, negative, positive)));
  return tx_formula_end(&f);
}

static tx_status backward(tx_call *call) {
  const params *p = call->params;
  tx_tensor *x = tx_saved(call, X), *target = tx_saved(call, TARGET);
  tx_formula f = tx_formula_begin(call);
  tx_tensor *dy = tx_f_loss_grad(&f, p->reduction, call->dout[0], tx_numel(x));
  if (call->needs[X]) {
    tx_tensor *slope = tx_f_shift(&f, tx_f_unary(&f, TX_SIGMOID, x), -1);
    slope = tx_f_mul(&f, positive_weight(&f, target, p->pos_weight), slope);
    tx_f_gradient(&f, X, tx_f_mul(&f, tx_f_add(&f, negative_side(&f, target), slope), dy));
  }
  if (call->needs[TARGET]) {
    tx_tensor *slope = tx_f_sub(&f, tx_f_scale(&f, softplus_of_minus(&f, x), p->pos_weight - 1), x);
    tx_f_gradient(&f, TARGET, tx_f_mul(&f, slope, dy));
  }
  return tx_formula_end(&f);
}

static const tx_param parameters[] = {
    TX_PARAM(params, pos_weight, TX_PARAM_NUMBER, "1"),
    TX_PARAM_CHOICES(params, reduction, "mean", TX_REDUCTION_CHOICES),
    {NULL},
};

const tx_op tx_op_bce_with_logits = {
    .name = "bce_with_logits",
    .inputs = "x target",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "bce_with_logits(x, target, {pos_weight=1, reduction=\"mean\"}): binary cross-entropy of the logits x and a "
        "target in "
        "0..1, -(pos_weight target log(sigmoid(x)) + (1 - target) log(1 - sigmoid(x))): its mean, its sum, or "
        "(\"none\") the "
        "values themselves; both of the same shape.",
};
