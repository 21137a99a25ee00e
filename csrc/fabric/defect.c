/* defect.c - the five defects, painted onto a cloth: stains, openings, and strands that lie on top. */
#include <math.h>

#include "fabric/parts.h"

static const float TURN = 6.2831853f;

static void mark(tx_canvas *canvas, int64_t at) {
  if (canvas->mask != NULL) canvas->mask[at] = 1;
}

/* -- strands --------------------------------------------------------------------------------------------------------- */

enum { PIECES = 24, SHADOW_X = -2, SHADOW_Y = 3 };

typedef struct box {
  int64_t left, top, right, bottom; /* right and bottom are outside */
} box;

static box strand_box(const tx_canvas *canvas, const tx_strand *s, float margin) {
  float low_x = fminf(fminf(s->x[0], s->x[1]), s->x[2]), high_x = fmaxf(fmaxf(s->x[0], s->x[1]), s->x[2]);
  float low_y = fminf(fminf(s->y[0], s->y[1]), s->y[2]), high_y = fmaxf(fmaxf(s->y[0], s->y[1]), s->y[2]);
  float width = (float)canvas->width, height = (float)canvas->height;
  return (box){.left = (int64_t)tx_clampf(low_x - margin, 0.0f, width),
               .right = (int64_t)tx_clampf(high_x + margin + 1.0f, 0.0f, width),
               .top = (int64_t)tx_clampf(low_y - margin, 0.0f, height),
               .bottom = (int64_t)tx_clampf(high_y + margin + 1.0f, 0.0f, height)};
}

/* Writes, for every pixel near the straight piece from a to b, its distance from it and its way along the strand. */
static void trace_piece(tx_canvas *canvas, const float a[2], const float b[2], float way, float reach, bool first,
                        bool last) {
  tx_strand piece = {.x = {a[0], b[0], b[0]}, .y = {a[1], b[1], b[1]}};
  box area = strand_box(canvas, &piece, reach);
  float dx = b[0] - a[0], dy = b[1] - a[1], length = sqrtf(dx * dx + dy * dy);
  if (length <= 0.0f) return;
  dx /= length;
  dy /= length;
  for (int64_t row = area.top; row < area.bottom; row++)
    for (int64_t column = area.left; column < area.right; column++) {
      float px = (float)column - a[0], py = (float)row - a[1];
      float t = px * dx + py * dy, side = py * dx - px * dy;
      if ((first && t < 0.0f) || (last && t > length)) continue; /* ends are square */
      float beyond = t < 0.0f ? -t : t > length ? t - length : 0.0f;
      float distance = beyond > 0.0f ? sqrtf(beyond * beyond + side * side) : fabsf(side);
      int64_t at = row * canvas->width + column;
      if (distance >= fabsf(canvas->side[at])) continue;
      canvas->side[at] = side < 0.0f ? -distance : distance;
      canvas->along[at] = way + tx_clampf(t, 0.0f, length);
    }
}

static void trace_strand(tx_canvas *canvas, const tx_strand *s, box area, float reach, float *length) {
  for (int64_t row = area.top; row < area.bottom; row++)
    for (int64_t column = area.left; column < area.right; column++) canvas->side[row * canvas->width + column] = 1e9f;
  float from[2] = {s->x[0], s->y[0]}, way = 0.0f;
  float span =
      fabsf(s->x[1] - s->x[0]) + fabsf(s->y[1] - s->y[0]) + fabsf(s->x[2] - s->x[1]) + fabsf(s->y[2] - s->y[1]);
  int pieces = 3 + (int)(span / 8.0f);
  if (pieces > PIECES) pieces = PIECES;
  for (int i = 1; i <= pieces; i++) {
    float t = (float)i / (float)pieces, r = 1.0f - t;
    float to[2] = {r * r * s->x[0] + 2.0f * r * t * s->x[1] + t * t * s->x[2],
                   r * r * s->y[0] + 2.0f * r * t * s->y[1] + t * t * s->y[2]};
    trace_piece(canvas, from, to, way, reach, i == 1, i == pieces);
    way += sqrtf((to[0] - from[0]) * (to[0] - from[0]) + (to[1] - from[1]) * (to[1] - from[1]));
    from[0] = to[0];
    from[1] = to[1];
  }
  *length = way > 0.0f ? way : 1.0f;
}

