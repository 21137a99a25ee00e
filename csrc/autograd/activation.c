/* activation.c - tensors checked, made contiguous and handed to passes/activation.h.
 *
 * ReLU keeps its result for backward, which tells as well as x where the slope is 1, and which the next layer mostly
 * keeps anyway; the others keep x. The gradient is written over dy when nobody else holds that.
 */
#include "autograd/activation.h"

#include "autograd/layer.h"

tx_status tx_activate(tx_call *call, tx_activation kind, double slope) {
  tx_tensor *x;
  TX_TRY(tx_want_float(call, 0));
  TX_TRY(tx_contiguous(call->in[0], &x));
  tx_status status = tx_empty_like(x, &call->out[0]);
  if (status == TX_OK) {
    const tx_activation_pass pass = {x->dtype, kind, slope, tx_numel(x)};
    tx_activation_forward(&pass, tx_data(x), tx_data(call->out[0]));
    tx_save(call, 0, kind == TX_ACT_RELU ? call->out[0] : x);
  }
  tx_unref(x);
  return status;
}

tx_status tx_activation_gradient(tx_activation kind, double slope, const tx_tensor *kept, tx_tensor *dy,
                                 tx_tensor **dx) {
  tx_tensor *whole;
  TX_TRY(tx_contiguous(dy, &whole));
  tx_status status = *dx == NULL ? tx_empty_like(whole, dx) : TX_OK;
  if (status == TX_OK) {
    const tx_activation_pass pass = {whole->dtype, kind, slope, tx_numel(whole)};
    tx_activation_backward(&pass, tx_data(kept), tx_data(whole), tx_data(*dx));
  }
  tx_unref(whole);
  return status;
}

tx_status tx_activate_grad(tx_call *call, tx_activation kind, double slope) {
  call->din[0] = tx_take_dout(call, 0);
  return tx_activation_gradient(kind, slope, tx_saved(call, 0), call->dout[0], &call->din[0]);
}
