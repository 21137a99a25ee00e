/* rng.c - Philox 4x32-10 and what is drawn from it. */
#include "base/rng.h"

#include <math.h>

static uint32_t mul_hi_lo(uint32_t a, uint32_t b, uint32_t *low) {
  uint64_t product = (uint64_t)a * b;
  *low = (uint32_t)product;
  return (uint32_t)(product >> 32);
}

void tx_philox(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]) {
  uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  for (int round = 0; round < 10; round++) {
    uint32_t low0, low1;
    uint32_t high0 = mul_hi_lo(0xD2511F53u, c0, &low0);
    uint32_t high1 = mul_hi_lo(0xCD9E8D57u, c2, &low1);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

tx_rng tx_rng_make(uint64_t seed, uint64_t stream) {
  tx_rng rng = {.seed = seed, .stream = stream};
  return rng;
}

uint32_t tx_rng_u32(tx_rng *rng) {
  if (rng->left == 0) {
    tx_philox(rng->seed, rng->stream, rng->index++, rng->word);
    rng->left = 4;
  }
  return rng->word[4 - rng->left--];
}

double tx_rng_uniform(tx_rng *rng) {
  uint64_t high = tx_rng_u32(rng) >> 5, low = tx_rng_u32(rng) >> 6;
  return (double)((high << 26) | low) * 0x1p-53;
}

double tx_rng_range(tx_rng *rng, double low, double high) { return low + (high - low) * tx_rng_uniform(rng); }

void tx_u32_to_normal(uint32_t a, uint32_t b, double out[2]) {
  double radius = sqrt(-2.0 * log(((double)a + 1.0) * 0x1p-32));
  double angle = 6.283185307179586476925 * (double)b * 0x1p-32;
  out[0] = radius * cos(angle);
  out[1] = radius * sin(angle);
}

double tx_rng_normal(tx_rng *rng) {
  double pair[2];
  uint32_t a = tx_rng_u32(rng), b = tx_rng_u32(rng);
  tx_u32_to_normal(a, b, pair);
  return pair[0];
}

int64_t tx_rng_below(tx_rng *rng, int64_t n) {
  uint64_t range = (uint64_t)n, limit = UINT64_MAX - UINT64_MAX % range;
  for (;;) {
    uint64_t high = tx_rng_u32(rng), value = (high << 32) | tx_rng_u32(rng);
    if (value < limit) return (int64_t)(value % range);
  }
}

uint64_t tx_mix(uint64_t key, uint64_t value) { /* splitmix64's finalizer */
  uint64_t z = key + 0x9E3779B97F4A7C15u * (value + 1);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

void tx_rng_shuffle(tx_rng *rng, int64_t *values, int64_t n) {
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t j = tx_rng_below(rng, i + 1), value = values[i];
    values[i] = values[j];
    values[j] = value;
  }
}

tx_generator *tx_default_generator(void) {
  static tx_generator generator = {.seed = 0, .next_stream = 0};
  return &generator;
}
