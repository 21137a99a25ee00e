/* create.c - tensors made from a rule, and questions about all elements. */
#include "tensor/create.h"

#include <math.h>
#include <string.h>

#include "base/integers.h"
#include "base/threads.h"
#include "tensor/loop.h"
#include "tensor/math.h"
#include "tensor/number.h"

/* How many steps lead from first to last, at most INT64_MAX - 1; -1: none, last lies behind first. */
static int64_t integer_steps(int64_t first, int64_t last, int64_t step) {
  if (step > 0 ? first > last : first < last) return -1;
  uint64_t way = step > 0 ? (uint64_t)last - (uint64_t)first : (uint64_t)first - (uint64_t)last;
  uint64_t steps = way / (step > 0 ? (uint64_t)step : 0 - (uint64_t)step);
  return steps < INT64_MAX ? (int64_t)steps : INT64_MAX - 1;
}

static int64_t real_steps(double first, double last, double step) {
  double steps = floor((last - first) / step * (1 + 1e-12)); /* 0.1 steps reach 1 although 1/0.1 is inexact */
  return steps < 0 ? -1 : steps < 9e18 ? (int64_t)steps : INT64_MAX - 1;
}

tx_status tx_arange(tx_dtype dtype, tx_number first, tx_number last, tx_number step, tx_tensor **out) {
  if (step.real == 0 || !isfinite(first.real) || !isfinite(last.real) || !isfinite(step.real)) {
    char from[TX_NUMBER_TEXT], to[TX_NUMBER_TEXT], by[TX_NUMBER_TEXT];
    return tx_fail(TX_EINVAL, "arange: cannot count from %s to %s by %s", tx_number_text(first, from),
                   tx_number_text(last, to), tx_number_text(step, by));
  }
  bool integral = first.integral && last.integral && step.integral;
  int64_t count = 1 + (integral ? integer_steps(first.integer, last.integer, step.integer)
                                : real_steps(first.real, last.real, step.real));
  TX_TRY(tx_empty(dtype, 1, &count, out));
  char *at = tx_data(*out);
  size_t size = tx_dtype_size(dtype);
  tx_status status = TX_OK;
  for (int64_t i = 0; i < count && status == TX_OK; i++) {
    tx_number value = integral ? tx_integer((int64_t)((uint64_t)first.integer + (uint64_t)i * (uint64_t)step.integer))
                               : tx_real(first.real + (double)i * step.real);
    status = tx_store(dtype, at + (size_t)i * size, value);
  }
  return tx_keep(status, out);
}

tx_status tx_eye(tx_dtype dtype, int64_t rows, int64_t columns, tx_tensor **out) {
  int64_t shape[2] = {rows, columns};
  TX_TRY(tx_zeros(dtype, 2, shape, out));
  tx_tensor diagonal = **out; /* a view of the diagonal; the storage is borrowed */
  diagonal.dims = 1;
  diagonal.shape[0] = tx_min(rows, columns);
  diagonal.strides[0] = columns + 1;
  return tx_fill(&diagonal, tx_integer(1));
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
  TX_TRY(tx_as_contiguous(t, &in));
  tx_status status = tx_empty(tx_dtype_is_float(t->dtype) ? t->dtype : TX_I64, t->dims, t->shape, out);
  if (status == TX_OK && tx_numel(t) > 0) {
    scan s = {.in = in, .out = *out, .n = t->shape[dim], .inner = 1};
    for (int d = dim + 1; d < t->dims; d++) s.inner *= t->shape[d];
    s.lines = tx_numel(t) / s.n;
    s.lines_per_block = tx_block_size(s.lines, s.n);
    tx_parallel(tx_ceil_div(s.lines, s.lines_per_block), scan_block, &s);
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

/* Integers are taken apart exactly: doubles could not tell neighbours beyond 2^53. */
static void close_integers(const void *context, int64_t n, void *const *at) {
  const tolerance *t = context;
  const int64_t *a = at[1], *b = at[2];
  uint8_t *y = at[0];
  for (int64_t i = 0; i < n; i++) {
    uint64_t difference = a[i] > b[i] ? (uint64_t)a[i] - (uint64_t)b[i] : (uint64_t)b[i] - (uint64_t)a[i];
    y[i] = difference == 0 || (double)difference <= t->atol + t->rtol * fabs((double)b[i]);
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
  bool integers = !tx_dtype_is_float(a->dtype) && !tx_dtype_is_float(b->dtype);
  const tx_dtype dtype = integers ? TX_I64 : TX_F64, as[] = {TX_U8, dtype, dtype};
  tx_loop(3, operand, as, integers ? close_integers : close_body, &t, 4);
  tx_status status = TX_OK;
  *close = true; /* when there is nothing to compare */
  if (tx_numel(near) > 0 && (status = tx_reduce("allclose", TX_MIN, near, UINT32_MAX, false, 0, &all)) == TX_OK) {
    *close = tx_item(all) != 0;
    tx_unref(all);
  }
  tx_unref(near);
  return status;
}

static bool f32_finite(const void *data, int64_t first, int64_t n) {
  const char *x = (const char *)data + 4 * first;
  int broken = 0; /* an exponent of ones: infinite or NaN */
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, x + 4 * i, 4);
    broken |= (bits & 0x7f800000u) == 0x7f800000u;
  }
  return broken == 0;
}

static bool f64_finite(const void *data, int64_t first, int64_t n) {
  const double *x = (const double *)data + first;
  int broken = 0;
  for (int64_t i = 0; i < n; i++) broken |= !isfinite(x[i]);
  return broken == 0;
}

tx_status tx_all_finite(const tx_tensor *t, bool *finite) {
  *finite = true;
  if (!tx_dtype_is_float(t->dtype)) return TX_OK;
  return tx_all(t, t->dtype == TX_F32 ? f32_finite : f64_finite, finite);
}
