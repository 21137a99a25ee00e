/* sort.c - elements in order along a dimension, and where they came from (1-based positions).
 *
 *     sort(x, dim, descending)    all of them; equal ones keep their order; NaN last
 *     topk(x, k, dim, largest)    the k largest, from the largest down, or the k smallest from the smallest up
 *
 * The gradient of the values goes back to their positions. */
#include "autograd/formula.h"
#include "autograd/list.h"
#include "tensor/index.h"
#include "tensor/sort.h"

static tx_status spread(tx_call *call, int dim) {
  tx_formula f = tx_formula_begin(call);
  tx_tensor *dx = tx_f_zeros(&f, tx_input_meta(call, 0));
  if (f.status == TX_OK) f.status = tx_scatter_add(call->op->name, dx, dim, tx_saved(call, 0), call->dout[0]);
  tx_f_gradient(&f, 0, dx);
  return tx_formula_end(&f);
}

typedef struct sort_params {
  int dim;
  bool descending;
} sort_params;

static const tx_param sort_parameters[] = {
    TX_PARAM(sort_params, dim, TX_PARAM_DIM, "-1"),
    TX_PARAM(sort_params, descending, TX_PARAM_BOOL, "false"),
    {0},
};

static tx_status sort_forward(tx_call *call) {
  const sort_params *p = call->params;
  TX_TRY(tx_sort(call->in[0], p->dim, p->descending, &call->out[0], &call->out[1]));
  tx_save(call, 0, call->out[1]);
  return TX_OK;
}

static tx_status sort_backward(tx_call *call) {
  const sort_params *p = call->params;
  return spread(call, p->dim);
}

const tx_op tx_op_sort = {
    .name = "sort",
    .inputs = "x",
    .outputs = 2,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(sort_params),
    .params = sort_parameters,
    .forward = sort_forward,
    .backward = sort_backward,
    .doc =
        "sort(x, dim = -1, descending = false): values in order and their 1-based positions (i64); equal elements keep "
        "their order, NaN comes last.",
};

typedef struct topk_params {
  int64_t k;
  int dim;
  bool largest;
} topk_params;

static const tx_param topk_parameters[] = {
    TX_PARAM(topk_params, k, TX_PARAM_INT, NULL),
    TX_PARAM(topk_params, dim, TX_PARAM_DIM, "-1"),
    TX_PARAM(topk_params, largest, TX_PARAM_BOOL, "true"),
    {0},
};

static tx_status topk_forward(tx_call *call) {
  const topk_params *p = call->params;
  TX_TRY(tx_topk(call->in[0], p->k, p->dim, p->largest, &call->out[0], &call->out[1]));
  tx_save(call, 0, call->out[1]);
  return TX_OK;
}

static tx_status topk_backward(tx_call *call) {
  const topk_params *p = call->params;
  return spread(call, p->dim);
}

const tx_op tx_op_topk = {
    .name = "topk",
    .inputs = "x",
    .outputs = 2,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(topk_params),
    .params = topk_parameters,
    .forward = topk_forward,
    .backward = topk_backward,
    .doc =
        "topk(x, k, dim = -1, largest = true): the k largest (or smallest) values in order and their 1-based positions "
        "(i64).",
};
