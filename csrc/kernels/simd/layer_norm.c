/* layer_norm.c - kernels on rows, each normalized by itself; a row may be shorter than a vector.
 *
 * Sums are kept in f64. The mean is taken off in two parts, what f32 holds of it and the rest: rows far from 0 lose nothing.
 */
#include <math.h>

#include "kernels/simd/simd.h"

/* The row's x - mean, 0 behind its end: n elements are left. */
TX_INLINE vfloat deviation(int64_t n, const float *x, float mean, float rest) {
  const vfloat d = vf_load_part(x, n) - mean - rest;
  return n < VF ? vf_select(vi_lanes() < (int32_t)n, d, vf_set(0)) : d;
}

TX_INLINE double sum_of(vdouble low, vdouble high) {
  low += high;
  double sum = 0;
  for (int i = 0; i < VD; i++) sum += low[i];
  return sum;
}

/* to[i] += v[i] of the first n. */
TX_INLINE void add_part(double *to, vfloat v, int64_t n) {
  if (n >= VF) {
    vd_store(to, vd_load(to) + vd_low(v));
    vd_store(to + VD, vd_load(to + VD) + vd_high(v));
    return;
  }
  float lane[VF];
  vf_store(lane, v);
  for (int64_t i = 0; i < n; i++) to[i] += (double)lane[i];
}

static double mean_of(int64_t n, const float *x) {
  vdouble low = {0}, high = {0};
  for (int64_t j = 0; j < n; j += VF) {
    const vfloat v = vf_load_part(x + j, n - j);
    low += vd_low(v);
    high += vd_high(v);
  }
  return sum_of(low, high) / (double)n;
}

static double variance_of(int64_t n, const float *x, float mean, float rest) {
  vdouble low = {0}, high = {0};
  for (int64_t j = 0; j < n; j += VF) {
    const vfloat d = deviation(n - j, x + j, mean, rest);
    low += vd_low(d) * vd_low(d);
    high += vd_high(d) * vd_high(d);
  }
  return sum_of(low, high) / (double)n;
}

void TX_SIMD_NAME(layer_norm_f32)(int64_t rows, int64_t n, double eps, const float *x, const float *gamma,
                                  const float *beta, double *mean, double *invstd, float *y) {
  for (int64_t i = 0; i < rows; i++, x += n, y += n) {
    mean[i] = mean_of(n, x);
    const float m = (float)mean[i], rest = (float)(mean[i] - (double)m);
    invstd[i] = 1 / sqrt(variance_of(n, x, m, rest) + eps);
    const float scale = (float)invstd[i];
    for (int64_t j = 0; j < n; j += VF) {
      const vfloat d = deviation(n - j, x + j, m, rest) * scale;
      vf_store_part(y + j, vf_fma(d, vf_load_part(gamma + j, n - j), vf_load_part(beta + j, n - j)), n - j);
    }
  }
}

void TX_SIMD_NAME(layer_norm_grad_f32)(int64_t rows, int64_t n, const float *x, const float *dy, const float *gamma,
                                       const double *mean, const double *invstd, float *dx, double *dgamma,
                                       double *dbeta) {
  for (int64_t i = 0; i < rows; i++, x += n, dy += n) {
    const float m = (float)mean[i], rest = (float)(mean[i] - (double)m), scale = (float)invstd[i];
    vdouble sum[2] = {{0}}, product[2] = {{0}};
    for (int64_t j = 0; j < n; j += VF) {
      const vfloat g = vf_load_part(dy + j, n - j), xhat = deviation(n - j, x + j, m, rest) * scale;
      const vfloat gg = g * vf_load_part(gamma + j, n - j), p = gg * xhat;
      sum[0] += vd_low(gg);
      sum[1] += vd_high(gg);
      product[0] += vd_low(p);
      product[1] += vd_high(p);
      add_part(dbeta + j, g, n - j);
      add_part(dgamma + j, g * xhat, n - j);
    }
    if (dx == NULL) continue;
    const float of_all = (float)(sum_of(sum[0], sum[1]) / (double)n);
    const float of_xhat = (float)(sum_of(product[0], product[1]) / (double)n);
    for (int64_t j = 0; j < n; j += VF) {
      const vfloat gg = vf_load_part(dy + j, n - j) * vf_load_part(gamma + j, n - j);
      const vfloat xhat = deviation(n - j, x + j, m, rest) * scale;
      vf_store_part(dx + j, vf_fnma(xhat, vf_set(of_xhat), gg - of_all) * scale, n - j);
    }
    dx += n;
  }
}
