/* softmax_rows.h - softmax and its logarithm along one dimension: the rows of the kernels softmax and softmax_grad. */
#ifndef TX_AUTOGRAD_SOFTMAX_ROWS_H
#define TX_AUTOGRAD_SOFTMAX_ROWS_H

#include "autograd/op.h"

/* The parameter struct of both functions. */
typedef struct tx_softmax_params {
  int dim;
} tx_softmax_params;

extern const tx_param tx_softmax_parameters[];

tx_status tx_softmax_forward(tx_call *call, bool logarithm);
tx_status tx_softmax_backward(tx_call *call, bool logarithm);

#endif
