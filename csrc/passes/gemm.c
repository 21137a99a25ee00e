/* gemm.c - matrix products through OpenBLAS where it was there at build time (TX_HAVE_OPENBLAS); the only file that knows
 * cblas.
 *
 * OpenBLAS runs on one thread; the threads are ours: each tile of the result is one cblas call, or, without OpenBLAS, one
 * of gemm_body.h.
 */
#ifdef TX_HAVE_OPENBLAS
#include <cblas.h>
#endif

#include <string.h>

#include "base/integers.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "passes/gemm.h"

enum {
  TILE_ROWS = 128,    /* a call of cblas packs all of B's columns of the tile: fewer rows would pay that too often */
  TILE_COLUMNS = 512, /* multiples of every micro-kernel of OpenBLAS */
  SMALL = 65536,      /* products of fewer multiplications stay in one call */
  LEAST_WORK = 4096   /* multiplications, for the kernels: see gemm.h */
};

/* -- a tile ---------------------------------------------------------------------------------------------------------
 *
 * Rows first_row.. and columns first_column.. of the result.
 */
#ifdef TX_HAVE_OPENBLAS

enum { LEAST_ROWS = 8 }; /* of C, for the kernels: see gemm.h */

/* When it is loaded, OpenBLAS starts a thread for each CPU. Ours is the only pool: they end here, where this OpenBLAS has
 * threads and says how. A host that uses OpenBLAS too finds it with one thread. */
extern int blas_thread_shutdown_(void) __attribute__((weak));

void tx_blas_open(void) {
  openblas_set_num_threads(1);
  if (blas_thread_shutdown_ != NULL) blas_thread_shutdown_();
}

const char *tx_blas_name(void) { return openblas_get_config(); }

static void multiply_tile(const tx_product *p, int64_t first_row, int64_t rows, int64_t first_column, int64_t columns) {
  size_t size = tx_dtype_size(p->dtype);
  const char *a = p->a + (size_t)(first_row * (p->ta ? 1 : p->lda)) * size;
  const char *b = p->b + (size_t)(first_column * (p->tb ? p->ldb : 1)) * size;
  char *c = p->c + (size_t)(first_row * p->n + first_column) * size;
  CBLAS_TRANSPOSE ta = p->ta ? CblasTrans : CblasNoTrans, tb = p->tb ? CblasTrans : CblasNoTrans;
  blasint m = (blasint)rows, n = (blasint)columns, k = (blasint)p->k;
  blasint lda = (blasint)p->lda, ldb = (blasint)p->ldb, ldc = (blasint)p->n;
  if (p->dtype == TX_F32) {
    cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, 1, (const float *)a, lda, (const float *)b, ldb, p->accumulate,
                (float *)c, ldc);
  } else {
    cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, 1, (const double *)a, lda, (const double *)b, ldb, p->accumulate,
                (double *)c, ldc);
  }
}

#else

enum { LEAST_ROWS = 1 };

#define REAL float
#define NAME(name) name##_f32
#include "passes/gemm_body.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(name) name##_f64
#include "passes/gemm_body.h"

void tx_blas_open(void) {}

const char *tx_blas_name(void) { return NULL; }

static void multiply_tile(const tx_product *p, int64_t first_row, int64_t rows, int64_t first_column, int64_t columns) {
  if (p->dtype == TX_F32) {
    multiply_tile_f32(p, first_row, rows, first_column, columns);
  } else {
    multiply_tile_f64(p, first_row, rows, first_column, columns);
  }
}

#endif

/* -- all tiles ------------------------------------------------------------------------------------------------------- */

static double multiplications(const tx_product *p) { return (double)p->m * (double)p->n * (double)p->k; }

/* Whether the kernels are faster than OpenBLAS: the table of gemm.h. */
static bool kernels_pay(const tx_product *p) {
  return p->dtype == TX_F32 && tx_kernels_isa() != TX_ISA_REF && p->m >= LEAST_ROWS && multiplications(p) >= LEAST_WORK;
}

typedef struct batch {
  const tx_product *products;
  int64_t tile_rows, tile_columns, row_tiles, column_tiles, tiles, tiles_per_block;
} batch;

static void multiply_block(void *context, int64_t block, int worker) {
  (void)worker;
  const batch *t = context;
  int64_t first = block * t->tiles_per_block, end = first + t->tiles_per_block;
  for (int64_t i = first; i < end && i < t->tiles; i++) {
    const tx_product *p = &t->products[i / (t->row_tiles * t->column_tiles)];
    int64_t row = i / t->column_tiles % t->row_tiles * t->tile_rows, column = i % t->column_tiles * t->tile_columns;
    int64_t rows = tx_min(p->m - row, t->tile_rows);
    int64_t columns = tx_min(p->n - column, t->tile_columns);
    multiply_tile(p, row, rows, column, columns);
  }
}

/* cblas refuses a leading dimension below the row's length even where it is never used (a single row). */
static void lengthen(int64_t *ld, int64_t row) { *ld = tx_max(*ld, tx_max(row, 1)); }

void tx_multiply(int64_t count, tx_product *products) {
  if (count == 0 || products->m == 0 || products->n == 0) return;
  const tx_product *first = products;
  if (first->k == 0) {
    const size_t bytes = (size_t)(first->m * first->n) * tx_dtype_size(first->dtype);
    for (int64_t i = 0; i < count && !first->accumulate; i++) memset(products[i].c, 0, bytes);
    return;
  }
  if (kernels_pay(first) && tx_multiply_packed(count, products)) return;
  for (int64_t i = 0; i < count; i++) {
    tx_product *p = &products[i];
    lengthen(&p->lda, p->ta ? p->m : p->k);
    lengthen(&p->ldb, p->tb ? p->k : p->n);
  }
  batch t = {.products = products, .tile_rows = TILE_ROWS, .tile_columns = TILE_COLUMNS};
  if (multiplications(first) < SMALL) {
    t.tile_rows = first->m;
    t.tile_columns = first->n;
  }
  t.row_tiles = tx_ceil_div(first->m, t.tile_rows);
  t.column_tiles = tx_ceil_div(first->n, t.tile_columns);
  t.tiles = count * t.row_tiles * t.column_tiles;
  int64_t rows = tx_min(first->m, t.tile_rows), columns = tx_min(first->n, t.tile_columns);
  t.tiles_per_block = tx_block_size(t.tiles, rows * columns * (first->k / 16 + 1)); /* 16 multiplications go at once */
  tx_parallel(tx_ceil_div(t.tiles, t.tiles_per_block), multiply_block, &t);
}
