/* augment.c - the transforms of augment.h. */
#include "data/augment.h"

#include <math.h>
#include <string.h>

#include "data/blur.h"

enum { STREAM_SAMPLE = 0xA061, STREAM_BATCH };

static const double PI = 3.14159265358979323846;

const tx_transform_info tx_transforms[TX_TRANSFORM_COUNT] = {
    [TX_FLIP] = {"flip", {{"horizontal", 1, 0, 1}, {"vertical", 1, 0, 1}}},
    [TX_ROTATE90] = {"rotate90", {{NULL, 0, 0, 0}}},
    [TX_ROTATE] = {"rotate", {{"degrees", 15, 0, 180}}},
    [TX_SHIFT] = {"shift", {{"pixels", 4, 0, 1e6}}},
    [TX_SCALE] = {"scale", {{"amount", 0.1, 0, 10}}},
    [TX_CROP] = {"crop", {{"padding", 4, 0, 1e6}}},
    [TX_BRIGHTNESS] = {"brightness", {{"amount", 0.2, 0, 1}}},
    [TX_CONTRAST] = {"contrast", {{"amount", 0.2, 0, 1}}},
    [TX_GAMMA] = {"gamma", {{"amount", 0.2, 0, 10}}},
    [TX_NOISE] = {"noise", {{"sigma", 0.02, 0, 1e6}}},
    [TX_BLUR] = {"blur", {{"sigma", 1, 0, 10}}},
    [TX_CUTOUT] = {"cutout", {{"size", 16, 1, 1e6}, {"count", 1, 1, 1000}, {"fill", NAN, -1e6, 1e6}}},
    [TX_MIXUP] = {"mixup", {{"alpha", 0.2, 1e-3, 1e3}}},
    [TX_CUTMIX] = {"cutmix", {{"alpha", 1, 1e-3, 1e3}}},
};

tx_transform tx_transform_make(tx_transform_kind kind) {
  tx_transform t = {.kind = kind, .p = kind == TX_FLIP ? 0.5 : 1.0};
  for (int i = 0; i < TX_TRANSFORM_PARAMS; i++) t.value[i] = tx_transforms[kind].param[i].preset;
  return t;
}

tx_rng tx_augment_rng(uint64_t seed, uint64_t epoch, uint64_t sample, uint64_t turn) {
  return tx_rng_make(seed, tx_mix(tx_mix(tx_mix(STREAM_SAMPLE, epoch), sample), turn));
}

/* -- moving pixels --------------------------------------------------------------------------------------------------- */

/* The image being worked on: `pixels` holds it, `spare` is free for the next version. */
typedef struct picture {
  int64_t height, width, channels;
  float *pixels, *spare;
} picture;

/* Where the pixel at (x, y), counted from the middle, comes from: (m[0] x + m[1] y + m[2], m[3] x + m[4] y + m[5]). */
typedef struct map {
  bool pending; /* something was multiplied in since the image was last resampled */
  double m[6];
} map;

static const map IDENTITY = {false, {1, 0, 0, 0, 1, 0}};

/* Puts a further step after those in `a`: the pixel is first taken through `step`, then through a. */
static void then(map *a, const double step[6]) {
  const double *m = a->m;
  map result = {
      true,
      {m[0] * step[0] + m[1] * step[3], m[0] * step[1] + m[1] * step[4], m[0] * step[2] + m[1] * step[5] + m[2],
       m[3] * step[0] + m[4] * step[3], m[3] * step[1] + m[4] * step[4], m[3] * step[2] + m[4] * step[5] + m[5]}};
  *a = result;
}

static bool is_whole(double x) { return x == rint(x); }

/* A map whose matrix is made of 0, 1 and -1 and that shifts by whole pixels. */
static bool is_exact(const map *a, const picture *p) {
  const double *m = a->m;
  for (int i = 0; i < 6; i++)
    if (!is_whole(m[i])) return false;
  if (fabs(m[0]) + fabs(m[1]) != 1 || fabs(m[3]) + fabs(m[4]) != 1) return false;
  return m[1] == 0 || p->height == p->width;
}

static void swap(picture *p) {
  float *pixels = p->pixels;
  p->pixels = p->spare;
  p->spare = pixels;
}

