/* loss.h - how the losses of elements or rows become one: not at all ("none"), by their mean or by their sum. */
#ifndef TX_AUTOGRAD_LOSS_H
#define TX_AUTOGRAD_LOSS_H

#include "autograd/formula.h"

enum { TX_REDUCTION_NONE, TX_REDUCTION_MEAN, TX_REDUCTION_SUM }; /* positions in TX_REDUCTION_CHOICES */
#define TX_REDUCTION_CHOICES "none mean sum"

/* The loss of `each`, the losses of elements. */
static inline tx_tensor *tx_f_loss(tx_formula *f, int reduction, tx_tensor *each) {
  if (reduction == TX_REDUCTION_NONE) return each;
  return tx_f_reduce(f, reduction == TX_REDUCTION_MEAN ? TX_MEAN : TX_SUM, each, UINT32_MAX, false, 0);
}

/* The gradient of each of `count` losses, given that of what they became. */
static inline tx_tensor *tx_f_loss_grad(tx_formula *f, int reduction, tx_tensor *dy, int64_t count) {
  return reduction == TX_REDUCTION_MEAN ? tx_f_scale(f, dy, 1 / (double)count) : dy;
}

#endif
