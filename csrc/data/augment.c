/* augment.c - the transforms of augment.h. */
#include "data/augment.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/integers.h"
#include "data/blur.h"
#include "data/warp.h"

enum { STREAM_SAMPLE = 0xA061, STREAM_BATCH };

static const double PI = 3.14159265358979323846;

const tx_transform_info tx_transforms[TX_TRANSFORM_COUNT] = {
    [TX_FLIP] = {"flip", {{"horizontal", 1, 0, 1, true}, {"vertical", 1, 0, 1, true}}},
    [TX_ROTATE90] = {"rotate90", {{NULL, 0, 0, 0}}},
    [TX_ROTATE] = {"rotate", {{"degrees", 15, 0, 180}}},
    [TX_SHIFT] = {"shift", {{"pixels", 4, 0, 1e6}}},
    [TX_SCALE] = {"scale", {{"amount", 0.1, 0, 10}}},
    [TX_CROP] = {"crop", {{"padding", 4, 0, 1e6, true}}},
    [TX_WINDOW] = {"window", {{"size", 64, 1, 1e6, true}, {"random", 1, 0, 1, true}}},
    [TX_BRIGHTNESS] = {"brightness", {{"amount", 0.2, 0, 1}}},
    [TX_CONTRAST] = {"contrast", {{"amount", 0.2, 0, 1}}},
    [TX_GAMMA] = {"gamma", {{"amount", 0.2, 0, 10}}},
    [TX_NOISE] = {"noise", {{"sigma", 0.02, 0, 1e6}}},
    [TX_BLUR] = {"blur", {{"sigma", 1, 0, 10}}},
    [TX_CUTOUT] = {"cutout", {{"size", 16, 1, 1e6, true}, {"count", 1, 1, 1000, true}, {"fill", NAN, -1e6, 1e6}}},
    [TX_MIXUP] = {"mixup", {{"alpha", 0.2, 1e-3, 1e3}}},
    [TX_CUTMIX] = {"cutmix", {{"alpha", 1, 1e-3, 1e3}}},
    [TX_PASTE] = {"paste", {{"feather", 3, 0, 30}}},
};

tx_transform tx_transform_make(tx_transform_kind kind) {
  tx_transform t = {.kind = kind, .p = kind == TX_FLIP || kind == TX_PASTE ? 0.5 : 1.0};
  for (int i = 0; i < TX_TRANSFORM_PARAMS; i++) t.value[i] = tx_transforms[kind].param[i].default_value;
  return t;
}

tx_rng tx_augment_rng(uint64_t seed, uint64_t epoch, uint64_t sample, uint64_t turn) {
  return tx_rng_make(seed, tx_mix(tx_mix(tx_mix(STREAM_SAMPLE, epoch), sample), turn));
}

/* -- moving pixels --------------------------------------------------------------------------------------------------- */

/* The image being worked on: `pixels` holds it, `spare` is free for the next version. A mask is moved as its image is, by
 * whole pixels, and keeps its values: the steps that change values only draw their random numbers. */
typedef struct picture {
  bool mask;
  int64_t height, width, channels;
  float *pixels, *spare;
} picture;

/* Where the pixel at (x, y), counted from the middle, comes from: (m[0] x + m[1] y + m[2], m[3] x + m[4] y + m[5]). */
typedef struct map {
  bool pending; /* something was multiplied in since the image was last resampled */
  double m[6];
  int64_t window;      /* pixels along a side of the window that is to be taken; 0: none */
  double across, down; /* where, of the room that there is: 0 .. 1 */
} map;

static const map IDENTITY = {.m = {1, 0, 0, 0, 1, 0}};

/* Puts a further step after those in `a`: the pixel is first taken through `step`, then through a. */
static void then(map *a, const double step[6]) {
  const double *m = a->m;
  const double product[6] = {m[0] * step[0] + m[1] * step[3],        m[0] * step[1] + m[1] * step[4],
                             m[0] * step[2] + m[1] * step[5] + m[2], m[3] * step[0] + m[4] * step[3],
                             m[3] * step[1] + m[4] * step[4],        m[3] * step[2] + m[4] * step[5] + m[5]};
  memcpy(a->m, product, sizeof product);
  a->pending = true;
}

/* Where the middle of a window lies along a side of n pixels of the image, of which it shows `shown`: `share` of the room
 * further than its first place, moved by `shift`, but not out of the image. Where pixels are copied exactly it lies at
 * whole pixels. */
static double place(double share, double shift, double n, double shown, bool exact) {
  double most = fmax(0.5 * (n - shown), 0), room = 2 * most;
  double at = exact ? fmin(floor(share * (room + 1)), room) : share * room;
  return fmax(-most, fmin(at - most + shift, most));
}

