/* random.h - arrays of random numbers.
 *
 * Element i gets a number that depends on (seed, stream, i) only: the same values for any number of threads, and any
 * instruction set up to rounding.
 */
#ifndef TX_PASSES_RANDOM_H
#define TX_PASSES_RANDOM_H

#include "base/dtype.h"

typedef struct tx_key {
  uint64_t seed, stream;
} tx_key;

/* Uniform in [low, high): 24 random bits for f32, 53 for f64. */
void tx_draw_uniform(tx_dtype dtype, tx_key key, double low, double high, int64_t n, void *out);
/* Normal (Box-Muller); f32 or f64. */
void tx_draw_normal(tx_dtype dtype, tx_key key, double mean, double deviation, int64_t n, void *out);
/* `value` with probability p, else 0; f32 or f64. */
void tx_draw_bernoulli(tx_dtype dtype, tx_key key, double p, double value, int64_t n, void *out);
/* Integers low..high, both included, each equally likely. */
void tx_draw_integers(tx_key key, int64_t low, int64_t high, int64_t n, int64_t *out);

/* Draws n of n units with replacement, `samples` times: counts[s * rows + r] says how many of the units drawn in sample s are of
 * row r. unit[i], 0-based, is the row of unit i. Sample s has a stream of its own. */
void tx_draw_resamples(tx_key key, int64_t n, const int64_t *unit, int64_t samples, int64_t rows, double *counts);

#endif
