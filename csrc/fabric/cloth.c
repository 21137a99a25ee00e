/* cloth.c - the surface of a cloth without defects: random fields, yarns, weaves, shading.
 *
 * Woven cloth is computed from its crossings: a table with, for each pair of a warp and a weft yarn, which one is on top
 * and where both run. Between crossings everything is interpolated along the yarn. A pixel looks up the nearest warp and
 * the nearest weft yarn, and shades the upper one, and the lower one and the gap where the upper doesn't cover it.
 */
#include <math.h>

#include "fabric/parts.h"

#include "base/integers.h"

typedef struct crossing {
  float position[2]; /* of the warp yarn in u, of the weft yarn in v, pixels */
  float half[2];     /* half width, pixels */
  float albedo[2];
  float height; /* 1: warp on top, -1: weft */
} crossing;

enum { MARGIN = 4 }; /* crossings beyond the corners of the image */

/* How far a yarn rises above the middle plane where it is on top, in half widths. */
static const float CRIMP = 0.8f;

/* Sum of three: -1 .. 1, roughly normal with standard deviation 1/3. */
static float bell(uint32_t key, int32_t x, int32_t y) {
  uint32_t h = tx_fabric_hash(key, x, y);
  return ((float)(h & 1023u) + (float)((h >> 10) & 1023u) + (float)((h >> 20) & 1023u)) * (2.0f / 3069.0f) - 1.0f;
}

/* -- one yarn -------------------------------------------------------------------------------------------------------- */

/* A point of a yarn's surface as the shader wants it. */
typedef struct surface {
  float across; /* -1 .. 1 from edge to edge */
  float along;  /* pixels along the yarn */
  float half;   /* half width in pixels */
  float height; /* of the yarn's middle: -1 under, 1 over */
  float slope;  /* rise per pixel along the yarn */
  float albedo;
  float twist;
  float direction[2]; /* unit vector along the yarn in (u, v) */
  uint32_t key;
} surface;

/* How much of the pixel the yarn covers. Its edges are ragged: each side has its own outline, up to RAGGED of the half
 * width off. */
static float cover(const surface *s) {
  const float RAGGED = 0.125f;
  float across = fabsf(s->across);
  if (s->half * (1.0f - RAGGED - across) >= 0.6f) return 1.0f;
  if (s->half * (1.0f + RAGGED - across) <= -0.4f) return 0.0f;
  float outline = tx_fabric_noise(s->key + 3u, s->along * 0.17f, s->across < 0.0f ? 0.0f : 9.0f);
  return tx_smooth(-0.4f, 0.6f, s->half * (1.0f + 2.0f * RAGGED * (outline - 0.5f) - across));
}

static float relief(const surface *s) {
  float rest = 1.0f - s->across * s->across;
  return CRIMP * s->height + (rest > 0.0f ? sqrtf(rest) : rest);
}

/* Fibres: streaks along the yarn, one to three pixels wide, that waver and cross at small angles; 1 on average. */
static float fibres(const surface *s, float contrast) {
  float across = s->across * s->half + s->twist * s->along;
  float waver = tx_fabric_noise(s->key + 2u, across * 0.15f, s->along * 0.12f) - 0.5f;
  across += 1.5f * waver;
  float fine = tx_fabric_noise(s->key, across * 1.1f, s->along * 0.12f);
  float coarse = tx_fabric_noise(s->key + 1u, across * 0.45f - 0.05f * s->along, s->along * 0.06f);
  return 1.0f + contrast * (1.7f * (fine - 0.5f) + 0.9f * (coarse - 0.5f));
}

