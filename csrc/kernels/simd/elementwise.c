/* elementwise.c - y[i] = f(x[i]) on vectors. */
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

void TX_SIMD_NAME(exp_f32)(int64_t n, const float *x, float *y) {
  int64_t i = 0;
  for (; i + VF <= n; i += VF) vf_store(y + i, vf_exp(vf_load(x + i)));
  if (i < n) vf_store_n(y + i, vf_exp(vf_load_n(x + i, n - i)), n - i);
}
