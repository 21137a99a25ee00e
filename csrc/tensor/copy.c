/* copy.c - copies and fills between any strides and dtypes.
 *
 * A copy is first reduced to as few dimensions as the strides of both sides allow; what remains is a block of rows that
 * run along the innermost dimension. Rows are spread over the threads. Where neighbours of the destination are far apart
 * in the source and the other way round (a transpose), rows are cut short and walked in square tiles, so that every cache
 * line that is touched is used up.
 */
#include <string.h>

#include "base/integers.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "tensor/convert.h"
#include "tensor/loop.h"
#include "tensor/number.h"

/* Floating point to integer, towards 0. Numbers that don't fit are refused before (tensor/number.h); where one comes by all
 * the same, there is no undefined behaviour: it saturates, NaN gives 0. */
static int64_t to_i64(double v) {
  if (!(v > -9.2233720368547758e18)) return v != v ? 0 : INT64_MIN;
  return v >= 9.2233720368547758e18 ? INT64_MAX : (int64_t)v;
}

static uint8_t float_to_u8(double v) { return v >= 255 ? 255 : v > 0 ? (uint8_t)v : 0; }

/* `run` does a contiguous run: element by element, by a kernel, or as plain memory where the dtypes are equal. */
#define CONVERT_RUN(convert) \
  for (int64_t i = 0; i < n; i++) y[i] = convert(x[i])
#define KERNEL_RUN(convert) tx_kernels.u8_to_f32(n, x, y)
#define COPY_RUN(convert) memcpy(y, x, (size_t)n * sizeof *y)
#define ROW(from, from_type, to, to_type, convert, run)                                          \
  static void row_##from##_##to(int64_t n, const void *src, int64_t ss, void *dst, int64_t ds) { \
    const from_type *x = src;                                                                    \
    to_type *y = dst;                                                                            \
    if (ss == 1 && ds == 1) {                                                                    \
      run(convert);                                                                              \
    } else if (ss == 0 && ds == 1) {                                                             \
      const to_type value = convert(*x);                                                         \
      for (int64_t i = 0; i < n; i++) y[i] = value;                                              \
    } else {                                                                                     \
      for (int64_t i = 0; i < n; i++) y[i * ds] = convert(x[i * ss]);                            \
    }                                                                                            \
  }
#define AS_U8(v) ((uint8_t)(v))
#define AS_I64(v) ((int64_t)(v))
#define AS_F32(v) ((float)(v))
#define AS_F64(v) ((double)(v))
#define FLOAT_AS_U8(v) float_to_u8((double)(v))
#define FLOAT_AS_I64(v) to_i64((double)(v))

ROW(u8, uint8_t, u8, uint8_t, AS_U8, COPY_RUN)
ROW(u8, uint8_t, i64, int64_t, AS_I64, CONVERT_RUN)
ROW(u8, uint8_t, f32, float, AS_F32, KERNEL_RUN)
ROW(u8, uint8_t, f64, double, AS_F64, CONVERT_RUN)
ROW(i64, int64_t, u8, uint8_t, AS_U8, CONVERT_RUN)
ROW(i64, int64_t, i64, int64_t, AS_I64, COPY_RUN)
ROW(i64, int64_t, f32, float, AS_F32, CONVERT_RUN)
ROW(i64, int64_t, f64, double, AS_F64, CONVERT_RUN)
ROW(f32, float, u8, uint8_t, FLOAT_AS_U8, CONVERT_RUN)
ROW(f32, float, i64, int64_t, FLOAT_AS_I64, CONVERT_RUN)
ROW(f32, float, f32, float, AS_F32, COPY_RUN)
ROW(f32, float, f64, double, AS_F64, CONVERT_RUN)
ROW(f64, double, u8, uint8_t, FLOAT_AS_U8, CONVERT_RUN)
ROW(f64, double, i64, int64_t, FLOAT_AS_I64, CONVERT_RUN)
ROW(f64, double, f32, float, AS_F32, CONVERT_RUN)
ROW(f64, double, f64, double, AS_F64, COPY_RUN)

static tx_convert_fn *const rows[TX_DTYPE_COUNT][TX_DTYPE_COUNT] = {
    [TX_U8] = {row_u8_u8, row_u8_i64, row_u8_f32, row_u8_f64},
    [TX_I64] = {row_i64_u8, row_i64_i64, row_i64_f32, row_i64_f64},
    [TX_F32] = {row_f32_u8, row_f32_i64, row_f32_f32, row_f32_f64},
    [TX_F64] = {row_f64_u8, row_f64_i64, row_f64_f32, row_f64_f64},
};

tx_convert_fn *tx_convert(tx_dtype from, tx_dtype to) { return rows[from][to]; }

enum { TILE = 16 };

