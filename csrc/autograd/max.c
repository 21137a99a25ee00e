/* max.c - the largest and the smallest element over some dimensions.
 *
 *     over one dimension    values and their 1-based positions; the gradient goes to that position: the first of equals
 *     over several or all   values only; equal elements share the gradient evenly
 */
#include "autograd/list.h"
#include "autograd/reduction.h"
#include "tensor/index.h"

/* Slot 0: the positions (one dimension) or x; slot 1: the values. */
static tx_status forward(tx_call *call, tx_reduce_op op, tx_reduce_op position) {
  const tx_reduction *p = call->params;
  tx_tensor *x = call->in[0];
  TX_TRY(tx_reduce(call->op->name, op, x, p->dim, p->keepdim, 0, &call->out[0]));
  if (tx_single_dim(p->dim) != TX_NO_DIM) {
    TX_TRY(tx_reduce(call->op->name, position, x, p->dim, p->keepdim, 0, &call->out[1]));
    tx_save(call, 0, call->out[1]);
  } else {
    tx_save(call, 0, x);
    tx_save(call, 1, call->out[0]);
  }
  return TX_OK;
}

static tx_status backward_one(tx_call *call, int dim) {
  const tx_meta *x = tx_input_meta(call, 0);
  tx_formula f = tx_formula_begin(call);
  tx_tensor *positions = tx_f_unreduce(&f, tx_saved(call, 0), x, 1u << dim);
  tx_tensor *dy = tx_f_unreduce(&f, call->dout[0], x, 1u << dim);
  tx_tensor *dx = tx_f_zeros(&f, x);
  if (f.status == TX_OK) f.status = tx_scatter_add(call->op->name, dx, dim, positions, dy);
  tx_f_gradient(&f, 0, dx);
  return tx_formula_end(&f);
}

static tx_status backward(tx_call *call) {
  const tx_reduction *p = call->params;
  if (tx_single_dim(p->dim) != TX_NO_DIM) return backward_one(call, tx_single_dim(p->dim));
  const tx_meta *x = tx_input_meta(call, 0);
  tx_formula f = tx_formula_begin(call);
  tx_tensor *y = tx_f_unreduce(&f, tx_saved(call, 1), x, p->dim);
  tx_tensor *dy = tx_f_unreduce(&f, call->dout[0], x, p->dim);
  tx_tensor *chosen = tx_f_binary(&f, TX_EQ, tx_saved(call, 0), y);
  tx_tensor *share = tx_f_div(&f, dy, tx_f_reduce(&f, TX_SUM, chosen, p->dim, true, 0));
  tx_f_gradient(&f, 0, tx_f_mul(&f, share, chosen));
  return tx_formula_end(&f);
}

#define EXTREME(word, code, position, most)                                                \
  static tx_status word##_forward(tx_call *call) { return forward(call, code, position); } \
  const tx_op tx_op_##word = {                                                             \
      .name = #word,                                                                       \
      .inputs = "x",                                                                       \
      .outputs = 2,                                                                        \
      .where = TX_AS_METHOD | TX_AS_FUNCTION,                                              \
      .params_size = sizeof(tx_reduction),                                                 \
      .params = tx_reduction_params,                                                       \
      .forward = word##_forward,                                                           \
      .backward = backward,                                                                \
      .doc = #word "(x, dim, keepdim=false): the " most                                    \
                   " elements; over one dimension also their "                             \
                   "positions (i64, the first of equals); NaN counts as " most ".",        \
  };

EXTREME(max, TX_MAX, TX_ARGMAX, "largest")
EXTREME(min, TX_MIN, TX_ARGMIN, "smallest")
