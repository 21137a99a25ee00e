/* index.c - picking, scattering and joining elements. */
#include "tensor/index.h"

#include <string.h>

#include "base/integers.h"
#include "base/threads.h"
#include "tensor/convert.h"
#include "tensor/math.h"
#include "tensor/number.h"

static bool is_position(int64_t index, int64_t size) { return index != 0 && index <= size && index >= -size; }

/* An index tensor as contiguous 0-based positions, all of them checked against `size`. */
static tx_status positions(const char *operation, const tx_tensor *index, int dim, int64_t size, tx_tensor **out) {
  if (tx_dtype_is_float(index->dtype)) {
    return tx_fail(TX_EINVAL, "%s: the index tensor is %s; i64 is wanted", operation, tx_dtype_name(index->dtype));
  }
  TX_TRY(tx_copy_as(index, TX_I64, out));
  int64_t n = tx_numel(*out), *p = tx_i64(*out), bad = 0;
  for (int64_t i = 0; i < n; i++) bad += !is_position(p[i], size);
  if (bad == 0) {
    for (int64_t i = 0; i < n; i++) p[i] += p[i] > 0 ? -1 : size;
    return TX_OK;
  }
  int64_t first = 0;
  while (is_position(p[first], size)) first++;
  tx_status status = tx_fail(TX_EINVAL, "%s: index %lld at position %lld: dimension %d has size %lld", operation,
                             (long long)p[first], (long long)first + 1, dim + 1, (long long)size);
  return tx_keep(status, out);
}

static tx_status check_dim(const char *operation, const tx_tensor *t, int dim) {
  if (dim >= 0 && dim < t->dims) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: there is no dimension %d in %s", operation, dim + 1, tx_shape_of(t));
}

static int64_t product(const int64_t *shape, int first, int end) {
  int64_t n = 1;
  for (int d = first; d < end; d++) n *= shape[d];
  return n;
}

/* y[i] += x[i] in the dtype; integers wrap. */
static void add_run(tx_dtype dtype, int64_t n, void *y, const void *x) {
#define ADD(type, wide) \
  for (int64_t i = 0; i < n; i++) ((type *)y)[i] = (type)((wide)((type *)y)[i] + (wide)((const type *)x)[i])
  switch (dtype) {
    case TX_U8:
      ADD(uint8_t, uint64_t);
      break;
    case TX_I64:
      ADD(int64_t, uint64_t);
      break;
    case TX_F32:
      ADD(float, float);
      break;
    default:
      ADD(double, double);
  }
#undef ADD
}

/* Single elements are copied by one move, not by a call. */
static inline void copy_bytes(void *to, const void *from, size_t bytes) {
  if (bytes == 4) {
    memcpy(to, from, 4);
  } else if (bytes == 8) {
    memcpy(to, from, 8);
  } else {
    memcpy(to, from, bytes);
  }
}

/* -- rows: index_select and index_add ---------------------------------------------------------------------------------- */

/* Contiguous {outer, size, inner} on the side that is picked from, {outer, count, inner} on the other. */
typedef struct rows {
  tx_dtype dtype;
  char *whole, *picked;
  const int64_t *position; /* [count] */
  int64_t outer, size, count, inner, per_block;
} rows;

static void select_block(void *context, int64_t block, int worker) {
  (void)worker;
  const rows *r = context;
  size_t bytes = (size_t)r->inner * tx_dtype_size(r->dtype);
  int64_t first = block * r->per_block, end = first + r->per_block;
  int64_t o = first / r->count, at = first % r->count;
  for (int64_t i = first; i < end && i < r->outer * r->count; i++) {
    int64_t from = o * r->size + r->position[at];
    copy_bytes(r->picked + (size_t)i * bytes, r->whole + (size_t)from * bytes, bytes);
    if (++at == r->count) {
      at = 0;
      o++;
    }
  }
}

