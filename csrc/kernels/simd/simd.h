/* simd.h - vectors of the instruction set's width, for the sources in this folder.
 *
 * Every source here is written once and compiled once per instruction set, with -DTX_SIMD=avx2, avx512 or neon. It
 * computes on `vfloat` (VF floats) and `vint` (VF 32-bit integers): GCC vector types, so that + - * / < & | and
 * indexing work on whole vectors; a comparison gives a vint of 0 and -1. What the operators can't say is a function below.
 * VF is 8 for AVX2, 16 for AVX-512 and 4 for NEON (kernels/blocks.h); AVX2 has 16 registers, the others 32.
 *
 * A kernel `name` of kernels/list.h is defined as TX_SIMD_NAME(name); its declaration comes from the list, below.
 */
#ifndef TX_KERNELS_SIMD_SIMD_H
#define TX_KERNELS_SIMD_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/list.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define TX_SIMD_PASTE2(name, isa) tx_##name##_##isa
#define TX_SIMD_PASTE(name, isa) TX_SIMD_PASTE2(name, isa)
#define TX_SIMD_NAME(name) TX_SIMD_PASTE(name, TX_SIMD)

#define TX_KERNEL(name, result, arguments) result TX_SIMD_NAME(name) arguments;
TX_KERNELS(TX_KERNEL)
#undef TX_KERNEL

/* quantized_dot.c: for CPUs with tx_isa_has_dot (base/cpu.h) */
void TX_SIMD_NAME(dot_gemm_u8)(const tx_gemm_u8 *g);
void TX_SIMD_NAME(dot_gemm_i16)(const tx_gemm_i16 *g);
double TX_SIMD_NAME(dot_peak_u8)(int64_t rounds);
double TX_SIMD_NAME(dot_peak_i16)(int64_t rounds);

enum { VF = TX_SIMD_NAME(vector) };

typedef float vfloat __attribute__((vector_size(VF * 4)));
typedef int32_t vint __attribute__((vector_size(VF * 4)));
typedef uint32_t vword __attribute__((vector_size(VF * 4))); /* wraps where a vint must not overflow */

#define TX_INLINE static inline __attribute__((always_inline, unused))

/* Any alignment. */
TX_INLINE vfloat vf_load(const float *p) {
  vfloat v;
  memcpy(&v, p, sizeof v);
  return v;
}

TX_INLINE void vf_store(float *p, vfloat v) { memcpy(p, &v, sizeof v); }

/* All elements x. Not written 0 + x, which would cost an addition, because of -0. */
TX_INLINE vfloat vf_set(float x) {
#if defined(__AVX512F__)
  return (vfloat)_mm512_set1_ps(x);
#elif defined(__AVX2__)
  return (vfloat)_mm256_set1_ps(x);
#else
  return (vfloat)vdupq_n_f32(x);
#endif
}

TX_INLINE vint vi_set(int32_t x) { return (vint){0} + x; }
TX_INLINE vint vf_bits(vfloat x) { return (vint)x; }
TX_INLINE vfloat vi_as_float(vint x) { return (vfloat)x; }

/* The first n (0 <= n <= VF) elements; the others are zero, and their memory is not touched. */
TX_INLINE vfloat vf_load_n(const float *p, int64_t n) {
#if defined(__AVX512F__)
  return (vfloat)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
#else
  vfloat v = {0};
  memcpy(&v, p, (size_t)n * sizeof(float));
  return v;
#endif
}

TX_INLINE void vf_store_n(float *p, vfloat v, int64_t n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)v);
#else
  memcpy(p, &v, (size_t)n * sizeof(float));
#endif
}

/* a * b + c, rounded once. */
TX_INLINE vfloat vf_fma(vfloat a, vfloat b, vfloat c) {
#if defined(__AVX512F__)
  return (vfloat)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (vfloat)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return (vfloat)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#endif
}

