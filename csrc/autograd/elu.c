/* elu.c - y = x where x > 0, else alpha (e^x - 1); dx = dy where x > 0, else dy alpha e^x.
 *
 * Source: Clevert, Unterthiner, Hochreiter, "Fast and accurate deep network learning by exponential linear units (ELUs)",
 * ICLR 2016. */
#include "autograd/activation.h"
#include "autograd/list.h"

typedef struct params {
  double alpha;
} params;

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  return tx_activate(call, TX_ACT_ELU, p->alpha);
}

static tx_status backward(tx_call *call) {
  const params *p = call->params;
  return tx_activate_grad(call, TX_ACT_ELU, p->alpha);
}

static const tx_param parameters[] = {TX_PARAM(params, alpha, TX_PARAM_NUMBER, "1"), {NULL}};

const tx_op tx_op_elu = {
    .name = "elu",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc = "elu(x, alpha=1): x where x > 0, else alpha (e^x - 1), elementwise; any shape.",
};
