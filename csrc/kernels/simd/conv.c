/* conv.c - what is done to the rows of a convolution's result while they are in the cache, and depthwise convolution. */
#include <stddef.h>

#include "kernels/simd/simd.h"

TX_INLINE vfloat load_up_to(const float *p, int64_t n) { return n >= VF ? vf_load(p) : vf_load_n(p, n); }

TX_INLINE void store_up_to(float *p, vfloat v, int64_t n) {
  if (n >= VF) {
    vf_store(p, v);
  } else {
    vf_store_n(p, v, n);
  }
}

void TX_SIMD_NAME(epilogue_f32)(int64_t rows, int64_t columns, const float *x, const float *scale, const float *shift,
                                const float *residual, bool relu, bool residual_last, float *y, int64_t row) {
  const vfloat floor = vf_set(relu ? 0.0f : -INFINITY);
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < columns; j += VF) {
      const int64_t left = columns - j, at = i * row + j;
      vfloat value = load_up_to(x + at, left);
      if (scale != NULL) value *= load_up_to(scale + j, left);
      if (shift != NULL) value += load_up_to(shift + j, left);
      if (residual != NULL && !residual_last) value += load_up_to(residual + at, left);
      value = vf_max(floor, value); /* in this order a NaN stays one */
      if (residual != NULL && residual_last) value += load_up_to(residual + at, left);
      store_up_to(y + at, value, left);
    }
  }
}

/* The columns of `vectors` (a constant) vectors, `left` of them from x on. */
TX_INLINE void moments(int vectors, int64_t rows, const float *x, int64_t left, int64_t row, float *sum,
                       float *square) {
  vfloat origin[4], s[4], q[4];
#pragma GCC unroll 4
  for (int v = 0; v < vectors; v++) {
    origin[v] = load_up_to(x + v * VF, left - v * VF);
    s[v] = q[v] = vf_set(0);
  }
  for (int64_t i = 1; i < rows; i++) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
      const vfloat d = load_up_to(x + i * row + v * VF, left - v * VF) - origin[v];
      s[v] += d;
      q[v] = vf_fma(d, d, q[v]);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < vectors; v++) {
    store_up_to(sum + v * VF, s[v], left - v * VF);
    store_up_to(square + v * VF, q[v], left - v * VF);
  }
}

void TX_SIMD_NAME(moments_f32)(int64_t rows, int64_t columns, const float *x, int64_t row, float *sum, float *square) {
  int64_t j = 0;
  for (; j + 4 * VF <= columns; j += 4 * VF) moments(4, rows, x + j, 4 * VF, row, sum + j, square + j);
  for (; j < columns; j += VF) moments(1, rows, x + j, columns - j, row, sum + j, square + j);
}

void TX_SIMD_NAME(depthwise_f32)(int64_t channels, int64_t taps, const float *const *x, const float *w, int64_t w_row,
                                 float *y) {
  for (int64_t c = 0; c < channels; c += VF) {
    const int64_t left = channels - c;
    vfloat sum = vf_set(0);
    for (int64_t t = 0; t < taps; t++) {
      sum = vf_fma(load_up_to(x[t] + c, left), load_up_to(w + t * w_row + c, left), sum);
    }
    store_up_to(y + c, sum, left);
  }
}

void TX_SIMD_NAME(depthwise_grad_f32)(int64_t channels, int64_t taps, const float *const *x, const float *dy, float *dw,
                                      int64_t w_row) {
  for (int64_t c = 0; c < channels; c += VF) {
    const int64_t left = channels - c;
    const vfloat gradient = load_up_to(dy + c, left);
    for (int64_t t = 0; t < taps; t++) {
      float *at = dw + t * w_row + c;
      store_up_to(at, vf_fma(load_up_to(x[t] + c, left), gradient, load_up_to(at, left)), left);
    }
  }
}
