/* bce_with_logits.c - binary cross-entropy of sigmoid(x) and a target t in 0..1, with a weight w of the positive side:
 * w t softplus(-x) + (1 - t) softplus(x); its mean or its sum. It neither overflows nor loses what is small.
 *
 * dx = dy ((1 - t) sigmoid(x) - w t sigmoid(-x)), dt = dy (w softplus(-x) - softplus(x)); the gradient of the mean carries
 * 1 / count. */
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

static tx_tensor *softplus(tx_formula *f, tx_tensor *x) {
  tx_tensor *whole = NULL, *y = NULL;
  if (f->status != TX_OK) return NULL;
  tx_status status = tx_contiguous(x, &whole);
  if (status == TX_OK) status = tx_empty_like(whole, &y);
  const tx_activation_pass pass = {.dtype = x->dtype, .kind = TX_ACT_SOFTPLUS, .n = tx_numel(x)};
  if (status == TX_OK) tx_activation_forward(&pass, tx_data(whole), tx_data(y));
  tx_unref(whole);
  return tx_f_hold(f, status, &y);
}

/* The sides of 1 and of 0, each counted with its share of the target: w t positive and (1 - t) negative. */
static tx_tensor *positive_side(tx_formula *f, tx_tensor *target, double pos_weight, tx_tensor *positive) {
  return tx_f_mul(f, tx_f_scale(f, target, pos_weight), positive);
}

static tx_tensor *negative_side(tx_formula *f, tx_tensor *target, tx_tensor *negative) {
  return tx_f_mul(f, tx_f_shift(f, tx_f_scale(f, target, -1), 1), negative);
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
  tx_tensor *positive = positive_side(&f, target, p->pos_weight, softplus(&f, tx_f_unary(&f, TX_NEG, x)));
  tx_tensor *negative = negative_side(&f, target, softplus(&f, x));
  tx_f_output(&f, 0, tx_f_loss(&f, p->reduction, tx_f_add(&f, positive, negative)));
  return tx_formula_end(&f);
}

static tx_status backward(tx_call *call) {
  const params *p = call->params;
  tx_tensor *x = tx_saved(call, X), *target = tx_saved(call, TARGET);
  tx_formula f = tx_formula_begin(call);
  tx_tensor *dy = tx_f_loss_grad(&f, p->reduction, call->dout[0], tx_numel(x));
  tx_tensor *minus = tx_f_unary(&f, TX_NEG, x);
  if (call->needs[X]) {
    tx_tensor *negative = negative_side(&f, target, tx_f_unary(&f, TX_SIGMOID, x));
    tx_tensor *positive = positive_side(&f, target, p->pos_weight, tx_f_unary(&f, TX_SIGMOID, minus));
    tx_f_gradient(&f, X, tx_f_mul(&f, tx_f_sub(&f, negative, positive), dy));
  }
  if (call->needs[TARGET]) {
    tx_tensor *slope = tx_f_sub(&f, tx_f_scale(&f, softplus(&f, minus), p->pos_weight), softplus(&f, x));
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
        "target in 0..1, -(pos_weight target log(sigmoid(x)) + (1 - target) log(1 - sigmoid(x))): its mean, its sum, "
        "or "
        "(\"none\") the values themselves; both of the same shape.",
};
