/* contrast.h - local contrast: how far each pixel is from the mean of the box around it, in deviations of that box.
 *
 * Uneven light and the shade of the cloth go away, what differs from its surroundings stays. Sums run along columns and rows,
 * so that the size of the box costs nothing. At the edges the box is what of it lies inside of the image.
 */
#ifndef TX_DATA_CONTRAST_H
#define TX_DATA_CONTRAST_H

#include "data/warp.h"

/* result = (x - mean) / (deviation + floor) for an image {H,W,C}, each channel by itself; the box has 2*reach+1 pixels along a
 * side. `floor` keeps the noise of plain places small. sums has room for 2*W*C numbers. A NaN spreads. */
void tx_local_contrast(const float *image, float *result, tx_size2 size, int64_t channels, int64_t reach, double floor,
                       double *sums);

#endif
