/* argmax.c - where the largest and the smallest element stand: 1-based positions along a dimension, or in row-major order
 * when over everything; the first of equals. Not differentiable. */
#include "autograd/list.h"
#include "autograd/reduction.h"

static tx_status forward(tx_call *call, tx_reduce_op op) {
  const tx_reduction *p = call->params;
  if (p->dim != UINT32_MAX && tx_single_dim(p->dim) == TX_NO_DIM) {
    return tx_fail(TX_EINVAL, "%s: a position is along one dimension, or without `dim` in the whole tensor",
                   call->op->name);
  }
  return tx_reduce(call->op->name, op, call->in[0], p->dim, p->keepdim, 0, &call->out[0]);
}

#define POSITION(word, code, most)                                                \
  static tx_status word##_forward(tx_call *call) { return forward(call, code); }  \
  const tx_op tx_op_##word = {                                                    \
      .name = #word,                                                              \
      .inputs = "x",                                                              \
      .outputs = 1,                                                               \
      .where = TX_AS_METHOD | TX_AS_FUNCTION,                                     \
      .params_size = sizeof(tx_reduction),                                        \
      .params = tx_reduction_params,                                              \
      .forward = word##_forward,                                                  \
      .doc = #word "(x, dim, keepdim=false): 1-based position (i64) of the " most \
                   " element along a dimension, or "                              \
                   "in all of x.",                                                \
  };

POSITION(argmax, TX_ARGMAX, "largest")
POSITION(argmin, TX_ARGMIN, "smallest")