/* A full tile between equal dtypes: dst[i][j] = src[j][i], neighbours in i of the source and in j of the destination. */
#define TURN(dtype, type)                                                        \
  static void turn_##dtype(const void *src, int64_t ss, void *dst, int64_t ds) { \
    const type *x = src;                                                         \
    type *y = dst;                                                               \
    for (int i = 0; i < TILE; i++) {                                             \
      for (int j = 0; j < TILE; j++) y[i * ds + j] = x[j * ss + i];              \
    }                                                                            \
  }
TURN(u8, uint8_t)
TURN(i64, int64_t)
TURN(f32, float)
TURN(f64, double)
typedef void turn_fn(const void *src, int64_t ss, void *dst, int64_t ds);
static turn_fn *const turns[TX_DTYPE_COUNT] = {turn_u8, turn_i64, turn_f32, turn_f64};

/* A copy reduced to its essence: `dims` loops, the last of which is the row. */
typedef struct plan {
  int dims;
  int64_t shape[TX_MAX_DIMS], ss[TX_MAX_DIMS], ds[TX_MAX_DIMS]; /* strides of source and destination, in elements */
  const char *src;
  char *dst;
  size_t src_size, dst_size; /* bytes of an element */
  tx_convert_fn *row;
  turn_fn *turn;                             /* a full tile of a transpose; NULL: by rows */
  int64_t rows_per_block, row_count, pieces; /* a block is several rows, or one piece of one long row */
} plan;

static void copy_rows(void *context, int64_t block, int worker) {
  (void)worker;
  const plan *p = context;
  int last = p->dims - 1;
  int64_t n = p->shape[last], from = 0, to = n;
  int64_t first = block * p->rows_per_block, end = first + p->rows_per_block;
  if (p->pieces > 1) { /* rows_per_block is 1 */
    int64_t length = tx_ceil_div(n, p->pieces);
    first = block / p->pieces;
    end = first + 1;
    from = block % p->pieces * length;
    to = tx_min(from + length, n);
  }
  for (int64_t r = first; r < end && r < p->row_count && from < to; r++) {
    int64_t rest = r, s = from * p->ss[last], d = from * p->ds[last];
    for (int k = last - 1; k >= 0; k--) {
      int64_t i = rest % p->shape[k];
      rest /= p->shape[k];
      s += i * p->ss[k];
      d += i * p->ds[k];
    }
    p->row(to - from, p->src + s * (int64_t)p->src_size, p->ss[last], p->dst + d * (int64_t)p->dst_size, p->ds[last]);
  }
}

/* The same for a transpose: strips of TILE rows, walked TILE elements at a time. The last two dimensions are the plane. */
static void copy_tiles(void *context, int64_t block, int worker) {
  (void)worker;
  const plan *p = context;
  int last = p->dims - 1, cross = p->dims - 2;
  int64_t n = p->shape[last], strips = tx_ceil_div(p->shape[cross], TILE);
  int64_t first = block * p->rows_per_block, end = first + p->rows_per_block;
  for (int64_t r = first; r < end && r < p->row_count; r++) {
    int64_t row = r % strips * TILE, rest = r / strips, s = row * p->ss[cross], d = row * p->ds[cross];
    for (int k = cross - 1; k >= 0; k--) {
      int64_t i = rest % p->shape[k];
      rest /= p->shape[k];
      s += i * p->ss[k];
      d += i * p->ds[k];
    }
    int64_t rows_here = tx_min(p->shape[cross] - row, TILE);
    for (int64_t at = 0; at < n; at += TILE) {
      if (p->turn != NULL && rows_here == TILE && n - at >= TILE) {
        p->turn(p->src + (s + at * p->ss[last]) * (int64_t)p->src_size, p->ss[last],
                p->dst + (d + at) * (int64_t)p->dst_size, p->ds[cross]);
        continue;
      }
      for (int64_t i = 0; i < rows_here; i++) {
        const char *from = p->src + (s + i * p->ss[cross] + at * p->ss[last]) * (int64_t)p->src_size;
        char *to = p->dst + (d + i * p->ds[cross] + at * p->ds[last]) * (int64_t)p->dst_size;
        p->row(tx_min(n - at, TILE), from, p->ss[last], to, p->ds[last]);
      }
    }
  }
}

static void exchange(plan *p, int a, int b) {
  int64_t shape = p->shape[a], ss = p->ss[a], ds = p->ds[a];
  p->shape[a] = p->shape[b];
  p->ss[a] = p->ss[b];
  p->ds[a] = p->ds[b];
  p->shape[b] = shape;
  p->ss[b] = ss;
  p->ds[b] = ds;
}

/* Whether the copy is a transpose: then the dimension along which the source is contiguous comes next to the innermost. A
 * short innermost dimension (color channels) is rather exchanged with it: long rows of other strides do. */
static bool is_transpose(plan *p) {
  int last = p->dims - 1;
  if (p->dims < 2 || p->ss[last] == 1 || p->ss[last] == 0) return false;
  for (int k = 0; k < last; k++) {
    if (p->ss[k] != 1 || p->shape[k] < TILE) continue;
    if (p->shape[last] < TILE) {
      exchange(p, k, last);
      return false;
    }
    exchange(p, k, last - 1);
    return true;
  }
  return false;
}

