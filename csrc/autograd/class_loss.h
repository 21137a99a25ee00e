/* class_loss.h - what cross_entropy, nll_loss and focal_loss share; the formulas stand in passes/class_loss.h.
 *
 *     scores {N,C} or {N,...,C}: C numbers per row        labels {N} or {N,...}: i64, 1..C        weight {C}
 *
 * The result is the rows' losses themselves ("none"), their sum, or their mean, which in cross_entropy and nll_loss is the
 * sum divided by the sum of w[y] as in PyTorch.
 */
#ifndef TX_AUTOGRAD_CLASS_LOSS_H
#define TX_AUTOGRAD_CLASS_LOSS_H

#include "autograd/loss.h"
#include "passes/class_loss.h"

/* Forward and backward; inputs are scores, labels, weight?, which are kept. */
tx_status tx_class_loss_run(tx_call *call, const tx_class_loss *loss);
tx_status tx_class_loss_grad(tx_call *call, const tx_class_loss *loss);

#endif
