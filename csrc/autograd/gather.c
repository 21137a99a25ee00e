/* gather.c - elements picked by an i64 tensor of 1-based positions (negative ones count from the end):
 *
 *     index_select(x, dim, index)    whole slices: index is 1-dimensional      y[i][j] = x[i][index[j]]      (dim 2)
 *     gather(x, dim, index)          single elements: index has y's shape      y[i][j] = x[i][index[i][j]]   (dim 2)
 *
 * Gradient: zeros, to which dy is added at the picked places, in order. */
#include "autograd/formula.h"
#include "autograd/list.h"
#include "tensor/index.h"

typedef struct params {
  int dim;
} params;

static const tx_param parameters[] = {TX_PARAM(params, dim, TX_PARAM_DIM, NULL), {0}};

typedef tx_status pick_fn(const char *operation, const tx_tensor *t, int dim, const tx_tensor *index, tx_tensor **out);
typedef tx_status add_fn(const char *operation, tx_tensor *dst, int dim, const tx_tensor *index, const tx_tensor *src);

static tx_status forward(tx_call *call, pick_fn *pick) {
  const params *p = call->params;
  tx_save(call, 0, call->in[1]);
  return pick(call->op->name, call->in[0], p->dim, call->in[1], &call->out[0]);
}

static tx_status backward(tx_call *call, add_fn *add) {
  const params *p = call->params;
  tx_formula f = tx_formula_begin(call);
  tx_tensor *dx = tx_f_zeros(&f, tx_input_meta(call, 0));
  if (f.status == TX_OK) f.status = add(call->op->name, dx, p->dim, tx_saved(call, 0), call->dout[0]);
  tx_f_gradient(&f, 0, dx);
  return tx_formula_end(&f);
}

static tx_status index_select_forward(tx_call *call) { return forward(call, tx_index_select); }
static tx_status index_select_backward(tx_call *call) { return backward(call, tx_index_add); }

const tx_op tx_op_index_select = {
    .name = "index_select",
    .inputs = "x index",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = index_select_forward,
    .backward = index_select_backward,
    .doc =
        "index_select(x, dim, index): the slices of x at the positions index (i64, 1-dimensional) of a dimension, "
        "copied.",
};

static tx_status gather_forward(tx_call *call) { return forward(call, tx_gather); }
static tx_status gather_backward(tx_call *call) { return backward(call, tx_scatter_add); }

const tx_op tx_op_gather = {
    .name = "gather",
    .inputs = "x index",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = gather_forward,
    .backward = gather_backward,
    .doc =
        "gather(x, dim, index): for every element of index (i64, as many dimensions as x) the element of x at that "
        "position "
        "of the dimension and at the same place in all others.",
};