/* Fibres of a strand keep their lane from end to end, also where it spreads; across: -1 .. 1, lanes in pixels. */
static float lane_of(const tx_strand *s, float across, float along) {
  return across * fminf(s->half[0], s->half[1]) + 0.12f * along;
}

/* A bundle of fibres, lit from above. */
static float yarn_light(const tx_strand *s, float across, float along) {
  float round = 1.0f - 0.5f * across * across * across * across;
  if (s->fibre <= 0.0f) return s->albedo * round;
  float lane = lane_of(s, across, along) + 1.6f * (tx_fabric_noise(s->key + 2u, across * 1.2f, along * 0.12f) - 0.5f);
  float fine = tx_fabric_noise(s->key, lane * 1.1f, along * 0.12f);
  float coarse = tx_fabric_noise(s->key + 1u, lane * 0.45f, along * 0.05f);
  return s->albedo * round * (1.0f + s->fibre * (1.6f * (fine - 0.5f) + 1.0f * (coarse - 0.5f)));
}

/* Which part of a strand's fibres is left at this place: each ends somewhere within the frayed part. */
static float unfrayed(const tx_strand *s, float across, float along, float part) {
  float left = 1.0f;
  for (int end = 0; end < 2; end++) {
    float inside = end == 0 ? part : 1.0f - part;
    if (s->fray[end] <= 0.0f || inside >= s->fray[end]) continue;
    float fibre_end = tx_fabric_noise(s->key + 3u + (uint32_t)end, lane_of(s, across, along) * 1.2f, 0.0f);
    float cut = tx_fabric_noise(s->key + 5u, lane_of(s, across, along) * 0.4f, 0.0f);
    float reach = inside / s->fray[end] - 0.65f * fibre_end - 0.35f * cut;
    left *= tx_smooth(-0.06f, 0.06f, reach + 0.1f);
  }
  return left;
}

/* Rolled metal: even, a slow change from side to side, one bright edge, one dark, a highlight somewhere along it. */
static float metal_light(const tx_strand *s, float across, float part) {
  float spot = (float)(s->key & 255u) / 255.0f, off = (part - spot) * 4.5f;
  float sheen = s->albedo * (1.0f + 0.12f * across);
  float edge = tx_smooth(0.62f, 0.86f, across) * (1.0f - tx_smooth(0.9f, 1.0f, across));
  float rim = 1.0f - 0.6f * tx_smooth(-0.78f, -1.0f, across) - 0.35f * tx_smooth(0.92f, 1.0f, across);
  float glint = expf(-off * off) * (1.0f - tx_smooth(0.0f, 0.5f, fabsf(across - 0.55f)));
  return sheen * rim + s->gloss * (0.3f * edge + 0.6f * glint);
}

static void cast_shadow(tx_canvas *canvas, const tx_strand *s, box area, float reach, float length) {
  for (int64_t row = area.top; row < area.bottom; row++)
    for (int64_t column = area.left; column < area.right; column++) {
      int64_t from_row = row - SHADOW_Y, from_column = column - SHADOW_X;
      if (from_row < area.top || from_row >= area.bottom || from_column < area.left || from_column >= area.right)
        continue;
      int64_t from = from_row * canvas->width + from_column, at = row * canvas->width + column;
      if (fabsf(canvas->side[from]) >= reach) continue; /* not traced */
      float half = s->half[0] + (s->half[1] - s->half[0]) * canvas->along[from] / length;
      float part = canvas->along[from] / length;
      float dark = s->shadow * tx_smooth(0.0f, fmaxf(s->fray[0], 0.05f), part) *
                   tx_smooth(0.0f, fmaxf(s->fray[1], 0.05f), 1.0f - part) *
                   (1.0f - tx_smooth(half - 1.0f, half + 3.0f, fabsf(canvas->side[from])));
      if (dark <= 0.0f) continue;
      canvas->light[at] *= 1.0f - dark;
      mark(canvas, at);
    }
}

