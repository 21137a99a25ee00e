/* reduce.c - reductions, cut into units: one outer index, one segment of the reduced range, one panel of columns.
 *
 * A unit leaves one accumulator per column: f64 for floats, i64 for integers. Segments of one column are then combined in
 * order, so that the result does not depend on the number of threads.
 */
#include "passes/reduce.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "passes/passes.h"

enum {
  PANEL = 1024,   /* columns of a unit */
  SEGMENT = 65536 /* elements of a unit, about */
};

/* What is accumulated; the reductions of reduce.h are made of these. */
typedef enum kind {
  SUM,
  PROD,
  MAX,
  MIN,
  SQDEV /* sum of (x - centre)^2 */,
  SUMEXP /* sum of e^(x - centre) */,
  KINDS
} kind;

/* One accumulator; a union of the two families, so that all functions below look alike. */
typedef union acc {
  double f;
  int64_t i;
} acc;
_Static_assert(sizeof(acc) == sizeof(double), "an array of accumulators is an array of doubles");

/* Takes rows x cols elements into a[0..cols-1]; centre is NULL for zeros. */
typedef void accumulate_fn(int64_t rows, int64_t cols, const void *data, int64_t ld, const acc *centre, acc *a);
/* a[i] = the reduction of row i, of n contiguous elements. */
typedef void rows_fn(int64_t rows, int64_t n, const void *data, const acc *centre, acc *a);
typedef void combine_fn(int64_t n, acc *a, const acc *b);

/* The loop over a single column keeps its accumulator in a register. */
#define ACCUMULATE(kind, dtype, type, family, expression)                                                           \
  static void kind##_##dtype(int64_t rows, int64_t cols, const void *data, int64_t ld, const acc *centre, acc *a) { \
    (void)centre;                                                                                                   \
    const type *row = data;                                                                                         \
    if (cols == 1 && ld == 1) {                                                                                     \
      const family##_acc c = CENTRE(kind, family, 0);                                                               \
      family##_acc so_far = a[0].family;                                                                            \
      (void)c;                                                                                                      \
      for (int64_t r = 0; r < rows; r++) {                                                                          \
        const family##_acc x = row[r];                                                                              \
        so_far = expression;                                                                                        \
      }                                                                                                             \
      a[0].family = so_far;                                                                                         \
      return;                                                                                                       \
    }                                                                                                               \
    for (int64_t r = 0; r < rows; r++, row += ld) {                                                                 \
      for (int64_t j = 0; j < cols; j++) {                                                                          \
        const family##_acc x = row[j], c = CENTRE(kind, family, j), so_far = a[j].family;                           \
        (void)c;                                                                                                    \
        a[j].family = expression;                                                                                   \
      }                                                                                                             \
    }                                                                                                               \
  }
#define CENTRE(kind, family, j) USES_CENTRE_##kind(family, j)
#define USES_CENTRE_sum(family, j) 0
#define USES_CENTRE_prod(family, j) 0
#define USES_CENTRE_max(family, j) 0
#define USES_CENTRE_min(family, j) 0
#define USES_CENTRE_sqdev(family, j) (centre != NULL ? centre[j].family : 0)
#define USES_CENTRE_sumexp(family, j) (centre != NULL ? centre[j].family : 0)

#define COMBINE(kind, family, expression)                                \
  static void kind##_combine_##family(int64_t n, acc *a, const acc *b) { \
    for (int64_t j = 0; j < n; j++) {                                    \
      const family##_acc x = b[j].family, so_far = a[j].family;          \
      a[j].family = expression;                                          \
    }                                                                    \
  }

typedef double f_acc;
typedef int64_t i_acc;

#define LARGER_FLOAT ((x > so_far) | (x != x) ? x : so_far) /* NaN wins */
#define SMALLER_FLOAT ((x < so_far) | (x != x) ? x : so_far)
#define WRAPPED(op) ((int64_t)((uint64_t)so_far op(uint64_t) x))

