/* matmul.c - the matrix product of tensors: NumPy's rules on top of passes/gemm.h. */
#include <string.h>

#include "base/memory.h"
#include "passes/gemm.h"
#include "tensor/math.h"

/* How cblas can read the last two dimensions in place: rows one after the other, or columns (transposed). */
static bool as_matrix(const tx_tensor *t, bool *transposed, int64_t *ld) {
  int64_t rows = t->shape[t->dims - 2], columns = t->shape[t->dims - 1];
  int64_t row_stride = t->strides[t->dims - 2], column_stride = t->strides[t->dims - 1];
  *transposed = false;
  *ld = rows > 1 ? row_stride : columns;
  if ((column_stride == 1 || columns <= 1) && *ld >= columns) return true;
  *transposed = true;
  *ld = columns > 1 ? column_stride : rows;
  return (row_stride == 1 || rows <= 1) && *ld >= rows;
}

/* An operand as at least a matrix of the dtype, in a layout that cblas reads; a vector becomes a row or a column. */
static tx_status prepare(const tx_tensor *t, tx_dtype dtype, bool vector_is_row, tx_tensor **out) {
  tx_tensor *matrix, *converted;
  if (t->dims == 1) {
    int64_t shape[2] = {1, t->shape[0]}, strides[2] = {0, t->strides[0]};
    if (!vector_is_row) {
      shape[0] = t->shape[0], shape[1] = 1;
      strides[0] = t->strides[0], strides[1] = 0;
    }
    TX_TRY(tx_alias(t, &matrix));
    matrix->dims = 2;
    memcpy(matrix->shape, shape, sizeof shape);
    memcpy(matrix->strides, strides, sizeof strides);
  } else {
    TX_TRY(tx_alias(t, &matrix));
  }
  tx_status status = tx_to(matrix, dtype, &converted);
  tx_unref(matrix);
  if (status != TX_OK) return status;
  bool transposed;
  int64_t ld;
  if (as_matrix(converted, &transposed, &ld)) {
    *out = converted;
    return TX_OK;
  }
  status = tx_contiguous(converted, out);
  tx_unref(converted);
  return status;
}

/* The shape of the result with both operands as matrices: batch dimensions broadcast, then rows and columns. */
static tx_status result_shape(const char *operation, const tx_tensor *a, const tx_tensor *b, int *dims,
                              int64_t *shape) {
  tx_tensor batch_a = *a, batch_b = *b; /* only their shapes are looked at */
  batch_a.dims -= 2;
  batch_b.dims -= 2;
  if (a->shape[a->dims - 1] != b->shape[b->dims - 2] ||
      tx_broadcast(operation, &batch_a, &batch_b, dims, shape) != TX_OK) {
    return TX_EINVAL;
  }
  shape[(*dims)++] = a->shape[a->dims - 2];
  shape[(*dims)++] = b->shape[b->dims - 1];
  return TX_OK;
}

/* Offset in elements of batch number `index` of an operand, under the result's batch dimensions. */
static int64_t batch_offset(const tx_tensor *t, const tx_tensor *out, int64_t index) {
  int64_t offset = 0;
  for (int d = out->dims - 3; d >= 0; d--) {
    int64_t i = index % out->shape[d];
    index /= out->shape[d];
    int k = d - (out->dims - t->dims);
    if (k >= 0 && t->shape[k] > 1) offset += i * t->strides[k];
  }
  return offset;
}

static tx_status fill_products(const tx_tensor *a, const tx_tensor *b, const tx_tensor *out, int64_t count,
                               tx_product *products) {
  size_t size = tx_dtype_size(out->dtype);
  tx_product p = {.dtype = out->dtype};
  p.m = out->shape[out->dims - 2];
  p.n = out->shape[out->dims - 1];
  p.k = a->shape[a->dims - 1];
  as_matrix(a, &p.ta, &p.lda);
  as_matrix(b, &p.tb, &p.ldb);
  if (p.k > INT32_MAX || p.lda > INT32_MAX || p.ldb > INT32_MAX || p.n > INT32_MAX) {
    return tx_fail(TX_EINVAL, "matmul: a row of %s or %s is too long", tx_shape_of(a), tx_shape_of(b));
  }
  for (int64_t i = 0; i < count; i++) {
    products[i] = p;
    products[i].a = (const char *)tx_data(a) + (size_t)batch_offset(a, out, i) * size;
    products[i].b = (const char *)tx_data(b) + (size_t)batch_offset(b, out, i) * size;
    products[i].c = (char *)tx_data(out) + (size_t)(i * p.m * p.n) * size;
  }
  return TX_OK;
}