tx_status tx_index_select(const char *operation, const tx_tensor *t, int dim, const tx_tensor *index, tx_tensor **out) {
  TX_TRY(check_dim(operation, t, dim));
  if (index->dims > 1) {
    return tx_fail(TX_EINVAL, "%s: the index has shape %s; one dimension is wanted", operation, tx_shape_of(index));
  }
  tx_tensor *position, *whole;
  TX_TRY(positions(operation, index, dim, t->shape[dim], &position));
  tx_status status = tx_as_contiguous(t, &whole);
  if (status == TX_OK) {
    int64_t shape[TX_MAX_DIMS];
    memcpy(shape, t->shape, sizeof shape);
    shape[dim] = tx_numel(position);
    status = tx_empty(t->dtype, t->dims, shape, out);
    if (status == TX_OK && tx_numel(*out) > 0) {
      rows r = {t->dtype,
                tx_data(whole),
                tx_data(*out),
                tx_i64(position),
                product(t->shape, 0, dim),
                t->shape[dim],
                shape[dim],
                product(t->shape, dim + 1, t->dims),
                0};
      r.per_block = tx_block_size(r.outer * r.count, r.inner);
      tx_parallel(tx_ceil_div(r.outer * r.count, r.per_block), select_block, &r);
    }
    tx_unref(whole);
  }
  tx_unref(position);
  return status;
}

/* One block takes a range of the columns: rows that meet in one place are added by one thread, in order. */
static void add_block(void *context, int64_t block, int worker) {
  (void)worker;
  const rows *r = context;
  int64_t blocks = tx_ceil_div(r->inner, r->per_block), o = block / blocks, column = block % blocks * r->per_block;
  int64_t n = tx_min(r->inner - column, r->per_block), size = (int64_t)tx_dtype_size(r->dtype);
  for (int64_t i = 0; i < r->count; i++) {
    char *to = r->whole + ((o * r->size + r->position[i]) * r->inner + column) * size;
    add_run(r->dtype, n, to, r->picked + ((o * r->count + i) * r->inner + column) * size);
  }
}

/* Contiguous dst, src of its dtype. */
static void add_rows(tx_tensor *dst, int dim, const tx_tensor *position, const tx_tensor *src) {
  if (tx_numel(src) == 0) return;
  rows r = {dst->dtype,
            tx_data(dst),
            tx_data(src),
            tx_i64(position),
            product(dst->shape, 0, dim),
            dst->shape[dim],
            tx_numel(position),
            product(dst->shape, dim + 1, dst->dims),
            0};
  r.per_block = tx_block_size(r.inner, r.count);
  tx_parallel(r.outer * (tx_ceil_div(r.inner, r.per_block)), add_block, &r);
}

/* A contiguous copy of src in the dtype of dst (or src itself), and dst or a contiguous stand-in for it. */
typedef struct addends {
  tx_tensor *dst, *src;
} addends;

static tx_status prepare_addends(tx_tensor *dst, const tx_tensor *src, addends *a) {
  TX_TRY(tx_copy_as(src, dst->dtype, &a->src));
  const tx_status status = tx_as_contiguous(dst, &a->dst);
  if (status != TX_OK) tx_unref(a->src);
  return status;
}

static tx_status finish_addends(tx_tensor *dst, addends *a) {
  tx_status status = tx_is_contiguous(dst) ? TX_OK : tx_copy(dst, a->dst);
  tx_unref(a->dst);
  tx_unref(a->src);
  return status;
}

tx_status tx_index_add(const char *operation, tx_tensor *dst, int dim, const tx_tensor *index, const tx_tensor *src) {
  TX_TRY(check_dim(operation, dst, dim));
  bool fits = src->dims == dst->dims && index->dims <= 1;
  for (int d = 0; d < dst->dims && fits; d++) fits = src->shape[d] == (d == dim ? tx_numel(index) : dst->shape[d]);
  if (!fits) {
    return tx_fail(TX_EINVAL, "%s: %s does not fit into %s along dimension %d with %lld indices", operation,
                   tx_shape_of(src), tx_shape_of(dst), dim + 1, (long long)tx_numel(index));
  }
  tx_tensor *position;
  TX_TRY(positions(operation, index, dim, dst->shape[dim], &position));
  addends a;
  tx_status status = prepare_addends(dst, src, &a);
  if (status == TX_OK) {
    add_rows(a.dst, dim, position, a.src);
    status = finish_addends(dst, &a);
  }
  tx_unref(position);
  return status;
}

