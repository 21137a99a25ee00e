/* near.c - reference kernel: words that differ from one in few bits. */
#include "kernels/ref/ref.h"

static int count_bits(uint64_t word) {
  int bits = 0;
  for (; word != 0; word &= word - 1) bits++;
  return bits;
}

int64_t tx_near_u64_ref(int64_t n, const uint64_t *words, uint64_t wanted, int bits, int32_t *found) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++) {
    if (count_bits(words[i] ^ wanted) <= bits) found[count++] = (int32_t)i;
  }
  return count;
}
