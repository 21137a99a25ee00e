/* silu.c - y = x * s(x) with the logistic function s(x) = 1 / (1 + exp(-x)); dx = dy * s(x) * (1 + x * (1 - s(x))).
 *
 * Source: Elfwing, Uchibe, Doya, "Sigmoid-weighted linear units", 2017. */
#include "autograd/activation.h"
#include "autograd/list.h"

static tx_status forward(tx_call *call) { return tx_activate(call, TX_ACT_SILU, 0); }
static tx_status backward(tx_call *call) { return tx_activate_grad(call, TX_ACT_SILU, 0); }

const tx_op tx_op_silu = {
    .name = "silu",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .forward = forward,
    .backward = backward,
    .doc = "silu(x): x / (1 + exp(-x)), elementwise (also called swish); any shape.",
};
