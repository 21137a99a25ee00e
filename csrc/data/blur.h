/* blur.h - Gaussian blur of a float image {H,W,C}, mirrored at its edges. */
#ifndef TX_DATA_BLUR_H
#define TX_DATA_BLUR_H

#include <stdint.h>

enum { TX_LONGEST_BLUR = 32 };

/* How far, in pixels, a blur of that standard deviation carries. */
int64_t tx_blur_reach(double sigma);

/* In place; scratch has room for as many values. sigma 0 changes nothing. */
void tx_blur(float *pixels, float *scratch, int64_t height, int64_t width, int64_t channels, double sigma);

/* Index i of a row of n, mirrored at both ends as often as needed: 2 1 | 0 1 2 | 1 0. */
static inline int64_t tx_mirror(int64_t i, int64_t n) {
  if (i >= 0 && i < n) return i;
  if (n == 1) return 0;
  int64_t period = 2 * (n - 1);
  i %= period;
  if (i < 0) i += period;
  return i < n ? i : period - i;
}

#endif
