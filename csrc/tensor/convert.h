/* convert.h - one run of elements from one dtype and stride to another; the inner loop of every copy.
 *
 * Floats lose their fraction in integers. Whether the numbers fit is asked before (tensor/number.h). Strides are in elements.
 */
#ifndef TX_TENSOR_CONVERT_H
#define TX_TENSOR_CONVERT_H

#include "tensor/tensor.h"

typedef void tx_convert_fn(int64_t n, const void *src, int64_t src_stride, void *dst, int64_t dst_stride);

/* The function for a pair of dtypes; src and dst must not overlap. Implemented in copy.c. */
tx_convert_fn *tx_convert(tx_dtype from, tx_dtype to);

#endif
