/* create.c - tensors made from a rule, and questions about all elements. */
#include "tensor/create.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/threads.h"
#include "tensor/convert.h"
#include "tensor/loop.h"
#include "tensor/math.h"

tx_status tx_arange(tx_dtype dtype, double first, double last, double step, tx_tensor **out) {
  if (step == 0 || !isfinite(first) || !isfinite(last) || !isfinite(step)) {
    return tx_fail(TX_EINVAL, "arange: cannot count from %g to %g by %g", first, last, step);
  }
  double steps = floor((last - first) / step * (1 + 1e-12)); /* 0.1 steps reach 1 although 1/0.1 is inexact */
  int64_t count = steps < 0 ? 0 : steps < 9e18 ? (int64_t)steps + 1 : INT64_MAX;
  TX_TRY(tx_empty(dtype, 1, &count, out));
  char *at = tx_data(*out);
  size_t size = tx_dtype_size(dtype);
  for (int64_t i = 0; i < count; i++) {
    double value = first + (double)i * step;
    tx_convert(TX_F64, dtype)(1, &value, 1, at + (size_t)i * size, 1);
  }
  return TX_OK;
}

tx_status tx_eye(tx_dtype dtype, int64_t rows, int64_t columns, tx_tensor **out) {
  int64_t shape[2] = {rows, columns};
  TX_TRY(tx_zeros(dtype, 2, shape, out));
  tx_tensor diagonal = **out; /* a view of the diagonal; the storage is borrowed */
  diagonal.dims = 1;
  diagonal.shape[0] = rows < columns ? rows : columns;
  diagonal.strides[0] = columns + 1;
  return tx_fill(&diagonal, 1);
}

/* -- cumsum ------------------------------------------------------------------------------------------------------------ */

typedef struct scan {
  const tx_tensor *in, *out; /* contiguous, {outer, n, inner} */
  int64_t n, inner, lines, lines_per_block;
} scan;

#define SCAN(dtype, type, sum_type, out_type)                         \
  static void scan_##dtype(const scan *s, int64_t line) {             \
    int64_t at = line / s->inner * s->n * s->inner + line % s->inner; \
    const type *x = (const type *)tx_data(s->in) + at;                \
    out_type *y = (out_type *)tx_data(s->out) + at;                   \
    sum_type sum = 0;                                                 \
    for (int64_t i = 0; i < s->n; i++) {                              \
      sum += (sum_type)x[i * s->inner];                               \
      y[i * s->inner] = (out_type)sum;                                \
    }                                                                 \
  }
SCAN(u8, uint8_t, uint64_t, int64_t)
SCAN(i64, int64_t, uint64_t, int64_t)
SCAN(f32, float, double, float)
SCAN(f64, double, double, double)

static void scan_block(void *context, int64_t block, int worker) {
  (void)worker;
  static void (*const scans[])(const scan *, int64_t) = {scan_u8, scan_i64, scan_f32, scan_f64};
  const scan *s = context;
  int64_t first = block * s->lines_per_block, end = first + s->lines_per_block;
  for (int64_t line = first; line < end && line < s->lines; line++) scans[s->in->dtype](s, line);
}

tx_status tx_cumsum(const tx_tensor *t, int dim, tx_tensor **out) {
  tx_tensor *in;
  TX_TRY(tx_is_contiguous(t) ? tx_alias(t, &in) : tx_clone(t, &in));
  tx_status status = tx_empty(tx_dtype_is_float(t->dtype) ? t->dtype : TX_I64, t->dims, t->shape, out);
  if (status == TX_OK && tx_numel(t) > 0) {
    scan s = {.in = in, .out = *out, .n = t->shape[dim], .inner = 1};
    for (int d = dim + 1; d < t->dims; d++) s.inner *= t->shape[d];
    s.lines = tx_numel(t) / s.n;
    s.lines_per_block = tx_block_size(s.lines, s.n);
    tx_parallel((s.lines + s.lines_per_block - 1) / s.lines_per_block, scan_block, &s);
  }
  tx_unref(in);
  return status;
}

/* -- questions --------------------------------------------------------------------------------------------------------- */

typedef struct tolerance {
  double rtol, atol;
  bool equal_nan;
} tolerance;

static void close_body(const void *context, int64_t n, void *const *at) {
  const tolerance *t = context;
  const double *a = at[1], *b = at[2];
  uint8_t *y = at[0];
  for (int64_t i = 0; i < n; i++) {
    bool near = isfinite(a[i]) && isfinite(b[i]) && fabs(a[i] - b[i]) <= t->atol + t->rtol * fabs(b[i]);
    y[i] = near || a[i] == b[i] || (t->equal_nan && a[i] != a[i] && b[i] != b[i]);
  }
}

tx_status tx_allclose(const tx_tensor *a, const tx_tensor *b, double rtol, double atol, bool equal_nan, bool *close) {
  int dims;
  int64_t shape[TX_MAX_DIMS];
  tx_tensor *near, *all;
  TX_TRY(tx_broadcast("allclose", a, b, &dims, shape));
  TX_TRY(tx_empty(TX_U8, dims, shape, &near));
  tolerance t = {rtol, atol, equal_nan};
  const tx_tensor *const operand[] = {near, a, b};
  const tx_dtype as[] = {TX_U8, TX_F64, TX_F64};
  tx_loop(3, operand, as, close_body, &t, 4);
  tx_status status = TX_OK;
  *close = true; /* when there is nothing to compare */
  if (tx_numel(near) > 0 && (status = tx_reduce("allclose", TX_MIN, near, UINT32_MAX, false, 0, &all)) == TX_OK) {
    *close = tx_item(all) != 0;
    tx_unref(all);
  }
  tx_unref(near);
  return status;
}

typedef struct survey {
  const tx_tensor *t; /* contiguous */
  int64_t total;
  atomic_bool broken;
} survey;

enum { SURVEY_BLOCK = 65536 };

static void survey_block(void *context, int64_t block, int worker) {
  (void)worker;
  survey *s = context;
  int64_t first = block * SURVEY_BLOCK, n = s->total - first < SURVEY_BLOCK ? s->total - first : SURVEY_BLOCK;
  int broken = 0; /* an exponent of ones: infinite or NaN */
  if (s->t->dtype == TX_F32) {
    const char *x = (const char *)(tx_f32(s->t) + first);
    for (int64_t i = 0; i < n; i++) {
      uint32_t bits;
      memcpy(&bits, x + 4 * i, 4);
      broken |= (bits & 0x7f800000u) == 0x7f800000u;
    }
  } else {
    const double *x = tx_f64(s->t) + first;
    for (int64_t i = 0; i < n; i++) broken |= !isfinite(x[i]);
  }
  if (broken != 0) atomic_store(&s->broken, true);
}

tx_status tx_all_finite(const tx_tensor *t, bool *finite) {
  *finite = true;
  if (!tx_dtype_is_float(t->dtype)) return TX_OK;
  tx_tensor *x;
  TX_TRY(tx_is_contiguous(t) ? tx_alias(t, &x) : tx_clone(t, &x));
  survey s = {.t = x, .total = tx_numel(x)};
  tx_parallel((s.total + SURVEY_BLOCK - 1) / SURVEY_BLOCK, survey_block, &s);
  *finite = !atomic_load(&s.broken);
  tx_unref(x);
  return TX_OK;
}
