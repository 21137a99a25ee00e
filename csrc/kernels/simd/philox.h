/* philox.h - VF counters of Philox 4x32-10 at a time; see base/rng.c for the generator. */
#ifndef TX_KERNELS_SIMD_PHILOX_H
#define TX_KERNELS_SIMD_PHILOX_H

#include "kernels/simd/simd.h"

/* The upper half of the 64-bit products of a and b, lane by lane. */
TX_INLINE vword mul_high(vword a, vword b) {
#if defined(__AVX512F__)
  __m512i x = (__m512i)a, y = (__m512i)b;
  __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(x, y), 32);
  __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(y, 32));
  return (vword)_mm512_mask_blend_epi32(0xAAAA, even, odd);
#elif defined(__AVX2__)
  __m256i x = (__m256i)a, y = (__m256i)b;
  __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(x, y), 32);
  __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(y, 32));
  return (vword)_mm256_blend_epi32(even, odd, 0xAA);
#else
  vword high;
  for (int i = 0; i < VF; i++) high[i] = (uint32_t)(((uint64_t)a[i] * b[i]) >> 32);
  return high;
#endif
}

/* The words of counters first .. first + VF - 1: word w of counter first + l in lane l of out[w]. */
TX_INLINE void philox(uint64_t seed, uint64_t stream, uint64_t first, vword out[4]) {
  const vword m0 = (vword){0} + 0xD2511F53u, m1 = (vword){0} + 0xCD9E8D57u;
  vword c0 = (vword)vi_lanes() + (uint32_t)first, c1 = (vword){0} + (uint32_t)(first >> 32);
  vword c2 = (vword){0} + (uint32_t)stream, c3 = (vword){0} + (uint32_t)(stream >> 32);
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  for (int round = 0; round < 10; round++) {
    vword high0 = mul_high(m0, c0), high1 = mul_high(m1, c2);
    vword low0 = m0 * c0, low1 = m1 * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

#endif