static float shade(const tx_cloth *cloth, const surface *s) {
  float across = tx_clampf(s->across, -1.0f, 1.0f), square = across * across;
  float lean = 0.75f * across; /* a bundle of fibres is flatter than a cylinder */
  float normal[3] = {-lean * s->direction[1] - s->slope * s->direction[0],
                     lean * s->direction[0] - s->slope * s->direction[1], sqrtf(1.0f - lean * lean)};
  float length = sqrtf(normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2]);
  float facing = (normal[0] * cloth->sun[0] + normal[1] * cloth->sun[1] + normal[2] * cloth->sun[2]) / length;
  float light = 0.35f + 0.75f * (facing > 0.0f ? facing : 0.0f);
  float open = 0.4f + 0.6f * tx_smooth(-1.0f, 0.45f, s->height + 0.35f * (1.0f - square)); /* sky seen from here */
  float edge = 1.0f - 0.45f * square * square;
  return s->albedo * light * open * edge * fibres(s, cloth->fibre);
}

/* -- woven ----------------------------------------------------------------------------------------------------------- */

static float warp_on_top(tx_weave weave, int32_t i, int32_t j) {
  switch (weave) {
    case TX_WEAVE_TWILL:
      return ((i + j) & 3) < 2 ? 1.0f : -1.0f;
    case TX_WEAVE_SATIN:
      return ((i * 2 + j) % 5 + 5) % 5 != 0 ? 1.0f : -1.0f;
    default:
      return ((i + j) & 1) == 0 ? 1.0f : -1.0f;
  }
}

/* Yarn `yarn` of one direction where it meets crossing yarn `at`: runs a little aside, a little thicker, a little darker. */
static void place_yarn(const tx_cloth *cloth, int direction, int32_t yarn, int32_t at, float height, crossing *c) {
  uint32_t key = cloth->key + (uint32_t)direction * 16u;
  float pitch = cloth->pitch[direction];
  float shift = bell(key, yarn, 0) + 1.1f * bell(key + 1u, yarn, at);
  float width = bell(key + 2u, yarn, 0) + 1.1f * bell(key + 3u, yarn, at);
  float tone = bell(key + 4u, yarn, 0) +
               1.6f * (tx_fabric_noise(key + 5u, (float)yarn * 7.31f, (float)at * 0.31f) - 0.5f) +
               0.6f * bell(key + 6u, yarn, at);
  c->position[direction] = ((float)yarn + cloth->jitter * shift) * pitch;
  c->half[direction] = 0.5f * cloth->fill[direction] * pitch * (1.0f + 1.6f * cloth->jitter * width) *
                       (1.0f + 0.07f * (direction == 0 ? height : -height));
  c->albedo[direction] = cloth->albedo[direction] * (1.0f + cloth->mottle * tone);
}

typedef struct grid {
  int32_t first[2], count[2];
  const crossing *table; /* [count[1]][count[0]]: weft by warp */
} grid;

static const crossing *crossing_at(const grid *g, int32_t i, int32_t j) {
  int64_t column = tx_max(tx_min(i - g->first[0], g->count[0] - 1), 0);
  int64_t row = tx_max(tx_min(j - g->first[1], g->count[1] - 1), 0);
  return g->table + row * g->count[0] + column;
}

