/* mse_loss.c - (x - target)^2, its mean or its sum; dx = 2 (x - target) dy, dtarget = -dx.
 *
 * A sum is taken over blocks of elements, in f64, and the blocks' sums are added in their order: the same bits on any
 * number of threads. The gradient of the mean carries 1 / count, that of "none" has a dy for every element.
 */
#include "autograd/class_loss.h"
#include "autograd/layer.h"
#include "autograd/list.h"
#include "base/integers.h"
#include "base/memory.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "kernels/plain.h"

enum { X, TARGET };

typedef struct params {
  int reduction;
} params;

typedef struct pass {
  int64_t count, size;
  const tx_tensor *x, *target;
  double *sums;        /* forward: [blocks] */
  tx_tensor *each;     /* forward with "none" */
  const tx_tensor *dy; /* backward: one number, or like x */
  double scale;
  tx_tensor *dx;
} pass;

static pass prepare(const tx_tensor *x, const tx_tensor *target) {
  pass p = {.count = tx_numel(x), .x = x, .target = target};
  p.size = tx_block_size(p.count, 1);
  return p;
}

static int64_t blocks_of(const pass *p) { return tx_ceil_div(p->count, p->size); }

static void sum_block(void *context, int64_t block, int worker) {
  (void)worker;
  pass *p = context;
  int64_t first = block * p->size, n = p->count - first < p->size ? p->count - first : p->size;
  if (p->x->dtype == TX_F32) {
    p->sums[block] = tx_kernels.squared_distance_f32(n, tx_f32(p->x) + first, tx_f32(p->target) + first);
  } else {
    p->sums[block] = tx_squared_distance_f64(n, tx_f64(p->x) + first, tx_f64(p->target) + first);
  }
}

static void each_block(void *context, int64_t block, int worker) {
  (void)worker;
  pass *p = context;
  int64_t first = block * p->size, last = p->count - first < p->size ? p->count : first + p->size;
  for (int64_t i = first; i < last; i++) {
    double apart = tx_get_real(p->x->dtype, tx_data(p->x), i) - tx_get_real(p->x->dtype, tx_data(p->target), i);
    tx_set_real(p->x->dtype, tx_data(p->each), i, apart * apart);
  }
}

static tx_status reduced(tx_call *call, pass *p) {
  const params *given = call->params;
  double sum = 0;
  p->sums = tx_alloc((size_t)blocks_of(p) * sizeof p->sums[0]);
  if (p->sums == NULL) return TX_ENOMEM;
  tx_parallel(blocks_of(p), sum_block, p);
  for (int64_t b = 0; b < blocks_of(p); b++) sum += p->sums[b];
  tx_dealloc(p->sums);
  if (given->reduction == TX_REDUCTION_MEAN) sum /= (double)p->count;
  TX_TRY(tx_empty(p->x->dtype, 0, NULL, &call->out[0]));
  tx_set_real(p->x->dtype, tx_data(call->out[0]), 0, sum);
  return TX_OK;
}

static tx_status run_forward(tx_call *call, tx_tensor *x, tx_tensor *target) {
  const params *given = call->params;
  pass p = prepare(x, target);
  tx_save(call, X, x);
  tx_save(call, TARGET, target);
  if (given->reduction != TX_REDUCTION_NONE) return reduced(call, &p);
  TX_TRY(tx_empty_like(x, &call->out[0]));
  p.each = call->out[0];
  tx_parallel(blocks_of(&p), each_block, &p);
  return TX_OK;
}

static tx_status forward(tx_call *call) {
  tx_tensor *x = NULL, *target = NULL;
  TX_TRY(tx_want_float(call, X));
  TX_TRY(tx_want_dtype_of(call, TARGET, X));
  if (!tx_same_shape(call->in[X], call->in[TARGET])) {
    return tx_fail(TX_EINVAL, "mse_loss: x is %s, target %s: the same shape is needed", tx_shape_of(call->in[X]),
                   tx_shape_of(call->in[TARGET]));
  }
  tx_status status = tx_contiguous(call->in[X], &x);
  if (status == TX_OK) status = tx_contiguous(call->in[TARGET], &target);
  if (status == TX_OK) status = run_forward(call, x, target);
  tx_unref(x);
  tx_unref(target);
  return status;
}

/* dx = factor * dy * (x - target); dy is one number (step 0) or stands beside x (step 1). */
static void dx_f32(int64_t n, double factor, const float *x, const float *target, const float *dy, int64_t step,
                   float *dx) {
  float f = (float)factor, whole = (float)(factor * (double)dy[0]);
  if (step == 0) {
    for (int64_t i = 0; i < n; i++) dx[i] = whole * (x[i] - target[i]);
  } else {
    for (int64_t i = 0; i < n; i++) dx[i] = f * dy[i] * (x[i] - target[i]);
  }
}

static void dx_f64(int64_t n, double factor, const double *x, const double *target, const double *dy, int64_t step,
                   double *dx) {
  for (int64_t i = 0; i < n; i++) dx[i] = factor * dy[i * step] * (x[i] - target[i]);
}

static void dx_block(void *context, int64_t block, int worker) {
  (void)worker;
  pass *p = context;
  int64_t first = block * p->size, n = p->count - first < p->size ? p->count - first : p->size;
  int64_t step = p->dy->dims == p->x->dims && p->x->dims > 0 ? 1 : 0, at = first * step;
  if (p->x->dtype == TX_F32) {
    dx_f32(n, p->scale, tx_f32(p->x) + first, tx_f32(p->target) + first, tx_f32(p->dy) + at, step,
           tx_f32(p->dx) + first);
  } else {
    dx_f64(n, p->scale, tx_f64(p->x) + first, tx_f64(p->target) + first, tx_f64(p->dy) + at, step,
           tx_f64(p->dx) + first);
  }
}

static tx_status run_backward(tx_call *call, const tx_tensor *dy) {
  const params *given = call->params;
  pass p = prepare(tx_saved(call, X), tx_saved(call, TARGET));
  p.dy = dy;
  for (int i = X; i <= TARGET; i++) {
    if (!call->needs[i]) continue;
    TX_TRY(tx_empty_like(p.x, &call->din[i]));
    p.dx = call->din[i];
    p.scale = i == X ? 2 : -2;
    if (given->reduction == TX_REDUCTION_MEAN) p.scale /= (double)p.count;
    tx_parallel(blocks_of(&p), dx_block, &p);
  }
  return TX_OK;
}

static tx_status backward(tx_call *call) {
  tx_tensor *dy;
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  tx_status status = run_backward(call, dy);
  tx_unref(dy);
  return status;
}

static const tx_param parameters[] = {TX_PARAM_CHOICES(params, reduction, "mean", TX_REDUCTION_CHOICES), {NULL}};

const tx_op tx_op_mse_loss = {
    .name = "mse_loss",
    .inputs = "x target",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "mse_loss(x, target, {reduction=\"mean\"}): the mean of (x - target)^2, its sum, or (\"none\") the squares "
        "themselves; both of the same shape.",
};
