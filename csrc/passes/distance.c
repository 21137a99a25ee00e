/* distance.c - a sum over blocks whose results are added in their order: the same bits on any number of threads. */
#include "passes/distance.h"

#include "base/memory.h"
#include "passes/passes.h"

typedef struct job {
  const tx_distance *d;
  int64_t size;
  double *sums;   /* {blocks} */
  const void *dy; /* backward: `step` elements from one to the next */
  int64_t step;
  double factor;
  void *out;
} job;

static void run(job *j, tx_block_fn *fn) {
  j->size = tx_block_size(j->d->n, 1);
  tx_parallel(tx_ceil_div(j->d->n, j->size), fn, j);
}

static void sum_block(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  const tx_distance *d = j->d;
  const tx_range r = tx_block_range(d->n, j->size, block);
  const void *x = tx_at(d->dtype, d->x, r.first), *target = tx_at(d->dtype, d->target, r.first);
  j->sums[block] = TX_KERNEL_OF(d->dtype, squared_distance, r.count, x, target);
}

static void each_block(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  const tx_distance *d = j->d;
  const tx_range r = tx_block_range(d->n, j->size, block);
  for (int64_t i = r.first; i < r.first + r.count; i++) {
    const double difference = tx_get_real(d->dtype, d->x, i) - tx_get_real(d->dtype, d->target, i);
    tx_set_real(d->dtype, j->out, i, difference * difference);
  }
}

static void dx_f32(int64_t n, double factor, const float *x, const float *target, const float *dy, int64_t step,
                   float *dx) {
  const float f = (float)factor, all = (float)(factor * (double)dy[0]);
  if (step == 0) {
    for (int64_t i = 0; i < n; i++) dx[i] = all * (x[i] - target[i]);
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
  const job *j = context;
  const tx_distance *d = j->d;
  const tx_range r = tx_block_range(d->n, j->size, block);
  const void *x = tx_at(d->dtype, d->x, r.first), *target = tx_at(d->dtype, d->target, r.first);
  const void *dy = tx_at(d->dtype, j->dy, r.first * j->step);
  void *dx = tx_at_out(d->dtype, j->out, r.first);
  if (d->dtype == TX_F32) {
    dx_f32(r.count, j->factor, x, target, dy, j->step, dx);
  } else {
    dx_f64(r.count, j->factor, x, target, dy, j->step, dx);
  }
}

tx_status tx_distance_sum(const tx_distance *d, double *sum) {
  const int64_t blocks = tx_ceil_div(d->n, tx_block_size(d->n, 1));
  job j = {.d = d, .sums = tx_alloc_array(blocks, sizeof(double))};
  if (j.sums == NULL) return TX_ENOMEM;
  run(&j, sum_block);
  *sum = 0;
  for (int64_t b = 0; b < blocks; b++) *sum += j.sums[b];
  tx_dealloc(j.sums);
  return TX_OK;
}

void tx_distance_each(const tx_distance *d, void *y) { run(&(job){.d = d, .out = y}, each_block); }

void tx_distance_backward(const tx_distance *d, double factor, const void *dy, bool each, void *dx) {
  run(&(job){.d = d, .factor = factor, .dy = dy, .step = each ? 1 : 0, .out = dx}, dx_block);
}
