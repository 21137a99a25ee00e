/* random.c - random words, and normal deviates made of them. */
#include "kernels/simd/philox.h"
#include "kernels/simd/vmath.h"

void TX_SIMD_NAME(random_words)(int64_t n, int64_t first, uint64_t seed, uint64_t stream, uint32_t *word) {
  for (int64_t group = 0; group < n; group += 64) {
    for (int64_t lane = 0; lane < 16; lane += VF) {
      vword out[4];
      philox(seed, stream, (uint64_t)((first + group) / 4 + lane), out);
      for (int64_t w = 0; w < 4; w++) memcpy(word + group + w * 16 + lane, &out[w], sizeof out[w]);
    }
  }
}

/* (word + 0.5) / 2^32 in two halves: the sum is rounded once. */
TX_INLINE vfloat to_unit(const uint32_t *word) {
  vword w;
  memcpy(&w, word, sizeof w);
  return vf_fma(vi_to_float((vint)(w >> 16)), vf_set(0x1p-16f), (vi_to_float((vint)(w & 0xffff)) + 0.5f) * 0x1p-32f);
}

void TX_SIMD_NAME(normal_f32)(int64_t n, const uint32_t *word, float mean, float deviation, float *y) {
  for (int64_t i = 0; i < n; i += 32) {
    for (int64_t lane = 0; lane < 16; lane += VF) {
      vfloat sine, cosine, radius, log_u = vf_log(to_unit(word + i + lane));
      for (int k = 0; k < VF; k++) radius[k] = sqrtf(-2.0f * log_u[k]);
      vf_sincos_turn(to_unit(word + i + 16 + lane), &sine, &cosine);
      vf_store(y + i + lane, vf_fma(radius * cosine, vf_set(deviation), vf_set(mean)));
      vf_store(y + i + 16 + lane, vf_fma(radius * sine, vf_set(deviation), vf_set(mean)));
    }
  }
}
