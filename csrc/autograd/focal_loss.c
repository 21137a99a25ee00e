/* focal_loss.c - cross entropy that counts well-classified samples less: alpha[y] * (1 - p[y])^gamma * -log p[y]. */
#include <math.h>

#include "autograd/class_loss.h"
#include "autograd/list.h"

typedef struct params {
  double gamma;
  int reduction;
  int64_t ignore_index;
} params;

static tx_class_loss loss_of(const tx_call *call) {
  const params *p = call->params;
  return (tx_class_loss){.focal = true, .gamma = p->gamma, .reduction = p->reduction, .ignore_index = p->ignore_index};
}

static tx_status forward(tx_call *call) {
  tx_class_loss loss = loss_of(call);
  if (!(loss.gamma >= 0 && isfinite(loss.gamma)))
    return tx_fail(TX_EINVAL, "focal_loss: gamma is %g: a finite number of 0 or more is needed", loss.gamma);
  return tx_class_loss_run(call, &loss);
}

static tx_status backward(tx_call *call) {
  tx_class_loss loss = loss_of(call);
  return tx_class_loss_grad(call, &loss);
}

static const tx_param parameters[] = {TX_PARAM(params, gamma, TX_PARAM_NUMBER, "2"),
                                      TX_PARAM_CHOICES(params, reduction, "mean", TX_REDUCTION_CHOICES),
                                      TX_PARAM(params, ignore_index, TX_PARAM_INT, "none"),
                                      {NULL}};

const tx_op tx_op_focal_loss = {
    .name = "focal_loss",
    .inputs = "logits labels alpha?",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "focal_loss(logits, labels, {gamma=2, alpha=, reduction=\"mean\", ignore_index=}): alpha[y] * (1 - "
        "p[y])^gamma * -log p[y] with p = softmax(logits), for logits {N,...,C}, labels {N,...} from 1 to C and alpha "
        "{C}; the mean is over the rows.",
};
