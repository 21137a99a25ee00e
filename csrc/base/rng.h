/* rng.h - counter-based random numbers (Philox 4x32-10).
 *
 * A random number is a pure function of (seed, stream, index): nothing is advanced, so the number that belongs to a sample
 * does not depend on who computed it, or in which order. `stream` tells uses apart (a tensor filled, an epoch, a purpose),
 * `index` counts inside a stream.
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
#ifndef TX_BASE_RNG_H
#define TX_BASE_RNG_H

#include <stdint.h>

/* Four independent 32-bit words for one index. */
void tx_philox(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]);

/* A small generator over one (seed, stream): for code that draws a varying number of values, such as one sample's
 * augmentation. Copying it copies its position. */
typedef struct tx_rng {
  uint64_t seed, stream, index;
  uint32_t word[4];
  int left; /* unused words in `word` */
} tx_rng;

tx_rng tx_rng_make(uint64_t seed, uint64_t stream);
uint32_t tx_rng_u32(tx_rng *rng);
double tx_rng_uniform(tx_rng *rng);                        /* [0, 1), 53 bits */
double tx_rng_range(tx_rng *rng, double low, double high); /* [low, high) */
double tx_rng_normal(tx_rng *rng);                         /* mean 0, variance 1 (Box-Muller) */
int64_t tx_rng_below(tx_rng *rng, int64_t n);              /* 0 .. n-1, unbiased; n >= 1 */

/* Turns a 32-bit word into a float in [0, 1) with 24 bits, and a pair of words into two normal deviates. */
static inline float tx_u32_to_unit(uint32_t word) { return (float)(word >> 8) * 0x1p-24f; }
void tx_u32_to_normal(uint32_t a, uint32_t b, double out[2]);

/* Mixes a 64-bit key with a value into a new key: for deriving streams, e.g. tx_mix(epoch, sample). */
uint64_t tx_mix(uint64_t key, uint64_t value);

/* Seeded Fisher-Yates shuffle of n indices. */
void tx_rng_shuffle(tx_rng *rng, int64_t *values, int64_t n);

/* The process-wide generator behind rand(), randn(), dropout and initialization: each use takes the next stream. */
typedef struct tx_generator {
  uint64_t seed, next_stream;
} tx_generator;
tx_generator *tx_default_generator(void);

#endif
