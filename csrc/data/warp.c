/* warp.c - see warp.h: copies, nearest pixels, bicubic values. */
#include "data/warp.h"

#include <math.h>
#include <string.h>

#include "base/integers.h"
#include "data/blur.h" /* tx_mirror */
#include "kernels/kernels.h"

enum { WIDEST = 8, MAX_TAPS = 4 * WIDEST, PHASES = 128 };

/* -- whole pixels ---------------------------------------------------------------------------------------------------- */

/* Where the top left pixel of the new image comes from. */
static void origin(const double m[6], tx_size2 from, tx_size2 to, double *x, double *y) {
  double cx = 0.5 * (double)(to.width - 1), cy = 0.5 * (double)(to.height - 1);
  *x = 0.5 * (double)(from.width - 1) + m[2] - m[0] * cx - m[1] * cy;
  *y = 0.5 * (double)(from.height - 1) + m[5] - m[3] * cx - m[4] * cy;
}

static bool is_whole(double x) { return x == rint(x) && fabs(x) < 1e15; }

bool tx_map_is_exact(const double m[6], tx_size2 from, tx_size2 to) {
  double x, y;
  origin(m, from, to, &x, &y);
  for (int i = 0; i < 6; i++)
    if (i % 3 != 2 && !is_whole(m[i])) return false;
  return fabs(m[0]) + fabs(m[1]) == 1 && fabs(m[3]) + fabs(m[4]) == 1 && is_whole(x) && is_whole(y);
}

/* Copies `count` pixels that stand `step` pixels apart. */
static void copy_pixels(const float *from, int64_t step, float *to, int64_t count, int64_t channels) {
  if (channels == 1) {
    for (int64_t i = 0; i < count; i++) to[i] = from[i * step];
    return;
  }
  for (int64_t i = 0; i < count; i++)
    for (int64_t k = 0; k < channels; k++) to[i * channels + k] = from[i * step * channels + k];
}

static bool inside(int64_t i, int64_t n) { return i >= 0 && i < n; }

/* Pixels from `at` on that stay inside of a row of n when each is a step further. */
static int64_t room(int64_t at, int64_t step, int64_t n) { return step > 0 ? n - at : step < 0 ? at + 1 : INT64_MAX; }

static void copy_exactly(const float *image, tx_size2 from, float *result, tx_size2 to, int64_t c, const double m[6]) {
  double left, top;
  origin(m, from, to, &left, &top);
  int64_t step_x = (int64_t)m[0], step_y = (int64_t)m[3];
  for (int64_t y = 0; y < to.height; y++) {
    int64_t from_x = (int64_t)left + y * (int64_t)m[1], from_y = (int64_t)top + y * (int64_t)m[4];
    float *row = result + y * to.width * c;
    for (int64_t x = 0; x < to.width;) {
      /* a run that stays inside of the image, else one mirrored pixel */
      int64_t at_x = from_x + x * step_x, at_y = from_y + x * step_y, count = 1;
      if (inside(at_x, from.width) && inside(at_y, from.height)) {
        count = tx_min(room(at_x, step_x, from.width), room(at_y, step_y, from.height));
        count = tx_min(count, to.width - x);
      }
      const float *first = image + (tx_mirror(at_y, from.height) * from.width + tx_mirror(at_x, from.width)) * c;
      copy_pixels(first, step_x + step_y * from.width, row + x * c, count, c);
      x += count;
    }
  }
}

/* -- values between pixels ------------------------------------------------------------------------------------------- */

/* A place far outside of the image, brought near to it, so that an integer can hold it. */
static double folded(double at, int64_t n) {
  if (fabs(at) < 1e9) return at;
  return n == 1 ? 0 : fmod(at, (double)(2 * (n - 1)));
}

static int64_t floor_of(double x) { return (int64_t)x - (x < (double)(int64_t)x); }

/* The kernel at a distance of d pixels. */
static float kernel(float d) {
  if (d < 1) return 1.0f + d * d * (1.5f * d - 2.5f);
  if (d < 2) return 2.0f + d * (-4.0f + d * (2.5f - 0.5f * d));
  return 0;
}

