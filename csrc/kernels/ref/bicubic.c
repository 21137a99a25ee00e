/* bicubic.c - reference kernel: bicubic values of a row of places. The order of sums is that of kernels/simd/bicubic.c,
 * so that an image is the same bit for bit under every instruction set. */
#include "kernels/ref/ref.h"

static float sum_of(const float *across, const float *line, int64_t channels) {
  float part[4];
  for (int i = 0; i < 4; i++) part[i] = across[i] * line[i * channels];
  if (channels == 1) return (part[0] + part[2]) + (part[1] + part[3]);
  return part[0] + part[1] + part[2] + part[3];
}

void tx_bicubic_f32_ref(int64_t first, int64_t count, const tx_bicubic_row *r, float *to) {
  for (int64_t i = first; i < first + count; i++, to += r->channels) {
    double x = tx_bicubic_x(r, i), y = tx_bicubic_y(r, i);
    int64_t x0 = (int64_t)x, y0 = (int64_t)y, row = r->row;
    const float *at = r->image + (y0 - 1) * row + (x0 - 1) * r->channels;
    float across[4], down[4], line[12];
    tx_bicubic_weights((float)(x - (double)x0), across);
    tx_bicubic_weights((float)(y - (double)y0), down);
    for (int64_t k = 0; k < 4 * r->channels; k++)
      line[k] = down[0] * at[k] + down[1] * at[row + k] + down[2] * at[2 * row + k] + down[3] * at[3 * row + k];
    for (int64_t k = 0; k < r->channels; k++) to[k] = sum_of(across, line + k, r->channels);
  }
}
