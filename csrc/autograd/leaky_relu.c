/* leaky_relu.c - y = x where x > 0, else slope * x; dx = dy where x > 0, else slope * dy. */
#include "autograd/activation.h"
#include "autograd/list.h"

typedef struct params {
  double slope;
} params;

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  return tx_activate(call, TX_ACT_LEAKY_RELU, p->slope);
}

static tx_status backward(tx_call *call) {
  const params *p = call->params;
  return tx_activate_grad(call, TX_ACT_LEAKY_RELU, p->slope);
}

static const tx_param parameters[] = {TX_PARAM(params, slope, TX_PARAM_NUMBER, "0.01"), {NULL}};

const tx_op tx_op_leaky_relu = {
    .name = "leaky_relu",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc = "leaky_relu(x, slope=0.01): x where x > 0, else slope * x, elementwise; any shape.",
};
