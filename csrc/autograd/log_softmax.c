/* log_softmax.c - y = x - log(sum of e^x) along a dimension; dx = dy - e^y * sum of dy. */
#include "autograd/list.h"
#include "autograd/softmax_rows.h"

static tx_status forward(tx_call *call) { return tx_softmax_rows(call, true); }
static tx_status backward(tx_call *call) { return tx_softmax_rows_grad(call, true); }

const tx_op tx_op_log_softmax = {
    .name = "log_softmax",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_AS_FUNCTIONAL,
    .params_size = sizeof(tx_softmax_params),
    .params = tx_softmax_parameters,
    .forward = forward,
    .backward = backward,
    .doc = "log_softmax(x, dim=-1): the logarithm of softmax, without losing digits; any shape.",
};
