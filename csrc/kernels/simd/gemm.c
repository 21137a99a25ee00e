/* gemm.c - matrix product in register tiles, packing (see kernels/gemm.h).
 *
 * A tile of ROWS x 2 vectors of c stays in registers over the whole sum; each step loads two vectors of b and broadcasts
 * one number of a per row. With AVX-512 that is 28 sums + 2 of b + 1 broadcast in 32 registers, 28 multiply-adds for 16
 * loads. Rows are shared out evenly among the tiles, as a short last tile would run at a fraction of the speed.
 */
#include "kernels/gemm.h"

#include "base/integers.h"
#include "kernels/simd/simd.h"

enum { ROWS = TX_SIMD_NAME(tile_rows), PANEL = TX_SIMD_NAME(panel), LINE = 64 };
_Static_assert(PANEL == 2 * VF, "a tile is two vectors wide");

/* c[rows][columns] of one tile; rows and vectors are constants, columns <= vectors * VF. Rows of a are addressed in
 * threes from one pointer: [p], [p + row], [p + 2 row] is what the CPU's addressing can say. Each step prefetches a line
 * from `prefetch` on, unless that is NULL. */
TX_INLINE void tile(int rows, int vectors, const tx_gemm *g, const float *a, const float *b, float *c, int64_t columns,
                    const char *prefetch) {
  vfloat sum[ROWS][2];
  const float *group[(ROWS + 2) / 3];
  const int64_t row = g->a_row, a_step = g->a_step, b_step = g->b_step, prefetch_step = prefetch == NULL ? 0 : LINE;
  if (prefetch == NULL) prefetch = (const char *)b; /* needed anyway */
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++) {
    if (g->accumulate) { /* c is read at the end */
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) __builtin_prefetch(c + i * g->c_row + v * VF, 1);
    }
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) sum[i][v] = vf_set(0);
    if (i % 3 == 0) group[i / 3] = a + i * row;
  }
  for (int64_t s = 0; s < g->k; s++) {
    vfloat b0 = vf_load(b), b1 = vf_set(0);
    if (vectors == 2) b1 = vf_load(b + VF);
    b += b_step;
    __builtin_prefetch(prefetch, 0, 2);
    prefetch += prefetch_step;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
      vfloat x = vf_set(group[i / 3][i % 3 * row]);
      sum[i][0] = vf_fma(x, b0, sum[i][0]);
      if (vectors == 2) sum[i][1] = vf_fma(x, b1, sum[i][1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i += 3) group[i / 3] += a_step;
  }
  const bool whole = columns == vectors * VF;
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++) {
    float *at = c + i * g->c_row;
    if (whole) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) {
        vf_store(at + v * VF, g->accumulate ? vf_load(at + v * VF) + sum[i][v] : sum[i][v]);
      }
    } else {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) {
        int64_t n = tx_min(columns - v * VF, VF);
        vfloat before = g->accumulate ? vf_load_n(at + v * VF, n) : vf_set(0);
        vf_store_n(at + v * VF, before + sum[i][v], n);
      }
    }
  }
}

typedef void tile_fn(const tx_gemm *g, const float *a, const float *b, float *c, int64_t columns, const char *prefetch);

#define TILE_OF(rows, vectors)                                                                                     \
  static void tile_##rows##_##vectors(const tx_gemm *g, const float *a, const float *b, float *c, int64_t columns, \
                                      const char *prefetch) {                                                      \
    tile(rows, vectors, g, a, b, c, columns, prefetch);                                                            \
  }
#define TILE(rows) TILE_OF(rows, 1) TILE_OF(rows, 2)
#define ENTRY(rows) \
  { tile_##rows##_1, tile_##rows##_2 }

/* clang-format off */
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#if defined(__AVX512F__)
TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14)
#elif !defined(__AVX2__)
TILE(7) TILE(8)
#endif

static tile_fn *const tiles[ROWS][2] = {
  ENTRY(1), ENTRY(2), ENTRY(3), ENTRY(4), ENTRY(5), ENTRY(6),
#if defined(__AVX512F__)
  ENTRY(7), ENTRY(8), ENTRY(9), ENTRY(10), ENTRY(11), ENTRY(12), ENTRY(13), ENTRY(14)
#elif !defined(__AVX2__)
  ENTRY(7), ENTRY(8)
#endif
};
/* clang-format on */

void TX_SIMD_NAME(gemm_f32)(const tx_gemm *g) {
  const int64_t tile_count = tx_ceil_div(g->m, ROWS);
  const char *prefetch = g->prefetch;
  int64_t left = prefetch == NULL ? 0 : g->prefetch_bytes;
  for (int64_t j = 0; j < g->n; j += PANEL) {
    const float *b = g->b + j / PANEL * g->b_panel;
    const int64_t columns = tx_min(g->n - j, PANEL);
    int64_t i = 0;
    for (int64_t t = 0; t < tile_count; t++) {
      const int64_t rows = (g->m - i) / (tile_count - t);
      tiles[rows - 1][columns > VF](g, g->a + i * g->a_row, b, g->c + i * g->c_row + j, columns,
                                    left > 0 ? prefetch : NULL);
      left -= g->k * LINE;
      if (left > 0) prefetch += g->k * LINE;
      i += rows;
    }
  }
}

void TX_SIMD_NAME(pack_f32)(int64_t k, int64_t n, const float *x, int64_t x_row, int64_t x_column, float *y) {
  for (int64_t j = 0; j < n; j += PANEL) {
    const float *from = x + j * x_column;
    const int64_t columns = tx_min(n - j, PANEL);
    if (x_column == 1 && columns == PANEL) {
      for (int64_t s = 0; s < k; s++, from += x_row, y += PANEL) {
        vf_store(y, vf_load(from));
        vf_store(y + VF, vf_load(from + VF));
      }
    } else {
      for (int64_t s = 0; s < k; s++, from += x_row, y += PANEL) {
        for (int64_t c = 0; c < columns; c++) y[c] = from[c * x_column];
        for (int64_t c = columns; c < PANEL; c++) y[c] = 0;
      }
    }
  }
}

double TX_SIMD_NAME(fma_peak_f32)(int64_t rounds) {
  enum { CHAINS = 12 }; /* two units of latency 4 need 8; all fit in 16 registers */
  vfloat sum[CHAINS];
  vfloat half = vf_set(0.5f), one = vf_set(1.0f);
#pragma GCC unroll 12
  for (int i = 0; i < CHAINS; i++) sum[i] = vf_set((float)i);
  for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) sum[i] = vf_fma(sum[i], half, one);
  }
  volatile float sink;
#pragma GCC unroll 12
  for (int i = 0; i < CHAINS; i++) sink = vf_sum(sum[i]);
  (void)sink;
  return 2.0 * VF * CHAINS * (double)rounds;
}
