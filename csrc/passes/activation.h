/* activation.h - relu, gelu, softplus and others (tx_activation): y = f(x), elementwise, and dx = f'(x) dy. */
#ifndef TX_PASSES_ACTIVATION_H
#define TX_PASSES_ACTIVATION_H

#include "base/dtype.h"
#include "kernels/list.h"

typedef struct tx_activation_pass {
  tx_dtype dtype; /* f32 or f64 */
  tx_activation kind;
  double slope; /* of leaky_relu below 0, of elu just below 0 */
  int64_t n;    /* elements */
} tx_activation_pass;

/* y = f(x); y may be x. */
void tx_activation_forward(const tx_activation_pass *pass, const void *x, void *y);
/* dx = f'(x) * dy; `kept` is x, or for ReLU y. dx may be dy. */
void tx_activation_backward(const tx_activation_pass *pass, const void *kept, const void *dy, void *dx);

#endif
