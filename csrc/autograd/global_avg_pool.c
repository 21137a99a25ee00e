/* global_avg_pool.c - the mean over all pixels of an image, per channel: {N,H,W,C} -> {N,C}; dx = dy / (H * W). */
#include "autograd/layer.h"
#include "autograd/list.h"
#include "base/memory.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "kernels/plain.h"

typedef struct pass {
  int64_t pixels, c;
  const tx_tensor *from; /* x {N,H,W,C}, or dy {N,C} */
  tx_tensor *to;         /* y {N,C}, or dx {N,H,W,C} */
  double *sums;          /* forward: [N * C] */
} pass;

static void forward_image(void *context, int64_t image, int worker) {
  (void)worker;
  const pass *p = context;
  double *sum = p->sums + image * p->c;
  if (p->to->dtype == TX_F32) {
    tx_kernels.channel_sum_f32(p->pixels, p->c, tx_f32(p->from) + image * p->pixels * p->c, sum);
  } else {
    tx_channel_sum_f64(p->pixels, p->c, tx_f64(p->from) + image * p->pixels * p->c, sum);
  }
  for (int64_t j = 0; j < p->c; j++) {
    tx_set_real(p->to->dtype, tx_data(p->to), image * p->c + j, sum[j] / (double)p->pixels);
  }
}

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
  pass p = {.pixels = in->shape[1] * in->shape[2], .c = in->shape[3], .from = x, .to = call->out[0]};
  if (status == TX_OK) {
    p.sums = tx_alloc_array(shape[0] * shape[1], sizeof(double));
    if (p.sums == NULL) status = TX_ENOMEM;
  }
  if (status == TX_OK) tx_parallel(shape[0], forward_image, &p);
  tx_dealloc(p.sums);
  tx_unref(x);
  return status;
}

static void backward_image(void *context, int64_t image, int worker) {
  (void)worker;
  const pass *p = context;
  int64_t from = image * p->c, to = image * p->pixels * p->c;
  double factor = 1 / (double)p->pixels;
  for (int64_t i = 0; i < p->pixels; i++, to += p->c) {
    if (p->to->dtype == TX_F32) {
      tx_kernels.sum_window_f32(1, 1, 0, p->c, tx_f32(p->from) + from, (float)factor, false, tx_f32(p->to) + to);
    } else {
      tx_sum_window_f64(1, 1, 0, p->c, tx_f64(p->from) + from, factor, false, tx_f64(p->to) + to);
    }
  }
}

static tx_status backward(tx_call *call) {
  const tx_meta *x = tx_input_meta(call, 0);
  tx_tensor *dy;
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  tx_status status = tx_empty(x->dtype, x->dims, x->shape, &call->din[0]);
  if (status == TX_OK) {
    pass p = {.pixels = x->shape[1] * x->shape[2], .c = x->shape[3], .from = dy, .to = call->din[0]};
    tx_parallel(x->shape[0], backward_image, &p);
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