void tx_paint_strand(tx_canvas *canvas, const tx_strand *s) {
  bool shadow = s->shadow > 0.0f; /* it is soft, and falls beside the strand */
  float reach = fmaxf(s->half[0], s->half[1]) + (shadow ? 4.0f : 1.0f), length;
  box area = strand_box(canvas, s, reach + (shadow ? 3.0f : 0.0f));
  trace_strand(canvas, s, area, reach, &length);
  if (shadow) cast_shadow(canvas, s, area, reach, length);
  for (int64_t row = area.top; row < area.bottom; row++)
    for (int64_t column = area.left; column < area.right; column++) {
      int64_t at = row * canvas->width + column;
      if (fabsf(canvas->side[at]) >= reach) continue;
      float part = canvas->along[at] / length, half = s->half[0] + (s->half[1] - s->half[0]) * part;
      float cover = s->opacity * tx_smooth(-0.5f, 0.7f, half - fabsf(canvas->side[at]));
      if (cover <= 0.0f) continue;
      float across = tx_clampf(canvas->side[at] / half, -1.0f, 1.0f);
      cover *= unfrayed(s, across, canvas->along[at], part);
      if (cover <= 0.0f) continue;
      float light = s->gloss > 0.0f ? metal_light(s, across, part) : yarn_light(s, across, canvas->along[at]);
      canvas->light[at] += cover * (light - canvas->light[at]);
      mark(canvas, at);
    }
}

/* A curve from (x, y) in `direction` (radians), bent by `bend` of its length to one side. */
static tx_strand strand_from(float x, float y, float direction, float length, float bend) {
  float dx = cosf(direction) * length, dy = sinf(direction) * length;
  return (tx_strand){.x = {x, x + 0.5f * dx - bend * dy, x + dx},
                     .y = {y, y + 0.5f * dy + bend * dx, y + dy},
                     .half = {1.0f, 1.0f},
                     .opacity = 1.0f};
}

void tx_paint_hairs(tx_canvas *canvas, tx_rng *rng, int count, float x, float y, float spread, float length,
                    float albedo) {
  for (int i = 0; i < count; i++) {
    float at = tx_rangef(rng, 0, TURN), off = spread * tx_rangef(rng, 0.2, 1);
    tx_strand hair = strand_from(x + off * cosf(at), y + off * sinf(at), tx_rangef(rng, 0, TURN),
                                 length * tx_rangef(rng, 0.4, 1.2), tx_rangef(rng, -0.5, 0.5));
    hair.half[0] = 0.45f;
    hair.half[1] = 0.3f;
    hair.albedo = albedo * tx_rangef(rng, 0.7, 1.4);
    hair.opacity = tx_rangef(rng, 0.3, 0.8);
    tx_paint_strand(canvas, &hair);
  }
}

/* -- color ----------------------------------------------------------------------------------------------------------- */