/* -- lines: gather and scatter_add ------------------------------------------------------------------------------------- */

/* picked[i] = whole[position[i]], or whole[position[i]] += picked[i], for n positions; steps in elements: `step` from one
 * position to the next, `stride` from one element of the line of `whole` to the next. */
typedef void line_fn(int64_t n, const int64_t *position, int64_t step, void *whole, int64_t stride, void *picked);

#define PICK(dtype, type)                                                                                 \
  static void pick_##dtype(int64_t n, const int64_t *position, int64_t step, void *whole, int64_t stride, \
                           void *picked) {                                                                \
    const type *x = whole;                                                                                \
    type *y = picked;                                                                                     \
    for (int64_t i = 0; i < n; i++) y[i * step] = x[position[i * step] * stride];                         \
  }
PICK(u8, uint8_t)
PICK(i64, int64_t)
PICK(f32, float)
PICK(f64, double)

#define ADD(dtype, type, wide)                                                                           \
  static void add_##dtype(int64_t n, const int64_t *position, int64_t step, void *whole, int64_t stride, \
                          void *picked) {                                                                \
    type *y = whole;                                                                                     \
    const type *x = picked;                                                                              \
    for (int64_t i = 0; i < n; i++) {                                                                    \
      type *at = y + position[i * step] * stride;                                                        \
      *at = (type)((wide)*at + (wide)x[i * step]); /* integers wrap */                                   \
    }                                                                                                    \
  }
ADD(u8, uint8_t, uint64_t)
ADD(i64, int64_t, uint64_t)
ADD(f32, float, float)
ADD(f64, double, double)

static line_fn *const pick[TX_DTYPE_COUNT] = {pick_u8, pick_i64, pick_f32, pick_f64};
static line_fn *const add[TX_DTYPE_COUNT] = {add_u8, add_i64, add_f32, add_f64};

/* Lines run along `dim` of the index, all other coordinates fixed; two lines never touch the same element of `whole`. */
typedef struct lines {
  const tx_tensor *whole;    /* picked from or added to; any strides */
  const tx_tensor *position; /* contiguous */
  char *picked;              /* contiguous, shape of position */
  int dim;
  int64_t count, length, inner, per_block;
  line_fn *fn;
} lines;

static void run_line(const lines *l, int64_t line) {
  const tx_tensor *p = l->position, *w = l->whole;
  int64_t size = (int64_t)tx_dtype_size(w->dtype);
  int64_t first = line / l->inner * l->length * l->inner + line % l->inner, rest = first, offset = 0;
  for (int d = p->dims - 1; d >= 0; d--) { /* coordinate along dim is 0 */
    offset += rest % p->shape[d] * w->strides[d];
    rest /= p->shape[d];
  }
  l->fn(l->length, tx_i64(p) + first, l->inner, (char *)tx_data(w) + offset * size, w->strides[l->dim],
        l->picked + first * size);
}

static void lines_block(void *context, int64_t block, int worker) {
  (void)worker;
  const lines *l = context;
  int64_t first = block * l->per_block, end = first + l->per_block;
  for (int64_t line = first; line < end && line < l->count; line++) run_line(l, line);
}

static void run_lines(const tx_tensor *whole, int dim, const tx_tensor *position, const tx_tensor *picked,
                      line_fn *const *fn) {
  if (tx_numel(position) == 0) return;
  lines l = {.whole = whole, .position = position, .picked = tx_data(picked), .dim = dim, .fn = fn[whole->dtype]};
  l.length = position->shape[dim];
  l.inner = product(position->shape, dim + 1, position->dims);
  l.count = tx_numel(position) / l.length;
  l.per_block = tx_block_size(l.count, 4 * l.length);
  tx_parallel(tx_ceil_div(l.count, l.per_block), lines_block, &l);
}

