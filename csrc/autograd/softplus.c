/* softplus.c - y = log(1 + e^x), a smooth max(x, 0); dx = dy / (1 + e^-x).
 *
 * Source: Dugas, Bengio, Belisle, Nadeau, Garcia, "Incorporating second-order functional knowledge for better option
 * pricing", NIPS 2000. */
#include "autograd/activation.h"
#include "autograd/list.h"

static tx_status forward(tx_call *call) { return tx_activate(call, TX_ACT_SOFTPLUS, 0); }
static tx_status backward(tx_call *call) { return tx_activate_grad(call, TX_ACT_SOFTPLUS, 0); }

const tx_op tx_op_softplus = {
    .name = "softplus",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .forward = forward,
    .backward = backward,
    .doc = "softplus(x): log(1 + e^x), elementwise, without overflow; any shape.",
};
