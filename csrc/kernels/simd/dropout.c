/* dropout.c - elements left out at random, and the others scaled. */
#include "kernels/simd/philox.h"

void TX_SIMD_NAME(dropout_f32)(int64_t n, int64_t first, uint64_t seed, uint64_t stream, uint32_t threshold,
                               float scale, const float *x, float *y) {
  for (int64_t group = 0; group < n; group += 64) {
    for (int64_t lane = 0; lane < 16; lane += VF) {
      vword word[4];
      philox(seed, stream, (uint64_t)((first + group) / 4 + lane), word);
      for (int64_t w = 0; w < 4; w++) {
        int64_t i = group + w * 16 + lane;
        if (i >= n) break;
        vint kept = (vint)(word[w] >= threshold);
        vf_store_part(y + i, vf_select(kept, vf_load_part(x + i, n - i) * scale, vf_set(0)), n - i);
      }
    }
  }
}