/* One matrix of B for all of A's: the batch dimensions are more rows. */
static bool folds(const tx_tensor *a, const tx_tensor *b, const tx_tensor *out) {
  return b->dims == 2 && out->dims > 2 && a->dims == out->dims && tx_is_contiguous(a);
}

static tx_status multiply_all(const tx_tensor *a, const tx_tensor *b, const tx_tensor *out) {
  tx_tensor rows = *a, result = *out; /* shapes only; the storage is borrowed */
  if (folds(a, b, out)) {
    rows.dims = result.dims = 2;
    rows.shape[1] = rows.strides[0] = a->shape[a->dims - 1];
    rows.strides[1] = 1;
    result.shape[1] = out->shape[out->dims - 1];
    rows.shape[0] = result.shape[0] = 1;
    for (int d = 0; d < out->dims - 1; d++) rows.shape[0] = result.shape[0] *= out->shape[d];
    a = &rows;
    out = &result;
  }
  int64_t count = 1;
  for (int d = 0; d < out->dims - 2; d++) count *= out->shape[d];
  if (tx_numel(out) == 0) return TX_OK;
  tx_product *products = tx_alloc_array(count, sizeof *products);
  if (products == NULL) return TX_ENOMEM;
  tx_status status = fill_products(a, b, out, count, products);
  if (status == TX_OK) tx_multiply(count, products);
  tx_dealloc(products);
  return status;
}

/* Takes away the dimensions of 1 that stand for vectors. */
static void drop_vector_dims(tx_tensor *out, bool drop_row, bool drop_column) {
  if (drop_column) out->dims--;
  if (drop_row) {
    if (!drop_column) {
      out->shape[out->dims - 2] = out->shape[out->dims - 1];
      out->strides[out->dims - 2] = out->strides[out->dims - 1];
    }
    out->dims--;
  }
}

tx_status tx_matmul(const char *operation, const tx_tensor *a, const tx_tensor *b, tx_tensor **out) {
  if (a->dims == 0 || b->dims == 0) {
    return tx_fail(TX_EINVAL, "%s: both operands need at least one dimension (%s and %s)", operation, tx_shape_of(a),
                   tx_shape_of(b));
  }
  if (!tx_dtype_is_float(a->dtype) || !tx_dtype_is_float(b->dtype)) {
    return tx_fail(TX_EINVAL, "%s: %s and %s: only f32 and f64 can be multiplied; convert with t:to(\"f32\")",
                   operation, tx_dtype_name(a->dtype), tx_dtype_name(b->dtype));
  }
  tx_dtype dtype = tx_promote(a, b);
  tx_tensor *left, *right;
  TX_TRY(prepare(a, dtype, true, &left));
  tx_status status = prepare(b, dtype, false, &right);
  if (status != TX_OK) {
    tx_unref(left);
    return status;
  }
  int dims;
  int64_t shape[TX_MAX_DIMS];
  status = result_shape(operation, left, right, &dims, shape);
  if (status == TX_OK) {
    status = tx_empty(dtype, dims, shape, out);
  } else {
    tx_fail(status, "%s: shapes %s and %s don't fit: {..,M,K} and {..,K,N} are wanted", operation, tx_shape_of(a),
            tx_shape_of(b));
  }
  if (status == TX_OK) {
    status = tx_keep(multiply_all(left, right, *out), out);
    if (status == TX_OK) drop_vector_dims(*out, a->dims == 1, b->dims == 1);
  }
  tx_unref(left);
  tx_unref(right);
  return status;
}
