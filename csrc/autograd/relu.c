/* relu.c - y = max(x, 0); dx = dy where y > 0. */
#include "autograd/activation.h"
#include "autograd/list.h"

static tx_status forward(tx_call *call) { return tx_activate(call, TX_ACT_RELU, 0); }
static tx_status backward(tx_call *call) { return tx_activate_grad(call, TX_ACT_RELU, 0); }

const tx_op tx_op_relu = {
    .name = "relu",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_AS_FUNCTIONAL,
    .forward = forward,
    .backward = backward,
    .doc = "relu(x): max(x, 0), elementwise; any shape.",
};
