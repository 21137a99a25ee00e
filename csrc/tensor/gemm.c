/* gemm.c - matrix products through OpenBLAS; the only file that knows cblas.
 *
 * OpenBLAS runs on one thread; the threads are ours. A product is cut into tiles of the result by its shape alone, each
 * tile is one cblas call, so that the same bits come out for any number of threads.
 */
#include <cblas.h>
#include <stdatomic.h>
#include <string.h>

#include "base/memory.h"
#include "base/threads.h"
#include "tensor/math.h"

enum {
  TILE_ROWS = 128,    /* a call of cblas packs all of B's columns of the tile: fewer rows would pay that too often */
  TILE_COLUMNS = 512, /* multiples of every micro-kernel of OpenBLAS */
  SMALL = 65536       /* products of fewer multiplications stay in one call */
};

/* One product C = alpha op(A) op(B) + beta C of row-major matrices; pointers to float or double. */
typedef struct product {
  tx_dtype dtype;
  bool ta, tb;
  int64_t m, n, k;
  double alpha, beta;
  const char *a, *b;
  char *c;
  int64_t lda, ldb, ldc;
} product;

/* OpenBLAS reads its number of threads from the environment; ours is the only pool. */
static void keep_single_threaded(void) {
  static atomic_bool done;
  if (!atomic_exchange(&done, true)) openblas_set_num_threads(1);
}

/* Rows first_row.. and columns first_column.. of the result, by one call. */
static void multiply_tile(const product *p, int64_t first_row, int64_t rows, int64_t first_column, int64_t columns) {
  size_t size = tx_dtype_size(p->dtype);
  const char *a = p->a + (size_t)(first_row * (p->ta ? 1 : p->lda)) * size;
  const char *b = p->b + (size_t)(first_column * (p->tb ? p->ldb : 1)) * size;
  char *c = p->c + (size_t)(first_row * p->ldc + first_column) * size;
  CBLAS_TRANSPOSE ta = p->ta ? CblasTrans : CblasNoTrans, tb = p->tb ? CblasTrans : CblasNoTrans;
  blasint m = (blasint)rows, n = (blasint)columns, k = (blasint)p->k;
  blasint lda = (blasint)p->lda, ldb = (blasint)p->ldb, ldc = (blasint)p->ldc;
  if (p->dtype == TX_F32) {
    cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, (float)p->alpha, (const float *)a, lda, (const float *)b, ldb,
                (float)p->beta, (float *)c, ldc);
  } else {
    cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, p->alpha, (const double *)a, lda, (const double *)b, ldb, p->beta,
                (double *)c, ldc);
  }
}

/* C = beta C, for products without terms. */
static void scale_result(const product *p) {
  for (int64_t i = 0; i < p->m; i++) {
    for (int64_t j = 0; j < p->n; j++) {
      if (p->dtype == TX_F32) {
        float *c = (float *)p->c + i * p->ldc + j;
        *c = p->beta == 0 ? 0 : *c * (float)p->beta;
      } else {
        double *c = (double *)p->c + i * p->ldc + j;
        *c = p->beta == 0 ? 0 : *c * p->beta;
      }
    }
  }
}

typedef struct batch {
  const product *products;
  int64_t tile_rows, tile_columns, row_tiles, column_tiles, tiles, tiles_per_block;
} batch;

static void multiply_block(void *context, int64_t block, int worker) {
  (void)worker;
  const batch *t = context;
  int64_t first = block * t->tiles_per_block, end = first + t->tiles_per_block;
  for (int64_t i = first; i < end && i < t->tiles; i++) {
    const product *p = &t->products[i / (t->row_tiles * t->column_tiles)];
    int64_t row = i / t->column_tiles % t->row_tiles * t->tile_rows, column = i % t->column_tiles * t->tile_columns;
    int64_t rows = p->m - row < t->tile_rows ? p->m - row : t->tile_rows;
    int64_t columns = p->n - column < t->tile_columns ? p->n - column : t->tile_columns;
    multiply_tile(p, row, rows, column, columns);
  }
}

/* cblas refuses a leading dimension below the row's length even where it is never used (a single row). */
static void lengthen(int64_t *ld, int64_t row) {
  if (*ld < row) *ld = row;
  if (*ld < 1) *ld = 1;
}

/* Products of the same sizes m, n, k. */
static void multiply(int64_t count, product *products) {
  if (count == 0 || products->m == 0 || products->n == 0) return;
  const product *first = products;
  if (first->k == 0 || first->alpha == 0) {
    for (int64_t i = 0; i < count; i++) scale_result(&products[i]);
    return;
  }
  keep_single_threaded();
  for (int64_t i = 0; i < count; i++) {
    product *p = &products[i];
    lengthen(&p->lda, p->ta ? p->m : p->k);
    lengthen(&p->ldb, p->tb ? p->k : p->n);
    lengthen(&p->ldc, p->n);
  }
  batch t = {.products = products, .tile_rows = TILE_ROWS, .tile_columns = TILE_COLUMNS};
  if ((double)first->m * (double)first->n * (double)first->k < SMALL) {
    t.tile_rows = first->m;
    t.tile_columns = first->n;
  }
  t.row_tiles = (first->m + t.tile_rows - 1) / t.tile_rows;
  t.column_tiles = (first->n + t.tile_columns - 1) / t.tile_columns;
  t.tiles = count * t.row_tiles * t.column_tiles;
  int64_t rows = first->m < t.tile_rows ? first->m : t.tile_rows,
          columns = first->n < t.tile_columns ? first->n : t.tile_columns;
  t.tiles_per_block = tx_block_size(t.tiles, rows * columns * (first->k / 16 + 1)); /* 16 multiplications go at once */
  tx_parallel((t.tiles + t.tiles_per_block - 1) / t.tiles_per_block, multiply_block, &t);
}

void tx_gemm_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                 const float *b, int64_t ldb, float beta, float *c, int64_t ldc) {
  product p = {TX_F32,          ta,        tb,  m,   n,  k, (double)alpha, (double)beta, (const char *)a,
               (const char *)b, (char *)c, lda, ldb, ldc};
  multiply(1, &p);
}

void tx_gemm_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const double *a, int64_t lda,
                 const double *b, int64_t ldb, double beta, double *c, int64_t ldc) {
  product p = {TX_F64, ta, tb, m, n, k, alpha, beta, (const char *)a, (const char *)b, (char *)c, lda, ldb, ldc};
  multiply(1, &p);
}

/* -- tx_matmul --------------------------------------------------------------------------------------------------------- */

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
                               product *products) {
  size_t size = tx_dtype_size(out->dtype);
  product p = {.dtype = out->dtype, .alpha = 1, .beta = 0};
  p.m = out->shape[out->dims - 2];
  p.n = out->shape[out->dims - 1];
  p.k = a->shape[a->dims - 1];
  as_matrix(a, &p.ta, &p.lda);
  as_matrix(b, &p.tb, &p.ldb);
  p.ldc = p.n;
  if (p.k > INT32_MAX || p.lda > INT32_MAX || p.ldb > INT32_MAX || p.ldc > INT32_MAX) {
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
  product *products = tx_alloc((size_t)count * sizeof *products);
  if (products == NULL) return TX_ENOMEM;
  tx_status status = fill_products(a, b, out, count, products);
  if (status == TX_OK) multiply(count, products);
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
    status = multiply_all(left, right, *out);
    if (status == TX_OK) {
      drop_vector_dims(*out, a->dims == 1, b->dims == 1);
    } else {
      tx_unref(*out);
    }
  }
  tx_unref(left);
  tx_unref(right);
  return status;
}
