/* permute.c - dimensions in another order, as a view; dx = dy in the old order.
 *
 *     permute(x, 3, 1, 2)    {4,5,6} -> {6,4,5}       transpose(x, 1, 3)    {4,5,6} -> {6,5,4}
 */
#include "autograd/formula.h"
#include "autograd/list.h"

/* dx: order[d] is the dimension of x that became dimension d. */
static tx_status restore(tx_call *call, const int order[TX_MAX_DIMS]) {
  int inverse[TX_MAX_DIMS];
  for (int d = 0; d < call->dout[0]->dims; d++) inverse[order[d]] = d;
  return tx_permute(call->dout[0], inverse, &call->din[0]);
}

/* -- permute --------------------------------------------------------------------------------------------------------- */

typedef struct permute_params {
  tx_ints dims; /* as the user gave them: 1-based or negative */
} permute_params;

static const tx_param permute_parameters[] = {TX_PARAM(permute_params, dims, TX_PARAM_INTS, NULL), {0}};

static tx_status read_order(const permute_params *p, int dims, int order[TX_MAX_DIMS]) {
  char text[TX_SHAPE_TEXT];
  unsigned seen = 0;
  bool fits = p->dims.count == dims;
  for (int d = 0; fits && d < dims; d++) {
    int64_t from = p->dims.value[d] < 0 ? p->dims.value[d] + dims : p->dims.value[d] - 1;
    fits = from >= 0 && from < dims && !(seen >> from & 1u);
    if (!fits) break;
    order[d] = (int)from;
    seen |= 1u << from;
  }
  if (fits) return TX_OK;
  return tx_fail(TX_EINVAL, "permute: %s is not an order of %d dimensions",
                 tx_shape_text(p->dims.count, p->dims.value, text), dims);
}

static tx_status permute_forward(tx_call *call) {
  int order[TX_MAX_DIMS] = {0};
  TX_TRY(read_order(call->params, call->in[0]->dims, order));
  return tx_permute(call->in[0], order, &call->out[0]);
}

static tx_status permute_backward(tx_call *call) {
  int order[TX_MAX_DIMS] = {0};
  TX_TRY(read_order(call->params, call->dout[0]->dims, order));
  return restore(call, order);
}

const tx_op tx_op_permute = {
    .name = "permute",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(permute_params),
    .params = permute_parameters,
    .forward = permute_forward,
    .backward = permute_backward,
    .doc = "permute(x, dims...): the dimensions of x in this order; a view of x.",
};

/* -- transpose ------------------------------------------------------------------------------------------------------- */

typedef struct transpose_params {
  int dim1, dim2;
} transpose_params;

static const tx_param transpose_parameters[] = {
    TX_PARAM(transpose_params, dim1, TX_PARAM_DIM, NULL),
    TX_PARAM(transpose_params, dim2, TX_PARAM_DIM, NULL),
    {0},
};

static void exchange(const transpose_params *p, int order[TX_MAX_DIMS]) {
  for (int d = 0; d < TX_MAX_DIMS; d++) order[d] = d;
  order[p->dim1] = p->dim2;
  order[p->dim2] = p->dim1;
}

static tx_status transpose_forward(tx_call *call) {
  int order[TX_MAX_DIMS];
  exchange(call->params, order);
  return tx_permute(call->in[0], order, &call->out[0]);
}

static tx_status transpose_backward(tx_call *call) {
  int order[TX_MAX_DIMS];
  exchange(call->params, order);
  return restore(call, order);
}

const tx_op tx_op_transpose = {
    .name = "transpose",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(transpose_params),
    .params = transpose_parameters,
    .forward = transpose_forward,
    .backward = transpose_backward,
    .doc = "transpose(x, dim1, dim2): two dimensions exchanged; a view of x.",
};