static tx_status check_lines(const char *operation, const tx_tensor *t, int dim, const tx_tensor *index) {
  TX_TRY(check_dim(operation, t, dim));
  bool fits = index->dims == t->dims;
  for (int d = 0; d < t->dims && fits; d++) fits = d == dim || index->shape[d] <= t->shape[d];
  if (fits) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: index %s does not fit %s outside dimension %d", operation, tx_shape_of(index),
                 tx_shape_of(t), dim + 1);
}

tx_status tx_gather(const char *operation, const tx_tensor *t, int dim, const tx_tensor *index, tx_tensor **out) {
  TX_TRY(check_lines(operation, t, dim, index));
  tx_tensor *position;
  TX_TRY(positions(operation, index, dim, t->shape[dim], &position));
  tx_status status = tx_empty(t->dtype, index->dims, index->shape, out);
  if (status == TX_OK) run_lines(t, dim, position, *out, pick);
  tx_unref(position);
  return status;
}

tx_status tx_scatter_add(const char *operation, tx_tensor *dst, int dim, const tx_tensor *index, const tx_tensor *src) {
  TX_TRY(check_lines(operation, dst, dim, index));
  if (!tx_same_shape(index, src)) {
    return tx_fail(TX_EINVAL, "%s: index %s and source %s differ in shape", operation, tx_shape_of(index),
                   tx_shape_of(src));
  }
  tx_tensor *position;
  TX_TRY(positions(operation, index, dim, dst->shape[dim], &position));
  addends a;
  tx_status status = prepare_addends(dst, src, &a);
  if (status == TX_OK) {
    run_lines(a.dst, dim, position, a.src, add);
    status = finish_addends(dst, &a);
  }
  tx_unref(position);
  return status;
}

/* -- the rest ---------------------------------------------------------------------------------------------------------- */

tx_status tx_masked_fill(const tx_tensor *t, const tx_tensor *mask, tx_number value, tx_tensor **out) {
  tx_tensor *filler, *wide;
  TX_TRY(tx_expand("masked_fill", mask, t->dims, t->shape, &wide));
  tx_status status = tx_scalar(t->dtype, value, false, &filler);
  if (status == TX_OK) {
    status = tx_where(wide, filler, t, out);
    tx_unref(filler);
  }
  tx_unref(wide);
  return status;
}

static tx_status check_cat(const char *operation, int count, tx_tensor *const *list, int dim) {
  if (count < 1) return tx_fail(TX_EINVAL, "%s: the list is empty", operation);
  TX_TRY(check_dim(operation, list[0], dim));
  for (int i = 1; i < count; i++) {
    bool fits = list[i]->dims == list[0]->dims;
    for (int d = 0; d < list[0]->dims && fits; d++) fits = d == dim || list[i]->shape[d] == list[0]->shape[d];
    if (!fits) {
      return tx_fail(TX_EINVAL, "%s: number %d is %s and does not fit %s outside dimension %d", operation, i + 1,
                     tx_shape_of(list[i]), tx_shape_of(list[0]), dim + 1);
    }
  }
  return TX_OK;
}

tx_status tx_cat(const char *operation, int count, tx_tensor *const *list, int dim, tx_tensor **out) {
  TX_TRY(check_cat(operation, count, list, dim));
  tx_dtype dtype = list[0]->dtype;
  int64_t shape[TX_MAX_DIMS];
  memcpy(shape, list[0]->shape, sizeof shape);
  for (int i = 1; i < count; i++) {
    if (list[i]->dtype > dtype) dtype = list[i]->dtype;
    if (!tx_sum_fits(shape[dim], list[i]->shape[dim], &shape[dim])) {
      return tx_fail(TX_ENOMEM, "%s: the sizes of dimension %d add up to more than memory can address", operation,
                     dim + 1);
    }
  }
  TX_TRY(tx_empty(dtype, list[0]->dims, shape, out));
  int64_t first = 0;
  for (int i = 0; i < count; i++) {
    tx_tensor *part;
    tx_status status = tx_slice(*out, dim, first, list[i]->shape[dim], 1, &part);
    if (status == TX_OK) {
      status = tx_copy(part, list[i]);
      tx_unref(part);
    }
    if (status != TX_OK) return tx_keep(status, out);
    first += list[i]->shape[dim];
  }
  return TX_OK;
}

