/* quantized_dot.c - the same products by instructions that add up several, which not every CPU of the instruction set has:
 * vpdpbusd and vpdpwssd (AVX-512 VNNI, AVX-VNNI); sdot (NEON), of bytes alone, and signed ones.
 */
#include "kernels/simd/simd.h"

#define GEMM_U8 TX_SIMD_NAME(dot_gemm_u8)
#define GEMM_I16 TX_SIMD_NAME(dot_gemm_i16)
#define PEAK_U8 TX_SIMD_NAME(dot_peak_u8)
#define PEAK_I16 TX_SIMD_NAME(dot_peak_i16)

#if defined(__AVX512F__)
#define TARGET __attribute__((target("avx512vnni")))
#define ROWS 14
#elif defined(__AVX2__)
#define TARGET __attribute__((target("avxvnni")))
#define ROWS 6
#else
#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#define ROWS 8
#endif

typedef vint pixel, weight;

TX_INLINE pixel pixels(bool bytes, const char *p) {
  int32_t four;
  memcpy(&four, p, 4);
#if defined(__ARM_NEON)
  if (bytes) four ^= (int32_t)0x80808080; /* less 128, and signed */
#else
  (void)bytes;
#endif
  return vi_set(four);
}

TX_INLINE weight weights(bool bytes, const char *p) {
  (void)bytes;
  vint x;
  memcpy(&x, p, sizeof x);
  return x;
}

TX_INLINE TARGET vint dot(bool bytes, vint sum, pixel x, weight w) {
#if defined(__AVX512F__)
  if (bytes) return (vint)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x, (__m512i)w);
  return (vint)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)x, (__m512i)w);
#elif defined(__AVX2__)
  if (bytes) return (vint)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)x, (__m256i)w);
  return (vint)_mm256_dpwssd_avx_epi32((__m256i)sum, (__m256i)x, (__m256i)w);
#else
  if (bytes) return (vint)vdotq_s32((int32x4_t)sum, (int8x16_t)w, (int8x16_t)x);
  const int16x8_t a = (int16x8_t)x, b = (int16x8_t)w;
  const int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b)), high = vmull_high_s16(a, b);
  return (vint)((vword)sum + (vword)vpaddq_s32(low, high)); /* sums of `peak` wrap */
#endif
}

TX_INLINE pixel unknown(pixel x) { return (pixel)vf_loaded((vfloat)x); }

/* 128 times the weights where the pixels are less 128. */
TX_INLINE TARGET vint lift(bool bytes, vint sum, weight w) {
#if defined(__ARM_NEON)
  if (bytes) return sum - dot(true, vi_set(0), vi_set((int32_t)0x80808080), w);
#else
  (void)bytes;
  (void)w;
#endif
  return sum;
}

#include "kernels/simd/quantized_gemm_body.h"