/* The surface of that yarn of `direction` which is nearest to the point; position `across` it and `along` it in pixels. */
static surface nearest_yarn(const tx_cloth *cloth, const grid *g, int direction, float across, float along) {
  int other = 1 - direction;
  float place = along / cloth->pitch[other];
  int32_t yarn = tx_floor_int(across / cloth->pitch[direction]), at = tx_floor_int(place);
  float t = tx_smooth(0.0f, 1.0f, place - (float)at);
  surface best = {.across = 1e9f};
  for (int32_t y = yarn; y <= yarn + 1; y++) {
    const crossing *a = direction == 0 ? crossing_at(g, y, at) : crossing_at(g, at, y);
    const crossing *b = direction == 0 ? crossing_at(g, y, at + 1) : crossing_at(g, at + 1, y);
    float half = a->half[direction] + t * (b->half[direction] - a->half[direction]);
    float middle = a->position[direction] + t * (b->position[direction] - a->position[direction]);
    float distance = (across - middle) / half;
    if (fabsf(distance) >= fabsf(best.across)) continue;
    float sign = direction == 0 ? 1.0f : -1.0f, rise = sign * (b->height - a->height);
    float raw = place - (float)at;
    best = (surface){.across = distance,
                     .along = along,
                     .half = half,
                     .height = sign * a->height + t * rise,
                     .slope = CRIMP * half * rise * 6.0f * raw * (1.0f - raw) / cloth->pitch[other],
                     .albedo = a->albedo[direction] + t * (b->albedo[direction] - a->albedo[direction]),
                     .twist = cloth->twist[direction],
                     .direction = {direction == 0 ? 0.0f : 1.0f, direction == 0 ? 1.0f : 0.0f},
                     .key = cloth->key + 64u + (uint32_t)direction + (uint32_t)y * 8u};
  }
  /* the shader counts `across` to the left of the direction */
  if (direction == 0) best.across = -best.across;
  return best;
}

/* What lies below all yarns: nearly black, with a hint of more cloth. */
static float backdrop(const tx_cloth *cloth, float u, float v) {
  return cloth->gap * (0.75f + 0.5f * tx_fabric_noise(cloth->key + 90u, u * 0.2f, v * 0.2f));
}

static float over(const tx_cloth *cloth, const surface *upper, const surface *lower, float below) {
  float result = below, upper_cover = cover(upper);
  if (upper_cover < 1.0f) {
    float lower_cover = cover(lower);
    if (lower_cover > 0.0f) result += lower_cover * (shade(cloth, lower) - below);
  }
  if (upper_cover > 0.0f) result += upper_cover * (shade(cloth, upper) - result);
  return result;
}

static float woven_light(const tx_cloth *cloth, const grid *g, float u, float v) {
  surface warp = nearest_yarn(cloth, g, 0, u, v), weft = nearest_yarn(cloth, g, 1, v, u);
  float below = backdrop(cloth, u, v);
  bool warp_first = relief(&warp) * warp.half > relief(&weft) * weft.half;
  return warp_first ? over(cloth, &warp, &weft, below) : over(cloth, &weft, &warp, below);
}

/* -- knitted --------------------------------------------------------------------------------------------------------- */

/* One leg of stitch `row` in column `column`. A leg rises from the middle of its column at the lower end to the border of
 * the column at the upper end, where it goes behind the next stitch. x: 0 .. 0.5 from the column's middle, y: down from
 * the stitch's top, both in pitches. */
static surface stitch_leg(const tx_cloth *cloth, int32_t column, int32_t row, float x, float y, float sign) {
  const float low = 1.08f, high = -0.62f, inner = 0.085f, outer = 0.40f;
  float t = tx_clampf((low - y) / (low - high), 0.0f, 1.0f), bend = t + 0.35f * t * (1.0f - t);
  float middle = inner + (outer - inner) * bend, pitch = cloth->pitch[0];
  float step_x = (outer - inner) * (1.0f + 0.35f * (1.0f - 2.0f * t)) * pitch, step_y = -(low - high) * cloth->pitch[1];
  float length = sqrtf(step_x * step_x + step_y * step_y), end = 2.0f * t - 1.0f;
  float side = sign < 0.0f ? 0.0f : 1.0f, half;
  int32_t leg = column * 2 + (int32_t)side;
  half = 0.245f * cloth->fill[0] * pitch * (1.0f + cloth->jitter * bell(cloth->key + 2u, leg, row)) *
         (1.0f - 0.45f * end * end * end * end);
  float shifted = x - middle + 0.3f * cloth->jitter * bell(cloth->key + 3u, leg, row);
  float beyond = y > low ? y - low : y < high ? high - y : 0.0f;
  float distance = shifted * pitch * -step_y / length / half;
  if (beyond > 0.0f) distance += (distance < 0.0f ? -1.0f : 1.0f) * beyond * cloth->pitch[1] / half;
  float tone = bell(cloth->key + 4u, 0, row) + 0.6f * bell(cloth->key + 6u, leg, row) +
               1.2f * (tx_fabric_noise(cloth->key + 5u, (float)column * 0.23f, (float)row * 7.31f) - 0.5f);
  return (surface){.across = sign * distance,
                   .along = t * length,
                   .half = half,
                   .height = 1.0f - 1.9f * t * t,
                   .slope = -CRIMP * 3.0f * t * half / length,
                   .albedo = cloth->albedo[0] * (1.0f + cloth->mottle * tone),
                   .twist = cloth->twist[0] * sign,
                   .direction = {sign * step_x / length, step_y / length},
                   .key = cloth->key + 64u + (uint32_t)leg * 8u + (uint32_t)row * 1024u};
}