/* A liquid that was soaked up: an uneven blot, fringed along the yarns; what is dark stays a little grained. */
static void paint_stain(tx_canvas *canvas, const tx_fabric_record *r, const tx_pose *pose, tx_rng *rng) {
  float radius = 0.5f * (float)r->size * tx_rangef(rng, 0.8, 2.2), stretch = tx_rangef(rng, 0.7, 1.4),
        soft = tx_rangef(rng, 0.12, 0.4);
  bool bleach = tx_rng_uniform(rng) < 0.12;
  float strength = 0.25f + 0.6f * (float)r->severity, keep = bleach ? 1.0f + 0.7f * strength : 1.0f - strength;
  float tint = bleach ? 0.0f : 0.04f * strength;
  uint32_t key = tx_rng_u32(rng);
  for (int64_t row = 0; row < canvas->height; row++)
    for (int64_t column = 0; column < canvas->width; column++) {
      float dx = ((float)column - (float)r->col) / (radius * stretch),
            dy = ((float)row - (float)r->row) / radius * stretch;
      float distance = sqrtf(dx * dx + dy * dy);
      if (distance > 2.2f) continue;
      float u = pose->cosine[0] * (float)column - pose->sine[0] * (float)row;
      float v = pose->sine[1] * (float)column + pose->cosine[1] * (float)row;
      float uneven = tx_fabric_noise(key, (float)column * 0.05f, (float)row * 0.05f) +
                     0.35f * tx_fabric_noise(key + 1u, u * 0.3f, v * 0.05f) +
                     0.35f * tx_fabric_noise(key + 2u, u * 0.05f, v * 0.3f) - 0.85f;
      float amount = 1.0f - tx_smooth(1.0f - soft, 1.0f + soft, distance + 0.7f * uneven);
      if (amount <= 0.0f) continue;
      int64_t at = row * canvas->width + column;
      canvas->light[at] *= 1.0f + amount * (keep - 1.0f);
      canvas->light[at] += amount * tint;
      mark(canvas, at);
    }
}

/* -- openings: hole, cut --------------------------------------------------------------------------------------------- */

bool tx_defect_opening(tx_defect defect, const tx_fabric_record *r, tx_rng *rng, tx_opening *opening) {
  if (defect != TX_DEFECT_HOLE && defect != TX_DEFECT_CUT) return false;
  bool cut = defect == TX_DEFECT_CUT;
  float turn = tx_rangef(rng, 0, TURN), half = 0.5f * (float)r->size, severity = (float)r->severity;
  *opening = (tx_opening){.x = (float)r->col, .y = (float)r->row, .cosine = cosf(turn), .sine = sinf(turn)};
  if (cut) { /* a long slit, in the middle of a wider area in which nothing is in place any more */
    opening->radius[0] = half * tx_rangef(rng, 0.9, 1.6);
    opening->radius[1] = half * (0.08f + 0.2f * severity);
    opening->reach = 2.4f;
    opening->stir = half * (0.3f + 0.7f * severity);
  } else {
    float aspect = tx_rangef(rng, 0.75, 1.3);
    opening->radius[0] = half * (0.34f + 0.36f * severity) * aspect;
    opening->radius[1] = half * (0.34f + 0.36f * severity) / aspect;
    opening->reach = tx_rangef(rng, 2.2, 3.0);
    opening->stir = 0.15f * half;
  }
  opening->key = tx_rng_u32(rng);
  return true;
}

/* Ends of severed yarns that lean over the rim of the opening and dissolve into fibres. */
static void paint_ends(tx_canvas *canvas, const tx_cloth *cloth, const tx_opening *o, tx_rng *rng, int ends,
                       float reach) {
  for (int i = 0; i < ends; i++) {
    float turn = TURN * ((float)i + tx_rangef(rng, 0, 0.9)) / (float)ends;
    float a = cosf(turn) * o->radius[0] * 1.2f, b = sinf(turn) * (o->radius[1] * 1.2f + 3.0f);
    float x = o->x + a * o->cosine - b * o->sine, y = o->y + a * o->sine + b * o->cosine;
    float inward = atan2f(o->y - y, o->x - x) + tx_rangef(rng, -1.0, 1.0);
    tx_strand end = strand_from(x, y, inward, reach * tx_rangef(rng, 0.7, 1.5), tx_rangef(rng, -0.3, 0.3));
    end.half[0] = 0.5f * cloth->fill[0] * cloth->pitch[0] * tx_rangef(rng, 0.5, 0.9);
    end.half[1] = end.half[0] * tx_rangef(rng, 0.9, 1.8);
    end.albedo = cloth->albedo[0] * tx_rangef(rng, 0.6, 0.95);
    end.fibre = cloth->fibre * 1.4f;
    end.fray[0] = 0.2f;
    end.fray[1] = tx_rangef(rng, 0.6, 0.95);
    end.shadow = 0.3f;
    end.key = tx_rng_u32(rng);
    tx_paint_strand(canvas, &end);
  }
}

