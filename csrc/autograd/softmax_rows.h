/* softmax_rows.h - softmax and its logarithm along one dimension. */
#ifndef TX_AUTOGRAD_SOFTMAX_ROWS_H
#define TX_AUTOGRAD_SOFTMAX_ROWS_H

#include "autograd/op.h"

/* The parameter struct of both functions. */
typedef struct tx_softmax_params {
  int dim;
} tx_softmax_params;

extern const tx_param tx_softmax_parameters[];

tx_status tx_softmax_rows(tx_call *call, bool logarithm);
tx_status tx_softmax_rows_grad(tx_call *call, bool logarithm);

#endif
