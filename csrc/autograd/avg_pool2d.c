/* avg_pool2d.c - the mean of every window, per channel. Padding counts as zeros, or (count_include_pad=false) not at
 * all.
 *
 * Backward walks over pixels and writes each once, as the sum of its windows' gradients, each divided by what its
 * window was divided by.
 */
#include "autograd/layer.h"
#include "autograd/list.h"
#include "autograd/window.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "kernels/plain.h"

typedef struct params {
  tx_window_params window;
  bool count_include_pad;
} params;

typedef struct pass {
  tx_window w;
  bool uniform;          /* every window is divided by R * S */
  const tx_tensor *from; /* x, or dy */
  tx_tensor *to;         /* y, or dx */
} pass;

static int64_t at(int64_t n, int64_t row, int64_t column, int64_t rows, int64_t columns, int64_t c) {
  return ((n * rows + row) * columns + column) * c;
}

/* to (+)= factor * the sum of rows x columns pixels of `from`, whose image is `width` wide. */
static void sum_window(const pass *job, int64_t rows, int64_t columns, int64_t width, int64_t from, double factor,
                       bool more, int64_t to) {
  int64_t c = job->w.c;
  if (job->to->dtype == TX_F32) {
    tx_kernels.sum_window_f32(rows, columns, width * c, c, tx_f32(job->from) + from, (float)factor, more,
                              tx_f32(job->to) + to);
  } else {
    tx_sum_window_f64(rows, columns, width * c, c, tx_f64(job->from) + from, factor, more, tx_f64(job->to) + to);
  }
}

static double factor_of(const pass *job, int64_t rows, int64_t columns) {
  return 1 / (double)(job->uniform ? job->w.r * job->w.s : rows * columns);
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
    sum_window(job, rows.count, columns.count, w->w, at(n, rows.first, columns.first, w->h, w->w, w->c),
               factor_of(job, rows.count, columns.count), false, at(n, p, q, w->p, w->q, w->c));
  }
}

/* One pixel of which each window has its own divisor. */
static void gather(const pass *job, int64_t n, tx_span rows, tx_span columns, int64_t to) {
  const tx_window *w = &job->w;
  sum_window(job, 0, 0, 0, 0, 0, false, to);
  for (int64_t p = rows.first; p < rows.first + rows.count; p++) {
    tx_span high = tx_window_pixels(p, w->stride_p, w->top, w->r, w->h);
    for (int64_t q = columns.first; q < columns.first + columns.count; q++) {
      tx_span wide = tx_window_pixels(q, w->stride_q, w->left, w->s, w->w);
      sum_window(job, 1, 1, w->q, at(n, p, q, w->p, w->q, w->c), factor_of(job, high.count, wide.count), true, to);
    }
  }
}

/* One row of pixels. */
static void backward_row(void *context, int64_t block, int worker) {
  (void)worker;
  const pass *job = context;
  const tx_window *w = &job->w;
  int64_t n = block / w->h, h = block % w->h;
  tx_span rows = tx_pixel_windows(h, w->stride_p, w->top, w->r, w->p);
  for (int64_t x = 0; x < w->w; x++) {
    tx_span columns = tx_pixel_windows(x, w->stride_q, w->left, w->s, w->q);
    int64_t to = at(n, h, x, w->h, w->w, w->c);
    if (job->uniform) {
      sum_window(job, rows.count, columns.count, w->q, at(n, rows.first, columns.first, w->p, w->q, w->c),
                 factor_of(job, 0, 0), false, to);
    } else {
      gather(job, n, rows, columns, to);
    }
  }
}

static tx_status prepare(const tx_call *call, const int64_t *shape, pass *job) {
  const params *p = call->params;
  job->uniform = p->count_include_pad;
  return tx_window_make("avg_pool2d", &p->window, shape, &job->w);
}

static tx_status forward(tx_call *call) {
  pass job = {0};
  tx_tensor *x = NULL;
  TX_TRY(tx_want_float(call, 0));
  TX_TRY(tx_want_images(call, 0));
  TX_TRY(prepare(call, call->in[0]->shape, &job));
  int64_t shape[4] = {job.w.n, job.w.p, job.w.q, job.w.c};
  TX_TRY(tx_contiguous(call->in[0], &x));
  tx_status status = tx_empty(x->dtype, 4, shape, &call->out[0]);
  if (status == TX_OK && tx_numel(call->out[0]) > 0) {
    job.from = x;
    job.to = call->out[0];
    tx_parallel(job.w.n * job.w.p, forward_row, &job);
  }
  tx_unref(x);
  return status;
}

static tx_status backward(tx_call *call) {
  const tx_meta *x = tx_input_meta(call, 0);
  pass job = {0};
  tx_tensor *dy;
  TX_TRY(prepare(call, x->shape, &job));
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
