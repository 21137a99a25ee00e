/* gemm.h - the matrix product that every convolution stands on.
 *
 * `c` has m rows and n columns; the sum runs over k steps:
 *
 *     c[i][j] = sum over s of a(i, s) * b(s, j)        (accumulate: c[i][j] += ...)
 *
 *     a(i, s) = a[i * a_row + s * a_step]     any strides: a row-major matrix (a_step 1) or a column-major one (a_row 1)
 *     b(s, j) = b[(j / P) * b_panel + s * b_step + j % P]      panels of P columns, P = tx_kernels.gemm_panel()
 *
 * b is read in whole panels, or only the first half of one if n is no more than that: the last one is padded with zeros by
 * whoever packs it (tx_kernels.pack_f32). An unpacked row-major b may be used when n is a multiple of P: b_panel = P, b_step
 * = its row length.
 *
 * The instruction set computes tiles of up to 14 x 32 (AVX-512), 6 x 16 (AVX2) or 8 x 8 (NEON) in registers. The order
 * of the additions in one element of c is that of s, whatever the tile.
 */
#ifndef TX_KERNELS_GEMM_H
#define TX_KERNELS_GEMM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tx_gemm {
  int64_t m, n, k;
  const float *a;
  int64_t a_row, a_step;
  const float *b;
  int64_t b_panel, b_step;
  float *c;
  int64_t c_row;
  bool accumulate;
  const void *
      prefetch; /* memory that will be needed prefetch after: brought into the cache along the way, as far as it fits in */
  int64_t prefetch_bytes;
} tx_gemm;

#endif
