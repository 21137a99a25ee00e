/* optim.h - one step of an optimizer over all parameters of a network; the rules stand in tensor/optim.h.
 *
 * All parameters are cut into pieces of one size, and the pieces of all together are spread over the threads: a network has
 * a few large parameters and many small ones.
 */
#ifndef TX_PASSES_OPTIM_H
#define TX_PASSES_OPTIM_H

#include "base/dtype.h"
#include "base/status.h"
#include "kernels/list.h"

/* One parameter with its gradient and state: n elements each, f32 or f64. */
typedef struct tx_update {
  tx_dtype dtype;
  int64_t n;
  void *parameter;
  const void *gradient;
  void *state[2]; /* SGD: velocity or NULL; Adam: mean, square */
} tx_update;

tx_status tx_sgd_pass(int64_t count, const tx_update *updates, const tx_sgd_factors *factors);
tx_status tx_adam_pass(int64_t count, const tx_update *updates, const tx_adam_factors *factors);

#endif
