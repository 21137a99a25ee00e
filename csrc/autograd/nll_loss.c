/* nll_loss.c - minus the log probability of the label: cross_entropy for scores that went through log_softmax. */
#include "autograd/class_loss.h"
#include "autograd/list.h"

typedef struct params {
  int reduction;
  int64_t ignore_index;
} params;

static tx_class_loss loss_of(const tx_call *call) {
  const params *p = call->params;
  return (tx_class_loss){.normalized = true, .reduction = p->reduction, .ignore_index = p->ignore_index};
}

static tx_status forward(tx_call *call) {
  tx_class_loss loss = loss_of(call);
  return tx_class_loss_run(call, &loss);
}

static tx_status backward(tx_call *call) {
  tx_class_loss loss = loss_of(call);
  return tx_class_loss_grad(call, &loss);
}

static const tx_param parameters[] = {TX_PARAM_CHOICES(params, reduction, "mean", TX_REDUCTION_CHOICES),
                                      TX_PARAM(params, ignore_index, TX_PARAM_INT, "none"),
                                      {NULL}};

const tx_op tx_op_nll_loss = {
    .name = "nll_loss",
    .inputs = "log_probabilities labels weight?",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "nll_loss(log_probabilities, labels, {weight=, reduction=\"mean\", ignore_index=}): minus the label's entry, "
        "for log probabilities {N,...,C} and labels {N,...} from 1 to C; otherwise as "
        "cross_entropy, without smoothing.",
};
