/* quantized.c - into the numbers of networks in 8 bits: floats to bytes, weights to panels (kernels/quantized.h). */
#include "base/integers.h"
#include "kernels/simd/requantize.h"

enum { PANEL = TX_SIMD_NAME(panel) };

void TX_SIMD_NAME(quantize_f32)(int64_t n, float inverse, float zero, const float *x, uint8_t *y) {
  int64_t i = 0;
  for (; i + VF <= n; i += VF) vf_store_bytes(y + i, vf_load(x + i) * vf_set(inverse) + vf_set(zero), VF);
  if (i < n) vf_store_bytes(y + i, vf_load_n(x + i, n - i) * vf_set(inverse) + vf_set(zero), n - i);
}

/* Once per network: nothing here needs vectors. Panels are filled up with zeros. */
void TX_SIMD_NAME(pack_u8_weight)(int64_t taps, int64_t depth, int64_t n, const int8_t *w, int8_t *b) {
  memset(b, 0, (size_t)(taps * depth * tx_ceil_div(n, PANEL) * PANEL));
  for (int64_t s = 0; s < taps * depth; s++) {
    for (int64_t k = 0; k < n; k++) {
      b[(k / PANEL * taps * depth + s / 4 * 4) * PANEL + k % PANEL * 4 + s % 4] = w[s * n + k];
    }
  }
}

void TX_SIMD_NAME(pack_i16_weight)(int64_t depth, int64_t n, const int16_t *w, int16_t *b) {
  memset(b, 0, (size_t)(depth * tx_ceil_div(n, PANEL) * PANEL) * sizeof *b);
  for (int64_t d = 0; d < depth; d++) {
    for (int64_t k = 0; k < n; k++) {
      b[(k / PANEL * depth + d / 2 * 2) * PANEL + k % PANEL * 2 + d % 2] = w[d * n + k];
    }
  }
}
