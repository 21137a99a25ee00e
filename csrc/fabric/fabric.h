/* fabric.h - synthetic close-ups of textile, with defects, labels, masks.
 *
 * The pictures follow the real textile set (patches of carpet photographs, rotated by 0, 20, ..., 140 degrees): yarns as
 * shaded cylinders that go over and under each other as the weave says, streaky fibres along them, dark gaps between,
 * and one of five defects. Everything about image i is a function of (seed, i) and the options, so that the same
 * options give the same bytes for any number of threads, and a set with more images begins with the same ones.
 *
 *   cloth    images belong to `sources` cloths, all classes to each; a cloth fixes weave, spacing, yarn colour, light and focus
 *   pose     where on the cloth the image was taken, its angle, the lighting across it
 *   defect   class i % classes; drawn on top, from random numbers of its own: images of equal index and number of
 *            classes show the same piece of cloth whatever their class is
 *
 * The mask is 1 where the defect may have changed a pixel; outside of it the image is the same as without the defect.
 */
#ifndef TX_FABRIC_FABRIC_H
#define TX_FABRIC_FABRIC_H

#include "tensor/tensor.h"

typedef enum tx_defect {
  TX_DEFECT_GOOD = 0, /* none */
  TX_DEFECT_COLOR,    /* a dark or bleached stain with a soft edge */
  TX_DEFECT_CUT,      /* severed yarns: a dark slit, frayed ends */
  TX_DEFECT_HOLE,     /* yarns pushed aside around a dark opening */
  TX_DEFECT_THREAD,   /* a loose thread lying across, with its shadow */
  TX_DEFECT_METAL,    /* a smooth piece of metal with bright edges */
  TX_DEFECT_COUNT
} tx_defect;

typedef enum tx_weave {
  TX_WEAVE_PLAIN = 0, /* over one, under one */
  TX_WEAVE_TWILL,     /* over two, under two, shifted by one: diagonal lines */
  TX_WEAVE_SATIN,     /* five-harness: long warp floats */
  TX_WEAVE_KNIT,      /* stockinette: columns of V-shaped stitches */
  TX_WEAVE_COUNT
} tx_weave;

/* As in Lua, ending with NULL: good color cut hole thread metal_contamination; plain twill satin knit. */
extern const char *const tx_defect_names[TX_DEFECT_COUNT + 1];
extern const char *const tx_weave_names[TX_WEAVE_COUNT + 1];

enum { TX_FABRIC_ANGLES = 8 }; /* 0, 20, ..., 140 degrees */

typedef struct tx_fabric_options {
  int64_t count, height, width;
  uint64_t seed;
  int n_classes;
  tx_defect classes[TX_DEFECT_COUNT]; /* label i is classes[i] */
  unsigned weaves;                    /* bit 1 << weave: each cloth takes one of these */
  int64_t sources;                    /* number of cloths */
  double severity[2];                 /* range within 0..1: how marked a defect is */
  double defect_size[2];              /* range in pixels: diameter or length */
  double yarn[2];                     /* range in pixels: distance from yarn to yarn */
} tx_fabric_options;

/* What the generator knows about one image; angles in degrees, positions and sizes in pixels, NAN where no defect is. */
typedef struct tx_fabric_record {
  int64_t label; /* 0-based */
  int64_t source;
  tx_weave weave;
  double angle, severity, size, row, col;
} tx_fabric_record;

/* Whether the options make sense; the message says which one doesn't. */
tx_status tx_fabric_check(const tx_fabric_options *options);

/* Fills images and masks (each u8, count*height*width; masks may be NULL) and records (count). */
tx_status tx_fabric_generate(const tx_fabric_options *options, uint8_t *images, uint8_t *masks,
                             tx_fabric_record *records);

#endif