/* What `count` neighbouring pixels weigh for a place between them: the first stands `before` pixels before the pixel
 * whose number is the whole part of the place. Of a widened kernel the weights stand in a table for each 1/PHASES of a
 * pixel; those between two rows of it are right to about 1e-5. */
typedef struct weigher {
  double wide; /* 1: not widened, no table */
  int before, count;
  float table[PHASES + 1][MAX_TAPS];
} weigher;

static void prepare(weigher *w, double wide) {
  w->wide = wide;
  w->before = wide == 1 ? 1 : (int)ceil(2 * wide) - 1;
  w->count = 2 * w->before + 2;
  for (int phase = 0; wide > 1 && phase <= PHASES; phase++) {
    float sum = 0, at = (float)phase / PHASES;
    for (int k = 0; k < w->count; k++) {
      w->table[phase][k] = kernel(fabsf((float)(k - w->before) - at) / (float)wide);
      sum += w->table[phase][k];
    }
    for (int k = 0; k < w->count; k++) w->table[phase][k] /= sum;
  }
}

/* The weights for the place t in [0, 1) after its pixel. */
static void weigh(const weigher *w, float t, float *weight) {
  if (w->wide == 1) {
    tx_bicubic_weights(t, weight);
    return;
  }
  int phase = (int)tx_min((int64_t)(t * PHASES), PHASES - 1);
  const float *low = w->table[phase], *high = w->table[phase + 1], part = t * PHASES - (float)phase;
  for (int k = 0; k < w->count; k++) weight[k] = low[k] + part * (high[k] - low[k]);
}

typedef struct raster {
  const float *image;
  int64_t height, width, channels;
  weigher weigher;
} raster;

/* The weighted sum of count x count pixels from `at` on: `row` values from row to row, 1 or 3 channels. */
static inline void add_up(const float *at, int64_t row, int count, int channels, const float *across, const float *down,
                          float *to) {
  float line[MAX_TAPS * 3], sum[3] = {0};
  for (int i = 0; i < count * channels; i++) line[i] = down[0] * at[i];
  for (int j = 1; j < count; j++)
    for (int i = 0; i < count * channels; i++) line[i] += down[j] * at[j * row + i];
  for (int i = 0; i < count; i++)
    for (int k = 0; k < channels; k++) sum[k] += across[i] * line[i * channels + k];
  for (int k = 0; k < channels; k++) to[k] = sum[k];
}

/* Copies one channel (`image` is its first value) of the count x count pixels from (x, y) on, mirrored where need be. */
static void gather(const raster *r, int64_t x, int64_t y, const float *image, float *patch) {
  int64_t count = r->weigher.count, column[MAX_TAPS];
  for (int64_t i = 0; i < count; i++) column[i] = tx_mirror(x + i, r->width) * r->channels;
  for (int64_t j = 0; j < count; j++) {
    const float *row = image + tx_mirror(y + j, r->height) * r->width * r->channels;
    for (int64_t i = 0; i < count; i++) *patch++ = row[column[i]];
  }
}

static void sample(const raster *r, double place_x, double place_y, float *to) {
  const int count = r->weigher.count;
  double x = folded(place_x, r->width), y = folded(place_y, r->height);
  int64_t x0 = floor_of(x), y0 = floor_of(y), row = r->width * r->channels;
  float across[MAX_TAPS], down[MAX_TAPS];
  weigh(&r->weigher, (float)(x - (double)x0), across);
  weigh(&r->weigher, (float)(y - (double)y0), down);
  x0 -= r->weigher.before;
  y0 -= r->weigher.before;
  bool within = x0 >= 0 && x0 + count <= r->width && y0 >= 0 && y0 + count <= r->height;
  const float *at = r->image + (within ? y0 * row + x0 * r->channels : 0);
  if (within && r->channels == 1) {
    add_up(at, row, count, 1, across, down, to);
  } else if (within && r->channels == 3) {
    add_up(at, row, count, 3, across, down, to);
  } else {
    float patch[MAX_TAPS * MAX_TAPS];
    for (int64_t k = 0; k < r->channels; k++) {
      gather(r, x0, y0, r->image + k, patch);
      add_up(patch, count, count, 1, across, down, to + k);
    }
  }
}

