/* paste.c - see paste.h. */
#include "data/paste.h"

#include <math.h>

#include "base/integers.h"
#include "data/blur.h"

enum { AROUND = 8 }; /* pixels around a defect whose brightness counts */

typedef struct box {
  int64_t top, left, bottom, right; /* bottom and right are outside */
} box;

/* The smallest box that holds all of the mask; an empty one has no rows. */
static box box_of(const float *mask, tx_size2 size) {
  box b = {size.height, size.width, 0, 0};
  for (int64_t y = 0; y < size.height; y++)
    for (int64_t x = 0; x < size.width; x++) {
      if (mask[y * size.width + x] == 0) continue;
      b.top = tx_min(b.top, y);
      b.left = tx_min(b.left, x);
      b.bottom = tx_max(b.bottom, y + 1);
      b.right = tx_max(b.right, x + 1);
    }
  return b;
}

/* The box with a margin, cut off where it, or what it comes to, leaves the image. */
static box widened(box b, int64_t margin, tx_size2 size, tx_pasted at) {
  return (box){tx_max(b.top - margin, tx_max(0, -at.down)), tx_max(b.left - margin, tx_max(0, -at.right)),
               tx_min(b.bottom + margin, tx_min(size.height, size.height - at.down)),
               tx_min(b.right + margin, tx_min(size.width, size.width - at.right))};
}

/* How much of each pixel the defect covers: 1 on the mask, fading around it. */
static void cover(const float *mask, tx_size2 size, double feather, float *alpha, float *scratch) {
  int64_t pixels = size.height * size.width;
  for (int64_t i = 0; i < pixels; i++) alpha[i] = mask[i] != 0;
  tx_blur(alpha, scratch, size.height, size.width, 1, feather / 3);
  for (int64_t i = 0; i < pixels; i++) alpha[i] = mask[i] != 0 ? 1 : fminf(2 * alpha[i], 1);
}

/* What brings one channel of the cloth around the defect to the brightness of that which it comes to. */
static float gain_of(const float *cloth, const float *other, const float *alpha, box b, tx_size2 size, int64_t c,
                     tx_pasted at) {
  double here = 0, there = 0;
  for (int64_t y = b.top; y < b.bottom; y++)
    for (int64_t x = b.left; x < b.right; x++) {
      double weight = 1 - (double)alpha[y * size.width + x];
      there += weight * (double)other[(y * size.width + x) * c];
      here += weight * (double)cloth[((y + at.down) * size.width + x + at.right) * c];
    }
  if (!(here > 0 && there > 0)) return 1;
  return (float)fmax(0.5, fmin(here / there, 2));
}

tx_pasted tx_paste(float *cloth, const float *other, const float *mask, tx_size2 size, int64_t channels, double feather,
                   tx_rng rng, float *scratch) {
  float *alpha = scratch;
  box b = box_of(mask, size);
  tx_pasted at = {.done = b.bottom > b.top};
  if (!at.done) return at;
  at.right = tx_rng_below(&rng, size.width - (b.right - b.left) + 1) - b.left;
  at.down = tx_rng_below(&rng, size.height - (b.bottom - b.top) + 1) - b.top;
  cover(mask, size, feather, alpha, scratch + size.height * size.width);
  b = widened(b, tx_max(AROUND, (int64_t)ceil(feather)), size, at);
  for (int64_t k = 0; k < channels; k++) {
    float gain = gain_of(cloth + k, other + k, alpha, b, size, channels, at);
    for (int64_t y = b.top; y < b.bottom; y++)
      for (int64_t x = b.left; x < b.right; x++) {
        float share = alpha[y * size.width + x],
              *to = cloth + ((y + at.down) * size.width + x + at.right) * channels + k;
        if (share > 0) *to += share * (gain * other[(y * size.width + x) * channels + k] - *to);
      }
  }
  return at;
}

void tx_paste_mask(float *cloth, const float *mask, tx_size2 size, tx_pasted at) {
  box b = widened((box){0, 0, size.height, size.width}, 0, size, at);
  for (int64_t y = b.top; y < b.bottom && at.done; y++)
    for (int64_t x = b.left; x < b.right; x++) {
      float *to = cloth + (y + at.down) * size.width + x + at.right;
      *to = fmaxf(*to, mask[y * size.width + x]);
    }
}