#define FLOAT_KINDS(dtype, type)                                \
  ACCUMULATE(sum, dtype, type, f, so_far + x)                   \
  ACCUMULATE(prod, dtype, type, f, so_far *x)                   \
  ACCUMULATE(max, dtype, type, f, LARGER_FLOAT)                 \
  ACCUMULATE(min, dtype, type, f, SMALLER_FLOAT)                \
  ACCUMULATE(sqdev, dtype, type, f, so_far + (x - c) * (x - c)) \
  ACCUMULATE(sumexp, dtype, type, f, so_far + exp(x - c))

#define INTEGER_KINDS(dtype, type)                         \
  ACCUMULATE(sum, dtype, type, i, WRAPPED(+))              \
  ACCUMULATE(prod, dtype, type, i, WRAPPED(*))             \
  ACCUMULATE(max, dtype, type, i, x > so_far ? x : so_far) \
  ACCUMULATE(min, dtype, type, i, x < so_far ? x : so_far)

FLOAT_KINDS(f32, float)
FLOAT_KINDS(f64, double)
INTEGER_KINDS(u8, uint8_t)
INTEGER_KINDS(i64, int64_t)
COMBINE(sum, f, so_far + x)
COMBINE(prod, f, so_far *x)
COMBINE(max, f, LARGER_FLOAT)
COMBINE(min, f, SMALLER_FLOAT)
COMBINE(sum, i, WRAPPED(+))
COMBINE(prod, i, WRAPPED(*))
COMBINE(max, i, x > so_far ? x : so_far)
COMBINE(min, i, x < so_far ? x : so_far)

/* f32 sums of whole rows of columns have kernels, too. */
static void columns_sum_f32(int64_t rows, int64_t cols, const void *data, int64_t ld, const acc *centre, acc *a) {
  if (ld == cols) {
    tx_kernels.channel_sum_f32(rows, cols, data, &a->f);
  } else {
    sum_f32(rows, cols, data, ld, centre, a);
  }
}

static void columns_sqdev_f32(int64_t rows, int64_t cols, const void *data, int64_t ld, const acc *centre, acc *a) {
  if (ld == cols) {
    double sum[PANEL];
    for (int64_t j = 0; j < cols; j++) sum[j] = centre != NULL ? centre[j].f * (double)rows : 0; /* it wants sums */
    tx_kernels.channel_square_f32(rows, cols, data, sum, &a->f);
  } else {
    sqdev_f32(rows, cols, data, ld, centre, a);
  }
}

static accumulate_fn *const accumulate[KINDS][TX_DTYPE_COUNT] = {
    [SUM] = {sum_u8, sum_i64, columns_sum_f32, sum_f64},  [PROD] = {prod_u8, prod_i64, prod_f32, prod_f64},
    [MAX] = {max_u8, max_i64, max_f32, max_f64},          [MIN] = {min_u8, min_i64, min_f32, min_f64},
    [SQDEV] = {NULL, NULL, columns_sqdev_f32, sqdev_f64}, [SUMEXP] = {NULL, NULL, sumexp_f32, sumexp_f64},
};
static combine_fn *const combine[KINDS][2] = {
    [SUM] = {sum_combine_i, sum_combine_f}, [PROD] = {prod_combine_i, prod_combine_f},
    [MAX] = {max_combine_i, max_combine_f}, [MIN] = {min_combine_i, min_combine_f},
    [SQDEV] = {NULL, sum_combine_f},        [SUMEXP] = {NULL, sum_combine_f},
};

/* The kernels of csrc/kernels for rows of floats. */
#define ROWS(dtype, kernel)                                                                               \
  static void rows_sum_##dtype(int64_t rows, int64_t n, const void *data, const acc *centre, acc *a) {    \
    (void)centre;                                                                                         \
    kernel(sum_rows, dtype)(rows, n, data, &a->f);                                                        \
  }                                                                                                       \
  static void rows_max_##dtype(int64_t rows, int64_t n, const void *data, const acc *centre, acc *a) {    \
    (void)centre;                                                                                         \
    kernel(max_rows, dtype)(rows, n, data, &a->f);                                                        \
  }                                                                                                       \
  static void rows_min_##dtype(int64_t rows, int64_t n, const void *data, const acc *centre, acc *a) {    \
    (void)centre;                                                                                         \
    kernel(min_rows, dtype)(rows, n, data, &a->f);                                                        \
  }                                                                                                       \
  static void rows_sqdev_##dtype(int64_t rows, int64_t n, const void *data, const acc *centre, acc *a) {  \
    kernel(square_rows, dtype)(rows, n, data, centre != NULL ? &centre->f : NULL, &a->f);                 \
  }                                                                                                       \
  static void rows_sumexp_##dtype(int64_t rows, int64_t n, const void *data, const acc *centre, acc *a) { \
    kernel(exp_rows, dtype)(rows, n, data, centre != NULL ? &centre->f : NULL, &a->f);                    \
  }
