/* expand.c - sizes of 1 repeated without a copy (stride 0), new dimensions in front; dx = dy summed back.
 *
 *     expand(x, 4, 3, -1)    {3,5} -> {4,3,5}: -1 keeps a size
 */
#include "autograd/formula.h"
#include "autograd/list.h"

typedef struct params {
  tx_ints sizes;
} params;

static const tx_param parameters[] = {TX_PARAM(params, sizes, TX_PARAM_INTS, NULL), {0}};

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  tx_tensor *x = call->in[0];
  int64_t shape[TX_MAX_DIMS];
  int added = p->sizes.count - x->dims;
  for (int d = 0; d < p->sizes.count; d++) {
    bool keep = p->sizes.value[d] == -1 && d >= added && added >= 0;
    shape[d] = keep ? x->shape[d - added] : p->sizes.value[d];
  }
  return tx_expand("expand", x, p->sizes.count, shape, &call->out[0]);
}

static tx_status backward(tx_call *call) {
  tx_formula f = tx_formula_begin(call);
  tx_f_gradient(&f, 0, call->dout[0]);
  return tx_formula_end(&f);
}

const tx_op tx_op_expand = {
    .name = "expand",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "expand(x, sizes...): sizes of 1 repeated, dimensions added in front, -1 keeps a size; a view of x without "
        "copies.",
};
