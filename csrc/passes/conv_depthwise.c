/* conv_depthwise.c - convolution where every channel has its own filter: groups = C = K, weights {R,S,1,C}.
 *
 * Each output pixel is the sum over taps of pixel times weight, channel by channel; pixels outside the image are left out.
 * The gradient to the input is the same sum over the output pixels that a pixel contributes to.
 */
#include <string.h>

#include "base/integers.h"
#include "base/memory.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "passes/conv_internal.h"

enum { PARTIALS = 16 };

typedef struct job {
  const tx_conv_shape *shape;
  const float *x, *w, *dy;
  float *out;
  const tx_conv_finish *finish;
  int64_t taps;
  tx_scratch scratch; /* of the taps in use: {taps} pixels, weights {taps, C} */
} job;

static tx_status open_job(job *j, const tx_conv_shape *v) {
  j->shape = v;
  j->taps = v->r * v->s;
  return tx_scratch_open(&j->scratch, (size_t)j->taps * (sizeof(float *) + (size_t)v->c * sizeof(float)));
}

/* Sums over the taps that (row, column) reaches. `forward`: an output pixel looks at inputs; else the reverse. */
static void sum_pixel(const job *j, bool forward, int64_t n, int64_t row, int64_t column, int worker, float *out) {
  const tx_conv_shape *v = j->shape;
  const float **pixel = tx_scratch_of(&j->scratch, worker);
  float *weight = (float *)(void *)(pixel + j->taps);
  int64_t count = 0;
  for (int64_t t = 0; t < j->taps; t++) {
    const int64_t dr = t / v->s * v->dilation[0] - v->top, ds = t % v->s * v->dilation[1] - v->left;
    const float *at;
    if (forward) {
      const int64_t h = row * v->stride[0] + dr, w = column * v->stride[1] + ds;
      if (h < 0 || h >= v->h || w < 0 || w >= v->w) continue;
      at = j->x + ((n * v->h + h) * v->w + w) * v->c;
    } else {
      const int64_t h = row - dr, w = column - ds, p = h / v->stride[0], q = w / v->stride[1];
      if (h < 0 || w < 0 || h % v->stride[0] != 0 || w % v->stride[1] != 0 || p >= v->p || q >= v->q) continue;
      at = j->dy + ((n * v->p + p) * v->q + q) * v->c;
    }
    pixel[count] = at;
    memcpy(weight + count++ * v->c, j->w + t * v->c, (size_t)v->c * sizeof(float));
  }
  tx_kernels.depthwise_f32(v->c, count, pixel, weight, v->c, out);
}

static void forward_row(void *context, int64_t block, int worker) {
  const job *j = context;
  const tx_conv_shape *v = j->shape;
  const int64_t row0 = block * v->q;
  for (int64_t q = 0; q < v->q; q++) {
    sum_pixel(j, true, block / v->p, block % v->p, q, worker, j->out + (row0 + q) * v->c);
  }
  tx_conv_finish_rows(j->finish, block, j->out, row0, v->q, 0, v->c);
}

tx_status tx_conv_depthwise_forward(const tx_conv_shape *v, const float *x, const float *w,
                                    const tx_conv_epilogue *epilogue, float *y) {
  tx_conv_finish finish;
  job j = {.x = x, .w = w, .out = y, .finish = &finish};
  tx_status status = open_job(&j, v);
  if (status == TX_OK) status = tx_conv_finish_open(&finish, epilogue, v->n * v->p, v->k);
  if (status == TX_OK) {
    tx_parallel(v->n * v->p, forward_row, &j);
    tx_conv_finish_close(&finish);
  }
  tx_scratch_close(&j.scratch);
  return status;
}

static void input_gradient_row(void *context, int64_t block, int worker) {
  const job *j = context;
  const tx_conv_shape *v = j->shape;
  for (int64_t w = 0; w < v->w; w++) {
    sum_pixel(j, false, block / v->h, block % v->h, w, worker, j->out + (block * v->w + w) * v->c);
  }
}

tx_status tx_conv_depthwise_input_gradient(const tx_conv_shape *v, const float *dy, const float *w, float *dx) {
  job j = {.dy = dy, .w = w, .out = dx};
  const tx_status status = open_job(&j, v);
  if (status == TX_OK) tx_parallel(v->n * v->h, input_gradient_row, &j);
  tx_scratch_close(&j.scratch);
  return status;
}

/* Part of the output rows, into its own partial sum; the taps of a pixel that fall outside read zeros. */
typedef struct weight_job {
  const tx_conv_shape *shape;
  const float *x, *dy, *zeros;
  const float **pixel; /* {parts}{taps} */
  float *partial;      /* {parts}{taps, C} */
  int64_t taps, parts;
} weight_job;

static void weight_part(void *context, int64_t part, int worker) {
  (void)worker;
  const weight_job *j = context;
  const tx_conv_shape *v = j->shape;
  const float **pixel = j->pixel + part * j->taps;
  float *dw = j->partial + part * j->taps * v->c;
  memset(dw, 0, (size_t)(j->taps * v->c) * sizeof(float));
  const int64_t rows = v->n * v->p;
  for (int64_t row = part * rows / j->parts; row < (part + 1) * rows / j->parts; row++) {
    const int64_t n = row / v->p, p = row % v->p;
    for (int64_t q = 0; q < v->q; q++) {
      for (int64_t t = 0; t < j->taps; t++) {
        const int64_t h = p * v->stride[0] + t / v->s * v->dilation[0] - v->top;
        const int64_t w = q * v->stride[1] + t % v->s * v->dilation[1] - v->left;
        const bool inside = h >= 0 && h < v->h && w >= 0 && w < v->w;
        pixel[t] = inside ? j->x + ((n * v->h + h) * v->w + w) * v->c : j->zeros;
      }
      tx_kernels.depthwise_grad_f32(v->c, j->taps, pixel, j->dy + (row * v->q + q) * v->c, dw, v->c);
    }
  }
}

tx_status tx_conv_depthwise_weight_gradient(const tx_conv_shape *v, const float *x, const float *dy, float *dw) {
  weight_job j = {.shape = v, .x = x, .dy = dy, .taps = v->r * v->s};
  j.parts = tx_max(1, tx_min(PARTIALS, v->n * v->p));
  const int64_t size = j.taps * v->c;
  j.pixel = tx_alloc_array(j.parts * j.taps, sizeof(float *));
  j.partial = tx_alloc_array(j.parts * size + v->c, sizeof(float));
  const bool ready = j.pixel != NULL && j.partial != NULL;
  if (ready) {
    memset(j.partial + j.parts * size, 0, (size_t)v->c * sizeof(float));
    j.zeros = j.partial + j.parts * size;
    tx_parallel(j.parts, weight_part, &j);
    memcpy(dw, j.partial, (size_t)size * sizeof(float));
    for (int64_t part = 1; part < j.parts; part++) {
      for (int64_t i = 0; i < size; i++) dw[i] += j.partial[part * size + i];
    }
  }
  tx_dealloc(j.pixel);
  tx_dealloc(j.partial);
  return ready ? TX_OK : TX_ENOMEM;
}
