/* reduce.c - reductions over any set of dimensions: tensors brought into the shape of passes/reduce.h.
 *
 * The input is seen as a contiguous block {outer, reduce, inner}: dimensions to the left of the reduced ones, the reduced
 * ones, those to the right. Where the reduced dimensions are not neighbours, a copy brings them to the end.
 */
#include "passes/reduce.h"

#include "tensor/math.h"

typedef struct block3 {
  tx_tensor *t; /* contiguous; owned */
  int64_t outer, reduce, inner;
} block3;

/* The number of groups of neighbouring reduced dimensions, and the sizes on their left, inside and on their right. */
static int measure(const tx_tensor *t, uint32_t mask, block3 *b) {
  int groups = 0;
  bool inside = false;
  b->outer = b->reduce = b->inner = 1;
  for (int d = 0; d < t->dims; d++) {
    if (t->shape[d] == 1) continue;
    bool reduced = (mask >> d & 1) != 0;
    if (reduced && !inside) groups++;
    inside = reduced;
    if (reduced) {
      b->reduce *= t->shape[d];
    } else if (groups == 0) {
      b->outer *= t->shape[d];
    } else {
      b->inner *= t->shape[d];
    }
  }
  return groups;
}

static tx_status arrange(const tx_tensor *t, uint32_t mask, block3 *b) {
  tx_tensor *view;
  if (measure(t, mask, b) <= 1) {
    TX_TRY(tx_alias(t, &view));
  } else {
    int order[TX_MAX_DIMS], k = 0;
    for (int d = 0; d < t->dims; d++) {
      if ((mask >> d & 1) == 0) order[k++] = d;
    }
    for (int d = 0; d < t->dims; d++) {
      if ((mask >> d & 1) != 0) order[k++] = d;
    }
    TX_TRY(tx_permute(t, order, &view));
    b->outer *= b->inner;
    b->inner = 1;
  }
  tx_status status = tx_contiguous(view, &b->t);
  tx_unref(view);
  return status;
}

static bool is_arg(tx_reduce_op op) { return op == TX_ARGMAX || op == TX_ARGMIN; }
static bool keeps_integers(tx_reduce_op op) { return op <= TX_ARGMIN && op != TX_MEAN; }

static tx_dtype result_dtype(tx_reduce_op op, tx_dtype dtype) {
  if (is_arg(op)) return TX_I64;
  if (tx_dtype_is_float(dtype)) return dtype;
  if (op == TX_SUM || op == TX_PROD) return TX_I64;
  return keeps_integers(op) ? dtype : TX_F32;
}

static int result_shape(const tx_tensor *t, uint32_t mask, bool keepdim, int64_t *shape) {
  int dims = 0;
  for (int d = 0; d < t->dims; d++) {
    bool reduced = (mask >> d & 1) != 0;
    if (!reduced || keepdim) shape[dims++] = reduced ? 1 : t->shape[d];
  }
  return dims;
}

tx_status tx_reduce(const char *operation, tx_reduce_op op, const tx_tensor *t, uint32_t mask, bool keepdim,
                    double correction, tx_tensor **out) {
  block3 b;
  tx_tensor *wide = NULL; /* of integers whose result is no integer: as f64 */
  if (!tx_dtype_is_float(t->dtype) && !keeps_integers(op) && op != TX_MEAN) {
    TX_TRY(tx_copy_as(t, TX_F64, &wide));
  }
  tx_status status = arrange(wide != NULL ? wide : t, mask, &b);
  tx_unref(wide);
  if (status != TX_OK) return status;
  int64_t shape[TX_MAX_DIMS];
  int dims = result_shape(t, mask, keepdim, shape);
  bool needs_one = op == TX_MAX || op == TX_MIN || is_arg(op);
  if (needs_one && b.reduce == 0 && b.outer * b.inner > 0) {
    status = tx_fail(TX_EINVAL, "%s: there are no elements to reduce in %s", operation, tx_shape_of(t));
  } else {
    status = tx_empty(result_dtype(op, t->dtype), dims, shape, out);
  }
  if (status == TX_OK && b.outer * b.inner > 0) {
    const tx_reduce_block pass = {b.t->dtype, b.outer, b.reduce, b.inner, tx_data(b.t)};
    status = tx_keep(tx_reduce_pass(op, &pass, correction, (*out)->dtype, tx_data(*out)), out);
  }
  tx_unref(b.t);
  return status;
}

tx_status tx_sum_to(tx_tensor *t, int dims, const int64_t *shape, tx_tensor **out) {
  uint32_t mask = 0;
  int lead = t->dims - dims;
  for (int d = 0; d < t->dims; d++) {
    if (d < lead || (shape[d - lead] == 1 && t->shape[d] != 1)) mask |= UINT32_C(1) << d;
  }
  if (mask == 0) {
    *out = tx_ref(t);
    return TX_OK;
  }
  tx_tensor *sum;
  TX_TRY(tx_reduce("sum", TX_SUM, t, mask, true, 0, &sum));
  tx_status status = tx_view(sum, dims, shape, out);
  tx_unref(sum);
  return status;
}