static void move_exactly(picture *p, const map *a) {
  const double *m = a->m, cx = 0.5 * (double)(p->width - 1), cy = 0.5 * (double)(p->height - 1);
  int64_t c = p->channels, step_x = (int64_t)m[0], step_y = (int64_t)m[3];
  float *to = p->spare;
  for (int64_t y = 0; y < p->height; y++) {
    double dy = (double)y - cy;
    int64_t x_from = (int64_t)(cx + m[2] - m[0] * cx + m[1] * dy),
            y_from = (int64_t)(cy + m[5] - m[3] * cx + m[4] * dy);
    for (int64_t x = 0; x < p->width; x++, to += c, x_from += step_x, y_from += step_y) {
      const float *from = p->pixels + (tx_mirror(y_from, p->height) * p->width + tx_mirror(x_from, p->width)) * c;
      for (int64_t k = 0; k < c; k++) to[k] = from[k];
    }
  }
}

static void move_smoothly(picture *p, const map *a) {
  const double *m = a->m, cx = 0.5 * (double)(p->width - 1), cy = 0.5 * (double)(p->height - 1);
  int64_t c = p->channels, row = p->width * c;
  float *to = p->spare;
  for (int64_t y = 0; y < p->height; y++)
    for (int64_t x = 0; x < p->width; x++, to += c) {
      double dx = (double)x - cx, dy = (double)y - cy;
      double sx = cx + m[0] * dx + m[1] * dy + m[2], sy = cy + m[3] * dx + m[4] * dy + m[5];
      int64_t x0 = (int64_t)sx - (sx < 0), y0 = (int64_t)sy - (sy < 0);
      float fx = (float)(sx - (double)x0), fy = (float)(sy - (double)y0);
      int64_t left = tx_mirror(x0, p->width) * c, right = tx_mirror(x0 + 1, p->width) * c;
      const float *top = p->pixels + tx_mirror(y0, p->height) * row,
                  *bottom = p->pixels + tx_mirror(y0 + 1, p->height) * row;
      for (int64_t k = 0; k < c; k++) {
        float above = top[left + k] + fx * (top[right + k] - top[left + k]);
        float below = bottom[left + k] + fx * (bottom[right + k] - bottom[left + k]);
        to[k] = above + fy * (below - above);
      }
    }
}

/* Resamples the image through the map and starts a new one. */
static void settle(picture *p, map *a) {
  if (!a->pending) return;
  if (memcmp(a->m, IDENTITY.m, sizeof a->m) != 0) {
    if (is_exact(a, p))
      move_exactly(p, a);
    else
      move_smoothly(p, a);
    swap(p);
  }
  *a = IDENTITY;
}

/* -- steps that move pixels ------------------------------------------------------------------------------------------ */

static void flip(const tx_transform *t, tx_rng *rng, map *a) {
  bool across = tx_rng_uniform(rng) < t->p && t->value[0] != 0, down = tx_rng_uniform(rng) < t->p && t->value[1] != 0;
  const double step[6] = {across ? -1 : 1, 0, 0, 0, down ? -1 : 1, 0};
  then(a, step);
}

static void rotate90(const picture *p, tx_rng *rng, map *a) {
  static const double turn[4][6] = {{1, 0, 0, 0, 1, 0}, {0, 1, 0, -1, 0, 0}, {-1, 0, 0, 0, -1, 0}, {0, -1, 0, 1, 0, 0}};
  int64_t quarter = tx_rng_below(rng, 4);
  if (p->height != p->width) quarter &= 2;
  then(a, turn[quarter]);
}

static void rotate(const tx_transform *t, tx_rng *rng, map *a) {
  double angle = tx_rng_range(rng, -t->value[0], t->value[0]) * PI / 180.0, c = cos(angle), s = sin(angle);
  const double step[6] = {c, s, 0, -s, c, 0};
  then(a, step);
}

static void shift(const tx_transform *t, tx_rng *rng, map *a) {
  double x = tx_rng_range(rng, -t->value[0], t->value[0]), y = tx_rng_range(rng, -t->value[0], t->value[0]);
  const double step[6] = {1, 0, x, 0, 1, y};
  then(a, step);
}

/* A factor within 1/(1+amount) .. 1+amount, evenly on a logarithmic scale. */
static double factor(double amount, tx_rng *rng) { return exp(tx_rng_range(rng, -1, 1) * log1p(amount)); }

static void scale(const tx_transform *t, tx_rng *rng, map *a) {
  double back = 1.0 / factor(t->value[0], rng);
  const double step[6] = {back, 0, 0, 0, back, 0};
  then(a, step);
}

