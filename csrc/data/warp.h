/* warp.h - a float image {H,W,C} through an affine map.
 *
 * The map tells where the pixel (x, y) of the new image comes from, both counted from the middle of their image:
 *
 *     (m[0] x + m[1] y + m[2], m[3] x + m[4] y + m[5])
 *
 * A map that takes pixels to pixels copies them exactly. Else values are bicubic, with the kernel of Keys (1981) and
 * a = -0.5, which is also the spline of Catmull and Rom: of the cubics that go through the pixels it alone is exact for
 * parabolas, it overshoots less at edges than a = -0.75, and it is what Pillow and PyTorch take when they shrink with
 * antialiasing. Bilinear values would blur the yarns, as defects do. Where the new image is smaller than what it shows
 * by more than a tenth, the kernel is widened as much, up to 8 times, so that fine patterns do not turn into coarse ones.
 *
 * What lies outside of the image is its mirror image (the edge pixel isn't repeated: 2 1 | 0 1 2 | 1 0).
 */
#ifndef TX_DATA_WARP_H
#define TX_DATA_WARP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tx_size2 {
  int64_t height, width;
} tx_size2;

/* Whether the map takes each pixel of the new image (size `to`) to one pixel of the old one or of its mirror image. */
bool tx_map_is_exact(const double map[6], tx_size2 from, tx_size2 to);

/* `image` of size `from` becomes `result` of size `to`, which is other memory. */
void tx_warp(const float *image, tx_size2 from, float *result, tx_size2 to, int64_t channels, const double map[6]);

/* The same with the value of the nearest pixel: for masks. */
void tx_warp_nearest(const float *image, tx_size2 from, float *result, tx_size2 to, int64_t channels,
                     const double map[6]);

#endif
