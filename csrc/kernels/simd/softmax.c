/* softmax.c - kernels on rows of class scores; a row may be shorter than a vector.
 *
 * Two passes over a row: the highest score, then e^(x - highest), which is at most 1, with its sum. The lanes that a
 * row leaves over count as -inf in the first and as 0 in the second.
 */
#include "kernels/simd/vmath.h"

/* The first n lanes of v, `other` in the rest. */
TX_INLINE vfloat lanes_or(int64_t n, vfloat v, float other) {
  return n < VF ? vf_select(vi_lanes() < (int32_t)n, v, vf_set(other)) : v;
}

/* A NaN is passed over: it comes back with the sum of exponentials. */
TX_INLINE float row_max(int64_t n, const float *x) {
  vfloat most = vf_set(-INFINITY);
  for (int64_t j = 0; j < n; j += VF) most = vf_max(lanes_or(n - j, vf_load_part(x + j, n - j), -INFINITY), most);
  float lane[VF], highest = -INFINITY;
  vf_store(lane, most);
  for (int i = 0; i < VF; i++) highest = lane[i] > highest ? lane[i] : highest;
  return highest;
}

/* The sum of e^(x - highest); the terms go to y unless it is NULL. */
TX_INLINE float row_sum(int64_t n, const float *x, float highest, float *y) {
  vfloat sum = vf_set(0);
  for (int64_t j = 0; j < n; j += VF) {
    vfloat e = vf_exp(vf_load_part(x + j, n - j) - highest);
    if (y != NULL) vf_store_part(y + j, e, n - j);
    sum += lanes_or(n - j, e, 0);
  }
  return vf_sum(sum);
}

void TX_SIMD_NAME(softmax_f32)(int64_t rows, int64_t n, bool logarithm, const float *x, float *y) {
  for (int64_t i = 0; i < rows; i++, x += n, y += n) {
    float highest = row_max(n, x);
    if (logarithm) {
      float logsum = logf(row_sum(n, x, highest, NULL));
      for (int64_t j = 0; j < n; j += VF) {
        vf_store_part(y + j, vf_load_part(x + j, n - j) - highest - logsum, n - j);
      }
    } else {
      float factor = 1 / row_sum(n, x, highest, y);
      for (int64_t j = 0; j < n; j += VF) vf_store_part(y + j, vf_load_part(y + j, n - j) * factor, n - j);
    }
  }
}

void TX_SIMD_NAME(softmax_grad_f32)(int64_t rows, int64_t n, bool logarithm, const float *y, const float *dy,
                                    float *dx) {
  for (int64_t i = 0; i < rows; i++, y += n, dy += n, dx += n) {
    vfloat products = vf_set(0);
    for (int64_t j = 0; j < n; j += VF) {
      vfloat g = vf_load_part(dy + j, n - j);
      products += logarithm ? g : g * vf_load_part(y + j, n - j);
    }
    float sum = vf_sum(products);
    for (int64_t j = 0; j < n; j += VF) {
      vfloat g = vf_load_part(dy + j, n - j), v = vf_load_part(y + j, n - j);
      vf_store_part(dx + j, logarithm ? vf_fnma(vf_exp(v), vf_set(sum), g) : v * (g - sum), n - j);
    }
  }
}

void TX_SIMD_NAME(log_sum_exp_f32)(int64_t rows, int64_t n, const float *x, float *highest, float *logsum) {
  for (int64_t i = 0; i < rows; i++, x += n) {
    highest[i] = row_max(n, x);
    logsum[i] = logf(row_sum(n, x, highest[i], NULL));
  }
}

void TX_SIMD_NAME(scaled_softmax_f32)(int64_t rows, int64_t n, const float *x, const float *highest,
                                      const float *logsum, const float *factor, float *y) {
  for (int64_t i = 0; i < rows; i++, x += n, y += n) {
    for (int64_t j = 0; j < n; j += VF) {
      vfloat e = vf_exp(vf_load_part(x + j, n - j) - highest[i] - logsum[i]);
      vf_store_part(y + j, e * factor[i], n - j);
    }
  }
}

double TX_SIMD_NAME(squared_distance_f32)(int64_t n, const float *a, const float *b) {
  vdouble low = {0}, high = {0};
  for (int64_t i = 0; i < n; i += VF) {
    vfloat difference = vf_load_part(a + i, n - i) - vf_load_part(b + i, n - i);
    low += vd_low(difference) * vd_low(difference);
    high += vd_high(difference) * vd_high(difference);
  }
  low += high;
  double sum = 0;
  for (int i = 0; i < VD; i++) sum += low[i];
  return sum;
}
