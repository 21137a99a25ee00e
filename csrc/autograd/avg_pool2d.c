/* avg_pool2d.c - the mean of every window, per channel. Padding counts as zeros, or (count_include_pad=false) not at
 * all.
 *
 * Backward walks over pixels and writes each once, as the sum of its windows' gradients, each divided by what its
 * window was divided by.
 */
#include "autograd/layer.h"
#include "autograd/list.h"
#include "autograd/window.h"

typedef struct params {
  tx_window_params window;
  bool count_include_pad;
} params;

static tx_status make_window(const tx_call *call, tx_dtype dtype, const int64_t *shape, tx_window *window) {
  const params *p = call->params;
  return tx_window_make("avg_pool2d", &p->window, dtype, shape, window);
}

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  tx_window w;
  tx_tensor *x = NULL;
  TX_TRY(tx_want_float(call, 0));
  TX_TRY(tx_want_images(call, 0));
  TX_TRY(make_window(call, call->in[0]->dtype, call->in[0]->shape, &w));
  TX_TRY(tx_contiguous(call->in[0], &x));
  tx_status status = tx_empty(w.dtype, 4, (int64_t[]){w.n, w.p, w.q, w.c}, &call->out[0]);
  if (status == TX_OK) tx_avg_pool_forward(&w, p->count_include_pad, tx_data(x), tx_data(call->out[0]));
  tx_unref(x);
  return status;
}

static tx_status backward(tx_call *call) {
  const params *p = call->params;
  const tx_meta *x = tx_input_meta(call, 0);
  tx_window w;
  tx_tensor *dy;
  TX_TRY(make_window(call, x->dtype, x->shape, &w));
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  tx_status status = tx_empty(x->dtype, x->dims, x->shape, &call->din[0]);
  if (status == TX_OK) tx_avg_pool_backward(&w, p->count_include_pad, tx_data(dy), tx_data(call->din[0]));
  tx_unref(dy);
  return status;
}

static const tx_param parameters[] = {
    TX_WINDOW_PARAMS(params, window), TX_PARAM(params, count_include_pad, TX_PARAM_BOOL, "true"), {NULL}};

const tx_op tx_op_avg_pool2d = {
    .name = "avg_pool2d",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "avg_pool2d(x, k, {stride=k, padding=0, count_include_pad=true}): the mean of every window of k x k pixels, "
        "per channel; x {N,H,W,C} -> {N,P,Q,C} with P = (H + top + bottom - k) / stride + 1 rounded down.",
};
