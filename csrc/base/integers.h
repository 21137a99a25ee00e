/* integers.h - smallest, largest, rounded up; sums and products of sizes that say when they do not fit; those in files.
 *
 * Sizes come from users and files: any product or sum of them goes through tx_sum_fits and tx_product_fits before it is used. Bytes of an
 * array are counted by tx_alloc_array (base/memory.h), elements of a shape by tx_shape_numel (tensor/tensor.h).
 */
#ifndef TX_BASE_INTEGERS_H
#define TX_BASE_INTEGERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline int64_t tx_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t tx_max(int64_t a, int64_t b) { return a > b ? a : b; }

/* How many parts of size b hold a; a >= 0, b > 0. */
static inline int64_t tx_ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

/* The number that 1 to 8 bytes of a file are, low one first. */
static inline uint64_t tx_load_le(const uint8_t *from, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; i++) value |= (uint64_t)from[i] << 8 * i;
  return value;
}

/* *sum = a + b, *product = a * b of numbers that are not negative; false, with nothing written, beyond INT64_MAX. */
static inline bool tx_sum_fits(int64_t a, int64_t b, int64_t *sum) {
  if (a > INT64_MAX - b) return false;
  *sum = a + b;
  return true;
}
static inline bool tx_product_fits(int64_t a, int64_t b, int64_t *product) {
  if (b != 0 && a > INT64_MAX / b) return false;
  *product = a * b;
  return true;
}

/* The same of bytes that are only compared with a limit: UINT64_MAX where they do not fit. */
static inline uint64_t tx_capped_sum(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }
static inline uint64_t tx_capped_product(uint64_t a, uint64_t b) {
  return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

#endif
