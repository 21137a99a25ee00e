/* activation.h - what the functions of passes/activation.h share: one pass forward and one backward over all elements. */
#ifndef TX_AUTOGRAD_ACTIVATION_H
#define TX_AUTOGRAD_ACTIVATION_H

#include "autograd/op.h"
#include "passes/activation.h"

/* out[0] = f(in[0]), kept for backward: x, or y where that is enough (ReLU). */
tx_status tx_activate(tx_call *call, tx_activation kind, double slope);
/* dx = f'(x) * dy; `kept` is x, or y for ReLU; contiguous. *dx is where to write (it may be dy), or NULL for a new one. */
tx_status tx_activation_gradient(tx_activation kind, double slope, const tx_tensor *kept, tx_tensor *dy,
                                 tx_tensor **dx);
/* din[0] = f'(x) * dout[0]. */
tx_status tx_activate_grad(tx_call *call, tx_activation kind, double slope);

#endif
