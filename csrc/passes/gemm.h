/* gemm.h - matrix products of plain row-major matrices, one or many of the same sizes.
 *
 *     C = op(A) op(B)  (accumulate: C += ...)      op(A) is m x k, op(B) is k x n; ta: A is kept as k x m, tb: B as n x k
 *
 * A product is cut into tiles of the result by its shape alone, so that the same bits come out for any number of threads.
 * Who multiplies:
 *
 *     f64                                  OpenBLAS     the kernels are of f32
 *     f32, TEXRES_ISA=ref                  OpenBLAS     the reference kernel is the definition, not fast
 *     f32, fewer than 8 rows of C          OpenBLAS     a packed B is read too seldom (*)
 *     f32, m n k < 4096                    OpenBLAS     starting two jobs costs too much
 *     other f32                            kernels      gemm_packed.c
 *     convolution                          kernels      conv_gemm.c and conv_winograd*.c call them, and never come here
 *
 * A module that is built without OpenBLAS has the loops of gemm_body.h instead, which are slower, the more so the newer the
 * CPU, and leaves f32 with few rows of C to the kernels, too.
 *
 * OpenBLAS takes this many times as long as the kernels, B as it lies, one thread (AVX2, AVX-512):
 *
 *     m x k x n     12x12x12      16x16x16      32x32x32      64x64x64      8x512x512     16x512x512
 *                   0.91, 0.98    0.99, 1.02    1.38, 1.70    1.95, 3.47    1.45, 2.42    1.63, 2.97
 *
 * (*) True of 1 row: 0.9 to 1.3, with tb 0.7 to 0.9. With 2 to 7 rows it is 1.1 to 2.3 (4 with tb: 1.0 to 1.1), but the
 * kernels' sums have other bits, so the bound stays.
 */
#ifndef TX_PASSES_GEMM_H
#define TX_PASSES_GEMM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"

/* Pointers are to float or double; C is dense; ld: elements from one kept row to the next. */
typedef struct tx_product {
  tx_dtype dtype;
  bool ta, tb;
  int64_t m, n, k;
  bool accumulate;
  const char *a, *b;
  char *c;
  int64_t lda, ldb;
} tx_product;

/* Products that agree in everything but their pointers. */
void tx_multiply(int64_t count, tx_product *products);

/* The same by the kernels of csrc/kernels, for f32; false when memory ran out: nothing is done. */
bool tx_multiply_packed(int64_t count, const tx_product *products);

/* To be called once the module is loaded: ends OpenBLAS's threads, as ours are the only ones. */
void tx_blas_open(void);

/* What OpenBLAS says of itself, "OpenBLAS 0.3.21 DYNAMIC_ARCH NO_AFFINITY Haswell MAX_THREADS=64"; NULL without it. */
const char *tx_blas_name(void);

#endif
