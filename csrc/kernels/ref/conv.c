/* conv.c - reference kernels: what is done to the rows of a convolution's result, and depthwise convolution. */
#include <stddef.h>

#include "kernels/ref/ref.h"

void tx_epilogue_f32_ref(int64_t rows, int64_t columns, const float *x, const float *scale, const float *shift,
                         const float *residual, bool relu, bool residual_last, float *y, int64_t row) {
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < columns; j++) {
      float value = x[i * row + j];
      if (scale != NULL) value *= scale[j];
      if (shift != NULL) value += shift[j];
      if (residual != NULL && !residual_last) value += residual[i * row + j];
      if (relu && value < 0) value = 0;
      if (residual != NULL && residual_last) value += residual[i * row + j];
      y[i * row + j] = value;
    }
  }
}

void tx_moments_f32_ref(int64_t rows, int64_t columns, const float *x, int64_t row, float *sum, float *square) {
  for (int64_t j = 0; j < columns; j++) {
    sum[j] = 0;
    square[j] = 0;
    for (int64_t i = 0; i < rows; i++) {
      const float d = x[i * row + j] - x[j];
      sum[j] += d;
      square[j] += d * d;
    }
  }
}

void tx_depthwise_f32_ref(int64_t channels, int64_t taps, const float *const *x, const float *w, int64_t w_row,
                          float *y) {
  for (int64_t c = 0; c < channels; c++) {
    float sum = 0;
    for (int64_t t = 0; t < taps; t++) sum += x[t][c] * w[t * w_row + c];
    y[c] = sum;
  }
}

void tx_depthwise_grad_f32_ref(int64_t channels, int64_t taps, const float *const *x, const float *dy, float *dw,
                               int64_t w_row) {
  for (int64_t t = 0; t < taps; t++) {
    for (int64_t c = 0; c < channels; c++) dw[t * w_row + c] += x[t][c] * dy[c];
  }
}
