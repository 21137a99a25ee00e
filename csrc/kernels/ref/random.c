/* random.c - reference kernels: random words, and normal deviates made of them. */
#include "base/rng.h"
#include "kernels/ref/ref.h"

void tx_random_words_ref(int64_t n, int64_t first, uint64_t seed, uint64_t stream, uint32_t *word) {
  for (int64_t i = 0; i < n; i++) {
    uint32_t out[4];
    int64_t group = (first + i) / 64, w = i % 64 / 16, lane = i % 16;
    tx_philox(seed, stream, (uint64_t)(group * 16 + lane), out);
    word[i] = out[w];
  }
}

void tx_normal_f32_ref(int64_t n, const uint32_t *word, float mean, float deviation, float *y) {
  for (int64_t i = 0; i < n; i += 32) {
    for (int64_t k = i; k < i + 16; k++) {
      double pair[2];
      tx_u32_to_normal(word[k], word[k + 16], pair);
      y[k] = (float)((double)mean + (double)deviation * pair[0]);
      y[k + 16] = (float)((double)mean + (double)deviation * pair[1]);
    }
  }
}
