/* max_pool2d.c - the largest pixel of every window, per channel; the gradient goes to the first such pixel.
 *
 * Forward keeps, beside y, where in its window each maximum stood: row * S + column, as 16-bit numbers (a u8 tensor
 * of twice as many bytes as y has elements). Backward walks over pixels, not windows, and writes each once: a pixel
 * gathers the gradients of those windows over it that chose it, so no two threads meet.
 */
#include "autograd/layer.h"
#include "autograd/list.h"
#include "autograd/window.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "kernels/plain.h"

enum { SAVED_INDEX };

typedef struct params {
  tx_window_params window;
} params;

typedef struct pass {
  tx_window w;
  const tx_tensor *from; /* x, or dy */
  tx_tensor *to;         /* y, or dx */
  uint16_t *index;       /* {N,P,Q,C} */
} pass;

static int64_t at(int64_t n, int64_t row, int64_t column, int64_t rows, int64_t columns, int64_t c) {
  return ((n * rows + row) * columns + column) * c;
}

/* One row of windows. */
static void forward_row(void *context, int64_t block, int worker) {
  (void)worker;
  const pass *job = context;
  const tx_window *w = &job->w;
  int64_t n = block / w->p, p = block % w->p;
  tx_span rows = tx_window_pixels(p, w->stride_p, w->top, w->r, w->h);
  for (int64_t q = 0; q < w->q; q++) {
    tx_span columns = tx_window_pixels(q, w->stride_q, w->left, w->s, w->w);
    int64_t from = at(n, rows.first, columns.first, w->h, w->w, w->c), to = at(n, p, q, w->p, w->q, w->c);
    int64_t first = (rows.first - p * w->stride_p + w->top) * w->s + columns.first - q * w->stride_q + w->left;
    if (job->to->dtype == TX_F32) {
      tx_kernels.max_window_f32(rows.count, columns.count, w->w * w->c, w->c, tx_f32(job->from) + from, first, w->s,
                                tx_f32(job->to) + to, job->index + to);
    } else {
      tx_max_window_f64(rows.count, columns.count, w->w * w->c, w->c, tx_f64(job->from) + from, first, w->s,
                        tx_f64(job->to) + to, job->index + to);
    }
  }
}

static tx_status make_window(const tx_call *call, const int64_t *shape, tx_window *window) {
  const params *p = call->params;
  TX_TRY(tx_window_make("max_pool2d", &p->window, shape, window));
  if (window->r * window->s <= UINT16_MAX + 1) return TX_OK;
  return tx_fail(TX_EINVAL, "max_pool2d: window {%lld,%lld} has more than %d pixels", (long long)window->r,
                 (long long)window->s, UINT16_MAX + 1);
}

static tx_status forward(tx_call *call) {
  pass job = {0};
  tx_tensor *x = NULL, *index = NULL;
  TX_TRY(tx_want_float(call, 0));
  TX_TRY(tx_want_images(call, 0));
  TX_TRY(make_window(call, call->in[0]->shape, &job.w));
  int64_t shape[4] = {job.w.n, job.w.p, job.w.q, job.w.c}, bytes[4] = {job.w.n, job.w.p, job.w.q, 2 * job.w.c};
  tx_status status = tx_contiguous(call->in[0], &x);
  if (status == TX_OK) status = tx_empty(x->dtype, 4, shape, &call->out[0]);
  if (status == TX_OK) status = tx_empty(TX_U8, 4, bytes, &index);
  if (status == TX_OK) {
    job.from = x;
    job.to = call->out[0];
    job.index = tx_data(index);
    if (tx_numel(call->out[0]) > 0) tx_parallel(job.w.n * job.w.p, forward_row, &job);
    tx_save(call, SAVED_INDEX, index);
  }
  tx_unref(x);
  tx_unref(index);
  return status;
}

/* One row of pixels. */
static void backward_row(void *context, int64_t block, int worker) {
  (void)worker;
  const pass *job = context;
  const tx_window *w = &job->w;
  int64_t n = block / w->h, h = block % w->h, step_p = w->stride_p * w->s;
  tx_span rows = tx_pixel_windows(h, w->stride_p, w->top, w->r, w->p);
  for (int64_t x = 0; x < w->w; x++) {
    tx_span columns = tx_pixel_windows(x, w->stride_q, w->left, w->s, w->q);
    int64_t from = at(n, rows.first, columns.first, w->p, w->q, w->c), to = at(n, h, x, w->h, w->w, w->c);
    int64_t first = (h - rows.first * w->stride_p + w->top) * w->s + x - columns.first * w->stride_q + w->left;
    if (job->to->dtype == TX_F32) {
      tx_kernels.max_window_grad_f32(rows.count, columns.count, w->q * w->c, w->c, tx_f32(job->from) + from,
                                     job->index + from, first, step_p, w->stride_q, tx_f32(job->to) + to);
    } else {
      tx_max_window_grad_f64(rows.count, columns.count, w->q * w->c, w->c, tx_f64(job->from) + from, job->index + from,
                             first, step_p, w->stride_q, tx_f64(job->to) + to);
    }
  }
}

static tx_status backward(tx_call *call) {
  const tx_meta *x = tx_input_meta(call, 0);
  pass job = {.index = tx_data(tx_saved(call, SAVED_INDEX))};
  tx_tensor *dy;
  TX_TRY(make_window(call, x->shape, &job.w));
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  tx_status status = tx_empty(x->dtype, x->dims, x->shape, &call->din[0]);
  if (status == TX_OK && tx_numel(call->din[0]) > 0) {
    job.from = dy;
    job.to = call->din[0];
    tx_parallel(job.w.n * job.w.h, backward_row, &job);
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
