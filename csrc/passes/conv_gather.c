/* conv_gather.c - copies the pixels that a block of output pixels looks at into rows of a matrix. */
#include <string.h>

#include "base/integers.h"
#include "passes/conv_internal.h"

/* Taps from `t` on that read adjacent pixels, all channels of each: one copy. */
static int64_t run_length(const tx_conv_gather *g, int64_t t, int64_t tap1) {
  if (g->channels != g->pixel) return 1;
  int64_t length = 1;
  while (t + length < tap1 && g->offset_h[t + length] == g->offset_h[t] &&
         g->offset_w[t + length] == g->offset_w[t] + length) {
    length++;
  }
  return length;
}

/* A call of memcpy takes longer than copying a pixel or three of one channel. */
static void copy(int64_t count, const float *from, float *to) {
  switch (count) {
    case 4:
      to[3] = from[3]; /* fall through */
    case 3:
      to[2] = from[2]; /* fall through */
    case 2:
      to[1] = from[1]; /* fall through */
    case 1:
      to[0] = from[0];
      break;
    default:
      memcpy(to, from, (size_t)count * sizeof(float));
  }
}

/* A run of `length` taps that starts at pixel (h, w) of an image; outside the image is zero. */
static void copy_run(const tx_conv_gather *g, const float *image, int64_t h, int64_t w, int64_t length, float *out) {
  const int64_t before = h < 0 || h >= g->h ? length : tx_min(length, tx_max(0, -w));
  const int64_t inside = tx_min(length, tx_max(before, g->w - w)) - before;
  const int64_t after = length - before - inside;
  if (before > 0) memset(out, 0, (size_t)(before * g->channels) * sizeof(float));
  if (inside > 0) {
    copy(inside * g->channels, image + (h * g->w + w + before) * g->pixel + g->first, out + before * g->channels);
  }
  if (after > 0) memset(out + (length - after) * g->channels, 0, (size_t)(after * g->channels) * sizeof(float));
}

void tx_conv_gather_rows(const tx_conv_gather *g, int64_t point0, int64_t points, int64_t tap0, int64_t tap1,
                         float *out, int64_t row) {
  const int64_t per_image = g->rows * g->columns;
  for (int64_t t = tap0; t < tap1;) {
    const int64_t length = run_length(g, t, tap1);
    int64_t n = point0 / per_image, i = point0 % per_image / g->columns, j = point0 % g->columns;
    float *to = out + (t - tap0) * g->channels;
    for (int64_t point = 0; point < points; point++, to += row) {
      copy_run(g, g->x + n * g->h * g->w * g->pixel, i * g->step[0] + g->offset_h[t], j * g->step[1] + g->offset_w[t],
               length, to);
      if (++j == g->columns) {
        j = 0;
        if (++i == g->rows) {
          i = 0;
          n++;
        }
      }
    }
    t += length;
  }
}
