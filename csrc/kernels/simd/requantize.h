/* requantize.h - bytes and 16-bit numbers in vectors, and the way from sums to bytes (kernels/quantized.h). */
#ifndef TX_KERNELS_SIMD_REQUANTIZE_H
#define TX_KERNELS_SIMD_REQUANTIZE_H

#include "kernels/quantized.h"
#include "kernels/simd/simd.h"

enum { VS = 2 * VF };
typedef int16_t vshort __attribute__((vector_size(VS * 2)));

TX_INLINE vint vi_load(const int32_t *p) {
  vint v;
  memcpy(&v, p, sizeof v);
  return v;
}

TX_INLINE void vi_store(int32_t *p, vint v) { memcpy(p, &v, sizeof v); }

TX_INLINE vint vi_load_part(const int32_t *p, int64_t n) { return vf_bits(vf_load_part((const float *)p, n)); }
TX_INLINE vfloat vi_to_float(vint x) { return __builtin_convertvector(x, vfloat); }

/* n (1 <= n <= VF) bytes as floats; the others are zero. */
TX_INLINE vfloat vf_load_bytes(const uint8_t *p, int64_t n) {
#if defined(__AVX512F__)
  const __m128i bytes =
      n == VF ? _mm_loadu_si128((const void *)p) : _mm_maskz_loadu_epi8((__mmask16)((1u << n) - 1u), p);
  return vi_to_float((vint)_mm512_cvtepu8_epi32(bytes));
#elif defined(__AVX2__)
  uint64_t bytes = 0;
  memcpy(&bytes, p, n == VF ? VF : (size_t)n);
  return vi_to_float((vint)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)bytes)));
#else
  uint32_t bytes = 0;
  memcpy(&bytes, p, n == VF ? VF : (size_t)n);
  return vi_to_float((vint)vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(bytes)))));
#endif
}

/* n (1 <= n <= VF) bytes: the nearest whole numbers, halves to even; 0 where x is negative or not a number, at most 255. */
TX_INLINE void vf_store_bytes(uint8_t *p, vfloat x, int64_t n) {
  x = vf_max(x, vf_set(0));
#if defined(__AVX512F__)
  /* what does not fit into 32 bits becomes 0x80000000, and that 255 as well */
  const __m128i bytes = _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32((__m512)x));
  if (n == VF) {
    _mm_storeu_si128((void *)p, bytes);
  } else {
    _mm_mask_storeu_epi8(p, (__mmask16)((1u << n) - 1u), bytes);
  }
#elif defined(__AVX2__)
  const __m256i words = _mm256_cvtps_epi32((__m256)vf_min(x, vf_set(255)));
  const __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  const int64_t bytes = _mm_cvtsi128_si64(_mm_packus_epi16(halves, halves));
  memcpy(p, &bytes, n == VF ? VF : (size_t)n);
#else
  const uint16x4_t halves = vqmovn_u32(vcvtnq_u32_f32((float32x4_t)x));
  const uint8x8_t bytes = vqmovn_u16(vcombine_u16(halves, halves));
  memcpy(p, &bytes, n == VF ? VF : (size_t)n);
#endif
}

/* Whether the zeros of the output and of the residual are 0, as they are after a ReLU: then nothing need be added. */
TX_INLINE bool zeros_are_0(const tx_requantize *q) { return q->zero == 0 && q->residual_zero == 0; }

/* From t, which holds factor and shift by now, to the value; residual: that of the first of n channels. */
TX_INLINE vfloat requantized(const tx_requantize *q, bool zeros, vfloat t, const uint8_t *residual, int64_t n) {
  if (q->relu && q->residual_last) t = vf_max(t, vf_set(0));
  if (q->residual != NULL) {
    vfloat r = vf_load_bytes(residual, n);
    if (!zeros) r = r - vf_set(q->residual_zero);
    t = t + r * vf_set(q->residual_factor);
  }
  if (q->relu && !q->residual_last) t = vf_max(t, vf_set(0));
  return t;
}

TX_INLINE void store_requantized(const tx_requantize *q, bool zeros, uint8_t *p, vfloat value, int64_t n) {
  vf_store_bytes(p, zeros ? value : value + vf_set(q->zero), n);
}

/* n (1 <= n <= VS) bytes as 16-bit numbers; the others are zero. */
TX_INLINE vshort vs_load_bytes(const uint8_t *p, int64_t n) {
#if defined(__AVX512F__)
  const __m256i bytes =
      n == VS ? _mm256_loadu_si256((const void *)p) : _mm256_maskz_loadu_epi8((__mmask32)((1ull << n) - 1u), p);
  return (vshort)_mm512_cvtepu8_epi16(bytes);
#else
  uint8_t bytes[VS] = {0};
  memcpy(bytes, p, n == VS ? VS : (size_t)n);
#if defined(__AVX2__)
  return (vshort)_mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)bytes));
#else
  return (vshort)vmovl_u8(vld1_u8(bytes));
#endif
#endif
}

TX_INLINE void vs_store_part(int16_t *p, vshort x, int64_t n) {
#if defined(__AVX512F__)
  if (n < VS) {
    _mm512_mask_storeu_epi16(p, (__mmask32)((1ull << n) - 1u), (__m512i)x);
    return;
  }
#endif
  memcpy(p, &x, n == VS ? sizeof x : (size_t)n * sizeof *p);
}

#endif
