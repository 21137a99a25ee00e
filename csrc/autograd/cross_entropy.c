/* cross_entropy.c - -log softmax(logits)[label], the usual loss of a classifier; formulas in passes/class_loss.h. */
#include "autograd/class_loss.h"
#include "autograd/list.h"

typedef struct params {
  double label_smoothing;
  int reduction;
  int64_t ignore_index;
} params;

static tx_class_loss loss_of(const tx_call *call) {
  const params *p = call->params;
  return (tx_class_loss){.smoothing = p->label_smoothing, .reduction = p->reduction, .ignore_index = p->ignore_index};
}

static tx_status forward(tx_call *call) {
  tx_class_loss loss = loss_of(call);
  return tx_class_loss_run(call, &loss);
}

static tx_status backward(tx_call *call) {
  tx_class_loss loss = loss_of(call);
  return tx_class_loss_grad(call, &loss);
}

static const tx_param parameters[] = {TX_PARAM(params, label_smoothing, TX_PARAM_NUMBER, "0"),
                                      TX_PARAM_CHOICES(params, reduction, "mean", TX_REDUCTION_CHOICES),
                                      TX_PARAM(params, ignore_index, TX_PARAM_INT, "none"),
                                      {NULL}};

const tx_op tx_op_cross_entropy = {
    .name = "cross_entropy",
    .inputs = "logits labels weight?",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "cross_entropy(logits, labels, {weight=, label_smoothing=0, reduction=\"mean\", ignore_index=}): -log "
        "softmax(logits)[label] for logits {N,...,C} and labels {N,...}, i64 or u8, from 1 to C; any other label is an "
        "error, but for ignore_index, whose rows count for nothing. Reduction \"mean\" is weighted by weight {C} (by "
        "default all 1), \"sum\" adds up, \"none\" gives {N,...}. label_smoothing, in 0..1, is the share of the truth "
        "that is spread over all classes. The values are those of PyTorch.",
};
