/* quantized_gemm.c - products of whole numbers by what every CPU of the instruction set can do.
 *
 * x86: vpmaddwd adds the products of two pairs of 16-bit numbers. Of four bytes the first and third make one such pair, the
 * second and fourth another. NEON: a 16-bit number of a times four of b, for each number of depth by itself.
 */
#include "kernels/simd/simd.h"

#define TARGET
#define GEMM_U8 TX_SIMD_NAME(gemm_u8)
#define GEMM_I16 TX_SIMD_NAME(gemm_i16)
#define PEAK_U8 TX_SIMD_NAME(peak_u8)
#define PEAK_I16 TX_SIMD_NAME(peak_i16)

#if defined(__AVX2__)

#if defined(__AVX512F__)
#define ROWS 10
#define WIDE(name) _mm512_##name
typedef __m512i wide;
#else
#define ROWS 4
#define WIDE(name) _mm256_##name
typedef __m256i wide;
#endif

typedef struct pairs {
  wide even, odd; /* unless `bytes`, all is in `even` */
} pixel, weight;

TX_INLINE pixel pixels(bool bytes, const char *p) {
  int32_t four;
  memcpy(&four, p, 4);
  const wide x = WIDE(set1_epi32)(four);
  if (!bytes) return (pixel){x, x};
  return (pixel){(wide)((vint)x & 0x00ff00ff), WIDE(srli_epi16)(x, 8)};
}

TX_INLINE weight weights(bool bytes, const char *p) {
  wide x;
  memcpy(&x, p, sizeof x);
  if (!bytes) return (weight){x, x};
  return (weight){WIDE(srai_epi16)(WIDE(slli_epi16)(x, 8), 8), WIDE(srai_epi16)(x, 8)};
}

TX_INLINE vint dot(bool bytes, vint sum, pixel x, weight w) {
  vword all = (vword)sum + (vword)WIDE(madd_epi16)(x.even, w.even); /* sums of `peak` wrap */
  if (bytes) all += (vword)WIDE(madd_epi16)(x.odd, w.odd);
  return (vint)all;
}

TX_INLINE pixel unknown(pixel x) { return (pixel){(wide)vf_loaded((vfloat)x.even), (wide)vf_loaded((vfloat)x.odd)}; }

#else

#define ROWS 8

typedef int16x4_t pixel; /* four numbers, or two and two that are not read */
typedef struct weight {
  int16x4_t of[4]; /* by depth: the four columns */
} weight;

TX_INLINE pixel pixels(bool bytes, const char *p) {
  uint32_t four;
  memcpy(&four, p, 4);
  if (!bytes) return vcreate_s16(four);
  return vreinterpret_s16_u16(vget_low_u16(vmovl_u8(vcreate_u8(four))));
}

TX_INLINE weight weights(bool bytes, const char *p) {
  if (!bytes) {
    const int16x4x2_t w = vld2_s16((const void *)p);
    return (weight){{w.val[0], w.val[1], w.val[1], w.val[1]}};
  }
  const int8x16_t w = vld1q_s8((const void *)p);
  const int16x8_t low = vmovl_s8(vget_low_s8(w)), high = vmovl_high_s8(w);
  const int16x8_t even = vuzp1q_s16(low, high), odd = vuzp2q_s16(low, high);
  return (weight){{vget_low_s16(vuzp1q_s16(even, even)), vget_low_s16(vuzp1q_s16(odd, odd)),
                   vget_low_s16(vuzp2q_s16(even, even)), vget_low_s16(vuzp2q_s16(odd, odd))}};
}

TX_INLINE vint dot(bool bytes, vint sum, pixel x, weight w) {
  int32x4_t s = (int32x4_t)sum;
  s = vmlal_lane_s16(vmlal_lane_s16(s, w.of[0], x, 0), w.of[1], x, 1);
  if (bytes) s = vmlal_lane_s16(vmlal_lane_s16(s, w.of[2], x, 2), w.of[3], x, 3);
  return (vint)s;
}

TX_INLINE pixel unknown(pixel x) {
  __asm__("" : "+w"(x));
  return x;
}

#endif

TX_INLINE vint lift(bool bytes, vint sum, weight w) {
  (void)bytes;
  (void)w;
  return sum;
}

#include "kernels/simd/quantized_gemm_body.h"
