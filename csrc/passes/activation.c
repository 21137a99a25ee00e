/* activation.c - blocks of elements handed to the kernels activate and activate_grad. */
#include "passes/activation.h"

#include "passes/passes.h"

typedef struct job {
  const tx_activation_pass *pass;
  int64_t size;
  const void *x, *dy; /* dy NULL: forward */
  void *out;
} job;

static void run_block(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  const tx_activation_pass *p = j->pass;
  const tx_range r = tx_block_range(p->n, j->size, block);
  const void *x = tx_at(p->dtype, j->x, r.first), *dy = tx_at(p->dtype, j->dy, r.first);
  void *out = tx_at_out(p->dtype, j->out, r.first);
  if (p->dtype == TX_F32 && dy == NULL) {
    tx_kernels.activate_f32(p->kind, r.count, (float)p->slope, x, out);
  } else if (p->dtype == TX_F32) {
    tx_kernels.activate_grad_f32(p->kind, r.count, (float)p->slope, x, dy, out);
  } else if (dy == NULL) {
    tx_activate_f64(p->kind, r.count, p->slope, x, out);
  } else {
    tx_activate_grad_f64(p->kind, r.count, p->slope, x, dy, out);
  }
}

/* What an element costs, as tx_block_size counts it: functions without an exponential are cheap. */
static int cost_of(tx_activation kind) {
  return kind == TX_ACT_RELU || kind == TX_ACT_LEAKY_RELU || kind == TX_ACT_HARD_SWISH ? 1 : 4;
}

static void run(job j) {
  j.size = tx_block_size(j.pass->n, cost_of(j.pass->kind));
  tx_parallel(tx_ceil_div(j.pass->n, j.size), run_block, &j);
}

void tx_activation_forward(const tx_activation_pass *pass, const void *x, void *y) {
  run((job){.pass = pass, .x = x, .out = y});
}

void tx_activation_backward(const tx_activation_pass *pass, const void *kept, const void *dy, void *dx) {
  run((job){.pass = pass, .x = kept, .dy = dy, .out = dx});
}
