/* bicubic.h - values between pixels: the kernel of Keys (1981) with a = -0.5, for places that lie in a row.
 *
 * A value is the sum of 4x4 pixels, those from one before the place's pixel on, each times its weight along both sides.
 */
#ifndef TX_KERNELS_BICUBIC_H
#define TX_KERNELS_BICUBIC_H

#include <stdint.h>

/* Pixel i of a row lies at (x + step_x i + shift_x, y + step_y i + shift_y) of an image with `row` floats from row to row
 * and 1 or 3 channels. */
typedef struct tx_bicubic_row {
  const float *image;
  int64_t row, channels;
  double x, y, step_x, step_y, shift_x, shift_y;
} tx_bicubic_row;

static inline double tx_bicubic_x(const tx_bicubic_row *r, int64_t i) {
  return r->x + r->step_x * (double)i + r->shift_x;
}
static inline double tx_bicubic_y(const tx_bicubic_row *r, int64_t i) {
  return r->y + r->step_y * (double)i + r->shift_y;
}

/* What the four pixels weigh for a place t in [0, 1) after the second of them: a cubic each. */
static inline void tx_bicubic_weights(float t, float weight[4]) {
  static const float c0[4] = {0, 1, 0, 0}, c1[4] = {-0.5f, 0, 0.5f, 0}, c2[4] = {1, -2.5f, 2, -0.5f},
                     c3[4] = {-0.5f, 1.5f, -1.5f, 0.5f};
  for (int k = 0; k < 4; k++) weight[k] = c0[k] + t * (c1[k] + t * (c2[k] + t * c3[k]));
}

#endif
