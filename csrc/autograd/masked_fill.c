/* masked_fill.c - y = mask ? value : x, the mask broadcast to x; dx = dy where the mask is 0. */
#include "autograd/formula.h"
#include "autograd/list.h"
#include "tensor/index.h"

typedef struct params {
  tx_number value;
} params;

static const tx_param parameters[] = {TX_PARAM(params, value, TX_PARAM_VALUE, NULL), {0}};

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  tx_save(call, 0, call->in[1]);
  return tx_masked_fill(call->in[0], call->in[1], p->value, &call->out[0]);
}

static tx_status backward(tx_call *call) {
  if (!call->needs[0]) return TX_OK; /* only a float mask asks for a gradient: there is none */
  return tx_masked_fill(call->dout[0], tx_saved(call, 0), tx_integer(0), &call->din[0]);
}

const tx_op tx_op_masked_fill = {
    .name = "masked_fill",
    .inputs = "x mask",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "masked_fill(x, mask, value): value where the mask is not 0, else x; the mask is broadcast to the shape of x. "
        "The dtype of x must be able "
        "to hold the value.",
};
