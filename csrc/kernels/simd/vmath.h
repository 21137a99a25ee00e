/* vmath.h - functions of whole vectors: exponential, error function, hyperbolic tangent, logistic function. */
#ifndef TX_KERNELS_SIMD_VMATH_H
#define TX_KERNELS_SIMD_VMATH_H

#include "kernels/simd/simd.h"

/* e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln(2)/2, and the polynomial of Cephes for e^r; within 1.5 units in
 * the last place. Results below the smallest normal number are zero. */
TX_INLINE vfloat vf_exp(vfloat x) {
  const float low = -87.3365448f, high = 88.7228391f;
  const vfloat magic = vf_set(0x1.8p23f); /* adding it leaves the rounded integer in the low bits */
  vfloat clamped = vf_min(vf_max(x, vf_set(low)), vf_set(high));
  vfloat shifted = vf_fma(clamped, vf_set(1.44269504f), magic);
  vfloat n = shifted - magic;
  vfloat r = vf_fnma(n, vf_set(0x1.62e4p-1f), clamped);
  r = vf_fnma(n, vf_set(0x1.7f7d1cp-20f), r);
  vfloat p = vf_set(1.9875691500e-4f);
  p = vf_fma(p, r, vf_set(1.3981999507e-3f));
  p = vf_fma(p, r, vf_set(8.3334519073e-3f));
  p = vf_fma(p, r, vf_set(4.1665795894e-2f));
  p = vf_fma(p, r, vf_set(1.6666665459e-1f));
  p = vf_fma(p, r, vf_set(5.0000001201e-1f));
  p = vf_fma(p, r * r, r) + 1.0f;
  vint exponent = vf_bits(shifted) - vf_bits(magic);
  vint half = exponent >> 1; /* 2^n in two factors: 2^128 alone is not a float */
  p *= vi_as_float((half + 127) << 23);
  p *= vi_as_float((exponent - half + 127) << 23);
  p = vf_select(x < vf_set(low), vf_set(0.0f), p);
  p = vf_select(x > vf_set(high), vf_set(INFINITY), p);
  return vf_select(x == x, p, x);
}

/* The error function within about one unit in the last place: x + x p(x^2) near 0, 1 - e^q(|x|) beyond. */
TX_INLINE vfloat vf_erf(vfloat x) {
  vfloat square = x * x, size = vf_max(x, -x);
  vfloat near = vf_set(-5.96761703e-4f);
  near = vf_fma(near, square, vf_set(4.99119423e-3f));
  near = vf_fma(near, square, vf_set(-2.67681349e-2f));
  near = vf_fma(near, square, vf_set(1.12819925e-1f));
  near = vf_fma(near, square, vf_set(-3.76125336e-1f));
  near = vf_fma(near, square, vf_set(1.28379166e-1f));
  near = vf_fma(near, x, x);
  vfloat t = vf_min(size, vf_set(4.0f)); /* from there on erf is 1 in f32 */
  vfloat s = t * t;
  vfloat far = vf_fma(vf_set(-1.72853470e-5f), t, vf_set(3.83197126e-4f));
  far = vf_fma(far, s, vf_fma(vf_set(-3.88396438e-3f), t, vf_set(2.42546219e-2f)));
  far = vf_fma(far, t, vf_set(-1.06777877e-1f));
  far = vf_fma(far, t, vf_set(-6.34846687e-1f));
  far = vf_fma(far, t, vf_set(-1.28717512e-1f));
  far = 1.0f - vf_exp(vf_fma(far, t, -t));
  far = vf_select(x < 0.0f, -far, far);
  return vf_select(size > 0.927734375f, far, near);
}

/* 1 / (1 + e^-x). */
TX_INLINE vfloat vf_logistic(vfloat x) { return 1.0f / (1.0f + vf_exp(-x)); }

/* Within 1e-7; not for tiny results that must keep their relative accuracy. */
TX_INLINE vfloat vf_tanh(vfloat x) { return 1.0f - 2.0f / (vf_exp(2.0f * x) + 1.0f); }

#endif
