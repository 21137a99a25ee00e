/* l1_loss.c - |x - target|, its mean or its sum; dx = dy sign(x - target), dtarget = -dx; the gradient of the mean carries
 * 1 / count. */
#include "autograd/layer.h"
#include "autograd/list.h"
#include "autograd/loss.h"

enum { X, TARGET };

typedef struct params {
  int reduction;
} params;

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  tx_tensor *x = call->in[X], *target = call->in[TARGET];
  TX_TRY(tx_want_float(call, X));
  TX_TRY(tx_want_dtype_of(call, TARGET, X));
  TX_TRY(tx_want_shape_of(call, TARGET, X));
  tx_save(call, X, x);
  tx_save(call, TARGET, target);
  tx_formula f = tx_formula_begin(call);
  tx_f_output(&f, 0, tx_f_loss(&f, p->reduction, tx_f_unary(&f, TX_ABS, tx_f_sub(&f, x, target))));
  return tx_formula_end(&f);
}

static tx_status backward(tx_call *call) {
  const params *p = call->params;
  tx_tensor *x = tx_saved(call, X), *dy = call->dout[0];
  tx_formula f = tx_formula_begin(call);
  tx_tensor *sign = tx_f_unary(&f, TX_SIGN, tx_f_sub(&f, x, tx_saved(call, TARGET)));
  tx_tensor *dx = tx_f_mul(&f, sign, tx_f_loss_grad(&f, p->reduction, dy, tx_numel(x)));
  if (call->needs[X]) tx_f_gradient(&f, X, dx);
  if (call->needs[TARGET]) tx_f_gradient(&f, TARGET, tx_f_unary(&f, TX_NEG, dx));
  return tx_formula_end(&f);
}

static const tx_param parameters[] = {TX_PARAM_CHOICES(params, reduction, "mean", TX_REDUCTION_CHOICES), {NULL}};

const tx_op tx_op_l1_loss = {
    .name = "l1_loss",
    .inputs = "x target",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "l1_loss(x, target, {reduction=\"mean\"}): the mean of |x - target|, its sum, or (\"none\") the magnitudes "
        "themselves; both of the same shape.",
};
