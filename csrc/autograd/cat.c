/* cat.c - tensors joined along an existing dimension (cat) or a new one (stack); each input gets its part of dy.
 *
 *     cat({a, b}, 1)      {2,5} {3,5} -> {5,5}
 *     stack({a, b}, 1)    {3,5} {3,5} -> {2,3,5}
 */
#include "autograd/formula.h"
#include "autograd/list.h"
#include "tensor/index.h"

typedef struct cat_params {
  int dim;
} cat_params;

static const tx_param cat_parameters[] = {TX_PARAM(cat_params, dim, TX_PARAM_DIM, "1"), {0}};

static tx_status cat_forward(tx_call *call) {
  const cat_params *p = call->params;
  return tx_cat("cat", call->n_in, call->in, p->dim, &call->out[0]);
}

static tx_status cat_backward(tx_call *call) {
  const cat_params *p = call->params;
  int64_t first = 0;
  for (int i = 0; i < call->n_in; i++) {
    const tx_meta *x = tx_input_meta(call, i);
    int64_t size = x->shape[p->dim];
    if (call->needs[i]) {
      tx_formula f = tx_formula_begin(call);
      tx_tensor *part = NULL;
      tx_f_hold(&f, tx_slice(call->dout[0], p->dim, first, size, 1, &part), &part);
      tx_f_gradient(&f, i, part);
      TX_TRY(tx_formula_end(&f));
    }
    first += size;
  }
  return TX_OK;
}

const tx_op tx_op_cat = {
    .name = "cat",
    .inputs = "tensors",
    .outputs = 1,
    .where = TX_AS_FUNCTION | TX_INPUT_LIST,
    .params_size = sizeof(cat_params),
    .params = cat_parameters,
    .forward = cat_forward,
    .backward = cat_backward,
    .doc = "cat({a, b, ...}, dim = 1): the tensors one after the other along a dimension; all other sizes must agree.",
};

typedef struct stack_params {
  int64_t dim; /* 0-based or negative, in the result */
} stack_params;

static const tx_param stack_parameters[] = {TX_PARAM(stack_params, dim, TX_PARAM_INDEX, "0"), {0}};

static int new_dim(const stack_params *p, int dims) { return (int)(p->dim < 0 ? p->dim + dims + 1 : p->dim); }

static tx_status stack_forward(tx_call *call) {
  const stack_params *p = call->params;
  int dims = call->in[0]->dims;
  if (p->dim > dims || p->dim < -dims - 1) {
    return tx_fail(TX_EINVAL, "stack: dimension %lld: a new one of %s may be 1 to %d, or -1 to %d",
                   (long long)(p->dim < 0 ? p->dim : p->dim + 1), tx_shape_of(call->in[0]), dims + 1, -dims - 1);
  }
  return tx_stack("stack", call->n_in, call->in, new_dim(p, dims), &call->out[0]);
}

static tx_status stack_backward(tx_call *call) {
  int dim = new_dim(call->params, tx_input_meta(call, 0)->dims);
  for (int i = 0; i < call->n_in; i++) {
    if (!call->needs[i]) continue;
    tx_formula f = tx_formula_begin(call);
    tx_tensor *part = NULL;
    tx_f_hold(&f, tx_select(call->dout[0], dim, i, &part), &part);
    tx_f_gradient(&f, i, part);
    TX_TRY(tx_formula_end(&f));
  }
  return TX_OK;
}

const tx_op tx_op_stack = {
    .name = "stack",
    .inputs = "tensors",
    .outputs = 1,
    .where = TX_AS_FUNCTION | TX_INPUT_LIST,
    .params_size = sizeof(stack_params),
    .params = stack_parameters,
    .forward = stack_forward,
    .backward = stack_backward,
    .doc =
        "stack({a, b, ...}, dim = 1): tensors of one shape side by side along a new dimension, number dim of the "
        "result.",
};
