/* quantized.h - kernels of networks in 8 bits.
 *
 * A quantized value is a byte q that is worth scale * (q - zero). Products are of whole numbers, and their sums exact in
 * 32 bits. What follows them is f32, one operation after the other, each rounded once (nothing is fused), so that the
 * reference and every instruction set give the same bits.
 *
 * -- from a sum to a value: tx_requantize -----------------------------------------------------------------------------
 *
 *     t = (float)sum * factor[k] + shift[k]                    k: the output channel
 *     t = max(t, 0)                                            with relu and residual_last
 *     t = t + (float)(residual - residual_zero) * residual_factor     with a residual
 *     t = max(t, 0)                                            with relu, without residual_last
 *     q = (uint8_t)nearest(min(max(t + zero, 0), 255))         nearest: halves to even
 *
 * or, where floats are wanted, y = t. Max and min take the constant where t is not a number.
 *
 * -- direct: gemm_u8 ---------------------------------------------------------------------------------------------------
 *
 * m pixels of one row of the output, n channels. The sum is over `taps` places of the kernel and `depth` bytes at each:
 *
 *     sum[i][k] = sum over taps t and d < depth of  a[i * a_row + offset[t] + d] * w(t, d, k)
 *
 * `a` are bytes as they are (borders hold the zero), w signed bytes. What the zeros add, zero * sum of w, is part of the
 * caller's `start`[k], which the sums begin with. depth is a multiple of 4. b holds w in panels of P columns (P =
 * tx_kernels.panel), four bytes of depth side by side, the last panel filled with zeros:
 *
 *     w(t, d, k) = b[(((k / P) * taps + t) * (depth / 4) + d / 4) * P * 4 + (k % P) * 4 + d % 4]
 *
 * -- Winograd F(4x4, 3x3) in 16 bits ------------------------------------------------------------------------------------
 *
 * With the points 0, +-1, +-2, infinity, B^T holds whole numbers: of bytes less their zero, V = B^T x B is exact in 16
 * bits (at most 68 * 255). U = G w G^T is rounded to 16 bits, with a scale for each of the 36 elements and each output
 * channel, so chosen by who quantizes that no sum of V * U leaves 32 bits. kernels/winograd.h tells the method.
 *
 *     B^T = | 4  0 -5  0  1  0 |      A^T = | 1  1  1  1  1  0 |      G = | 1/4    0     0   |
 *           | 0 -4 -4  1  1  0 |            | 0  1 -1  2 -2  0 |          |-1/6  -1/6  -1/6  |
 *           | 0  4 -4 -1  1  0 |            | 0  1  1  4  4  0 |          |-1/6   1/6  -1/6  |
 *           | 0 -2 -1  2  1  0 |            | 0  1 -1  8 -8  1 |          | 1/24  1/12  1/6  |
 *           | 0  2 -1 -2  1  0 |                                          | 1/24 -1/12  1/6  |
 *           | 0  4  0 -5  0  1 |                                          | 0     0     1    |
 *
 * Along an axis of x0 ... x5, f32: a = x1 + x2, b = x1 - x2, c = x3 + x4, d = x3 - x4, and
 *
 *     y0 = (x0 + a) + c     y1 = b + 2 * d     y2 = a + 4 * c     y3 = (b + 8 * d) + x5
 *
 * first down the columns, then along the rows: t = y[i][j] + shift[k], and on as above from the first max.
 */
#ifndef TX_KERNELS_QUANTIZED_H
#define TX_KERNELS_QUANTIZED_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tx_requantize {
  const float *factor, *shift; /* {n}; Winograd has a factor of its own per element */
  bool relu, residual_last;
  float zero;              /* of the output */
  const uint8_t *residual; /* laid out as the output; NULL: none */
  float residual_zero, residual_factor;
} tx_requantize;

typedef struct tx_gemm_u8 {
  int64_t m, n, taps, depth;
  const uint8_t *a;
  int64_t a_row;         /* bytes from a pixel to the next */
  const int64_t *offset; /* {taps} bytes */
  const int8_t *b;
  const int32_t *start; /* {n} */
  const tx_requantize *after;
  uint8_t *y; /* m rows of n; NULL: floats are wanted */
  float *floats;
  int64_t y_row; /* elements from a row of y, and of the residual, to the next */
} tx_gemm_u8;

/* c[i][k] = sum over d < depth (even) of a[i * a_row + d] * w(d, k); 16 bits each. b holds w in panels, two elements of
 * depth side by side: w(d, k) = b[((k / P) * (depth / 2) + d / 2) * P * 2 + (k % P) * 2 + d % 2]. */
typedef struct tx_gemm_i16 {
  int64_t m, n, depth;
  const int16_t *a;
  int64_t a_row;
  const int16_t *b;
  int32_t *c;
  int64_t c_row;
} tx_gemm_i16;

/* A row of tiles, side by side. Pixels of x are c bytes, rows x_row bytes apart; tile t sees pixels 4t ... 4t+5 of six
 * rows. v of element p = 6i+j, tile t and channel d: v[p * v_element + t * v_tile + d]. */
typedef struct tx_winograd_u8_input {
  int64_t tiles, c;
  const uint8_t *x;
  int64_t x_row;
  int32_t zero;
  int16_t *v;
  int64_t v_element, v_tile;
} tx_winograd_u8_input;

/* The same row of tiles back: rows (1..4) and columns (1..4 tiles) of them lie inside of y. m of element p, tile t and
 * channel k: m[p * m_element + t * m_tile + k]; factor[p * n + k]. Pixels of y, and of the residual, are y_pixel elements
 * apart, rows y_row. */
typedef struct tx_winograd_u8_output {
  int64_t rows, columns, n;
  const int32_t *m;
  int64_t m_element, m_tile;
  const float *factor;
  const tx_requantize *after; /* whose factor is not read */
  uint8_t *y;
  int64_t y_row, y_pixel;
} tx_winograd_u8_output;

#endif