static void paint_cut(tx_canvas *canvas, const tx_cloth *cloth, const tx_fabric_record *r, const tx_opening *o,
                      tx_rng *rng) {
  float length = o->radius[0], pitch = cloth->pitch[0], severity = (float)r->severity;
  float loose = fminf(pitch, 0.7f * length); /* how far ends and fibres reach */
  int ends = 2 + (int)((1.2f + 2.4f * severity) * length / pitch);
  paint_ends(canvas, cloth, o, rng, ends, (0.7f + 0.9f * severity) * loose);
  int tufts = 2 + (int)((2.0f + 4.5f * severity) * length / pitch);
  for (int i = 0; i < tufts; i++) {
    float a = tx_rangef(rng, -1.2, 1.2) * length, b = tx_rangef(rng, -1.5, 1.5) * o->radius[1];
    tx_paint_hairs(canvas, rng, 8, o->x + a * o->cosine - b * o->sine, o->y + a * o->sine + b * o->cosine,
                   0.25f * loose, 1.1f * loose, cloth->albedo[0]);
  }
}

static void paint_hole(tx_canvas *canvas, const tx_cloth *cloth, const tx_fabric_record *r, const tx_opening *o,
                       tx_rng *rng) {
  /* some of the pushed yarns lie around the opening as a thick rim */
  int arcs = 2 + (int)tx_rng_below(rng, 4);
  for (int i = 0; i < arcs; i++) {
    float from = tx_rangef(rng, 0, TURN), span = tx_rangef(rng, 1.0, 1.9), out = tx_rangef(rng, 1.15, 1.55);
    tx_strand arc = {.half = {2.0f, 2.0f}, .opacity = 1.0f};
    for (int k = 0; k < 3; k++) {
      float stretch = k == 1 ? out / cosf(0.5f * span) : out * tx_rangef(rng, 1.0, 1.5);
      float turn = from + 0.5f * span * (float)k;
      float a = cosf(turn) * o->radius[0] * stretch, b = sinf(turn) * o->radius[1] * stretch;
      arc.x[k] = o->x + a * o->cosine - b * o->sine;
      arc.y[k] = o->y + a * o->sine + b * o->cosine;
    }
    arc.half[0] = 0.5f * cloth->fill[0] * cloth->pitch[0] * tx_rangef(rng, 0.6, 1.0);
    arc.half[1] = arc.half[0] * tx_rangef(rng, 0.7, 1.3);
    arc.albedo = cloth->albedo[0] * tx_rangef(rng, 0.65, 1.1);
    arc.fibre = cloth->fibre * 1.2f;
    arc.fray[0] = arc.fray[1] = tx_rangef(rng, 0.2, 0.45);
    arc.shadow = 0.3f;
    arc.key = tx_rng_u32(rng);
    tx_paint_strand(canvas, &arc);
  }
  float outer = fmaxf(o->radius[0], o->radius[1]);
  tx_paint_hairs(canvas, rng, 6 + (int)(16.0 * r->severity), o->x, o->y, outer * 1.4f, 18.0f, cloth->albedo[0]);
}

/* -- thread ---------------------------------------------------------------------------------------------------------- */

