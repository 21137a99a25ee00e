/* conv_naive.c - the definition of convolution and its gradients, in f64: seven loops, one thread per slice of the result.
 *
 * Gradient checks run on it, and the specs compare the other algorithms with it.
 */
#include <stddef.h>

#include "base/threads.h"
#include "passes/conv_internal.h"
#include "passes/norm.h"

typedef struct job {
  const tx_conv_shape *shape;
  const double *a, *b;
  double *out;
} job;

typedef struct finishing {
  const tx_conv_shape *shape;
  const tx_conv_epilogue *epilogue;
  double *y;
} finishing;

/* The input row or column that output position `o` sees through kernel position `tap`; -1 outside. */
static int64_t source(int64_t o, int64_t tap, int64_t stride, int64_t dilation, int64_t pad, int64_t size) {
  const int64_t at = o * stride - pad + tap * dilation;
  return at >= 0 && at < size ? at : -1;
}

static int64_t row_of(const tx_conv_shape *v, int64_t p, int64_t r) {
  return source(p, r, v->stride[0], v->dilation[0], v->top, v->h);
}

static int64_t column_of(const tx_conv_shape *v, int64_t q, int64_t s) {
  return source(q, s, v->stride[1], v->dilation[1], v->left, v->w);
}

static void forward_image(void *context, int64_t n, int worker) {
  (void)worker;
  const job *j = context;
  const tx_conv_shape *v = j->shape;
  const int64_t in = v->c / v->groups, out = v->k / v->groups;
  for (int64_t p = 0; p < v->p; p++) {
    for (int64_t q = 0; q < v->q; q++) {
      for (int64_t k = 0; k < v->k; k++) {
        double sum = 0;
        for (int64_t r = 0; r < v->r; r++) {
          for (int64_t s = 0; s < v->s; s++) {
            const int64_t h = row_of(v, p, r), w = column_of(v, q, s);
            if (h < 0 || w < 0) continue;
            const double *x = j->a + ((n * v->h + h) * v->w + w) * v->c + k / out * in;
            for (int64_t c = 0; c < in; c++) sum += x[c] * j->b[((r * v->s + s) * in + c) * v->k + k];
          }
        }
        j->out[((n * v->p + p) * v->q + q) * v->k + k] = sum;
      }
    }
  }
}

static void input_gradient_image(void *context, int64_t n, int worker) {
  (void)worker;
  const job *j = context;
  const tx_conv_shape *v = j->shape;
  const int64_t in = v->c / v->groups, out = v->k / v->groups;
  double *dx = j->out + n * v->h * v->w * v->c;
  for (int64_t i = 0; i < v->h * v->w * v->c; i++) dx[i] = 0;
  for (int64_t p = 0; p < v->p; p++) {
    for (int64_t q = 0; q < v->q; q++) {
      for (int64_t k = 0; k < v->k; k++) {
        const double dy = j->a[((n * v->p + p) * v->q + q) * v->k + k];
        for (int64_t r = 0; r < v->r; r++) {
          for (int64_t s = 0; s < v->s; s++) {
            const int64_t h = row_of(v, p, r), w = column_of(v, q, s);
            if (h < 0 || w < 0) continue;
            double *to = dx + (h * v->w + w) * v->c + k / out * in;
            for (int64_t c = 0; c < in; c++) to[c] += dy * j->b[((r * v->s + s) * in + c) * v->k + k];
          }
        }
      }
    }
  }
}

static void weight_gradient_tap(void *context, int64_t tap, int worker) {
  (void)worker;
  const job *j = context;
  const tx_conv_shape *v = j->shape;
  const int64_t in = v->c / v->groups, out = v->k / v->groups;
  double *dw = j->out + tap * in * v->k;
  for (int64_t i = 0; i < in * v->k; i++) dw[i] = 0;
  for (int64_t n = 0; n < v->n; n++) {
    for (int64_t p = 0; p < v->p; p++) {
      for (int64_t q = 0; q < v->q; q++) {
        const int64_t h = row_of(v, p, tap / v->s), w = column_of(v, q, tap % v->s);
        if (h < 0 || w < 0) continue;
        const double *x = j->a + ((n * v->h + h) * v->w + w) * v->c;
        const double *dy = j->b + ((n * v->p + p) * v->q + q) * v->k;
        for (int64_t c = 0; c < in; c++) {
          for (int64_t k = 0; k < v->k; k++) dw[c * v->k + k] += x[k / out * in + c] * dy[k];
        }
      }
    }
  }
}

/* The epilogue, number by number. */
static void finish_pixel(void *context, int64_t pixel, int worker) {
  (void)worker;
  const finishing *f = context;
  const tx_conv_epilogue *e = f->epilogue;
  const double *scale = e->scale, *shift = e->shift, *residual = e->residual;
  const int64_t first = pixel * f->shape->k;
  for (int64_t k = 0; k < f->shape->k; k++) {
    double y = f->y[first + k];
    if (scale != NULL) y *= scale[k];
    if (shift != NULL) y += shift[k];
    if (residual != NULL && !e->residual_last) y += residual[first + k];
    if (e->relu && y < 0) y = 0;
    if (residual != NULL && e->residual_last) y += residual[first + k];
    f->y[first + k] = y;
  }
}

tx_status tx_conv_naive_forward(const tx_conv_shape *v, const double *x, const double *w,
                                const tx_conv_epilogue *epilogue, double *y) {
  const int64_t pixels = v->n * v->p * v->q;
  tx_parallel(v->n, forward_image, &(job){v, x, w, y});
  if (epilogue == NULL) return TX_OK;
  if (epilogue->mean != NULL) {
    TX_TRY(tx_norm_moments(TX_F64, pixels, v->k, y, epilogue->mean, epilogue->variance));
  }
  tx_parallel(pixels, finish_pixel, &(finishing){v, epilogue, y});
  return TX_OK;
}

void tx_conv_naive_input_gradient(const tx_conv_shape *shape, const double *dy, const double *w, double *dx) {
  tx_parallel(shape->n, input_gradient_image, &(job){shape, dy, w, dx});
}

void tx_conv_naive_weight_gradient(const tx_conv_shape *shape, const double *x, const double *dy, double *dw) {
  tx_parallel(shape->r * shape->s, weight_gradient_tap, &(job){shape, x, dy, dw});
}