static float knitted_light(const tx_cloth *cloth, float u, float v) {
  int32_t column = tx_floor_int(u / cloth->pitch[0]);
  float x = u / cloth->pitch[0] - (float)column - 0.5f, sign = x < 0.0f ? -1.0f : 1.0f;
  float y = v / cloth->pitch[1];
  int32_t row = tx_floor_int(y);
  surface first = {.half = 1.0f, .across = 9.0f}, second = first;
  float highest = -9.0f;
  for (int32_t k = row - 1; k <= row + 1; k++) {
    surface leg = stitch_leg(cloth, column, k, fabsf(x), y - (float)k, sign);
    float z = cover(&leg) > 0.0f ? relief(&leg) : -8.0f;
    if (z > highest) {
      second = first;
      first = leg;
      highest = z;
    } else if (cover(&leg) > 0.0f) {
      second = leg;
    }
  }
  return over(cloth, &first, &second, backdrop(cloth, u, v));
}

/* -- openings -------------------------------------------------------------------------------------------------------- */

/* Moves a point of the image to where its piece of cloth was before the opening was made; returns the distance from its
 * centre in radii (1: the rim). */
static float through_opening(const tx_opening *opening, float *x, float *y) {
  float dx = *x - opening->x, dy = *y - opening->y;
  float a = (dx * opening->cosine + dy * opening->sine) / opening->radius[0];
  float b = (dy * opening->cosine - dx * opening->sine) / opening->radius[1];
  float distance = sqrtf(a * a + b * b);
  if (distance >= opening->reach) return distance;
  float uneven = 1.0f;
  if (distance > 0.0f) {
    float turn = 1.4f / distance;
    uneven = 1.0f + 0.4f * (tx_fabric_noise(opening->key, a * turn, b * turn) - 0.5f) *
                        tx_smooth(opening->reach, 1.3f, distance);
  }
  float radii = distance / uneven, rest = tx_clampf((opening->reach - radii) / (opening->reach - 1.0f), 0.0f, 1.0f);
  float before = radii - 0.85f * rest * rest;
  if (before < 0.1f) before = 0.1f;
  float scale = distance > 0.0f ? before / distance : 1.0f, stir = opening->stir * rest * (2.0f - rest);
  *x = opening->x + dx * scale;
  *y = opening->y + dy * scale;
  if (stir > 0.0f) {
    *x += stir * (tx_fabric_noise(opening->key + 1u, dx * 0.045f, dy * 0.045f) - 0.5f);
    *y += stir * (tx_fabric_noise(opening->key + 2u, dx * 0.045f, dy * 0.045f) - 0.5f);
  }
  return radii;
}

/* -- the cloth ------------------------------------------------------------------------------------------------------- */

/* Smallest distance between yarns that `options` allow; tx_fabric_generate keeps to it. */
static const double NARROWEST = 0.7;