static void crop(const tx_transform *t, tx_rng *rng, map *a) {
  int64_t padding = (int64_t)t->value[0];
  double x = (double)(tx_rng_below(rng, 2 * padding + 1) - padding);
  double y = (double)(tx_rng_below(rng, 2 * padding + 1) - padding);
  const double step[6] = {1, 0, x, 0, 1, y};
  then(a, step);
}

/* -- steps that change values ---------------------------------------------------------------------------------------- */

static int64_t values(const picture *p) { return p->height * p->width * p->channels; }

static float mean_of(const picture *p) {
  double sum = 0;
  for (int64_t i = 0; i < values(p); i++) sum += (double)p->pixels[i];
  return (float)(sum / (double)values(p));
}

static void stretch(picture *p, float gain, float offset) {
  for (int64_t i = 0; i < values(p); i++) p->pixels[i] = p->pixels[i] * gain + offset;
}

static void gamma_curve(picture *p, float exponent) {
  for (int64_t i = 0; i < values(p); i++) p->pixels[i] = powf(p->pixels[i] > 0 ? p->pixels[i] : 0.0f, exponent);
}

static void noise(picture *p, float sigma, uint64_t seed, uint64_t stream) {
  for (int64_t i = 0; i < values(p); i += 4) {
    uint32_t word[4];
    tx_philox(seed, stream, (uint64_t)i, word);
    for (int64_t pair = 0; pair < 4 && i + pair < values(p); pair += 2) { /* Box-Muller */
      float radius = sigma * sqrtf(-2.0f * logf(((float)word[pair] + 1.0f) * 0x1p-32f));
      float turn = tx_u32_to_unit(word[pair + 1]) * (float)(2 * PI);
      p->pixels[i + pair] += radius * cosf(turn);
      if (i + pair + 1 < values(p)) p->pixels[i + pair + 1] += radius * sinf(turn);
    }
  }
}

static int64_t at_most(int64_t value, int64_t bound) { return value < bound ? value : bound; }

/* Squares may hang over the edge: their middle lies anywhere in the image. */
static void cutout(picture *p, const tx_transform *t, tx_rng *rng) {
  int64_t size = (int64_t)t->value[0], count = (int64_t)t->value[1];
  float fill = isnan(t->value[2]) ? mean_of(p) : (float)t->value[2];
  for (int64_t i = 0; i < count; i++) {
    int64_t top = tx_rng_below(rng, p->height) - size / 2, left = tx_rng_below(rng, p->width) - size / 2;
    int64_t bottom = at_most(top + size, p->height), right = at_most(left + size, p->width);
    if (top < 0) top = 0;
    if (left < 0) left = 0;
    for (int64_t y = top; y < bottom; y++)
      for (int64_t v = left * p->channels; v < right * p->channels; v++)
        p->pixels[y * p->width * p->channels + v] = fill;
  }
}

static double within(double amount, tx_rng *rng) { return tx_rng_range(rng, 1 - amount, 1 + amount); }

static void apply(const tx_transform *t, tx_rng *rng, picture *p, map *a) {
  if (t->kind >= TX_BRIGHTNESS && t->kind < TX_MIXUP) settle(p, a);
  switch (t->kind) {
    case TX_FLIP:
      flip(t, rng, a);
      break;
    case TX_ROTATE90:
      rotate90(p, rng, a);
      break;
    case TX_ROTATE:
      rotate(t, rng, a);
      break;
    case TX_SHIFT:
      shift(t, rng, a);
      break;
    case TX_SCALE:
      scale(t, rng, a);
      break;
    case TX_CROP:
      crop(t, rng, a);
      break;
    case TX_BRIGHTNESS:
      stretch(p, (float)within(t->value[0], rng), 0);
      break;
    case TX_CONTRAST: {
      float gain = (float)within(t->value[0], rng);
      stretch(p, gain, mean_of(p) * (1 - gain));
      break;
    }
    case TX_GAMMA:
      gamma_curve(p, (float)factor(t->value[0], rng));
      break;
    case TX_NOISE: {
      float sigma = (float)tx_rng_range(rng, 0, t->value[0]);
      noise(p, sigma, rng->seed, tx_mix(rng->stream, tx_rng_u32(rng)));
      break;
    }
    case TX_BLUR:
      tx_blur(p->pixels, p->spare, p->height, p->width, p->channels, tx_rng_range(rng, 0, t->value[0]));
      break;
    case TX_CUTOUT:
      cutout(p, t, rng);
      break;
    default:
      break; /* mixup, cutmix: tx_augment_mix */
  }
}

