/* optim.c - optimizer steps over lists of tensors.
 *
 * All rows are cut into pieces of one size, and the pieces of all rows together are spread over the threads: a network
 * has a few large parameters and many small ones.
 */
#include "tensor/optim.h"

#include <math.h>

#include "base/memory.h"
#include "base/threads.h"
#include "tensor/math.h"

enum { PIECE = 16384 };

/* A part of one row. */
typedef struct piece {
  int row;
  int64_t first, n;
} piece;

/* sizes[i]: elements of row i, 0 for a row that is skipped. *pieces is to be given back. */
static tx_status cut(int count, const int64_t *sizes, piece **pieces, int64_t *piece_count) {
  int64_t n = 0;
  for (int i = 0; i < count; i++) n += (sizes[i] + PIECE - 1) / PIECE;
  piece *p = tx_alloc((size_t)n * sizeof *p);
  if (p == NULL) return TX_ENOMEM;
  *pieces = p;
  *piece_count = n;
  for (int i = 0; i < count; i++) {
    for (int64_t first = 0; first < sizes[i]; first += PIECE) {
      *p++ = (piece){i, first, sizes[i] - first < PIECE ? sizes[i] - first : PIECE};
    }
  }
  return TX_OK;
}

/* The other tensors of a row must match the parameter; the gradient may have any strides (it is copied then). */
static tx_status check_row(const char *operation, int row, const tx_tensor *parameter, const tx_tensor *other, bool any_strides) {
  if (other == NULL) return TX_OK;
  bool fits = tx_same_shape(parameter, other) && parameter->dtype == other->dtype && tx_dtype_is_float(parameter->dtype) &&
              tx_is_contiguous(parameter) && (any_strides || tx_is_contiguous(other));
  if (fits) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: parameter %d is %s of %s, its gradient or state is %s of %s", operation, row + 1,
                 tx_shape_of(parameter), tx_dtype_name(parameter->dtype), tx_shape_of(other), tx_dtype_name(other->dtype));
}

/* -- SGD --------------------------------------------------------------------------------------------------------------- */

typedef struct sgd {
  const tx_sgd_row *rows;
  tx_tensor **gradients; /* contiguous, owned; NULL for a skipped row */
  const piece *pieces;
  tx_sgd_options o;
} sgd;

#define SGD(dtype, type)                                                                                                 \
  static void sgd_##dtype(const tx_sgd_options *o, int64_t n, type *p, const type *gradient, type *v) {                  \
    const type lr = (type)o->lr, momentum = (type)o->momentum, decay = (type)o->weight_decay;                            \
    const type fresh = o->first ? 1 : (type)(1 - o->dampening), kept = o->first ? 0 : momentum;                          \
    const type direct = o->nesterov ? 1 : 0, through = o->nesterov ? momentum : 1;                                       \
    if (v == NULL) {                                                                                                     \
      _Pragma("omp simd") for (int64_t i = 0; i < n; i++) p[i] -= lr * (gradient[i] + decay * p[i]);                     \
      return;                                                                                                            \
    }                                                                                                                    \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                                                                \
      const type g = gradient[i] + decay * p[i], velocity = kept * v[i] + fresh * g;                                     \
      v[i] = velocity;                                                                                                   \
      p[i] -= lr * (direct * g + through * velocity);                                                                    \
    }                                                                                                                    \
  }
SGD(f32, float)
SGD(f64, double)
