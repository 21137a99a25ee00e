/* reduction.c - see reduction.h. */
#include "autograd/reduction.h"

typedef struct only {
  tx_reduction over;
} only;

const tx_param tx_reduction_params[] = {TX_REDUCTION_PARAMS(only, over), {0}};

int64_t tx_reduced_count(const tx_meta *input, uint32_t mask) {
  int64_t count = 1;
  for (int d = 0; d < input->dims; d++) {
    if (mask >> d & 1u) count *= input->shape[d];
  }
  return count;
}

int tx_single_dim(uint32_t mask) {
  if (mask == 0 || (mask & (mask - 1)) != 0) return TX_NO_DIM;
  int dim = 0;
  while (!(mask >> dim & 1u)) dim++;
  return dim;
}
