/* gemm.h - the matrix product that every convolution stands on.
 *
 * `c` has m rows and n columns; the sum runs over k steps:
 *
 *     c[i][j] = sum over s of a(i, s) * b(s, j)        (accumulate: c[i][j] += ...)
 *
 *     a(i, s) = a[i * a_row + s * a_step]     any strides: a row-major matrix (a_step 1) or a column-major one (a_row 1)
 *     b(s, j) = b[(j / P) * b_panel + s * b_step + j % P]      panels of P columns, P = tx_kernels.panel
 *
 * A panel holds P columns of b, one row of P floats after the other; tx_kernels.pack_f32 makes them. If P is 4, n is 10:
 *
 *     row 0     0 1 2 3 | 4 5 6 7 | 8 9 . .        .         zeros: the last panel is read as a whole, too, or its first
 *     row 1     0 1 2 3 | 4 5 6 7 | 8 9 . .                  half where that holds all columns that are left
 *               panel 0   panel 1   panel 2        b_panel   floats from a panel to the next
 *                                                  b_step    floats from a row of a panel to the next
 *
 * A row-major b need not be packed when n is a multiple of P: b_panel is P, b_step the length of its rows.
 *
 * The kernels compute tiles of c in registers (kernels/blocks.h). An element of c is summed in the order of s, whatever
 * the tile: cutting m or n into several calls does not change its bits.
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
  const void *prefetch;   /* what is needed next: prefetched meanwhile, a line per step of the sum; NULL: nothing */
  int64_t prefetch_bytes; /* of it, the most */
} tx_gemm;

#endif