tx_status tx_stack(const char *operation, int count, tx_tensor *const *list, int dim, tx_tensor **out) {
  if (count < 1) return tx_fail(TX_EINVAL, "%s: the list is empty", operation);
  int dims = list[0]->dims;
  if (dims == TX_MAX_DIMS || dim < 0 || dim > dims) {
    return tx_fail(TX_EINVAL, "%s: there can be no new dimension %d in %s", operation, dim + 1, tx_shape_of(list[0]));
  }
  tx_dtype dtype = list[0]->dtype;
  for (int i = 1; i < count; i++) {
    if (!tx_same_shape(list[i], list[0])) {
      return tx_fail(TX_EINVAL, "%s: number %d is %s, the first is %s", operation, i + 1, tx_shape_of(list[i]),
                     tx_shape_of(list[0]));
    }
    if (list[i]->dtype > dtype) dtype = list[i]->dtype;
  }
  int64_t shape[TX_MAX_DIMS];
  for (int d = 0; d <= dims; d++) shape[d] = d < dim ? list[0]->shape[d] : d == dim ? count : list[0]->shape[d - 1];
  TX_TRY(tx_empty(dtype, dims + 1, shape, out));
  for (int i = 0; i < count; i++) {
    tx_tensor *part;
    tx_status status = tx_select(*out, dim, i, &part);
    if (status == TX_OK) {
      status = tx_copy(part, list[i]);
      tx_unref(part);
    }
    if (status != TX_OK) return tx_keep(status, out);
  }
  return TX_OK;
}

static tx_status largest_label(const tx_tensor *labels, int64_t *largest) {
  *largest = 0;
  if (tx_numel(labels) == 0) return TX_OK;
  tx_tensor *t;
  TX_TRY(tx_reduce("one_hot", TX_MAX, labels, UINT32_MAX, false, 0, &t));
  *largest = tx_load(t->dtype, tx_data(t), 0).integer;
  tx_unref(t);
  return TX_OK;
}

tx_status tx_one_hot(const tx_tensor *labels, int64_t classes, tx_dtype dtype, tx_tensor **out) {
  if (tx_dtype_is_float(labels->dtype) || labels->dims == TX_MAX_DIMS) {
    return tx_fail(TX_EINVAL, "one_hot: labels %s are %s; i64 is wanted", tx_shape_of(labels),
                   tx_dtype_name(labels->dtype));
  }
  if (classes == 0) TX_TRY(largest_label(labels, &classes));
  tx_tensor *label;
  TX_TRY(tx_copy_as(labels, TX_I64, &label));
  tx_status status = TX_OK;
  int64_t n = tx_numel(label), *value = tx_i64(label);
  for (int64_t i = 0; i < n && status == TX_OK; i++) {
    if (value[i] < 1 || value[i] > classes) {
      status = tx_fail(TX_EINVAL, "one_hot: label %lld: classes are 1..%lld", (long long)value[i], (long long)classes);
    }
  }
  int64_t shape[TX_MAX_DIMS];
  memcpy(shape, labels->shape, sizeof shape);
  shape[labels->dims] = classes;
  if (status == TX_OK) status = tx_zeros(dtype, labels->dims + 1, shape, out);
  const uint8_t one = 1;
  for (int64_t i = 0; i < n && status == TX_OK; i++) {
    char *at = (char *)tx_data(*out) + (size_t)(i * classes + value[i] - 1) * tx_dtype_size(dtype);
    tx_convert(TX_U8, dtype)(1, &one, 0, at, 0);
  }
  tx_unref(label);
  return status;
}