void tx_augment_image(const tx_augment *augment, tx_rng rng, int64_t height, int64_t width, int64_t channels,
                      float *image, float *scratch) {
  picture p = {.height = height, .width = width, .channels = channels, .pixels = image, .spare = scratch};
  map a = IDENTITY;
  for (int i = 0; i < augment->count; i++) {
    const tx_transform *t = &augment->step[i];
    if (t->kind != TX_FLIP && tx_rng_uniform(&rng) >= t->p) continue; /* flip asks for each direction */
    apply(t, &rng, &p, &a);
  }
  settle(&p, &a);
  if (p.pixels != image) memcpy(image, p.pixels, (size_t)values(&p) * sizeof *image);
}

/* -- mixing a batch -------------------------------------------------------------------------------------------------- */

/* Gamma(shape, 1). Source: Marsaglia, Tsang, "A simple method for generating gamma variables", 2000. */
static double gamma_draw(double shape, tx_rng *rng) {
  double boost = 1;
  if (shape < 1) {
    boost = pow(1 - tx_rng_uniform(rng), 1 / shape);
    shape += 1;
  }
  double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
  for (;;) {
    double x = tx_rng_normal(rng), v = 1 + c * x;
    if (v <= 0) continue;
    v = v * v * v;
    if (log(1 - tx_rng_uniform(rng)) < 0.5 * x * x + d - d * v + d * log(v)) return boost * d * v;
  }
}

static double beta_draw(double alpha, tx_rng *rng) {
  double a = gamma_draw(alpha, rng), b = gamma_draw(alpha, rng);
  return a + b > 0 ? a / (a + b) : 0.5;
}

/* A rectangle that covers about 1 - lambda of the image, cut off at the edges; lambda becomes exact. */
static void draw_rectangle(tx_mix_plan *plan, int64_t height, int64_t width, tx_rng *rng) {
  double part = sqrt(1 - plan->lambda);
  int64_t h = (int64_t)(part * (double)height), w = (int64_t)(part * (double)width);
  int64_t top = tx_rng_below(rng, height) - h / 2, left = tx_rng_below(rng, width) - w / 2;
  plan->bottom = at_most(top + h, height);
  plan->right = at_most(left + w, width);
  plan->top = top > 0 ? top : 0;
  plan->left = left > 0 ? left : 0;
  double area = (double)(plan->bottom - plan->top) * (double)(plan->right - plan->left);
  plan->lambda = 1 - area / ((double)height * (double)width);
}

tx_mix_plan tx_augment_plan_mix(const tx_augment *augment, uint64_t seed, uint64_t epoch, uint64_t batch, int64_t n,
                                int64_t height, int64_t width) {
  tx_mix_plan plan = {.wanted = false};
  tx_rng rng = tx_rng_make(seed, tx_mix(tx_mix(STREAM_BATCH, epoch), batch));
  const tx_transform *chosen = NULL;
  int64_t met = 0;
  for (int i = 0; i < augment->count; i++) {
    const tx_transform *t = &augment->step[i];
    if (t->kind != TX_MIXUP && t->kind != TX_CUTMIX) continue;
    if (tx_rng_below(&rng, ++met) == 0) chosen = t; /* each with the same probability */
  }
  if (chosen == NULL || n < 2 || tx_rng_uniform(&rng) >= chosen->p) return plan;
  plan.wanted = true;
  plan.kind = chosen->kind;
  plan.lambda = beta_draw(chosen->value[0], &rng);
  plan.shift = 1 + tx_rng_below(&rng, n - 1);
  if (plan.kind == TX_CUTMIX) draw_rectangle(&plan, height, width, &rng);
  return plan;
}

void tx_augment_mix(const tx_mix_plan *plan, int64_t n, int64_t height, int64_t width, int64_t channels, float *images,
                    float *scratch) {
  int64_t image = height * width * channels;
  memcpy(scratch, images, (size_t)(n * image) * sizeof *images);
  for (int64_t i = 0; i < n; i++) {
    float *to = images + i * image;
    const float *other = scratch + (i + plan->shift) % n * image;
    if (plan->kind == TX_MIXUP) {
      float keep = (float)plan->lambda;
      for (int64_t v = 0; v < image; v++) to[v] = keep * to[v] + (1 - keep) * other[v];
    } else if (plan->right > plan->left) {
      for (int64_t y = plan->top; y < plan->bottom; y++) {
        int64_t from = (y * width + plan->left) * channels, count = (plan->right - plan->left) * channels;
        memcpy(to + from, other + from, (size_t)count * sizeof *to);
      }
    }
  }
}
