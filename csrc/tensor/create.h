/* create.h - tensors made from a rule, and questions about all elements. */
#ifndef TX_TENSOR_CREATE_H
#define TX_TENSOR_CREATE_H

#include "tensor/tensor.h"

/* first, first + step, ... as long as not beyond `last` (inclusive, as in Lua's `for`): arange(1, 5) is {1,2,3,4,5}. Integers
 * are counted exactly; what the dtype cannot hold is refused. */
tx_status tx_arange(tx_dtype dtype, tx_number first, tx_number last, tx_number step, tx_tensor **out);
/* rows x columns, 1 on the diagonal, 0 elsewhere. */
tx_status tx_eye(tx_dtype dtype, int64_t rows, int64_t columns, tx_tensor **out);
/* Running sums along `dim`; integers give i64. */
tx_status tx_cumsum(const tx_tensor *t, int dim, tx_tensor **out);

/* *close = |a - b| <= atol + rtol * |b| for all elements, with broadcasting; infinities are close when equal, NaNs are
 * when `equal_nan`. */
tx_status tx_allclose(const tx_tensor *a, const tx_tensor *b, double rtol, double atol, bool equal_nan, bool *close);
/* *finite = no element is NaN or infinite. */
tx_status tx_all_finite(const tx_tensor *t, bool *finite);

#endif
