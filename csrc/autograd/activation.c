/* activation.c - blocks of elements handed to the kernels activate and activate_grad.
 *
 * ReLU keeps its result for backward, which tells as well as x where the slope is 1, and which the next layer mostly
 * keeps anyway; the others keep x. The gradient is written over dy when nobody else holds that.
 */
#include "autograd/activation.h"

#include "autograd/layer.h"
#include "base/integers.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "kernels/plain.h"

typedef struct pass {
  tx_activation kind;
  double slope;
  int64_t count, size;
  const tx_tensor *x, *dy; /* dy NULL: forward */
  tx_tensor *out;
} pass;

static void run_block(void *context, int64_t block, int worker) {
  (void)worker;
  const pass *p = context;
  int64_t first = block * p->size, n = p->count - first < p->size ? p->count - first : p->size;
  float slope = (float)p->slope;
  if (p->out->dtype == TX_F32 && p->dy == NULL) {
    tx_kernels.activate_f32(p->kind, n, slope, tx_f32(p->x) + first, tx_f32(p->out) + first);
  } else if (p->out->dtype == TX_F32) {
    tx_kernels.activate_grad_f32(p->kind, n, slope, tx_f32(p->x) + first, tx_f32(p->dy) + first,
                                 tx_f32(p->out) + first);
  } else if (p->dy == NULL) {
    tx_activate_f64(p->kind, n, p->slope, tx_f64(p->x) + first, tx_f64(p->out) + first);
  } else {
    tx_activate_grad_f64(p->kind, n, p->slope, tx_f64(p->x) + first, tx_f64(p->dy) + first, tx_f64(p->out) + first);
  }
}

static void run(pass *p) {
  int64_t cost = p->kind == TX_ACT_RELU || p->kind == TX_ACT_LEAKY_RELU ? 1 : 4;
  p->count = tx_numel(p->out);
  p->size = tx_block_size(p->count, cost);
  tx_parallel(tx_ceil_div(p->count, p->size), run_block, p);
}

tx_status tx_activate(tx_call *call, tx_activation kind, double slope) {
  tx_tensor *x;
  TX_TRY(tx_want_float(call, 0));
  TX_TRY(tx_contiguous(call->in[0], &x));
  tx_status status = tx_empty_like(x, &call->out[0]);
  if (status == TX_OK) {
    pass p = {.kind = kind, .slope = slope, .x = x, .out = call->out[0]};
    run(&p);
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
    pass p = {.kind = kind, .slope = slope, .x = kept, .dy = whole, .out = *dx};
    run(&p);
  }
  tx_unref(whole);
  return status;
}

tx_status tx_activate_grad(tx_call *call, tx_activation kind, double slope) {
  call->din[0] = tx_take_dout(call, 0);
  return tx_activation_gradient(kind, slope, tx_saved(call, 0), call->dout[0], &call->din[0]);
}
