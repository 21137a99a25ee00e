/* paste.h - a masked defect of one image put on the cloth of another one.
 *
 * The defect comes to a random place where all of its mask lies inside of the image. It covers the cloth fully where the mask
 * is set, and less and less over a few pixels around it. Its pixels are multiplied, per channel, so that the cloth around the
 * defect is as bright as the cloth it comes to, by 0.5 to 2 at most.
 */
#ifndef TX_DATA_PASTE_H
#define TX_DATA_PASTE_H

#include "base/rng.h"
#include "data/warp.h"

typedef struct tx_pasted {
  bool done;           /* false: the mask is empty */
  int64_t right, down; /* how far the defect was moved */
} tx_pasted;

/* Pastes the defect that `mask` {H,W} (not 0 where it is) shows of `other` {H,W,C} into `cloth` {H,W,C}. feather: how far, in
 * pixels, it fades. scratch has room for 2*H*W values. */
tx_pasted tx_paste(float *cloth, const float *other, const float *mask, tx_size2 size, int64_t channels, double feather,
                   tx_rng rng, float *scratch);

/* Adds the defect's mask, moved as the defect was, to the mask of the cloth. */
void tx_paste_mask(float *cloth, const float *mask, tx_size2 size, tx_pasted pasted);

#endif
