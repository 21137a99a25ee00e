/* sort.h - order along a dimension.
 *
 * `indices` are i64 and 1-based positions along the dimension; equal elements keep their order; NaN comes last, whether
 * the order is ascending or descending. Any dtype and strides; results are new contiguous tensors. Either result may be
 * NULL when it is not wanted.
 */
#ifndef TX_TENSOR_SORT_H
#define TX_TENSOR_SORT_H

#include "tensor/tensor.h"

/* All elements along `dim`, shapes as t. */
tx_status tx_sort(const tx_tensor *t, int dim, bool descending, tx_tensor **values, tx_tensor **indices);
/* The k largest (or smallest), in order: size k along `dim`. */
tx_status tx_topk(const tx_tensor *t, int64_t k, int dim, bool largest, tx_tensor **values, tx_tensor **indices);

#endif