static int64_t crossings_across(const tx_fabric_options *options) {
  double diagonal =
      sqrt((double)options->height * (double)options->height + (double)options->width * (double)options->width);
  return (int64_t)(diagonal / (NARROWEST * options->yarn[0])) + 2 * MARGIN + 2;
}

size_t tx_cloth_scratch(const tx_fabric_options *options) {
  int64_t side = crossings_across(options);
  return (size_t)(side * side) * sizeof(crossing);
}

static void to_cloth(const tx_pose *pose, float x, float y, float *u, float *v) {
  *u = pose->u + pose->cosine[0] * x - pose->sine[0] * y;
  *v = pose->v + pose->sine[1] * x + pose->cosine[1] * y;
}

/* Yarns run astray: whole stretches of the cloth lie a little beside where they should. */
static void stray(const tx_cloth *cloth, float *u, float *v) {
  float x = *u * 0.035f, y = *v * 0.035f;
  *u += cloth->stray * (tx_fabric_noise(cloth->key + 201u, x, y) - 0.5f);
  *v += cloth->stray * (tx_fabric_noise(cloth->key + 202u, x, y) - 0.5f);
}

static grid lay_grid(const tx_canvas *canvas, const tx_cloth *cloth, const tx_pose *pose, crossing *table) {
  float low[2] = {1e30f, 1e30f}, high[2] = {-1e30f, -1e30f};
  for (int corner = 0; corner < 4; corner++) {
    float at[2];
    to_cloth(pose, (corner & 1) != 0 ? (float)canvas->width : 0.0f, (corner & 2) != 0 ? (float)canvas->height : 0.0f,
             &at[0], &at[1]);
    for (int d = 0; d < 2; d++) {
      low[d] = fminf(low[d], at[d]);
      high[d] = fmaxf(high[d], at[d]);
    }
  }
  grid g = {.table = table};
  for (int d = 0; d < 2; d++) {
    g.first[d] = tx_floor_int(low[d] / cloth->pitch[d]) - MARGIN / 2;
    g.count[d] = tx_floor_int(high[d] / cloth->pitch[d]) + MARGIN / 2 - g.first[d];
  }
  for (int32_t j = 0; j < g.count[1]; j++)
    for (int32_t i = 0; i < g.count[0]; i++) {
      int32_t warp = g.first[0] + i, weft = g.first[1] + j;
      crossing *c = table + (int64_t)j * g.count[0] + i;
      c->height = warp_on_top(cloth->weave, warp, weft);
      place_yarn(cloth, 0, warp, weft, c->height, c);
      place_yarn(cloth, 1, weft, warp, c->height, c);
    }
  return g;
}

void tx_paint_cloth(tx_canvas *canvas, const tx_cloth *cloth, const tx_pose *pose, const tx_opening *opening,
                    void *scratch) {
  bool knit = cloth->weave == TX_WEAVE_KNIT;
  grid g = {{0, 0}, {0, 0}, NULL};
  if (!knit) g = lay_grid(canvas, cloth, pose, scratch);
  for (int64_t row = 0; row < canvas->height; row++)
    for (int64_t column = 0; column < canvas->width; column++) {
      float x = (float)column, y = (float)row, u, v, radii = 1e9f;
      if (opening != NULL) radii = through_opening(opening, &x, &y);
      to_cloth(pose, x, y, &u, &v);
      stray(cloth, &u, &v);
      float light = knit ? knitted_light(cloth, u, v) : woven_light(cloth, &g, u, v);
      if (opening != NULL && radii < opening->reach) {
        float inside = 1.0f - tx_smooth(0.88f, 1.04f, radii);
        light *= 1.0f + 0.25f * tx_smooth(1.0f, 1.15f, radii) * (1.0f - tx_smooth(1.15f, 1.6f, radii)); /* the rim */
        light += inside * (backdrop(cloth, u, v) - light);
        canvas->mask[row * canvas->width + column] = 1;
      }
      canvas->light[row * canvas->width + column] = light;
    }
}
