/* random.h - filling tensors with random numbers.
 *
 * Element i (row-major) of a tensor gets a number that depends on (seed, stream, i) only: the same values for any number
 * of threads, any strides, any instruction set up to rounding. Each fill uses up one stream:
 *
 *     tx_status status = tx_fill_normal(t, tx_next_key(), 0, 1);
 */
#ifndef TX_TENSOR_RANDOM_H
#define TX_TENSOR_RANDOM_H

#include "passes/random.h"
#include "tensor/tensor.h"

/* The next stream of the process-wide generator (base/rng.h). Main thread only. */
tx_key tx_next_key(void);

/* Uniform in [low, high): 24 random bits for f32, 53 for f64. Float dtypes. */
tx_status tx_fill_uniform(tx_tensor *t, tx_key key, double low, double high);
/* Normal (Box-Muller). Float dtypes. */
tx_status tx_fill_normal(tx_tensor *t, tx_key key, double mean, double deviation);
/* `value` with probability p, else 0. Any dtype; dropout's mask is tx_fill_bernoulli(mask, key, 1 - p, 1 / (1 - p)). */
tx_status tx_fill_bernoulli(tx_tensor *t, tx_key key, double p, double value);
/* Integers low..high, both included, each equally likely. Any dtype. */
tx_status tx_fill_integers(tx_tensor *t, tx_key key, int64_t low, int64_t high);
/* The numbers 1..n in random order, as i64. */
tx_status tx_randperm(tx_key key, int64_t n, tx_tensor **out);
/* The bootstrap: f64 {samples,rows}, how often each row comes when as many units as there are in `unit` (i64 {n}, numbers of
 * rows from 1) are drawn from it with replacement. */
tx_status tx_resample(tx_key key, tx_tensor *unit, int64_t rows, int64_t samples, tx_tensor **out);

#endif