/* Whether pixel i of a row lies where all its 4x4 pixels are inside of the image. */
static bool is_inside(const tx_bicubic_row *line, tx_size2 from, int64_t i) {
  double x = tx_bicubic_x(line, i), y = tx_bicubic_y(line, i);
  return x >= 1 && x < (double)tx_min(from.width - 2, INT32_MAX) && y >= 1 &&
         y < (double)tx_min(from.height - 2, INT32_MAX);
}

/* How many of the pixels i .. end - 1 follow each other inside. Both coordinates only grow or only fall along a row, so
 * that one pixel which is inside leaves one place where they end. */
static int64_t count_inside(const tx_bicubic_row *line, tx_size2 from, int64_t i, int64_t end) {
  int64_t inside = i, outside = end;
  if (!is_inside(line, from, i)) return 0;
  for (int64_t at = end - 1; outside - inside > 1; at = inside + (outside - inside) / 2) {
    if (is_inside(line, from, at))
      inside = at;
    else
      outside = at;
  }
  return outside - i;
}

static void interpolate(const raster *r, float *result, tx_size2 to, const double m[6]) {
  bool plain = r->weigher.wide == 1 && (r->channels == 1 || r->channels == 3); /* what the kernel knows */
  tx_size2 from = {r->height, r->width};
  tx_bicubic_row line = {.image = r->image, .row = r->width * r->channels, .channels = r->channels};
  line.step_x = m[0];
  line.step_y = m[3];
  origin(m, from, to, &line.x, &line.y);
  for (int64_t j = 0; j < to.height; j++, result += to.width * r->channels) {
    line.shift_x = m[1] * (double)j;
    line.shift_y = m[4] * (double)j;
    for (int64_t i = 0; i < to.width;) {
      int64_t run = plain ? count_inside(&line, from, i, to.width) : 0;
      if (run > 0) {
        tx_kernels.bicubic_f32(i, run, &line, result + i * r->channels);
        i += run;
      } else {
        sample(r, tx_bicubic_x(&line, i), tx_bicubic_y(&line, i), result + i * r->channels);
        i++;
      }
    }
  }
}

void tx_warp(const float *image, tx_size2 from, float *result, tx_size2 to, int64_t channels, const double map[6]) {
  if (tx_map_is_exact(map, from, to)) {
    copy_exactly(image, from, result, to, channels, map);
    return;
  }
  double shrunk = sqrt(fabs(map[0] * map[4] - map[1] * map[3]));
  if (shrunk < 1.1 + 1e-9) shrunk = 1; /* nothing becomes coarse yet, and it takes half the time */
  raster r = {.image = image, .height = from.height, .width = from.width, .channels = channels};
  prepare(&r.weigher, shrunk < WIDEST ? shrunk : WIDEST);
  interpolate(&r, result, to, map);
}

void tx_warp_nearest(const float *image, tx_size2 from, float *result, tx_size2 to, int64_t channels,
                     const double m[6]) {
  double left, top;
  origin(m, from, to, &left, &top);
  for (int64_t j = 0; j < to.height; j++) {
    for (int64_t i = 0; i < to.width; i++, result += channels) {
      double x = left + m[0] * (double)i + m[1] * (double)j, y = top + m[3] * (double)i + m[4] * (double)j;
      int64_t at_x = tx_mirror((int64_t)rint(folded(x, from.width)), from.width);
      int64_t at_y = tx_mirror((int64_t)rint(folded(y, from.height)), from.height);
      memcpy(result, image + (at_y * from.width + at_x) * channels, (size_t)channels * sizeof *result);
    }
  }
}
