/* vmath.h - functions of whole vectors: exp, log, tanh, logistic function, erf, power, sine and cosine of a turn.
 *
 * Polynomials are weighted minimax fits over the range that stands beside them. Errors were measured against
 * double precision over all magnitudes (spec/math_isa_spec.lua keeps the bounds); in units in the last place (ulp):
 *
 *     exp 1    log 1    tanh 1.5    logistic 2.5    erf 1.5    pow 1
 *
 * Numbers below the smallest normal one count as zero. NaN gives NaN.
 */
#ifndef TX_KERNELS_SIMD_VMATH_H
#define TX_KERNELS_SIMD_VMATH_H

#include "kernels/simd/simd.h"

TX_INLINE vfloat vi_to_float(vint x) { return __builtin_convertvector(x, vfloat); }
TX_INLINE vfloat vf_abs(vfloat x) { return vi_as_float(vf_bits(x) & 0x7fffffff); }
/* The magnitude of x with the sign of s. */
TX_INLINE vfloat vf_copysign(vfloat x, vfloat s) {
  return vi_as_float((vf_bits(x) & 0x7fffffff) | (vf_bits(s) & ~vi_set(0x7fffffff)));
}

/* c[0] x^(n-1) + ... + c[n-1] */
TX_INLINE vfloat vf_polynomial(vfloat x, int n, const float *c) {
  vfloat p = vf_set(c[0]);
  for (int i = 1; i < n; i++) p = vf_fma(p, x, vf_set(c[i]));
  return p;
}

/* p 2^n for a whole n from -252 to 254: in two factors, since 2^128 alone is not a float. */
TX_INLINE vfloat vf_scale(vfloat p, vfloat n) {
#if defined(__AVX512F__)
  return (vfloat)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  vint exponent = vf_bits(n + 0x1.8p23f) - vf_bits(vf_set(0x1.8p23f)), half = exponent >> 1;
  p *= vi_as_float((half + 127) << 23);
  return p * vi_as_float((exponent - half + 127) << 23);
#endif
}

/* e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln(2)/2, and the polynomial of Cephes for e^r. From 89 on that is infinite
 * by itself. */
