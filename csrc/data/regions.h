/* regions.h - connected regions of a mask: pixels that touch at a side or a corner belong together. */
#ifndef TX_DATA_REGIONS_H
#define TX_DATA_REGIONS_H

#include <stdint.h>

/* Writes to number {H,W} the region of every pixel of mask {H,W} that is not 0, counted from `first` in the order of their
 * first pixels, and 0 for the others. Returns how many there are. */
int64_t tx_regions(const uint8_t *mask, int64_t height, int64_t width, int64_t first, int64_t *number);

#endif
