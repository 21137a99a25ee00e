/* passes.h - the floor of passes: work on plain arrays, cut into blocks that run on several threads.
 *
 * A function of this floor is told a dtype, sizes and pointers to contiguous memory, nothing of tensors or gradients. It
 * cuts its arrays into blocks by their sizes (never by the number of threads), and hands each to a kernel: f32 to the one of
 * the instruction set in use (kernels/kernels.h), f64 to the plain one (kernels/plain.h). That choice is made here and
 * nowhere above.
 *
 *     conv.h         convolution and its gradients          norm.h        normalization over channels, batch statistics
 *     gemm.h         matrix products                        reduce.h      sums, extremes, their places
 *     activation.h   relu, gelu, silu ...                   softmax.h     softmax of rows
 *     pool.h         maximum and mean of windows            class_loss.h  losses of class scores
 *     dropout.h      elements left out by chance            distance.h    squared differences
 *     random.h       random numbers                         optim.h       steps of SGD and Adam
 *     group_norm.h   normalization of each image            resize.h      images in another size
 *     layer_norm.h   normalization of each row
 *
 * Another device would dock here. What it has to provide: memory (tx_alloc and tx_dealloc of base/memory.h, a copy to and
 * from the host), the functions of these headers, and the strided copies and elementwise arithmetic of tensor/loop.h and
 * tensor/copy.c. It owes the same contract: results depend on shapes, never on how many threads took part, and a function
 * that returns has finished, or was interrupted (base/interrupt.h).
 *
 * Below, what the passes share to cut arrays.
 */
#ifndef TX_PASSES_PASSES_H
#define TX_PASSES_PASSES_H

#include "base/dtype.h"
#include "base/integers.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "kernels/plain.h"

/* Calls the kernel `name` for f32 or for f64, where both take the same arguments but for the type of their arrays. */
#define TX_KERNEL_OF(dtype, name, ...) \
  ((dtype) == TX_F32 ? tx_kernels.name##_f32(__VA_ARGS__) : tx_##name##_f64(__VA_ARGS__))

/* `count` elements or rows from number `first` on. */
typedef struct tx_range {
  int64_t first, count;
} tx_range;

/* The part of `total` elements that block number `block` of blocks of `size` takes. */
static inline tx_range tx_block_range(int64_t total, int64_t size, int64_t block) {
  const int64_t first = block * size;
  return (tx_range){first, tx_min(size, total - first)};
}

/* Element i of an array; NULL stays NULL. */
static inline const void *tx_at(tx_dtype dtype, const void *data, int64_t i) {
  return data == NULL ? NULL : (const char *)data + (size_t)i * tx_dtype_size(dtype);
}
static inline void *tx_at_out(tx_dtype dtype, void *data, int64_t i) {
  return data == NULL ? NULL : (char *)data + (size_t)i * tx_dtype_size(dtype);
}

#endif
