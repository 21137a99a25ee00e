/* gemm.h - matrix products of plain row-major matrices, one or many of the same sizes.
 *
 *     C = alpha op(A) op(B) + beta C      op(A) is m x k, op(B) is k x n; ta: A is kept as k x m, tb: B as n x k
 *
 * A product is cut into tiles of the result by its shape alone, so that the same bits come out for any number of threads.
 */
#ifndef TX_PASSES_GEMM_H
#define TX_PASSES_GEMM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"

/* Pointers are to float or double; ld: elements from one kept row to the next. */
typedef struct tx_product {
  tx_dtype dtype;
  bool ta, tb;
  int64_t m, n, k;
  double alpha, beta;
  const char *a, *b;
  char *c;
  int64_t lda, ldb, ldc;
} tx_product;

/* Products that agree in everything but their pointers. */
void tx_multiply(int64_t count, tx_product *products);

/* The same by the kernels of csrc/kernels, for f32; false when that is not worth it or memory ran out: nothing is done. */
bool tx_multiply_packed(int64_t count, const tx_product *products);

/* To be called once the module is loaded: ends OpenBLAS's threads, as ours are the only ones. */
void tx_blas_open(void);

#endif
