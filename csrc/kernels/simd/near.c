/* near.c - words that differ from one in few bits: the population count is one instruction here. */
#include "kernels/simd/simd.h"

int64_t TX_SIMD_NAME(near_u64)(int64_t n, const uint64_t *words, uint64_t wanted, int bits, int32_t *found) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++) { /* without a branch: nearly all words are far, and where is not foreseeable */
    found[count] = (int32_t)i;
    count += __builtin_popcountll(words[i] ^ wanted) <= bits;
  }
  return count;
}
