/* softmax_rows.c - softmax along one dimension: moved to the end when it is another one, then row by row.
 *
 *     {N,C,H} along dimension 2   ->   {N,H,C}, N*H rows of C numbers   ->   softmax   ->   {N,C,H}
 *
 * Backward needs the result alone, in the order in which forward gave it out.
 */
#include "autograd/softmax_rows.h"

#include "autograd/layer.h"
#include "passes/softmax.h"

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
    tx_softmax_pass p = {.dtype = from->dtype, .logarithm = logarithm};
    p.n = from->dims > 0 ? from->shape[from->dims - 1] : 1;
    p.rows = p.n > 0 ? tx_numel(from) / p.n : 0;
    if (gradient == NULL) {
      tx_softmax_forward(&p, tx_data(from), tx_data(to));
    } else {
      tx_softmax_backward(&p, tx_data(from), tx_data(gradient), tx_data(to));
    }
    status = exchange(to, dim, out);
  }
  tx_unref(from);
  tx_unref(gradient);
  tx_unref(to);
  return status;
}

tx_status tx_softmax_rows(tx_call *call, bool logarithm) {
  TX_TRY(tx_want_float(call, 0));
  TX_TRY(run(call, logarithm, call->in[0], NULL, &call->out[0]));
  tx_save(call, 0, call->out[0]);
  return TX_OK;
}

tx_status tx_softmax_rows_grad(tx_call *call, bool logarithm) {
  return run(call, logarithm, tx_saved(call, 0), call->dout[0], &call->din[0]);
}

const tx_param tx_softmax_parameters[] = {TX_PARAM(tx_softmax_params, dim, TX_PARAM_DIM, "-1"), {NULL}};
