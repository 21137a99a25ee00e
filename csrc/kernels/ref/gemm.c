/* gemm.c - reference kernels: matrix product, packing. */
#include "kernels/blocks.h"
#include "kernels/ref/ref.h"

enum { PANEL = tx_panel_ref };

void tx_gemm_f32_ref(const tx_gemm *g) {
  for (int64_t i = 0; i < g->m; i++) {
    for (int64_t j = 0; j < g->n; j++) {
      const float *a = g->a + i * g->a_row;
      const float *b = g->b + j / PANEL * g->b_panel + j % PANEL;
      float sum = g->accumulate ? g->c[i * g->c_row + j] : 0;
      for (int64_t s = 0; s < g->k; s++) sum += a[s * g->a_step] * b[s * g->b_step];
      g->c[i * g->c_row + j] = sum;
    }
  }
}

void tx_pack_f32_ref(int64_t k, int64_t n, const float *x, int64_t x_row, int64_t x_column, float *y) {
  for (int64_t j0 = 0; j0 < n; j0 += PANEL) {
    for (int64_t s = 0; s < k; s++) {
      for (int64_t j = j0; j < j0 + PANEL; j++) *y++ = j < n ? x[s * x_row + j * x_column] : 0;
    }
  }
}

double tx_fma_peak_f32_ref(int64_t rounds) {
  volatile float sink;
  float sum[8] = {0};
  for (int64_t r = 0; r < rounds; r++) {
    for (int i = 0; i < 8; i++) sum[i] = sum[i] * 0.5f + 1.0f;
  }
  for (int i = 0; i < 8; i++) sink = sum[i];
  (void)sink;
  return 16.0 * (double)rounds;
}
