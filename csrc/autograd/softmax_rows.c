/* softmax_rows.c - softmax along one dimension: moved to the end when it is another one, then row by row.
 *
 *     {N,C,H} along dimension 2   ->   {N,H,C}, N*H rows of C numbers   ->   softmax   ->   {N,C,H}
 *
 * Backward needs the result alone, in the order in which forward gave it out.
 */
#include "autograd/softmax_rows.h"

#include "autograd/layer.h"
#include "base/integers.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "kernels/plain.h"

typedef struct pass {
  int64_t rows, n, size;
  bool logarithm;
  const tx_tensor *x, *dy; /* dy NULL: forward, from x; else backward, x is the output of forward */
  tx_tensor *out;
} pass;

static void run_block(void *context, int64_t block, int worker) {
  (void)worker;
  const pass *p = context;
  int64_t row = block * p->size, at = row * p->n, rows = p->rows - row < p->size ? p->rows - row : p->size;
  if (p->out->dtype == TX_F32 && p->dy == NULL) {
    tx_kernels.softmax_f32(rows, p->n, p->logarithm, tx_f32(p->x) + at, tx_f32(p->out) + at);
  } else if (p->out->dtype == TX_F32) {
    tx_kernels.softmax_grad_f32(rows, p->n, p->logarithm, tx_f32(p->x) + at, tx_f32(p->dy) + at, tx_f32(p->out) + at);
  } else if (p->dy == NULL) {
    tx_softmax_f64(rows, p->n, p->logarithm, tx_f64(p->x) + at, tx_f64(p->out) + at);
  } else {
    tx_softmax_grad_f64(rows, p->n, p->logarithm, tx_f64(p->x) + at, tx_f64(p->dy) + at, tx_f64(p->out) + at);
  }
}

/* t with dimension `dim` exchanged with the last one, contiguous; doing it twice gives the order back. */
static tx_status exchange(tx_tensor *t, int dim, tx_tensor **out) {
  int order[TX_MAX_DIMS];
  if (dim == t->dims - 1 || t->dims == 0) return tx_contiguous(t, out);
  for (int d = 0; d < t->dims; d++) order[d] = d;
  order[dim] = t->dims - 1;
  order[t->dims - 1] = dim;
  tx_tensor *view;
  TX_TRY(tx_permute(t, order, &view));
  tx_status status = tx_contiguous(view, out);
  tx_unref(view);
  return status;
}

static tx_status run(const tx_call *call, bool logarithm, tx_tensor *x, tx_tensor *dy, tx_tensor **out) {
  const tx_softmax_params *params = call->params;
  int dim = params->dim;
  tx_tensor *from = NULL, *gradient = NULL, *to = NULL;
  tx_status status = exchange(x, dim, &from);
  if (status == TX_OK && dy != NULL) status = exchange(dy, dim, &gradient);
  if (status == TX_OK) status = tx_empty_like(from, &to);
  if (status == TX_OK) {
    pass p = {.n = from->dims > 0 ? from->shape[from->dims - 1] : 1, .logarithm = logarithm, .x = from, .dy = gradient};
    p.rows = p.n > 0 ? tx_numel(from) / p.n : 0;
    p.size = tx_block_size(p.rows, 4 * p.n);
    p.out = to;
    tx_parallel(tx_ceil_div(p.rows, p.size), run_block, &p);
    status = exchange(to, dim, out);
  }
  tx_unref(from);
  tx_unref(gradient);
  tx_unref(to);
  return status;
}

tx_status tx_softmax_forward(tx_call *call, bool logarithm) {
  TX_TRY(tx_want_float(call, 0));
  TX_TRY(run(call, logarithm, call->in[0], NULL, &call->out[0]));
  tx_save(call, 0, call->out[0]);
  return TX_OK;
}

tx_status tx_softmax_backward(tx_call *call, bool logarithm) {
  return run(call, logarithm, tx_saved(call, 0), call->dout[0], &call->din[0]);
}

const tx_param tx_softmax_parameters[] = {TX_PARAM(tx_softmax_params, dim, TX_PARAM_DIM, "-1"), {NULL}};
