/* clamp.c - y = min(max(x, low), high); dx = dy where low < x < high, else 0 (as PyTorch). */
#include "autograd/formula.h"
#include "autograd/list.h"

typedef struct params {
  tx_number min, max;
} params;

static const tx_param parameters[] = {
    TX_PARAM(params, min, TX_PARAM_VALUE, "-inf"),
    TX_PARAM(params, max, TX_PARAM_VALUE, "inf"),
    {0},
};

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  tx_save(call, 0, call->in[0]);
  return tx_clamp(call->in[0], p->min, p->max, &call->out[0]);
}

static tx_status backward(tx_call *call) {
  const params *p = call->params;
  tx_formula f = tx_formula_begin(call);
  tx_tensor *x = tx_saved(call, 0);
  tx_tensor *above = tx_f_binary(&f, TX_GT, x, tx_f_number(&f, p->min.real));
  tx_tensor *below = tx_f_binary(&f, TX_LT, x, tx_f_number(&f, p->max.real));
  tx_f_gradient(&f, 0, tx_f_where(&f, tx_f_mul(&f, above, below), call->dout[0], tx_f_number(&f, 0)));
  return tx_formula_end(&f);
}

const tx_op tx_op_clamp = {
    .name = "clamp",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "clamp(x, min, max): x limited to min..max, elementwise; either bound may be left out: clamp(x, {max = 6}). "
        "The dtype of x must be able to hold the bounds.",
};
