/* softmax.h - softmax of rows of numbers, or its logarithm. */
#ifndef TX_PASSES_SOFTMAX_H
#define TX_PASSES_SOFTMAX_H

#include <stdbool.h>

#include "base/dtype.h"

typedef struct tx_softmax_pass {
  tx_dtype dtype;  /* f32 or f64 */
  bool logarithm;  /* y = log softmax(x) */
  int64_t rows, n; /* n: numbers in a row */
} tx_softmax_pass;

/* y = e^x / sum of e^x of every row, without overflow. */
void tx_softmax_forward(const tx_softmax_pass *pass, const void *x, void *y);
/* dx = y * (dy - sum of y * dy); of the logarithm: dy - e^y * sum of dy. */
void tx_softmax_backward(const tx_softmax_pass *pass, const void *y, const void *dy, void *dx);

#endif
