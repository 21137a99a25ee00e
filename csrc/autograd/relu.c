/* relu.c - y = max(x, 0); dx = dy where y > 0. */
#include "autograd/list.h"

static tx_status forward(tx_call *call) {
  TX_TRY(tx_unary(TX_RELU, call->in[0], &call->out[0]));
  tx_save(call, 0, call->out[0]);
  return TX_OK;
}

static tx_status backward(tx_call *call) {
  tx_tensor *positive, *zero;
  TX_TRY(tx_scalar(TX_F32, 0, true, &zero));
  tx_status status = tx_binary("relu", TX_GT, tx_saved(call, 0), zero, &positive);
  if (status == TX_OK) {
    status = tx_where(positive, call->dout[0], zero, &call->din[0]);
    tx_unref(positive);
  }
  tx_unref(zero);
  return status;
}

const tx_op tx_op_relu = {
    .name = "relu",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_AS_FUNCTIONAL,
    .forward = forward,
    .backward = backward,
    .doc = "relu(x): max(x, 0), elementwise; any shape.",
};
