/* one_hot.c - labels {..} of 1..classes to {.., classes}: 1 at the label, 0 elsewhere. Not differentiable. */
#include "autograd/list.h"
#include "tensor/index.h"

typedef struct params {
  int64_t classes; /* 0: as many as the largest label */
  tx_dtype dtype;
} params;

static const tx_param parameters[] = {
    TX_PARAM(params, classes, TX_PARAM_INT, "0"),
    TX_PARAM(params, dtype, TX_PARAM_DTYPE, "f32"),
    {0},
};

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  if (p->classes < 0) return tx_fail(TX_EINVAL, "one_hot: classes is %lld", (long long)p->classes);
  return tx_one_hot(call->in[0], p->classes, p->dtype, &call->out[0]);
}

const tx_op tx_op_one_hot = {
    .name = "one_hot",
    .inputs = "labels",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .doc =
        "one_hot(labels, classes, dtype = \"f32\"): i64 labels {..} of 1..classes to {.., classes}, 1 at the label and "
        "0 "
        "elsewhere; without `classes`: the largest label.",
};
