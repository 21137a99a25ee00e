/* blur.c - see blur.h: along the rows, then along the columns, in both cases adding whole rows of memory. */
#include "data/blur.h"

#include <math.h>
#include <string.h>

#include "base/integers.h"

int64_t tx_blur_reach(double sigma) {
  int64_t reach = (int64_t)ceil(3 * sigma);
  return tx_min(reach, TX_LONGEST_BLUR);
}

/* to += weight * (a + b), n values. */
static void add_pair(float *restrict to, const float *a, const float *b, float weight, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] += weight * (a[i] + b[i]);
}

static void blur_columns(const float *from, float *to, int64_t height, int64_t row, const float *tap, int64_t reach) {
  for (int64_t y = 0; y < height; y++) {
    float *line = to + y * row;
    for (int64_t i = 0; i < row; i++) line[i] = tap[0] * from[y * row + i];
    for (int64_t k = 1; k <= reach; k++)
      add_pair(line, from + tx_mirror(y - k, height) * row, from + tx_mirror(y + k, height) * row, tap[k], row);
  }
}

static void blur_row(const float *from, float *to, int64_t width, int64_t c, const float *tap, int64_t reach) {
  int64_t inner = tx_max(width - 2 * reach, 0);
  for (int64_t i = 0; i < width * c; i++) to[i] = tap[0] * from[i];
  for (int64_t k = 1; k <= reach; k++) {
    if (inner > 0) add_pair(to + reach * c, from + (reach - k) * c, from + (reach + k) * c, tap[k], inner * c);
    for (int64_t x = 0; x < width; x++) {
      if (inner > 0 && x == reach) x += inner;
      for (int64_t i = 0; i < c; i++)
        to[x * c + i] += tap[k] * (from[tx_mirror(x - k, width) * c + i] + from[tx_mirror(x + k, width) * c + i]);
    }
  }
}

void tx_blur(float *pixels, float *scratch, int64_t height, int64_t width, int64_t channels, double sigma) {
  float tap[TX_LONGEST_BLUR + 1], sum = 0;
  int64_t reach = tx_blur_reach(sigma), row = width * channels;
  if (reach < 1) return;
  for (int64_t k = 0; k <= reach; k++) {
    tap[k] = (float)exp(-0.5 * (double)(k * k) / (sigma * sigma));
    sum += k == 0 ? tap[k] : 2 * tap[k];
  }
  for (int64_t k = 0; k <= reach; k++) tap[k] /= sum;
  for (int64_t y = 0; y < height; y++) blur_row(pixels + y * row, scratch + y * row, width, channels, tap, reach);
  blur_columns(scratch, pixels, height, row, tap, reach);
}
