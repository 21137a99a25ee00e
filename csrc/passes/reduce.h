/* reduce.h - reductions of the middle of a contiguous block {outer, reduce, inner}.
 *
 *     images {N,H,W,C} over {1,2,3}:  outer 1,      reduce N*H*W,  inner C     (sums of channels: columns)
 *     logits {N,K} over 2:            outer N,      reduce K,      inner 1     (sums of rows)
 */
#ifndef TX_PASSES_REDUCE_H
#define TX_PASSES_REDUCE_H

#include "base/dtype.h"
#include "base/status.h"

/* clang-format off */
typedef enum tx_reduce_op {
  TX_SUM, TX_MEAN, TX_PROD, TX_MAX, TX_MIN, TX_ARGMAX, TX_ARGMIN, TX_VAR, TX_LOGSUMEXP, TX_NORM
} tx_reduce_op;
/* clang-format on */

typedef struct tx_reduce_block {
  tx_dtype dtype;
  int64_t outer, reduce, inner;
  const void *x;
} tx_reduce_block;

/* out {outer,inner} of out_dtype. Floats are added up in f64, integers in i64, which wraps. TX_MEAN of anything, TX_VAR (with
 * `correction`), TX_LOGSUMEXP and TX_NORM of floats give floats; TX_ARGMAX and TX_ARGMIN the first place, from 1 on, as i64. NaN
 * wins in TX_MAX and TX_MIN. Only TX_SUM, TX_MEAN, TX_PROD, TX_VAR, TX_LOGSUMEXP and TX_NORM take reduce = 0. */
tx_status tx_reduce_pass(tx_reduce_op op, const tx_reduce_block *b, double correction, tx_dtype out_dtype, void *out);

#endif
