/* augment.h - random changes to training images, one image at a time, and mixing of the images of a batch.
 *
 * An augmentation is a list of transforms, applied in order. What they draw depends on (seed, epoch, sample) alone, so an
 * image comes out the same whichever thread makes it, in whatever order. Images are f32 {H,W,C}, as a source gives them
 * (usually 0..1), not yet normalized; values are not clamped. They keep their size, unless there is a window.
 *
 * Neighbouring transforms that only move pixels (flip, rotate90, rotate, shift, scale, crop) are multiplied into one
 * affine map, so that the image is resampled once, as data/warp.h says: bicubic, mirrored outside of the image; a map
 * that takes pixels to pixels copies them exactly.
 *
 * A window is placed when the map it belongs to is known, so that what it shows, turned, scaled and shifted, lies inside of
 * the image where there is room for that: no corner is made up.
 */
#ifndef TX_DATA_AUGMENT_H
#define TX_DATA_AUGMENT_H

#include "base/rng.h"
#include "data/warp.h"
#include "tensor/tensor.h"

typedef enum tx_transform_kind {
  TX_FLIP = 0,   /* left-right and top-bottom, each with probability p */
  TX_ROTATE90,   /* by 0, 90, 180 or 270 degrees, equally likely; 0 or 180 when the image isn't square */
  TX_ROTATE,     /* by an angle within +-degrees */
  TX_SHIFT,      /* by up to +-pixels along both sides */
  TX_SCALE,      /* by a factor within 1/(1+amount) .. 1+amount */
  TX_CROP,       /* a window of the image's size, of the image with `padding` mirrored pixels on all sides */
  TX_WINDOW,     /* size x size pixels of a larger image: anywhere, or in its middle when random is 0; always applied */
  TX_BRIGHTNESS, /* x * factor within 1-amount .. 1+amount */
  TX_CONTRAST,   /* the same about the mean of the channel */
  TX_GAMMA,      /* max(x, 0) ^ exponent within 1/(1+amount) .. 1+amount */
  TX_NOISE,      /* x + normal noise with a deviation within 0 .. sigma */
  TX_BLUR,       /* Gaussian with a deviation of 0 .. sigma pixels */
  TX_CUTOUT,     /* `count` squares of `size` pixels become `fill`, or the channel's mean when fill is NaN */
  TX_MIXUP,      /* lambda a + (1-lambda) b for pairs of a batch, lambda ~ Beta(alpha, alpha) */
  TX_CUTMIX,     /* a rectangle of b pasted into a; lambda is the share that is left of a */
  TX_PASTE,      /* the defect of another sample put on a good one, before all else: by a loader (data/loader.h) */
  TX_TRANSFORM_COUNT
} tx_transform_kind;

enum { TX_TRANSFORM_PARAMS = 4, TX_MAX_TRANSFORMS = 24 };

/* What a transform is called and takes. Each also has p, the probability with which it is applied. */
typedef struct tx_transform_info {
  const char *name;
  struct {
    const char *name; /* NULL: no more; the first may be given without its name */
    double default_value, low, high;
    bool whole; /* a count or a number of pixels: fractions are refused */
  } param[TX_TRANSFORM_PARAMS];
} tx_transform_info;

extern const tx_transform_info tx_transforms[TX_TRANSFORM_COUNT];

typedef struct tx_transform {
  tx_transform_kind kind;
  double p;
  double value[TX_TRANSFORM_PARAMS]; /* in the order of tx_transform_info */
} tx_transform;

typedef struct tx_augment {
  int count;
  tx_transform step[TX_MAX_TRANSFORMS];
} tx_augment;

/* A transform with its defaults. */
tx_transform tx_transform_make(tx_transform_kind kind);

/* The random numbers of one sample: `turn` tells repeated draws of it in one epoch apart (0 for the first). */
tx_rng tx_augment_rng(uint64_t seed, uint64_t epoch, uint64_t sample, uint64_t turn);

/* The first transform of a kind in the list, or NULL. */
const tx_transform *tx_augment_find(const tx_augment *augment, tx_transform_kind kind);

/* The size that images have afterwards; fails where the window is larger than they are, or there is more than one. */
tx_status tx_augment_size(const tx_augment *augment, tx_size2 size, tx_size2 *result);

/* Applies all but mixup, cutmix and paste to an image of that size, for which tx_augment_size has not failed; scratch has room for
 * as many values. */
void tx_augment_image(const tx_augment *augment, tx_rng rng, tx_size2 size, int64_t channels, float *image,
                      float *scratch);

/* The same for the mask that belongs to an image of this size and these random numbers: it is moved with the image, each value
 * from the nearest pixel; what changes the image's values leaves it alone. */
void tx_augment_mask(const tx_augment *augment, tx_rng rng, tx_size2 size, int64_t channels, float *mask,
                     float *scratch);

/* How a batch is to be mixed. Sample i is mixed with sample (i + shift) % n of the same batch. */
typedef struct tx_mix_plan {
  bool wanted, masks;     /* masks: of two that mixup mixes both are seen, the larger value of each pixel */
  tx_transform_kind kind; /* TX_MIXUP or TX_CUTMIX */
  double lambda;          /* share of the first image in the labels */
  int64_t shift;
  int64_t top, left, bottom, right; /* cutmix: the rectangle; bottom and right are outside */
} tx_mix_plan;

/* Decides for batch number `batch` of n images; with both in the list, one of them is drawn. */
tx_mix_plan tx_augment_plan_mix(const tx_augment *augment, uint64_t seed, uint64_t epoch, uint64_t batch, int64_t n,
                                int64_t height, int64_t width);
/* Mixes {n,height,width,channels} in place; scratch has room for the whole batch. */
void tx_augment_mix(const tx_mix_plan *plan, int64_t n, int64_t height, int64_t width, int64_t channels, float *images,
                    float *scratch);

#endif
