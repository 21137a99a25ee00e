/* softmax.c - y = e^x / sum of e^x along a dimension; dx = y * (dy - sum of y * dy). */
#include "autograd/list.h"
#include "autograd/softmax_rows.h"

static tx_status forward(tx_call *call) { return tx_softmax_rows(call, false); }
static tx_status backward(tx_call *call) { return tx_softmax_rows_grad(call, false); }

const tx_op tx_op_softmax = {
    .name = "softmax",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_AS_FUNCTIONAL,
    .params_size = sizeof(tx_softmax_params),
    .params = tx_softmax_parameters,
    .forward = forward,
    .backward = backward,
    .doc = "softmax(x, dim=-1): e^x divided by its sum along a dimension; any shape, never overflows.",
};
