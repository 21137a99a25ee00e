/* gelu.c - y = x * P(x) with the normal distribution P(x) = (1 + erf(x / sqrt 2)) / 2; dx = dy * (P(x) + x * P'(x)).
 * approximate = "tanh": P(x) = (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2.
 *
 * Source: Hendrycks, Gimpel, "Gaussian error linear units", 2016. */
#include "autograd/activation.h"
#include "autograd/list.h"

enum { TANH = 1 }; /* its position in the choices */

typedef struct params {
  int approximate; /* TANH, or none */
} params;

static tx_activation kind_of(const tx_call *call) {
  const params *p = call->params;
  return p->approximate == TANH ? TX_ACT_GELU_TANH : TX_ACT_GELU;
}

static tx_status forward(tx_call *call) { return tx_activate(call, kind_of(call), 0); }
static tx_status backward(tx_call *call) { return tx_activate_grad(call, kind_of(call), 0); }

static const tx_param parameters[] = {TX_PARAM_CHOICES(params, approximate, "none", "none tanh"), {NULL}};

const tx_op tx_op_gelu = {
    .name = "gelu",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "gelu(x, {approximate=\"none\"}): x times the normal distribution at x, elementwise; \"tanh\" uses the usual "
        "approximation; any shape.",
};
