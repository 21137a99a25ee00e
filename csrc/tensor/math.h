/* math.h - arithmetic on whole tensors, without autograd: elementwise, reductions, matrix product.
 *
 * Any strides, any dtype unless said otherwise; large contiguous f32 work goes through the dispatched kernels and several
 * threads. Results are new contiguous tensors (the caller's reference).
 */
#ifndef TX_TENSOR_MATH_H
#define TX_TENSOR_MATH_H

#include "passes/reduce.h"
#include "tensor/tensor.h"

/* clang-format off */
typedef enum tx_binary_op {
  TX_ADD, TX_SUB, TX_MUL, TX_DIV, TX_POW, TX_MAXIMUM, TX_MINIMUM, TX_MOD, TX_IDIV, /* Lua's % and // */
  TX_EQ, TX_NE, TX_LT, TX_LE, TX_GT, TX_GE /* give u8 */
} tx_binary_op;
/* clang-format on */

/* out = a op b with broadcasting and promotion; TX_DIV and TX_POW of integers give f32. A typed number (weak) must fit the
 * dtype of the work; comparisons take any and compare with its value. `operation` names messages. */
tx_status tx_binary(const char *operation, tx_binary_op op, const tx_tensor *a, const tx_tensor *b, tx_tensor **out);
/* dst = dst op src in place (shape of dst; src is broadcast). Does not touch the version. */
tx_status tx_binary_into(const char *operation, tx_binary_op op, tx_tensor *dst, const tx_tensor *src);
/* dst += alpha * src, same shape and float dtype: gradient accumulation. */
tx_status tx_axpy(tx_tensor *dst, double alpha, const tx_tensor *src);

/* clang-format off */
typedef enum tx_unary_op {
  TX_NEG, TX_EXP, TX_LOG, TX_SQRT, TX_ABS, TX_SIGN, TX_TANH, TX_SIGMOID, TX_FLOOR, TX_CEIL, TX_ROUND, TX_ERF
} tx_unary_op;
/* clang-format on */

/* out = op(t); integers become f32 where the result is not an integer. */
tx_status tx_unary(tx_unary_op op, const tx_tensor *t, tx_tensor **out);
/* out = min(max(t, low), high); infinite limits are none. */
tx_status tx_clamp(const tx_tensor *t, tx_number low, tx_number high, tx_tensor **out);
/* out = condition ? a : b; condition is non-zero; all three broadcast. */
tx_status tx_where(const tx_tensor *condition, const tx_tensor *a, const tx_tensor *b, tx_tensor **out);

/* Reduces over the dimensions whose bit is set in `mask` (all bits: everything). keepdim leaves sizes of 1. TX_VAR takes
 * `correction`. Sums of f32 are accumulated in f64 per block. NaN wins in MAX/MIN. Reducing nothing: MAX, MIN, ARG* fail. */
tx_status tx_reduce(const char *operation, tx_reduce_op op, const tx_tensor *t, uint32_t mask, bool keepdim,
                    double correction, tx_tensor **out);
/* t summed down to `shape` (the reverse of broadcasting); t itself when it has that shape. */
tx_status tx_sum_to(tx_tensor *t, int dims, const int64_t *shape, tx_tensor **out);

/* Matrix product of the last two dimensions, leading ones broadcast; 1-dimensional operands as in NumPy. f32 or f64. */
tx_status tx_matmul(const char *operation, const tx_tensor *a, const tx_tensor *b, tx_tensor **out);

#endif
