/* dropout.h - elements left out by chance: y = x / (1 - p) with probability 1 - p, else 0.
 *
 * The decision for an element depends on (seed, stream) and its place only; backward is the same pass over dy.
 */
#ifndef TX_PASSES_DROPOUT_H
#define TX_PASSES_DROPOUT_H

#include "base/dtype.h"
#include "passes/random.h"

/* n elements of f32 or f64, 0 <= p < 1. */
void tx_dropout(tx_dtype dtype, tx_key key, double p, int64_t n, const void *x, void *y);

#endif