/* Leaves out sizes of 1 and joins neighbours that both sides walk as one. */
static void collapse(plan *p, const tx_tensor *dst, const int64_t *src_strides) {
  p->dims = 0;
  for (int d = 0; d < dst->dims; d++) {
    if (dst->shape[d] == 1) continue;
    int k = p->dims - 1;
    if (k >= 0 && p->ss[k] == src_strides[d] * dst->shape[d] && p->ds[k] == dst->strides[d] * dst->shape[d]) {
      p->shape[k] *= dst->shape[d];
    } else {
      k = p->dims++;
      p->shape[k] = dst->shape[d];
    }
    p->ss[k] = src_strides[d];
    p->ds[k] = dst->strides[d];
  }
  if (p->dims == 0) {
    p->dims = 1;
    p->shape[0] = 1;
    p->ss[0] = p->ds[0] = 1;
  }
}

static void run(plan *p) {
  enum { LONG_ROW = 65536 };
  bool tiles = is_transpose(p);
  int64_t n = p->shape[p->dims - 1];
  p->row_count = 1;
  for (int d = 0; d < p->dims - 1; d++) p->row_count *= p->shape[d];
  p->pieces = tx_ceil_div(n, LONG_ROW);
  if (tiles) {
    if (p->ds[p->dims - 1] != 1) p->turn = NULL;
    int64_t across = p->shape[p->dims - 2];
    p->row_count = p->row_count / across * (tx_ceil_div(across, TILE));
    p->rows_per_block = tx_block_size(p->row_count, TILE * n);
    tx_parallel(tx_ceil_div(p->row_count, p->rows_per_block), copy_tiles, p);
  } else if (p->pieces > 1) {
    p->rows_per_block = 1;
    tx_parallel(p->row_count * p->pieces, copy_rows, p);
  } else {
    p->rows_per_block = tx_block_size(p->row_count, n);
    tx_parallel(tx_ceil_div(p->row_count, p->rows_per_block), copy_rows, p);
  }
}

tx_status tx_copy(tx_tensor *dst, const tx_tensor *src) {
  tx_tensor *wide;
  TX_TRY(tx_elements_apart(dst));
  TX_TRY(tx_holds_all(dst->dtype, src));
  if (tx_overlaps(dst, src)) { /* t:slice(1, 2, 5):copy_from(t:slice(1, 1, 4)) */
    TX_TRY(tx_clone(src, &wide));
    tx_status status = tx_copy(dst, wide);
    tx_unref(wide);
    return status;
  }
  TX_TRY(tx_expand("copy_from", src, dst->dims, dst->shape, &wide));
  if (tx_numel(dst) > 0) {
    plan p = {.src = tx_data(src),
              .dst = tx_data(dst),
              .src_size = tx_dtype_size(src->dtype),
              .dst_size = tx_dtype_size(dst->dtype),
              .row = rows[src->dtype][dst->dtype],
              .turn = src->dtype == dst->dtype ? turns[dst->dtype] : NULL};
    collapse(&p, dst, wide->strides);
    run(&p);
  }
  tx_unref(wide);
  return TX_OK;
}

tx_status tx_copy_as(const tx_tensor *t, tx_dtype dtype, tx_tensor **out) {
  TX_TRY(tx_empty(dtype, t->dims, t->shape, out));
  return tx_keep(tx_copy(*out, t), out);
}

tx_status tx_clone(const tx_tensor *t, tx_tensor **out) { return tx_copy_as(t, t->dtype, out); }

tx_status tx_contiguous(tx_tensor *t, tx_tensor **out) {
  if (!tx_is_contiguous(t)) return tx_clone(t, out);
  *out = tx_ref(t);
  return TX_OK;
}

tx_status tx_as_contiguous(const tx_tensor *t, tx_tensor **out) {
  return tx_is_contiguous(t) ? tx_alias(t, out) : tx_clone(t, out);
}

tx_status tx_to(tx_tensor *t, tx_dtype dtype, tx_tensor **out) {
  if (t->dtype != dtype) return tx_copy_as(t, dtype, out);
  *out = tx_ref(t);
  return TX_OK;
}

tx_status tx_fill(tx_tensor *t, tx_number value) {
  double element = 0; /* room for any dtype */
  TX_TRY(tx_store(t->dtype, &element, value));
  TX_TRY(tx_elements_apart(t));
  if (tx_numel(t) == 0) return TX_OK;
  size_t size = tx_dtype_size(t->dtype);
  plan p = {.src = (const char *)&element,
            .dst = tx_data(t),
            .src_size = size,
            .dst_size = size,
            .row = rows[t->dtype][t->dtype]};
  int64_t still[TX_MAX_DIMS] = {0};
  collapse(&p, t, still);
  run(&p);
  return TX_OK;
}

double tx_item(const tx_tensor *t) { return tx_load(t->dtype, tx_data(t), 0).real; }