#define DISPATCHED(name, dtype) tx_kernels.name##_##dtype
#define PLAIN(name, dtype) tx_##name##_##dtype
ROWS(f32, DISPATCHED)
ROWS(f64, PLAIN)

static rows_fn *const rowwise[KINDS][TX_DTYPE_COUNT] = {
    [SUM] = {NULL, NULL, rows_sum_f32, rows_sum_f64},       [PROD] = {NULL},
    [MAX] = {NULL, NULL, rows_max_f32, rows_max_f64},       [MIN] = {NULL, NULL, rows_min_f32, rows_min_f64},
    [SQDEV] = {NULL, NULL, rows_sqdev_f32, rows_sqdev_f64}, [SUMEXP] = {NULL, NULL, rows_sumexp_f32, rows_sumexp_f64},
};

static acc identity(kind k, bool is_float) {
  static const double floats[KINDS] = {[PROD] = 1, [MAX] = -INFINITY, [MIN] = INFINITY};
  static const int64_t integers[KINDS] = {[PROD] = 1, [MAX] = INT64_MIN, [MIN] = INT64_MAX};
  return is_float ? (acc){.f = floats[k]} : (acc){.i = integers[k]};
}

/* -- passes ------------------------------------------------------------------------------------------------------------ */

typedef struct pass {
  const tx_reduce_block *b;
  accumulate_fn *fn;
  rows_fn *rows; /* instead of fn where inner is 1; may be NULL */
  acc start;
  const acc *centre; /* [outer][inner], or NULL */
  acc *partial;      /* [outer][segments][inner] */
  int64_t segment, segments, panel, panels, units, units_per_block;
} pass;

static void run_unit(const pass *p, int64_t unit) {
  const tx_reduce_block *b = p->b;
  int64_t panel = unit % p->panels, segment = unit / p->panels % p->segments, o = unit / p->panels / p->segments;
  int64_t col = panel * p->panel, cols = tx_min(b->inner - col, p->panel);
  int64_t row = segment * p->segment, rows = tx_min(b->reduce - row, p->segment);
  acc *a = p->partial + (o * p->segments + segment) * b->inner + col;
  const char *x = (const char *)b->x + ((o * b->reduce + row) * b->inner + col) * (int64_t)tx_dtype_size(b->dtype);
  const acc *centre = p->centre != NULL ? p->centre + o * b->inner + col : NULL;
  if (p->rows != NULL && rows > 0) {
    p->rows(1, rows, x, centre, a);
    return;
  }
  for (int64_t j = 0; j < cols; j++) a[j] = p->start;
  p->fn(rows, cols, x, b->inner, centre, a);
}

static void run_block(void *context, int64_t block, int worker) {
  (void)worker;
  const pass *p = context;
  int64_t first = block * p->units_per_block, end = tx_min(first + p->units_per_block, p->units);
  const tx_reduce_block *b = p->b;
  if (p->rows != NULL && p->segments == 1 && b->reduce > 0) { /* a unit is a row: all of the block at once */
    const char *x = (const char *)b->x + first * b->reduce * (int64_t)tx_dtype_size(b->dtype);
    p->rows(end - first, b->reduce, x, p->centre != NULL ? p->centre + first : NULL, p->partial + first);
    return;
  }
  for (int64_t unit = first; unit < end; unit++) run_unit(p, unit);
}