static void paint_thread(tx_canvas *canvas, const tx_cloth *cloth, const tx_fabric_record *r, tx_rng *rng) {
  float length = (float)r->size * tx_rangef(rng, 1.4, 2.6), direction = tx_rangef(rng, 0, TURN);
  float bend = tx_rangef(rng, -0.4, 0.4), half = tx_rangef(rng, 1.3, 2.8) + 5.0f * (float)(r->severity * r->severity);
  float x = (float)r->col - 0.5f * length * cosf(direction) + 0.5f * bend * length * sinf(direction);
  float y = (float)r->row - 0.5f * length * sinf(direction) - 0.5f * bend * length * cosf(direction);
  bool dark = tx_rng_uniform(rng) < 0.25;
  float tone = dark ? 0.45f - 0.3f * (float)r->severity : 1.3f + 0.4f * (float)r->severity;
  tx_strand thread = strand_from(x, y, direction, length, bend);
  thread.half[0] = half;
  thread.half[1] = half * tx_rangef(rng, 0.5, 1.1);
  thread.albedo = 0.72f * cloth->albedo[0] * tone;
  thread.fibre = cloth->fibre * 0.8f;
  thread.shadow = 0.3f + 0.3f * (float)r->severity;
  thread.fray[0] = tx_rangef(rng, 0.02, 0.3);
  thread.fray[1] = tx_rangef(rng, 0.02, 0.3);
  thread.key = tx_rng_u32(rng);
  tx_paint_strand(canvas, &thread);
  /* fibres that came loose run beside it and away from it */
  int loose = 3 + (int)(10.0 * r->severity);
  for (int i = 0; i < loose; i++) {
    float t = tx_rangef(rng, 0, 1), s = 1.0f - t;
    float px = s * s * thread.x[0] + 2.0f * s * t * thread.x[1] + t * t * thread.x[2];
    float py = s * s * thread.y[0] + 2.0f * s * t * thread.y[1] + t * t * thread.y[2];
    tx_strand fibre =
        strand_from(px, py, direction + tx_rangef(rng, -0.7, 0.7), tx_rangef(rng, 8, 24), tx_rangef(rng, -0.4, 0.4));
    fibre.half[0] = 0.6f;
    fibre.half[1] = 0.35f;
    fibre.albedo = thread.albedo * tx_rangef(rng, 0.8, 1.3);
    fibre.opacity = tx_rangef(rng, 0.3, 0.8);
    tx_paint_strand(canvas, &fibre);
  }
}

/* -- metal_contamination --------------------------------------------------------------------------------------------- */

static void paint_metal(tx_canvas *canvas, const tx_cloth *cloth, const tx_fabric_record *r, tx_rng *rng) {
  float length = (float)r->size * tx_rangef(rng, 0.9, 2.2), direction = tx_rangef(rng, 0, TURN);
  float bend = tx_rangef(rng, -0.3, 0.3), half = (0.10f + 0.12f * (float)r->severity) * (float)r->size;
  float x = (float)r->col - 0.5f * length * cosf(direction) + 0.5f * bend * length * sinf(direction);
  float y = (float)r->row - 0.5f * length * sinf(direction) - 0.5f * bend * length * cosf(direction);
  tx_strand strip = strand_from(x, y, direction, length, bend);
  strip.half[0] = fmaxf(half, 3.0f);
  strip.half[1] = strip.half[0] * tx_rangef(rng, 0.6, 1.1);
  strip.albedo = cloth->albedo[0] * tx_rangef(rng, 0.6, 0.95);
  strip.shadow = 0.5f;
  strip.gloss = 0.35f + 0.65f * (float)r->severity;
  strip.key = tx_rng_u32(rng);
  tx_paint_strand(canvas, &strip);
}

void tx_paint_defect(tx_canvas *canvas, tx_defect defect, const tx_cloth *cloth, const tx_pose *pose,
                     const tx_fabric_record *record, const tx_opening *opening, tx_rng *rng) {
  switch (defect) {
    case TX_DEFECT_COLOR:
      paint_stain(canvas, record, pose, rng);
      break;
    case TX_DEFECT_CUT:
      paint_cut(canvas, cloth, record, opening, rng);
      break;
    case TX_DEFECT_HOLE:
      paint_hole(canvas, cloth, record, opening, rng);
      break;
    case TX_DEFECT_THREAD:
      paint_thread(canvas, cloth, record, rng);
      break;
    case TX_DEFECT_METAL:
      paint_metal(canvas, cloth, record, rng);
      break;
    default:
      break;
  }
}
