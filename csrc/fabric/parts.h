/* parts.h - what the parts of the fabric generator share; private to csrc/fabric/.
 *
 * An image is painted onto a canvas of floats (0 black, 1 white) in this order: cloth (cloth.c), defect
 * (defect.c), then the camera: lighting, blur, noise, 8 bits (fabric.c). Lengths are pixels, x to the right, y
 * down; u and v are the same lengths on the cloth: warp yarns run along v and stand at multiples of pitch[0] in u, weft
 * yarns run along u and stand at multiples of pitch[1] in v.
 */
#ifndef TX_FABRIC_PARTS_H
#define TX_FABRIC_PARTS_H

#include "base/rng.h"
#include "fabric/fabric.h"

typedef struct tx_canvas {
  int64_t height, width;
  float *light;        /* [height][width] the picture */
  float *side, *along; /* [height][width] scratch of tx_paint_strand: distance from its middle line, way along it */
  uint8_t *mask;       /* [height][width] 1 where the defect painted; NULL: not wanted */
} tx_canvas;

/* What all images of one cloth have in common. Index 0 warp, 1 weft. */
typedef struct tx_cloth {
  uint32_t key; /* of its yarns' random properties */
  tx_weave weave;
  float pitch[2];  /* distance between neighbouring yarns */
  float fill[2];   /* width of a yarn as a part of the pitch */
  float albedo[2]; /* mean brightness */
  float twist[2];  /* slope of the fibres against the yarn */
  float jitter;    /* of spacing and width, as a part of the pitch */
  float stray;     /* how far, in pixels, stretches of the cloth lie off their place */
  float mottle;    /* brightness differences between yarns and along one */
  float fibre;     /* contrast of the fibres */
  float fuzz;      /* fibres that stand out: 1 is about one tuft per 30x30 pixels */
  float gap;       /* brightness of what is seen between yarns */
  float sun[3];    /* unit vector towards the light: u, v, up */
  float blur;      /* standard deviation of the lens in pixels */
  float noise;     /* standard deviation of the sensor */
} tx_cloth;

/* Where an image was taken: (u, v) = offset + rotated (x, y). Warp and weft aren't quite at right angles: each has its own. */
typedef struct tx_pose {
  float cosine[2], sine[2], u, v;
} tx_pose;

/* An opening that pushes yarns aside: an ellipse whose rim is uneven. Beyond `reach` radii nothing moves. */
typedef struct tx_opening {
  float x, y, cosine, sine, radius[2];
  float reach;
  float stir; /* how far, in pixels, yarns around it are out of place */
  uint32_t key;
} tx_opening;

/* A yarn, fibre, thread or strip of metal that lies on the cloth: a quadratic Bezier curve with a half width at each end. */
typedef struct tx_strand {
  float x[3], y[3];
  float half[2];
  float albedo;
  float fibre;   /* contrast of fibres along it; 0: smooth */
  float shadow;  /* 0 none .. 1 black */
  float opacity; /* of the strand itself */
  float gloss;   /* 0: yarn; else metal: strength of bright edge and highlight */
  float fray[2]; /* part of the length, from either end, within which its fibres end one by one */
  uint32_t key;
} tx_strand;

/* -- random fields --------------------------------------------------------------------------------------------------- */

static inline uint32_t tx_fabric_hash(uint32_t key, int32_t x, int32_t y) {
  uint32_t h = key ^ ((uint32_t)x * 0x9E3779B1u) ^ ((uint32_t)y * 0x85EBCA77u);
  h = (h ^ (h >> 15)) * 0x2C1B3C6Du;
  h = (h ^ (h >> 12)) * 0x297A2D39u;
  return h ^ (h >> 15);
}

static inline int32_t tx_floor_int(float x) {
  int32_t i = (int32_t)x;
  return (float)i > x ? i - 1 : i;
}

/* Smooth noise within 0..1 of unit wavelength: random numbers at whole x and y, blended between. */
static inline float tx_fabric_noise(uint32_t key, float x, float y) {
  int32_t ix = tx_floor_int(x), iy = tx_floor_int(y);
  float fx = x - (float)ix, fy = y - (float)iy;
  fx = fx * fx * (3.0f - 2.0f * fx);
  fy = fy * fy * (3.0f - 2.0f * fy);
  float a = tx_u32_to_unit(tx_fabric_hash(key, ix, iy)), b = tx_u32_to_unit(tx_fabric_hash(key, ix + 1, iy));
  float c = tx_u32_to_unit(tx_fabric_hash(key, ix, iy + 1)), d = tx_u32_to_unit(tx_fabric_hash(key, ix + 1, iy + 1));
  float top = a + fx * (b - a), bottom = c + fx * (d - c);
  return top + fy * (bottom - top);
}

static inline float tx_clampf(float x, float low, float high) { return x < low ? low : x > high ? high : x; }
/* 0 at low, 1 at high, smooth between. */
static inline float tx_smooth(float low, float high, float x) {
  float t = tx_clampf((x - low) / (high - low), 0.0f, 1.0f);
  return t * t * (3.0f - 2.0f * t);
}
static inline float tx_rangef(tx_rng *rng, double low, double high) { return (float)tx_rng_range(rng, low, high); }

/* -- painters -------------------------------------------------------------------------------------------------------- */

/* The cloth, with an opening unless NULL. It needs scratch memory of tx_cloth_scratch bytes. */
size_t tx_cloth_scratch(const tx_fabric_options *options);
void tx_paint_cloth(tx_canvas *canvas, const tx_cloth *cloth, const tx_pose *pose, const tx_opening *opening,
                    void *scratch);
void tx_paint_strand(tx_canvas *canvas, const tx_strand *strand);
/* Fine fibres of about `length` that stand out from around (x, y). */
void tx_paint_hairs(tx_canvas *canvas, tx_rng *rng, int count, float x, float y, float spread, float length,
                    float albedo);
/* `opening` of a hole or cut, to be given to tx_paint_cloth; false when the defect has none. */
bool tx_defect_opening(tx_defect defect, const tx_fabric_record *record, tx_rng *rng, tx_opening *opening);
void tx_paint_defect(tx_canvas *canvas, tx_defect defect, const tx_cloth *cloth, const tx_pose *pose,
                     const tx_fabric_record *record, const tx_opening *opening, tx_rng *rng);

#endif
