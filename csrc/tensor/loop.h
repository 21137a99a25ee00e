/* loop.h - elementwise work over tensors of different shapes, strides and dtypes.
 *
 * The caller gives an output, up to three inputs that broadcast to its shape, and the dtype in which the body wants to
 * see each of them. The body sees contiguous runs only:
 *
 *     y {2,1000} f32,  a {2,1000} f32 contiguous,  b {1000} i64 as f32
 *     body(n, {y + 0, a + 0, scratch of b[0..511]}), then the next 512 elements, ...
 *
 * Pointers lead straight into a tensor where its layout and dtype allow, else into scratch that is packed before and
 * unpacked after the body. The output may be one of the inputs (the same view of the same storage).
 */
#ifndef TX_TENSOR_LOOP_H
#define TX_TENSOR_LOOP_H

#include "tensor/tensor.h"

enum { TX_LOOP_OPERANDS = 4 };

/* operand[0] is the output. `context` is shared by all threads. */
typedef void tx_loop_body(const void *context, int64_t n, void *const *operand);

/* Runs the body over all elements of operand[0], in blocks over the threads. `cost` is the price of one element in
 * elementary operations (1: an addition). */
void tx_loop(int count, const tx_tensor *const *operand, const tx_dtype *as, tx_loop_body *body, const void *context,
             int64_t cost);

/* Whether `test` says yes to all of n elements from number `first` on of contiguous memory. */
typedef bool tx_test_fn(const void *data, int64_t first, int64_t n);
/* Whether it says yes to all elements of a tensor, in blocks over the threads; of an empty one it does. */
tx_status tx_all(const tx_tensor *t, tx_test_fn *test, bool *all);

/* Whether two tensors share memory without being the same view: then writing one may disturb reading the other. */
bool tx_overlaps(const tx_tensor *a, const tx_tensor *b);

#endif
