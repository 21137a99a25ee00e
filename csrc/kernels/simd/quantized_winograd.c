/* quantized_winograd.c - the transforms of F(4x4, 3x3) in 8 bits (kernels/quantized.h) on vectors of channels. */
#include "base/integers.h"
#include "kernels/simd/requantize.h"

/* -- bytes to elements: whole numbers of 16 bits, VS channels at a time --------------------------------------------------- */

/* B^T times a column or row. */
TX_INLINE void input_1d(const vshort *x, vshort *y) {
  const vshort even_a = x[4] - 4 * x[2], odd_a = x[3] - 4 * x[1], even_b = x[4] - x[2], odd_b = x[3] - x[1];
  y[0] = even_b + 4 * (x[0] - x[2]);
  y[1] = even_a + odd_a;
  y[2] = even_a - odd_a;
  y[3] = even_b + 2 * odd_b;
  y[4] = even_b - 2 * odd_b;
  y[5] = (x[5] - x[3]) - 4 * odd_b;
}

enum { ROW = 8, COLUMNS = 4 * ROW + 2 };

/* n channels of at most ROW tiles: first the columns, which neighbours share. The sum of a row of B^T is zero, but for the
 * second, where it is -6: the zero of x counts in element (1,1) alone, 36 times. */
TX_INLINE void elements_of_bytes(const tx_winograd_u8_input *g, int64_t tiles, const uint8_t *x, int16_t *v,
                                 int64_t n) {
  vshort half[6][COLUMNS], in[6], y[6];
  const vshort zeros = (vshort){0} + (int16_t)(36 * g->zero);
  const int64_t c = g->c, row = g->x_row, element = g->v_element, tile = g->v_tile;
  for (int64_t j = 0; j < 4 * tiles + 2; j++, x += c) {
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) in[i] = vs_load_bytes(x + i * row, n);
    input_1d(in, y);
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) half[i][j] = y[i];
  }
#pragma GCC unroll 1
  for (int i = 0; i < 6; i++, v += 6 * element) {
    for (int64_t t = 0; t < tiles; t++) {
      input_1d(half[i] + 4 * t, y);
      if (i == 1) y[1] -= zeros;
#pragma GCC unroll 6
      for (int j = 0; j < 6; j++) vs_store_part(v + j * element + t * tile, y[j], n);
    }
  }
}

void TX_SIMD_NAME(winograd_u8_input)(const tx_winograd_u8_input *g) {
  for (int64_t t = 0; t < g->tiles; t += ROW) {
    const int64_t tiles = tx_min(g->tiles - t, ROW);
    const uint8_t *x = g->x + 4 * t * g->c;
    int16_t *v = g->v + t * g->v_tile;
    int64_t d = 0;
    for (; d + VS <= g->c; d += VS) elements_of_bytes(g, tiles, x + d, v + d, VS);
    if (d < g->c) elements_of_bytes(g, tiles, x + d, v + d, g->c - d);
  }
}

/* -- sums to bytes: VF channels at a time ---------------------------------------------------------------------------------- */

/* A^T times a column or row. A power of two times a float is exact, so that fused with a sum it is rounded as alone. */
TX_INLINE void output_1d(const vfloat *x, vfloat *y) {
  const vfloat a = x[1] + x[2], b = x[1] - x[2], c = x[3] + x[4], d = x[3] - x[4];
  y[0] = (x[0] + a) + c;
  y[1] = vf_fma(vf_set(2), d, b);
  y[2] = vf_fma(vf_set(4), c, a);
  y[3] = vf_fma(vf_set(8), d, b) + x[5];
}

/* n channels, from k on, of one tile; rows and columns of it lie inside of y, which begins with the tile. */
TX_INLINE void bytes_of_sums(const tx_winograd_u8_output *g, bool zeros, const int32_t *m, int64_t k, int64_t n,
                             int rows, int columns, uint8_t *y, const uint8_t *residual) {
  vfloat half[4][6], x[6], y4[4];
  const float *factor = g->factor + k;
  m += k;
#pragma GCC unroll 1
  for (int j = 0; j < 6; j++, m += g->m_element, factor += g->n) {
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) {
      __builtin_prefetch(m + i * 6 * g->m_element + g->m_tile); /* of the next tile */
      x[i] = vi_to_float(vi_load_part(m + i * 6 * g->m_element, n)) * vf_load_part(factor + i * 6 * g->n, n);
    }
    output_1d(x, y4);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) half[i][j] = y4[i];
  }
  const tx_requantize after = *g->after; /* which a store of bytes may not change */
  const vfloat shift = vf_load_part(after.shift + k, n);
  const int64_t row = g->y_row, pixel = g->y_pixel;
  for (int i = 0; i < rows; i++) {
    output_1d(half[i], y4);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      if (j == columns) break;
      const int64_t at = i * row + j * pixel + k;
      const vfloat value = requantized(&after, zeros, y4[j] + shift, residual + at, n);
      store_requantized(&after, zeros, y + at, value, n);
    }
  }
}

TX_INLINE void output(const tx_winograd_u8_output *g, bool zeros) {
  for (int64_t t = 0; 4 * t < g->columns; t++) {
    const int rows = (int)g->rows, columns = (int)tx_min(g->columns - 4 * t, 4);
    const int32_t *m = g->m + t * g->m_tile;
    const int64_t at = 4 * t * g->y_pixel;
    const uint8_t *residual = g->after->residual == NULL ? NULL : g->after->residual + at;
    int64_t k = 0;
    for (; k + VF <= g->n; k += VF) bytes_of_sums(g, zeros, m, k, VF, rows, columns, g->y + at, residual);
    if (k < g->n) bytes_of_sums(g, false, m, k, g->n - k, rows, columns, g->y + at, residual);
  }
}

void TX_SIMD_NAME(winograd_u8_output)(const tx_winograd_u8_output *g) {
  if (zeros_are_0(g->after)) {
    output(g, true);
  } else {
    output(g, false);
  }
}
