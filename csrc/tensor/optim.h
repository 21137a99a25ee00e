/* optim.h - optimizer steps over lists of tensors: one pass over parameter, gradient and state, on several threads.
 *
 * A row holds one parameter, its gradient and its state: same shape and float dtype, parameter and state contiguous.
 * Rows without a gradient are skipped. Versions are counted (tx_touch) for parameters and state.
 */
#ifndef TX_TENSOR_OPTIM_H
#define TX_TENSOR_OPTIM_H

#include "tensor/tensor.h"

/* SGD as in PyTorch:  g += weight_decay p;  v = momentum v + (1 - dampening) g (v = g in the first step);
 * g = nesterov ? g + momentum v : v;  p -= lr g. With momentum 0, `velocity` may be NULL and is not used. */
typedef struct tx_sgd_row {
  tx_tensor *parameter, *gradient, *velocity;
} tx_sgd_row;

typedef struct tx_sgd_options {
  double lr, momentum, dampening, weight_decay;
  bool nesterov, first; /* first: no velocity yet, it starts as the gradient */
} tx_sgd_options;

tx_status tx_sgd_step(int count, const tx_sgd_row *rows, const tx_sgd_options *options);

/* Adam (Kingma & Ba 2015):  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
 * p -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps), t = step counting from 1.
 * weight_decay: added to the gradient (Adam), or p -= lr weight_decay p before the step when `decoupled` (AdamW,
 * Loshchilov & Hutter 2019). */
typedef struct tx_adam_row {
  tx_tensor *parameter, *gradient, *mean, *square;
} tx_adam_row;

typedef struct tx_adam_options {
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;
  int64_t step;
} tx_adam_options;

tx_status tx_adam_step(int count, const tx_adam_row *rows, const tx_adam_options *options);

/* Norm of all gradients taken together (NULL gradients are skipped): for clipping and for watching. */
tx_status tx_total_norm(int count, tx_tensor *const *gradients, double *norm);

#endif