/* Gives the map its window's place. */
static void place_window(map *a, tx_size2 size) {
  double *m = a->m, side = (double)(a->window - 1);
  bool exact = m[0] == rint(m[0]) && m[1] == rint(m[1]);
  m[2] = place(a->across, m[2], (double)size.width - 1, (fabs(m[0]) + fabs(m[1])) * side, exact);
  m[5] = place(a->down, m[5], (double)size.height - 1, (fabs(m[3]) + fabs(m[4])) * side, exact);
}

static void swap(picture *p) {
  float *pixels = p->pixels;
  p->pixels = p->spare;
  p->spare = pixels;
}

/* Resamples the image through the map and starts a new one. */
static void settle(picture *p, map *a) {
  if (!a->pending) return;
  tx_size2 from = {p->height, p->width}, to = from;
  if (a->window > 0) {
    to = (tx_size2){a->window, a->window};
    place_window(a, from);
  }
  if (memcmp(a->m, IDENTITY.m, sizeof a->m) != 0 || to.height != from.height || to.width != from.width) {
    (p->mask ? tx_warp_nearest : tx_warp)(p->pixels, from, p->spare, to, p->channels, a->m);
    p->height = to.height;
    p->width = to.width;
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

static void window(const tx_transform *t, tx_rng *rng, map *a) {
  double across = tx_rng_uniform(rng), down = tx_rng_uniform(rng);
  bool middle = t->value[1] == 0;
  a->pending = true;
  a->window = (int64_t)t->value[0];
  a->across = middle ? 0.5 : across;
  a->down = middle ? 0.5 : down;
}

/* -- steps that change values ---------------------------------------------------------------------------------------- */

static int64_t values(const picture *p) { return p->height * p->width * p->channels; }

static float mean_of(const picture *p, int64_t channel) {
  double sum = 0;
  for (int64_t i = channel; i < values(p); i += p->channels) sum += (double)p->pixels[i];
  return (float)(sum / (double)(p->height * p->width));
}

static void brighten(picture *p, float gain) {
  if (p->mask) return;
  for (int64_t i = 0; i < values(p); i++) p->pixels[i] *= gain;
}

static void spread_about_mean(picture *p, float gain) {
  for (int64_t c = 0; c < p->channels && !p->mask; c++) {
    float offset = mean_of(p, c) * (1 - gain);
    for (int64_t i = c; i < values(p); i += p->channels) p->pixels[i] = p->pixels[i] * gain + offset;
  }
}

/* NaN stays NaN. */
static void gamma_curve(picture *p, float exponent) {
  if (p->mask) return;
  for (int64_t i = 0; i < values(p); i++) p->pixels[i] = powf(p->pixels[i] < 0 ? 0.0f : p->pixels[i], exponent);
}

/* ln x for x in (0, 1], and sine and cosine of a whole turn's part t in [0, 1), good to about 1e-4: plain arithmetic that
 * the compiler turns into vector code. */
static float rough_log(float x) {
  union {
    float value;
    int32_t bits;
  } u = {x};
  float exponent = (float)((u.bits >> 23) - 127);
  u.bits = (u.bits & 0x007FFFFF) | 0x3F800000;
  float m = u.value, r = (m - 1.0f) / (m + 1.0f), square = r * r; /* ln m = 2 artanh r, 1 <= m < 2 */
  return 0.69314718f * exponent + 2.0f * r * (1.0f + square * (0.33333f + square * (0.2f + square * 0.1429f)));
}

/* sin of a turn's part t in [-0.25, 0.25]. */
static float quarter_sine(float t) {
  float x = t * 6.2831853f, square = x * x;
  return x * (1.0f + square * (-0.16666667f + square * (0.0083333f + square * (-0.00019841f + square * 2.7557e-6f))));
}
static float rough_sine(float t) { /* t in [-0.5, 0.5) */
  float folded = t > 0.25f ? 0.5f - t : t < -0.25f ? -0.5f - t : t;
  return quarter_sine(folded);
}

/* Box-Muller on blocks of numbers. */
static void noise(picture *p, float sigma, uint64_t seed, uint64_t stream) {
  enum { BLOCK = 256 };
  uint32_t word[BLOCK];
  float normal[BLOCK];
  for (int64_t start = 0; start < values(p) && !p->mask; start += BLOCK) {
    for (int i = 0; i < BLOCK; i += 4) tx_philox(seed, stream, (uint64_t)(start + i), word + i);
    for (int i = 0; i < BLOCK / 2; i++) {
      float radius = sigma * sqrtf(-2.0f * rough_log(((float)(word[i] >> 8) + 1.0f) * 0x1p-24f));
      float turn = (float)(word[i + BLOCK / 2] >> 8) * 0x1p-24f - 0.5f;
      float quarter_on = turn + 0.25f;
      normal[i] = radius * rough_sine(turn);
      normal[i + BLOCK / 2] = radius * rough_sine(quarter_on >= 0.5f ? quarter_on - 1.0f : quarter_on);
    }
    int64_t count = tx_min(BLOCK, values(p) - start);
    for (int64_t i = 0; i < count; i++) p->pixels[start + i] += normal[i];
  }
}

/* Squares may hang over the edge: their middle lies anywhere in the image. */
static void cut_squares(picture *p, int64_t channel, float fill, int64_t size, int64_t count, tx_rng *rng) {
  for (int64_t i = 0; i < count; i++) {
    int64_t top = tx_rng_below(rng, p->height) - size / 2, left = tx_rng_below(rng, p->width) - size / 2;
    int64_t bottom = tx_min(top + size, p->height), right = tx_min(left + size, p->width);
    if (top < 0) top = 0;
    if (left < 0) left = 0;
    if (p->mask) continue;
    for (int64_t y = top; y < bottom; y++)
      for (int64_t x = left; x < right; x++) p->pixels[(y * p->width + x) * p->channels + channel] = fill;
  }
}

/* The same squares in every channel: each draws them anew. */
static void cutout(picture *p, const tx_transform *t, tx_rng *rng) {
  const tx_rng start = *rng;
  for (int64_t c = 0; c < p->channels; c++) {
    *rng = start;
    float fill = isnan(t->value[2]) ? mean_of(p, c) : (float)t->value[2];
    cut_squares(p, c, fill, (int64_t)t->value[0], (int64_t)t->value[1], rng);
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
    case TX_WINDOW:
      window(t, rng, a);
      break;
    case TX_BRIGHTNESS:
      brighten(p, (float)within(t->value[0], rng));
      break;
    case TX_CONTRAST:
      spread_about_mean(p, (float)within(t->value[0], rng));
      break;
    case TX_GAMMA:
      gamma_curve(p, (float)factor(t->value[0], rng));
      break;
    case TX_NOISE: {
      float sigma = (float)tx_rng_range(rng, 0, t->value[0]);
      noise(p, sigma, rng->seed, tx_mix(rng->stream, tx_rng_u32(rng)));
      break;
    }
    case TX_BLUR: {
      double sigma = tx_rng_range(rng, 0, t->value[0]);
      if (!p->mask) tx_blur(p->pixels, p->spare, p->height, p->width, p->channels, sigma);
      break;
    }
    case TX_CUTOUT:
      cutout(p, t, rng);
      break;
    default:
      break; /* mixup, cutmix: tx_augment_mix; paste: the loader */
  }
}

/* All but mixup, cutmix and paste. */
static void augment_picture(const tx_augment *augment, tx_rng rng, picture p) {
  float *image = p.pixels;
  map a = IDENTITY;
  for (int i = 0; i < augment->count; i++) {
    const tx_transform *t = &augment->step[i]; /* flip asks for each direction, a window is always taken */
    if (t->kind != TX_FLIP && t->kind != TX_WINDOW && tx_rng_uniform(&rng) >= t->p) continue;
    apply(t, &rng, &p, &a);
  }
  settle(&p, &a);
  if (p.pixels != image) memcpy(image, p.pixels, (size_t)values(&p) * sizeof *image);
}

const tx_transform *tx_augment_find(const tx_augment *augment, tx_transform_kind kind) {
  for (int i = 0; i < augment->count; i++)
    if (augment->step[i].kind == kind) return &augment->step[i];
  return NULL;
}

tx_status tx_augment_size(const tx_augment *augment, tx_size2 size, tx_size2 *result) {
  int windows = 0;
  *result = size;
  for (int i = 0; i < augment->count; i++) {
    const tx_transform *t = &augment->step[i];
    if (t->kind != TX_WINDOW) continue;
    int64_t side = (int64_t)t->value[0];
    if (++windows > 1) return tx_fail(TX_EINVAL, "augment: more than one window: take one");
    if (side > size.height || side > size.width)
      return tx_fail(TX_EINVAL,
                     "augment: a window of %" PRId64 "x%" PRId64 " pixels can't be taken out of images of %" PRId64
                     "x%" PRId64 ": give them larger, or a smaller window",
                     side, side, size.height, size.width);
    *result = (tx_size2){side, side};
  }
  return TX_OK;
}

void tx_augment_image(const tx_augment *augment, tx_rng rng, tx_size2 size, int64_t channels, float *image,
                      float *scratch) {
  augment_picture(augment, rng, (picture){false, size.height, size.width, channels, image, scratch});
}

void tx_augment_mask(const tx_augment *augment, tx_rng rng, tx_size2 size, int64_t channels, float *mask,
                     float *scratch) {
  augment_picture(augment, rng, (picture){true, size.height, size.width, channels, mask, scratch});
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
  plan->bottom = tx_min(top + h, height);
  plan->right = tx_min(left + w, width);
  plan->top = tx_max(top, 0);
  plan->left = tx_max(left, 0);
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
    if (plan->kind == TX_MIXUP && plan->masks) {
      for (int64_t v = 0; v < image; v++) to[v] = fmaxf(to[v], other[v]);
    } else if (plan->kind == TX_MIXUP) {
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
