/* layer_norm.c - some rows are a block; each block adds up its own part of the gradients of gamma and beta. */
#include "passes/layer_norm.h"

#include <string.h>

#include "base/memory.h"
#include "passes/passes.h"

enum { BLOCK_ELEMENTS = 16384, LEAST_ROWS = 16 }; /* wide rows: so that a block's sums are little beside it */

typedef struct job {
  const tx_layer_norm *l;
  const void *dy;
  void *out;    /* y, or dx: may be NULL */
  double *sums; /* {blocks,2,N}: of dy * xhat, of dy */
} job;

static int64_t block_rows(const tx_layer_norm *l) { return tx_max(BLOCK_ELEMENTS / l->n, LEAST_ROWS); }

static int64_t blocks_of(const tx_layer_norm *l) { return tx_ceil_div(l->rows, block_rows(l)); }

static void forward_block(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  const tx_layer_norm *l = j->l;
  const tx_range rows = tx_block_range(l->rows, block_rows(l), block);
  const void *x = tx_at(l->dtype, l->x, rows.first * l->n);
  void *y = tx_at_out(l->dtype, j->out, rows.first * l->n);
  TX_KERNEL_OF(l->dtype, layer_norm, rows.count, l->n, l->eps, x, l->gamma, l->beta, l->mean + rows.first,
               l->invstd + rows.first, y);
}

static void backward_block(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  const tx_layer_norm *l = j->l;
  const tx_range rows = tx_block_range(l->rows, block_rows(l), block);
  const void *x = tx_at(l->dtype, l->x, rows.first * l->n), *dy = tx_at(l->dtype, j->dy, rows.first * l->n);
  void *dx = tx_at_out(l->dtype, j->out, rows.first * l->n);
  double *dgamma = j->sums + block * 2 * l->n, *dbeta = dgamma + l->n;
  memset(dgamma, 0, (size_t)(2 * l->n) * sizeof(double));
  TX_KERNEL_OF(l->dtype, layer_norm_grad, rows.count, l->n, x, dy, l->gamma, l->mean + rows.first,
               l->invstd + rows.first, dx, dgamma, dbeta);
}

void tx_layer_norm_forward(const tx_layer_norm *l, void *y) {
  tx_parallel(blocks_of(l), forward_block, &(job){.l = l, .out = y});
}

/* to[k] = the sum over blocks of sums[block][which][k]. */
static void add_blocks(const job *j, int which, void *to) {
  const tx_layer_norm *l = j->l;
  for (int64_t k = 0; to != NULL && k < l->n; k++) {
    double sum = 0;
    for (int64_t block = 0; block < blocks_of(l); block++) sum += j->sums[(block * 2 + which) * l->n + k];
    tx_set_real(l->dtype, to, k, sum);
  }
}

tx_status tx_layer_norm_backward(const tx_layer_norm *l, const void *dy, void *dx, void *dgamma, void *dbeta) {
  job j = {.l = l, .dy = dy, .out = dx, .sums = tx_alloc_array(blocks_of(l) * 2 * l->n, sizeof(double))};
  if (j.sums == NULL) return TX_ENOMEM;
  tx_parallel(blocks_of(l), backward_block, &j);
  add_blocks(&j, 0, dgamma);
  add_blocks(&j, 1, dbeta);
  tx_dealloc(j.sums);
  return TX_OK;
}
