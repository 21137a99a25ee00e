/* index.h - picking, scattering and joining elements, without autograd.
 *
 * Index tensors are i64 (u8 is accepted) and hold what the Lua user sees: 1-based values, negative ones count from the
 * end; 0 and values beyond the size are refused before anything is written ("gather: index 7 at position 3: dimension 2
 * has size 5"). Tensors may have any strides and dtype; results are new contiguous tensors (the caller's reference).
 */
#ifndef TX_TENSOR_INDEX_H
#define TX_TENSOR_INDEX_H

#include "tensor/tensor.h"

/* out[.., i, ..] = t[.., index[i], ..] along `dim`; index is 1-dimensional. */
tx_status tx_index_select(const char *operation, const tx_tensor *t, int dim, const tx_tensor *index, tx_tensor **out);
/* dst[.., index[i], ..] += src[.., i, ..]: the reverse of index_select; equal indices add up, in order. */
tx_status tx_index_add(const char *operation, tx_tensor *dst, int dim, const tx_tensor *index, const tx_tensor *src);

/* out[i][j][k] = t[i][index[i][j][k]][k] for dim 1, and so on. index has as many dimensions as t, and sizes no larger
 * than t's but along `dim`; out has the shape of index. */
tx_status tx_gather(const char *operation, const tx_tensor *t, int dim, const tx_tensor *index, tx_tensor **out);
/* dst[i][index[i][j][k]][k] += src[i][j][k] for dim 1: the reverse of gather. src has the shape of index. */
tx_status tx_scatter_add(const char *operation, tx_tensor *dst, int dim, const tx_tensor *index, const tx_tensor *src);

/* out = mask is non-zero ? value : t; mask is broadcast to the shape of t. */
tx_status tx_masked_fill(const tx_tensor *t, const tx_tensor *mask, tx_number value, tx_tensor **out);

/* Joins tensors along an existing dimension, or along a new one before `dim`. The dtype is the highest of all. */
tx_status tx_cat(const char *operation, int count, tx_tensor *const *list, int dim, tx_tensor **out);
tx_status tx_stack(const char *operation, int count, tx_tensor *const *list, int dim, tx_tensor **out);

/* labels {..} of 1..classes -> {.., classes}, 1 at the label and 0 elsewhere; classes 0: the largest label. */
tx_status tx_one_hot(const tx_tensor *labels, int64_t classes, tx_dtype dtype, tx_tensor **out);

#endif
