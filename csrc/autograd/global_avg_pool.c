/* global_avg_pool.c - the mean over all pixels of an image, per channel: {N,H,W,C} -> {N,C}; dx = dy / (H * W). */
#include "autograd/layer.h"
#include "autograd/list.h"
#include "passes/pool.h"

static tx_status forward(tx_call *call) {
  const tx_tensor *in = call->in[0];
  TX_TRY(tx_want_float(call, 0));
  TX_TRY(tx_want_images(call, 0));
  if (in->shape[1] == 0 || in->shape[2] == 0) {
    return tx_fail(TX_EINVAL, "global_avg_pool: x is %s: an image without pixels has no mean", tx_shape_of(in));
  }
  int64_t shape[2] = {in->shape[0], in->shape[3]};
  tx_tensor *x = NULL;
  TX_TRY(tx_contiguous(call->in[0], &x));
  tx_status status = tx_empty(x->dtype, 2, shape, &call->out[0]);
  if (status == TX_OK) {
    status = tx_global_avg_pool_forward(x->dtype, shape[0], in->shape[1] * in->shape[2], shape[1], tx_data(x),
                                        tx_data(call->out[0]));
  }
  tx_unref(x);
  return status;
}

static tx_status backward(tx_call *call) {
  const tx_meta *x = tx_input_meta(call, 0);
  tx_tensor *dy;
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  tx_status status = tx_empty(x->dtype, x->dims, x->shape, &call->din[0]);
  if (status == TX_OK) {
    tx_global_avg_pool_backward(x->dtype, x->shape[0], x->shape[1] * x->shape[2], x->shape[3], tx_data(dy),
                                tx_data(call->din[0]));
  }
  tx_unref(dy);
  return status;
}

const tx_op tx_op_global_avg_pool = {
    .name = "global_avg_pool",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .forward = forward,
    .backward = backward,
    .doc = "global_avg_pool(x): the mean over all pixels, per channel; x {N,H,W,C} -> {N,C}.",
};