TX_INLINE vfloat vf_exp(vfloat x) {
  static const float c[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                            4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
  const vfloat low = vf_set(-87.3365448f), magic = vf_set(0x1.8p23f); /* adding it rounds to a whole number */
  vfloat clamped = vf_min(vf_set(89.0f), vf_max(low, x));             /* in this order a NaN stays one */
  vfloat n = vf_fma(clamped, vf_set(1.44269504f), magic) - magic;
  vfloat r = vf_fnma(n, vf_set(0x1.62e4p-1f), clamped);
  r = vf_fnma(n, vf_set(0x1.7f7d1cp-20f), r);
  vfloat p = vf_fma(vf_polynomial(r, 6, c), r * r, r) + 1.0f;
  return vf_select(x < low, vf_set(0.0f), vf_scale(p, n));
}

/* log x = n log 2 + log(1 + f) with x = 2^n (1 + f), f in [sqrt(1/2) - 1, sqrt(2) - 1];
 * log(1 + f) = f - f^2 / 2 + f^3 p(f). */
TX_INLINE vfloat vf_log(vfloat x) {
  static const float c[] = {6.915368066e-02f,  -1.178980768e-01f, 1.187297629e-01f,
                            -1.238434847e-01f, 1.421865809e-01f,  -1.666925082e-01f,
                            2.000222661e-01f,  -2.499998660e-01f, 3.333331044e-01f};
  vint exponent = (vint)((vword)x - 0x3f3504f3u) >> 23; /* the bits of sqrt(1/2) */
  vfloat f = (vfloat)((vword)x - ((vword)exponent << 23)) - 1.0f, n = vi_to_float(exponent), square = f * f;
  vfloat r = square * f * vf_polynomial(f, 9, c);
  r = vf_fma(n, vf_set(-2.12194440e-4f), r);
  r = vf_fma(square, vf_set(-0.5f), r) + f;
  r = vf_fma(n, vf_set(0.693359375f), r); /* ln 2 in two parts: the first has few bits */
  r = vf_select(x < vf_set(0x1p-126f), vf_set(-INFINITY), r);
  r = vf_select(x < vf_set(0.0f), vf_set(NAN), r);
  return vf_select((x == x) & (x < vf_set(INFINITY)), r, vf_select(x > vf_set(0.0f), x, vf_set(NAN)));
}

/* log(1 + x) for x from 0 to 1: what rounding 1 + x lost is put right, as the logarithm is nearly straight there (Kahan). */
TX_INLINE vfloat vf_log1p(vfloat x) {
  vfloat u = 1.0f + x;
  return vf_select(u == vf_set(1.0f), x, vf_log(u) * (x / (u - 1.0f)));
}

/* |x| < 0.63: x + x^3 p(x^2), else 1 - 2 / (e^2x + 1). */
TX_INLINE vfloat vf_tanh(vfloat x) {
  static const float c[] = {-5.660780474e-03f, 2.060199917e-02f, -5.372922705e-02f, 1.333132892e-01f,
                            -3.333327831e-01f};
  vfloat magnitude = vf_abs(x), square = x * x;
  vfloat near = vf_fma(square * x, vf_polynomial(square, 5, c), x);
  vfloat far = 1.0f - 2.0f / (vf_exp(magnitude + magnitude) + 1.0f);
  return vf_select(magnitude < vf_set(0.63f), near, vf_copysign(far, x));
}

/* e^x - 1 for x of 0 or less: 2 t / (1 - t) with t = tanh(x / 2), without cancellation near 0. */
TX_INLINE vfloat vf_expm1(vfloat x) {
  vfloat t = vf_tanh(0.5f * x);
  return 2.0f * t / (1.0f - t);
}

TX_INLINE vfloat vf_logistic(vfloat x) { return 1.0f / (1.0f + vf_exp(-x)); }

/* |x| < 0.93: x + x p(x^2); else 1 - e^-(t + t q(t)), t = |x| up to 4, where the result is 1. */
TX_INLINE vfloat vf_erf(vfloat x) {
  static const float p[] = {8.344876687e-05f, -8.137354919e-04f, 5.200627014e-03f, -2.685926785e-02f,
                            1.128369389e-01f, -3.761263369e-01f, 1.283791666e-01f};
  static const float q[] = {1.123146562e-05f, -3.228053936e-04f, 3.642465024e-03f, -2.376207506e-02f,
                            1.062368911e-01f, 6.351513086e-01f,  1.286484921e-01f};
  vfloat magnitude = vf_abs(x), t = vf_min(vf_set(4.0f), magnitude);
  vfloat near = vf_fma(x, vf_polynomial(x * x, 7, p), x);
  vfloat far = 1.0f - vf_exp(-vf_fma(t, vf_polynomial(t, 7, q), t));
  return vf_select(magnitude < vf_set(0.93f), near, vf_copysign(far, x));
}

/* sin(2 pi u) and cos(2 pi u) for u in [0, 1]: the nearest quarter turn, and polynomials for the rest of up to 1/8. */
TX_INLINE void vf_sincos_turn(vfloat u, vfloat *sine, vfloat *cosine) {
  static const float s[] = {-7.540206780e+01f, 8.159255354e+01f, -4.134166263e+01f, 6.283185288e+00f};
  static const float c[] = {5.922040749e+01f, -8.544285213e+01f, 6.493931621e+01f, -1.973920865e+01f, 1.0f};
  const vfloat magic = vf_set(0x1.8p23f);
  vfloat shifted = u * 4.0f + magic, r = vf_fma(shifted - magic, vf_set(-0.25f), u), square = r * r;
  vword quarter = (vword)shifted - (vword)magic;
  vfloat a = r * vf_polynomial(square, 4, s), b = vf_polynomial(square, 5, c);
  vint swap = -(vint)(quarter & 1);
  *sine = (vfloat)((vword)vf_select(swap, b, a) ^ ((quarter & 2) << 30));
  *cosine = (vfloat)((vword)vf_select(swap, a, b) ^ (((quarter + 1) & 2) << 30));
}

/* c[0] x^(n-1) + ... + c[n-1] */
TX_INLINE vdouble vd_polynomial(vdouble x, int n, const double *c) {
  vdouble p = (vdouble){0} + c[0];
  for (int i = 1; i < n; i++) p = vd_fma(p, x, (vdouble){0} + c[i]);
  return p;
}

/* log2(m) for m in [sqrt(1/2), sqrt(2)): 2 artanh(s) / ln 2 with s = (m - 1) / (m + 1), the series up to s^15. */
TX_INLINE vdouble vd_log2_near_1(vdouble m) {
  static const double c[] = {1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3, 1};
  vdouble s = (m - 1.0) / (m + 1.0);
  return vd_polynomial(s * s, 8, c) * s * 2.8853900817779268;
}

/* 2^f for |f| <= 1/2: the series of e^(f ln 2) up to the 8th power. */
TX_INLINE vdouble vd_exp2_near_0(vdouble f) {
  static const double c[] = {1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1, 1};
  return vd_polynomial(f * 0.69314718055994531, 9, c);
}

/* x^y = 2^(y log2 x), in doubles between. Where x is not a positive normal number or y is not finite: powf. */
TX_INLINE vfloat vf_pow(vfloat x, vfloat y) {
  const double magic = 0x1.8p52; /* adding it rounds to an integer */
  vint exponent = (vint)((vword)x - 0x3f3504f3u) >> 23;
  vfloat m = (vfloat)((vword)x - ((vword)exponent << 23)), e = vi_to_float(exponent), result;
  vdouble low = vd_low(y) * (vd_low(e) + vd_log2_near_1(vd_low(m)));
  vdouble high = vd_high(y) * (vd_high(e) + vd_log2_near_1(vd_high(m)));
  vdouble n_low = (low + magic) - magic, n_high = (high + magic) - magic;
  result = vd_join(vd_exp2_near_0(low - n_low), vd_exp2_near_0(high - n_high));
  vfloat n = vf_min(vf_max(vd_join(n_low, n_high), vf_set(-160.0f)), vf_set(160.0f));
  vint whole = __builtin_convertvector(n, vint), half = whole >> 1;
  result *= vi_as_float((half + 127) << 23);
  result *= vi_as_float((whole - half + 127) << 23);
  vint ordinary = (x >= vf_set(0x1p-126f)) & (x < vf_set(INFINITY)) & (vf_abs(y) < vf_set(INFINITY));
  if (!vi_any(~ordinary)) return result;
  float base[VF], power[VF], value[VF];
  int32_t done[VF];
  vf_store(base, x);
  vf_store(power, y);
  vf_store(value, result);
  memcpy(done, &ordinary, sizeof done);
  for (int i = 0; i < VF; i++) value[i] = done[i] != 0 ? value[i] : powf(base[i], power[i]);
  return vf_load(value);
}

#endif
