/* tensor.h - shape, strides, views, ref-counted storage.
 *
 * A tensor is a small ref-counted object: a dtype, up to TX_MAX_DIMS sizes with strides (in elements; 0 for an
 * expanded dimension, never negative), and an offset into a ref-counted storage that several views may share. A storage
 * is 64-byte-aligned and counts in-place changes (`version`), by which autograd notices that a saved tensor was changed.
 *
 *     tr.zeros(2,3):transpose(1,2)   shape {3,2}  strides {1,3}  offset 0   storage of 6 elements, shared
 *
 * Dimensions are 0-based here; messages speak 1-based. A tensor with no dimensions holds one element. Sizes may be zero.
 * Functions named `out` return a new reference that the caller releases with tx_unref; arguments are borrowed.
 */
#ifndef TX_TENSOR_TENSOR_H
#define TX_TENSOR_TENSOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/status.h"

#define TX_MAX_DIMS 8

/* A number as Lua has it: an integer, or a double. What a dtype can hold of it: tensor/number.h. */
typedef struct tx_number {
  bool integral;
  int64_t integer; /* when integral */
  double real;     /* always; of an integer beyond 2^53 the nearest double */
} tx_number;

static inline tx_number tx_integer(int64_t value) { return (tx_number){true, value, (double)value}; }
static inline tx_number tx_real(double value) { return (tx_number){false, 0, value}; }

typedef struct tx_storage {
  atomic_int refs;
  void *data; /* 64-byte aligned */
  size_t bytes;
  uint64_t version; /* counts in-place changes */
  void (*release)(void *owner,
                  void *data); /* NULL: data came from tx_alloc; else called once, with owner (a mapped file) */
  void *owner;
  tx_status (*check)(void *owner); /* NULL, or whether the data can still be read (a mapped file may become shorter) */
  void *derived; /* made from the contents and kept with them, such as packed weights; NULL: nothing */
  void (*release_derived)(void *derived);
} tx_storage;

/* What autograd hangs on a tensor (autograd/tape.h); here it is only known how to let go of it. */
typedef struct tx_node_base {
  void (*release)(struct tx_node_base *node);
} tx_node_base;

/* Index tensors (argmax, topk, gather, labels) hold what a Lua user sees: positions counted from this. */
#define TX_INDEX_BASE 1

typedef struct tx_tensor {
  atomic_int refs;
  tx_dtype dtype;
  int dims;
  int64_t shape[TX_MAX_DIMS];
  int64_t strides[TX_MAX_DIMS];
  int64_t offset; /* elements */
  tx_storage *storage;
  bool weak;     /* a Lua number: yields to the other operand's dtype in promotion */
  bool expanded; /* made by expand, or a view of such a tensor: its elements are seen in several places of that one */

  /* autograd */
  bool requires_grad;         /* set by the user on a leaf, or implied by `node` */
  struct tx_tensor *grad;     /* owned; accumulated by backward, leaves only */
  tx_node_base *node;         /* owned; the recorded call that made this tensor, NULL for a leaf */
  int node_output;            /* which of its outputs this is */
  int edges;                  /* of recorded calls that have not been walked back over, to this leaf */
  struct tx_tensor *stand_in; /* owned; the leaf that gets gradients of calls recorded from now on, NULL: this one */
} tx_tensor;

/* -- life ------------------------------------------------------------------------------------------------------------ */

/* A new contiguous tensor with undefined contents. */
tx_status tx_empty(tx_dtype dtype, int dims, const int64_t *shape, tx_tensor **out);
tx_status tx_zeros(tx_dtype dtype, int dims, const int64_t *shape, tx_tensor **out);
tx_status tx_full(tx_dtype dtype, int dims, const int64_t *shape, tx_number value, tx_tensor **out);
tx_status tx_empty_like(const tx_tensor *t, tx_tensor **out);
tx_status tx_zeros_like(const tx_tensor *t, tx_tensor **out);
/* A 0-dimensional tensor that holds one number; weak (see above) when `weak`. */
tx_status tx_scalar(tx_dtype dtype, tx_number value, bool weak, tx_tensor **out);
/* A contiguous tensor over memory that belongs to someone else; `release(owner, data)` is called when it is let go. */
tx_status tx_wrap(tx_dtype dtype, int dims, const int64_t *shape, void *data, void (*release)(void *, void *),
                  void *owner, tx_tensor **out);

tx_tensor *tx_ref(tx_tensor *t); /* returns t; NULL is passed through */
void tx_unref(tx_tensor *t);     /* NULL is ignored */
/* Hands a result on: `return tx_keep(tx_copy(*out, t), out)`. After a failure it is released and *out NULL. */
tx_status tx_keep(tx_status status, tx_tensor **out);

/* -- shape ----------------------------------------------------------------------------------------------------------- */

