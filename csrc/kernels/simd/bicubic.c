/* bicubic.c - bicubic values of a row of places, each from 4x4 pixels: in vectors of four, whatever VF is. */
#include "kernels/simd/simd.h"

typedef float four __attribute__((vector_size(16)));

TX_INLINE four load(const float *at) {
  four values;
  memcpy(&values, at, sizeof values);
  return values;
}

TX_INLINE four weights(float t) {
  float weight[4];
  tx_bicubic_weights(t, weight);
  return load(weight);
}

TX_INLINE void value(const tx_bicubic_row *r, int channels, int64_t i, float *to) {
  double x = tx_bicubic_x(r, i), y = tx_bicubic_y(r, i);
  int64_t x0 = (int32_t)x, y0 = (int32_t)y, row = r->row;
  const float *at = r->image + (y0 - 1) * row + (x0 - 1) * channels;
  four across = weights((float)(x - (double)x0)), down = weights((float)(y - (double)y0)), line[3];
  for (int v = 0; v < channels; v++)
    line[v] = down[0] * load(at + 4 * v) + down[1] * load(at + row + 4 * v) + down[2] * load(at + 2 * row + 4 * v) +
              down[3] * load(at + 3 * row + 4 * v);
  if (channels == 1) {
    four sum = across * line[0];
    *to = (sum[0] + sum[2]) + (sum[1] + sum[3]);
    return;
  }
  for (int k = 0; k < 3; k++)
    to[k] = across[0] * line[0][k] + across[1] * line[(3 + k) / 4][(3 + k) % 4] +
            across[2] * line[(6 + k) / 4][(6 + k) % 4] + across[3] * line[(9 + k) / 4][(9 + k) % 4];
}

void TX_SIMD_NAME(bicubic_f32)(int64_t first, int64_t count, const tx_bicubic_row *r, float *to) {
  if (r->channels == 1) {
    for (int64_t i = 0; i < count; i++) value(r, 1, first + i, to + i);
  } else {
    for (int64_t i = 0; i < count; i++) value(r, 3, first + i, to + 3 * i);
  }
}
