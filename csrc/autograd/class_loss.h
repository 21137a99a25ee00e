/* class_loss.h - what cross_entropy, nll_loss and focal_loss share: rows of class scores against class numbers.
 *
 *     scores {N,C} or {N,...,C}: C numbers per row        labels {N} or {N,...}: i64, 1..C        weight {C}
 *
 * With log p = x - log(sum of e^x) of a row (nll_loss: the scores are log p already), y its label and w its weights
 * (1 without), a row's loss is
 *
 *     (1 - s) * w[y] * -log p[y]  +  s / C * sum over c of w[c] * -log p[c]       s: label smoothing
 *     w[y] * (1 - p[y])^gamma * -log p[y]                                         focal_loss
 *
 * and the result is the rows' losses themselves ("none"), their sum, or their mean, which in cross_entropy and
 * nll_loss is the sum divided by the sum of w[y] as in PyTorch. Rows whose label is `ignore_index` count nowhere.
 *
 * Source of the focal loss: Lin, Goyal, Girshick, He, Dollar, "Focal loss for dense object detection", ICCV 2017.
 */
#ifndef TX_AUTOGRAD_CLASS_LOSS_H
#define TX_AUTOGRAD_CLASS_LOSS_H

#include "autograd/op.h"

enum { TX_REDUCTION_NONE, TX_REDUCTION_MEAN, TX_REDUCTION_SUM }; /* positions in TX_REDUCTION_CHOICES */
#define TX_REDUCTION_CHOICES "none mean sum"

typedef struct tx_class_loss {
  bool normalized; /* scores are log p already */
  bool focal;      /* the second formula; its mean divides by the number of rows */
  double gamma;
  double smoothing; /* s */
  int reduction;
  int64_t ignore_index; /* INT64_MIN: none */
} tx_class_loss;

/* Inputs are scores, labels, weight?; they are kept for backward. */
tx_status tx_class_loss_forward(tx_call *call, const tx_class_loss *loss);
tx_status tx_class_loss_backward(tx_call *call, const tx_class_loss *loss);

#endif