/* One accumulator for each of outer x inner results into *result, which the caller gives back. */
static tx_status run_pass(const tx_reduce_block *b, kind k, const acc *centre, acc **result) {
  bool is_float = tx_dtype_is_float(b->dtype);
  pass p = {.b = b, .fn = accumulate[k][b->dtype], .start = identity(k, is_float), .centre = centre};
  if (b->inner == 1) p.rows = rowwise[k][b->dtype];
  p.panel = tx_max(1, tx_min(b->inner, PANEL));
  p.panels = tx_ceil_div(b->inner, p.panel);
  p.segment = SEGMENT / p.panel;
  p.segments = tx_max(1, tx_ceil_div(b->reduce, p.segment));
  p.units = b->outer * p.segments * p.panels;
  p.units_per_block = tx_block_size(p.units, tx_min(b->reduce, p.segment) * p.panel);
  p.partial = tx_alloc_array(b->outer * p.segments * b->inner, sizeof(acc));
  if (p.partial == NULL) return TX_ENOMEM;
  tx_parallel(tx_ceil_div(p.units, p.units_per_block), run_block, &p);
  for (int64_t o = 0; o < b->outer && p.segments > 1; o++) { /* results move to the front of the block */
    acc *to = p.partial + o * b->inner, *from = p.partial + o * p.segments * b->inner;
    memmove(to, from, (size_t)b->inner * sizeof(acc));
    for (int64_t s = 1; s < p.segments; s++) combine[k][is_float](b->inner, to, from + s * b->inner);
  }
  *result = p.partial;
  return TX_OK;
}

/* Where results go. */
typedef struct target {
  tx_dtype dtype;
  void *data;
} target;

/* -- argmax and argmin ------------------------------------------------------------------------------------------------- */

typedef struct search {
  const tx_reduce_block *b;
  const acc *wanted; /* [outer][inner] */
  int64_t *found;    /* [outer][inner], 1-based */
  int64_t per_block; /* outer indices */
} search;

#define FIND(dtype, type, family, equal)                                    \
  static void find_##dtype(const search *s, int64_t o) {                    \
    const tx_reduce_block *b = s->b;                                        \
    const type *row = (const type *)b->x + o * b->reduce * b->inner;        \
    const acc *wanted = s->wanted + o * b->inner;                           \
    int64_t *found = s->found + o * b->inner, left = b->inner;              \
    memset(found, 0, (size_t)b->inner * sizeof *found);                     \
    for (int64_t r = 1; r <= b->reduce && left > 0; r++, row += b->inner) { \
      for (int64_t j = 0; j < b->inner; j++) {                              \
        const family##_acc x = row[j], w = wanted[j].family;                \
        if ((equal) && found[j] == 0) {                                     \
          found[j] = r;                                                     \
          left--;                                                           \
        }                                                                   \
      }                                                                     \
    }                                                                       \
  }
FIND(u8, uint8_t, i, x == w)
FIND(i64, int64_t, i, x == w)
FIND(f32, float, f, x == w || (x != x && w != w))
FIND(f64, double, f, x == w || (x != x && w != w))

static void find_block(void *context, int64_t block, int worker) {
  (void)worker;
  static void (*const find[])(const search *, int64_t) = {find_u8, find_i64, find_f32, find_f64};
  const search *s = context;
  int64_t first = block * s->per_block, end = first + s->per_block;
  for (int64_t o = first; o < end && o < s->b->outer; o++) find[s->b->dtype](s, o);
}

/* The first place of the largest or smallest element. */
static tx_status find_positions(const tx_reduce_block *b, kind k, const target *out) {
  acc *wanted;
  TX_TRY(run_pass(b, k, NULL, &wanted));
  search s = {.b = b, .wanted = wanted, .found = out->data};
  s.per_block = tx_block_size(b->outer, b->reduce * b->inner);
  tx_parallel(tx_ceil_div(b->outer, s.per_block), find_block, &s);
  tx_dealloc(wanted);
  return TX_OK;
}

/* -- reductions -------------------------------------------------------------------------------------------------------- */

static int64_t results(const tx_reduce_block *b) { return b->outer * b->inner; }

