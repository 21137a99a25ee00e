/* fingerprint.h - what images look like, in short: to find duplicates, near duplicates, constant and saturated images.
 *
 * A fingerprint is made of its pixels as f32 (data/source.h), channels averaged for all but the exact hash:
 *
 *     exact      128-bit hash of the pixels: equal for equal images
 *     thumb      the image averaged down to 16 x 16, mean 0, length 1; their scalar product is the correlation of two images
 *     sign[t]    of the image after t quarter turns: which of the 63 lowest cosine waves of the thumb are positive. Alike
 *                images differ in few bits (J. Zauner, "Implementation and benchmarking of perceptual image hash
 *                functions", 2010)
 */
#ifndef TX_FINGERPRINT_FINGERPRINT_H
#define TX_FINGERPRINT_FINGERPRINT_H

#include "data/source.h"

enum { TX_THUMB = 16 };

typedef struct tx_fingerprint {
  uint64_t exact[2];
  uint64_t sign[4];
  float thumb[TX_THUMB * TX_THUMB];
  float mean, std, low, high; /* of all pixels */
  float dark, bright;         /* share of values <= 0, and >= white */
} tx_fingerprint;

/* Two images of which the first, after `turn` quarter turns counterclockwise, is similar to the second. */
typedef struct tx_near {
  int64_t first, second; /* first < second */
  float similarity;      /* correlation of the thumbs */
  int turn;
} tx_near;

/* The fingerprints of the images at n positions of a source; `white` is the pixel value that means white. */
tx_status tx_fingerprint_images(tx_source *source, const int64_t *index, int64_t n, float white,
                                tx_fingerprint *fingerprints);

/* What is searched for: pairs that are not equal, whose signs differ in at most `bits` bits and whose similarity is
 * `similarity` at least. part[i] < parts is the part of a data set that image i is in. */
typedef struct tx_near_rule {
  int bits;
  double similarity;
  const int32_t *part;
  int32_t parts;
} tx_near_rule;

/* These pairs, in order of second, part of first, and first. Of the partners that a second has before it, the TX_NEAR_MAX most
 * similar of each part are kept: a second that has some in a part has one there. Images without contrast are left out: all
 * of them are alike. *pairs is for tx_dealloc. n < 2^31. */
enum { TX_NEAR_MAX = 16 };
tx_status tx_find_near(const tx_fingerprint *fingerprints, int64_t n, const tx_near_rule *rule, tx_near **pairs,
                       int64_t *count);

#endif
