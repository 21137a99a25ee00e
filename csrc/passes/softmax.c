/* softmax.c - blocks of rows handed to the kernels softmax and softmax_grad. */
#include "passes/softmax.h"

#include "passes/passes.h"

typedef struct job {
  const tx_softmax_pass *pass;
  int64_t size;       /* rows of a block */
  const void *x, *dy; /* dy NULL: forward, from x; else x is the output of forward */
  void *out;
} job;

static void run_block(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  const tx_softmax_pass *p = j->pass;
  const tx_range r = tx_block_range(p->rows, j->size, block);
  const void *x = tx_at(p->dtype, j->x, r.first * p->n), *dy = tx_at(p->dtype, j->dy, r.first * p->n);
  void *out = tx_at_out(p->dtype, j->out, r.first * p->n);
  if (dy == NULL) {
    TX_KERNEL_OF(p->dtype, softmax, r.count, p->n, p->logarithm, x, out);
  } else {
    TX_KERNEL_OF(p->dtype, softmax_grad, r.count, p->n, p->logarithm, x, dy, out);
  }
}

static void run(job j) {
  j.size = tx_block_size(j.pass->rows, 4 * j.pass->n);
  tx_parallel(tx_ceil_div(j.pass->rows, j.size), run_block, &j);
}

void tx_softmax_forward(const tx_softmax_pass *pass, const void *x, void *y) {
  run((job){.pass = pass, .x = x, .out = y});
}

void tx_softmax_backward(const tx_softmax_pass *pass, const void *y, const void *dy, void *dx) {
  run((job){.pass = pass, .x = y, .dy = dy, .out = dx});
}