/* Puts accumulators of the family of the input there. */
static void store(const tx_reduce_block *b, const acc *a, const target *out) {
  const bool is_float = tx_dtype_is_float(b->dtype);
  const int64_t n = results(b);
  for (int64_t i = 0; i < n; i++) {
    switch (out->dtype) {
      case TX_U8:
        ((uint8_t *)out->data)[i] = (uint8_t)a[i].i;
        break;
      case TX_I64:
        ((int64_t *)out->data)[i] = a[i].i;
        break;
      default:
        tx_set_real(out->dtype, out->data, i, is_float ? a[i].f : (double)a[i].i);
    }
  }
}

static tx_status reduce_simple(const tx_reduce_block *b, kind k, const target *out) {
  acc *a;
  TX_TRY(run_pass(b, k, NULL, &a));
  store(b, a, out);
  tx_dealloc(a);
  return TX_OK;
}

/* As f64, whatever the input. */
static tx_status mean_of(const tx_reduce_block *b, acc **result) {
  TX_TRY(run_pass(b, SUM, NULL, result));
  bool is_float = tx_dtype_is_float(b->dtype);
  for (int64_t i = 0; i < results(b); i++) {
    acc *a = &(*result)[i];
    a->f = (is_float ? a->f : (double)a->i) / (double)b->reduce;
  }
  return TX_OK;
}

static tx_status reduce_mean(const tx_reduce_block *b, const target *out) {
  acc *mean;
  TX_TRY(mean_of(b, &mean));
  for (int64_t i = 0; i < results(b); i++) tx_set_real(out->dtype, out->data, i, mean[i].f);
  tx_dealloc(mean);
  return TX_OK;
}

static tx_status reduce_var(const tx_reduce_block *b, double correction, const target *out) {
  acc *mean, *square;
  TX_TRY(mean_of(b, &mean));
  tx_status status = run_pass(b, SQDEV, mean, &square);
  if (status == TX_OK) {
    double divisor = (double)b->reduce - correction;
    for (int64_t i = 0; i < results(b); i++) square[i].f /= divisor > 0 ? divisor : 0;
    store(b, square, out);
    tx_dealloc(square);
  }
  tx_dealloc(mean);
  return status;
}

static tx_status reduce_norm(const tx_reduce_block *b, const target *out) {
  acc *square;
  TX_TRY(run_pass(b, SQDEV, NULL, &square));
  for (int64_t i = 0; i < results(b); i++) square[i].f = sqrt(square[i].f);
  store(b, square, out);
  tx_dealloc(square);
  return TX_OK;
}

/* log(sum e^x) = m + log(sum e^(x - m)), m the largest x: nothing overflows. */
static tx_status reduce_logsumexp(const tx_reduce_block *b, const target *out) {
  acc *largest, *sum;
  TX_TRY(run_pass(b, MAX, NULL, &largest));
  for (int64_t i = 0; i < results(b); i++) {
    if (isinf(largest[i].f)) largest[i].f = 0; /* inf - inf would be NaN */
  }
  tx_status status = run_pass(b, SUMEXP, largest, &sum);
  if (status == TX_OK) {
    for (int64_t i = 0; i < results(b); i++) sum[i].f = largest[i].f + log(sum[i].f);
    store(b, sum, out);
    tx_dealloc(sum);
  }
  tx_dealloc(largest);
  return status;
}

tx_status tx_reduce_pass(tx_reduce_op op, const tx_reduce_block *b, double correction, tx_dtype out_dtype, void *data) {
  const target there = {out_dtype, data}, *out = &there;
  switch (op) {
    case TX_SUM:
      return reduce_simple(b, SUM, out);
    case TX_PROD:
      return reduce_simple(b, PROD, out);
    case TX_MAX:
      return reduce_simple(b, MAX, out);
    case TX_MIN:
      return reduce_simple(b, MIN, out);
    case TX_MEAN:
      return reduce_mean(b, out);
    case TX_VAR:
      return reduce_var(b, correction, out);
    case TX_NORM:
      return reduce_norm(b, out);
    case TX_LOGSUMEXP:
      return reduce_logsumexp(b, out);
    case TX_ARGMAX:
      return find_positions(b, MAX, out);
    default:
      return find_positions(b, MIN, out);
  }
}
