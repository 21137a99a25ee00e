/* hard_swish.c - y = x min(max(x + 3, 0), 6) / 6, silu in straight lines; dx = 0 where x <= -3, dy where x >= 3, else
 * dy (x / 3 + 1 / 2).
 *
 * Source: Howard et al., "Searching for MobileNetV3", ICCV 2019. */
#include "autograd/activation.h"
#include "autograd/list.h"

static tx_status forward(tx_call *call) { return tx_activate(call, TX_ACT_HARD_SWISH, 0); }
static tx_status backward(tx_call *call) { return tx_activate_grad(call, TX_ACT_HARD_SWISH, 0); }

const tx_op tx_op_hard_swish = {
    .name = "hard_swish",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .forward = forward,
    .backward = backward,
    .doc = "hard_swish(x): x min(max(x + 3, 0), 6) / 6, elementwise; 0 up to -3, also at -inf; any shape.",
};
