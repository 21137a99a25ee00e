/* list.h - the one list of kernels that are chosen at run time.
 *
 * A row is TX_KERNEL(name, return type, (arguments)). It gives the dispatch table a member, the header of each instruction
 * set a declaration (tx_<name>_<isa>), and the specs and the benchmark a row to walk. All kernels work on raw pointers,
 * know nothing of tensors, allocate nothing and start no threads.
 */
#ifndef TX_KERNELS_LIST_H
#define TX_KERNELS_LIST_H

#include <stdint.h>

/* clang-format off */
#define TX_KERNELS(TX_KERNEL) \
  /* y[i] = f(x[i]); x == y is allowed */ \
  TX_KERNEL(exp_f32,     void, (int64_t n, const float *x, float *y))
/* clang-format on */

#endif