/* c - a * b, rounded once. */
TX_INLINE vfloat vf_fnma(vfloat a, vfloat b, vfloat c) { return vf_fma(-a, b, c); }

/* Whether any element of a comparison's result is true. */
TX_INLINE int vi_any(vint condition) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)condition) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_epi8((__m256i)condition) != 0;
#else
  return vmaxvq_u32((uint32x4_t)condition) != 0;
#endif
}

/* condition ? a : b, where condition holds 0 or -1. */
TX_INLINE vfloat vf_select(vint condition, vfloat a, vfloat b) {
  return (vfloat)(((vint)a & condition) | ((vint)b & ~condition));
}

/* The larger, the smaller; b when either is not a number. */
TX_INLINE vfloat vf_max(vfloat a, vfloat b) {
#if defined(__AVX512F__)
  return (vfloat)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (vfloat)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return vf_select(a > b, a, b);
#endif
}

TX_INLINE vfloat vf_min(vfloat a, vfloat b) {
#if defined(__AVX512F__)
  return (vfloat)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (vfloat)_mm256_min_ps((__m256)a, (__m256)b);
#else
  return vf_select(a < b, a, b);
#endif
}

/* 0, 1, 2 ... VF - 1. */
TX_INLINE vint vi_lanes(void) {
  vint v;
  for (int i = 0; i < VF; i++) v[i] = i;
  return v;
}

/* n elements, all or the first few of a vector: the last step of a loop. */
TX_INLINE vfloat vf_load_part(const float *p, int64_t n) { return n < VF ? vf_load_n(p, n) : vf_load(p); }

TX_INLINE void vf_store_part(float *p, vfloat v, int64_t n) {
  if (n < VF) {
    vf_store_n(p, v, n);
  } else {
    vf_store(p, v);
  }
}

/* v, loaded by now: keeps the compiler from turning a load and a select into a masked load, which must wait for its mask
 * and for which the CPU does not run ahead. */
TX_INLINE vfloat vf_loaded(vfloat v) {
#if defined(__AVX2__)
  __asm__("" : "+v"(v));
#elif defined(__ARM_NEON)
  __asm__("" : "+w"(v));
#endif
  return v;
}

/* All elements added, in the order of a binary tree. */
TX_INLINE float vf_sum(vfloat v) {
  float x[VF];
  vf_store(x, v);
  for (int width = VF / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; i++) x[i] += x[i + width];
  }
  return x[0];
}

/* -- VD doubles: half a vfloat's elements, for sums of floats that must not lose digits ---------------------------------- */

enum { VD = VF / 2 };
typedef double vdouble __attribute__((vector_size(VF * 4)));
typedef float vhalf __attribute__((vector_size(VF * 2)));

TX_INLINE vdouble vd_load(const double *p) {
  vdouble v;
  memcpy(&v, p, sizeof v);
  return v;
}

TX_INLINE void vd_store(double *p, vdouble v) { memcpy(p, &v, sizeof v); }

/* The first and the second half of v. */
TX_INLINE vdouble vd_low(vfloat v) {
  vhalf half;
  memcpy(&half, &v, sizeof half);
  return __builtin_convertvector(half, vdouble);
}

TX_INLINE vdouble vd_high(vfloat v) {
  vhalf half;
  memcpy(&half, (char *)&v + sizeof half, sizeof half);
  return __builtin_convertvector(half, vdouble);
}

/* a * b + c, rounded once. */
TX_INLINE vdouble vd_fma(vdouble a, vdouble b, vdouble c) {
#if defined(__AVX512F__)
  return (vdouble)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__AVX2__)
  return (vdouble)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  return (vdouble)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#endif
}

/* The reverse of vd_low and vd_high: the two halves, rounded to floats. */
TX_INLINE vfloat vd_join(vdouble low, vdouble high) {
  vhalf half[2] = {__builtin_convertvector(low, vhalf), __builtin_convertvector(high, vhalf)};
  vfloat v;
  memcpy(&v, half, sizeof v);
  return v;
}

#endif
