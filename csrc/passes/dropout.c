/* dropout.c - blocks of elements handed to the kernel dropout. */
#include "passes/dropout.h"

#include "passes/passes.h"

enum { GROUP = 64 }; /* elements that the kernel takes together */

typedef struct job {
  tx_dtype dtype;
  tx_key key;
  uint32_t threshold;
  double scale;
  int64_t n, size;
  const void *x;
  void *y;
} job;

static void run_block(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  const tx_range r = tx_block_range(j->n, j->size, block);
  const void *x = tx_at(j->dtype, j->x, r.first);
  void *y = tx_at_out(j->dtype, j->y, r.first);
  if (j->dtype == TX_F32) {
    tx_kernels.dropout_f32(r.count, r.first, j->key.seed, j->key.stream, j->threshold, (float)j->scale, x, y);
  } else {
    tx_dropout_f64(r.count, r.first, j->key.seed, j->key.stream, j->threshold, j->scale, x, y);
  }
}

void tx_dropout(tx_dtype dtype, tx_key key, double p, int64_t n, const void *x, void *y) {
  job j = {dtype, key, (uint32_t)(p * 0x1p32), 1 / (1 - p), n, 0, x, y};
  j.size = tx_ceil_div(tx_block_size(n, 8), GROUP) * GROUP;
  tx_parallel(tx_ceil_div(n, j.size), run_block, &j);
}
