/* max_pool2d.c - the largest pixel of every window, per channel; the gradient goes to the first such pixel.
 *
 * Forward keeps, beside y, where in its window each maximum stood: row * S + column, as 16-bit numbers (a u8 tensor
 * of twice as many bytes as y has elements). Backward walks over pixels, not windows, and writes each once: a pixel
 * gathers the gradients of those windows over it that chose it, so no two threads meet.
 */
#include "autograd/layer.h"
#include "autograd/list.h"
#include "autograd/window.h"

enum { SAVED_INDEX };

typedef struct params {
  tx_window_params window;
} params;

static tx_status make_window(const tx_call *call, tx_dtype dtype, const int64_t *shape, tx_window *window) {
  const params *p = call->params;
  TX_TRY(tx_window_make("max_pool2d", &p->window, dtype, shape, window));
  if (window->r * window->s <= UINT16_MAX + 1) return TX_OK;
  return tx_fail(TX_EINVAL, "max_pool2d: window {%lld,%lld} has more than %d pixels", (long long)window->r,
                 (long long)window->s, UINT16_MAX + 1);
}

static tx_status forward(tx_call *call) {
  tx_window w;
  tx_tensor *x = NULL, *index = NULL;
  TX_TRY(tx_want_float(call, 0));
  TX_TRY(tx_want_images(call, 0));
  TX_TRY(make_window(call, call->in[0]->dtype, call->in[0]->shape, &w));
  tx_status status = tx_contiguous(call->in[0], &x);
  if (status == TX_OK) status = tx_empty(w.dtype, 4, (int64_t[]){w.n, w.p, w.q, w.c}, &call->out[0]);
  if (status == TX_OK) status = tx_empty(TX_U8, 4, (int64_t[]){w.n, w.p, w.q, 2 * w.c}, &index);
  if (status == TX_OK) {
    tx_max_pool_forward(&w, tx_data(x), tx_data(call->out[0]), tx_data(index));
    tx_save(call, SAVED_INDEX, index);
  }
  tx_unref(x);
  tx_unref(index);
  return status;
}

static tx_status backward(tx_call *call) {
  const tx_meta *x = tx_input_meta(call, 0);
  tx_window w;
  tx_tensor *dy;
  TX_TRY(make_window(call, x->dtype, x->shape, &w));
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  tx_status status = tx_empty(x->dtype, x->dims, x->shape, &call->din[0]);
  if (status == TX_OK) {
    tx_max_pool_backward(&w, tx_data(dy), tx_data(tx_saved(call, SAVED_INDEX)), tx_data(call->din[0]));
  }
  tx_unref(dy);
  return status;
}

static const tx_param parameters[] = {TX_WINDOW_PARAMS(params, window), {NULL}};

const tx_op tx_op_max_pool2d = {
    .name = "max_pool2d",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "max_pool2d(x, k, {stride=k, padding=0}): the largest of every window of k x k pixels, per channel; x "
        "{N,H,W,C} -> {N,P,Q,C} with P = (H + top + bottom - k) / stride + 1 rounded down; padding never wins, a NaN "
        "does.",
};