int64_t tx_numel(const tx_tensor *t);
bool tx_is_contiguous(const tx_tensor *t);
/* Refuses a tensor whose elements share memory, as expand makes them, and a view of such a tensor: what is written to one
 * would appear in others. Every function that writes to a tensor it was given asks. "this tensor {3} was expanded: ..." */
tx_status tx_elements_apart(const tx_tensor *t);
/* Whether the elements can still be read: of a mapped file that has become shorter the pages are gone, and touching one ends
 * the process. Whoever reads a tensor that it was not given in this very call asks: what a graph, a parameter or a source
 * has kept. */
tx_status tx_readable(const tx_tensor *t);
bool tx_same_shape(const tx_tensor *a, const tx_tensor *b);
/* Number of elements of a shape, overflow-checked, negative sizes refused ("zeros: size -1 in dimension 2"). */
tx_status tx_shape_numel(const char *operation, int dims, const int64_t *shape, int64_t *numel);
/* "{8,64,64,3}" into buffer; returns buffer. */
#define TX_SHAPE_TEXT 192
const char *tx_shape_text(int dims, const int64_t *shape, char buffer[TX_SHAPE_TEXT]);
/* The same of a tensor, in a short-lived ring of per-thread buffers: for up to four shapes in one message. */
const char *tx_shape_of(const tx_tensor *t);
/* The common shape of two operands under broadcasting; fails naming both shapes. */
tx_status tx_broadcast(const char *operation, const tx_tensor *a, const tx_tensor *b, int *dims,
                       int64_t shape[TX_MAX_DIMS]);
/* The dtype of a result of a and b: the higher of both; a weak operand yields, except that a weak float makes integers f32. */
tx_dtype tx_promote(const tx_tensor *a, const tx_tensor *b);

/* First element, as the type that the dtype says. */
static inline void *tx_data(const tx_tensor *t) {
  return (char *)t->storage->data + (size_t)t->offset * (t->dtype == TX_U8 ? 1u : t->dtype == TX_F32 ? 4u : 8u);
}
/* The same; NULL stays NULL. */
static inline void *tx_data_or_null(const tx_tensor *t) { return t != NULL ? tx_data(t) : NULL; }
static inline float *tx_f32(const tx_tensor *t) { return (float *)t->storage->data + t->offset; }
static inline double *tx_f64(const tx_tensor *t) { return (double *)t->storage->data + t->offset; }
static inline int64_t *tx_i64(const tx_tensor *t) { return (int64_t *)t->storage->data + t->offset; }
static inline uint8_t *tx_u8(const tx_tensor *t) { return (uint8_t *)t->storage->data + t->offset; }

/* Says that the contents were changed in place. */
static inline void tx_touch(tx_tensor *t) { t->storage->version++; }

/* -- views (share the storage; autograd is the business of csrc/autograd) ---------------------------------------------- */

tx_status tx_view(const tx_tensor *t, int dims, const int64_t *shape,
                  tx_tensor **out); /* fails if strides don't allow it */
tx_status tx_select(const tx_tensor *t, int dim, int64_t index, tx_tensor **out);
tx_status tx_slice(const tx_tensor *t, int dim, int64_t first, int64_t count, int64_t step, tx_tensor **out);
tx_status tx_permute(const tx_tensor *t, const int *order, tx_tensor **out);
tx_status tx_expand(const char *operation, const tx_tensor *t, int dims, const int64_t *shape, tx_tensor **out);
tx_status tx_alias(const tx_tensor *t, tx_tensor **out); /* the same view, without autograd state */

/* -- copies ---------------------------------------------------------------------------------------------------------- */

/* dst[...] = src[...], any strides and dtypes, shapes equal or src broadcast to dst. Floats lose their fraction in integers;
 * what dst's dtype cannot hold (tensor/number.h) is refused before anything is written. Does not touch dst's version. */
tx_status tx_copy(tx_tensor *dst, const tx_tensor *src);
/* t itself (a new reference) when it is contiguous, else a contiguous copy. */
tx_status tx_contiguous(tx_tensor *t, tx_tensor **out);
/* The same for a t that is only read: an alias, or a contiguous copy. */
tx_status tx_as_contiguous(const tx_tensor *t, tx_tensor **out);
tx_status tx_clone(const tx_tensor *t, tx_tensor **out);
tx_status tx_to(tx_tensor *t, tx_dtype dtype, tx_tensor **out); /* t itself when it has that dtype */
/* Always a copy, as `dtype`. */
tx_status tx_copy_as(const tx_tensor *t, tx_dtype dtype, tx_tensor **out);
/* Every element becomes `value`, which the dtype must be able to hold. Does not touch the version. */
tx_status tx_fill(tx_tensor *t, tx_number value);
/* One element of a one-element tensor as a number. */
double tx_item(const tx_tensor *t);

#endif
