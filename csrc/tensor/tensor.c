/* tensor.c - life, shapes and text of tensors. */
#include "tensor/tensor.h"

#include <stdio.h>
#include <string.h>

#include "base/integers.h"
#include "base/memory.h"

/* -- shapes ---------------------------------------------------------------------------------------------------------- */

int64_t tx_numel(const tx_tensor *t) {
  int64_t n = 1;
  for (int d = 0; d < t->dims; d++) n *= t->shape[d];
  return n;
}

bool tx_is_contiguous(const tx_tensor *t) {
  int64_t stride = 1;
  for (int d = t->dims - 1; d >= 0; d--) {
    if (t->shape[d] == 0) return true;
    if (t->shape[d] != 1 && t->strides[d] != stride) return false;
    stride *= t->shape[d];
  }
  return true;
}

tx_status tx_readable(const tx_tensor *t) {
  const tx_storage *storage = t->storage;
  return storage->check != NULL ? storage->check(storage->owner) : TX_OK;
}

/* From the smallest stride to the largest: each must lead beyond all that the smaller ones reach. */
static bool are_apart(const tx_tensor *t) {
  int order[TX_MAX_DIMS], dims = 0;
  for (int d = 0; d < t->dims; d++) {
    if (t->shape[d] == 1) continue;
    int k = dims++;
    for (; k > 0 && t->strides[order[k - 1]] > t->strides[d]; k--) order[k] = order[k - 1];
    order[k] = d;
  }
  int64_t reach = 0;
  for (int k = 0; k < dims; k++) {
    if (t->strides[order[k]] <= reach) return false;
    reach += (t->shape[order[k]] - 1) * t->strides[order[k]];
  }
  return true;
}

tx_status tx_elements_apart(const tx_tensor *t) {
  if (tx_numel(t) == 0 || (!t->expanded && (tx_is_contiguous(t) || are_apart(t)))) return TX_OK;
  return tx_fail(TX_EINVAL, "this tensor %s was expanded, its elements share memory: write to a clone() of it",
                 tx_shape_of(t));
}

bool tx_same_shape(const tx_tensor *a, const tx_tensor *b) {
  return a->dims == b->dims && memcmp(a->shape, b->shape, (size_t)a->dims * sizeof a->shape[0]) == 0;
}

tx_status tx_shape_numel(const char *operation, int dims, const int64_t *shape, int64_t *numel) {
  if (dims < 0 || dims > TX_MAX_DIMS) {
    return tx_fail(TX_EINVAL, "%s: %d dimensions: a tensor has at most %d", operation, dims, TX_MAX_DIMS);
  }
  bool empty = false;
  for (int d = 0; d < dims; d++) {
    if (shape[d] < 0) {
      return tx_fail(TX_EINVAL, "%s: size %lld in dimension %d is negative", operation, (long long)shape[d], d + 1);
    }
    if (shape[d] == 0) empty = true;
  }
  int64_t n = 1;
  for (int d = 0; d < dims; d++) { /* sizes of 0 left out: strides must not overflow, either */
    if (shape[d] == 0) continue;
    if (!tx_product_fits(n, shape[d], &n) || n > INT64_MAX / 16) {
      char text[TX_SHAPE_TEXT];
      return tx_fail(TX_ENOMEM, "%s: shape %s is more than memory can address", operation,
                     tx_shape_text(dims, shape, text));
    }
  }
  *numel = empty ? 0 : n;
  return TX_OK;
}

const char *tx_shape_text(int dims, const int64_t *shape, char buffer[TX_SHAPE_TEXT]) {
  size_t used = (size_t)snprintf(buffer, TX_SHAPE_TEXT, "{");
  for (int d = 0; d < dims; d++) {
    used += (size_t)snprintf(buffer + used, TX_SHAPE_TEXT - used, d > 0 ? ",%lld" : "%lld", (long long)shape[d]);
  }
  snprintf(buffer + used, TX_SHAPE_TEXT - used, "}");
  return buffer;
}

const char *tx_shape_of(const tx_tensor *t) {
  static _Thread_local char ring[4][TX_SHAPE_TEXT];
  static _Thread_local unsigned next;
  return tx_shape_text(t->dims, t->shape, ring[next++ % 4]);
}

tx_status tx_broadcast(const char *operation, const tx_tensor *a, const tx_tensor *b, int *dims,
                       int64_t shape[TX_MAX_DIMS]) {
  int n = a->dims > b->dims ? a->dims : b->dims;
  for (int d = 1; d <= n; d++) { /* from the last dimension */
    int64_t sa = d <= a->dims ? a->shape[a->dims - d] : 1, sb = d <= b->dims ? b->shape[b->dims - d] : 1;
    if (sa != sb && sa != 1 && sb != 1) {
      return tx_fail(TX_EINVAL, "%s: shapes %s and %s do not fit together (dimension %d: %lld and %lld)", operation,
                     tx_shape_of(a), tx_shape_of(b), n - d + 1, (long long)sa, (long long)sb);
    }
    shape[n - d] = sa == 1 ? sb : sa;
  }
  *dims = n;
  return TX_OK;
}

tx_dtype tx_promote(const tx_tensor *a, const tx_tensor *b) {
  if (a->weak != b->weak) {
    const tx_tensor *number = a->weak ? a : b, *other = a->weak ? b : a;
    return tx_dtype_is_float(number->dtype) && !tx_dtype_is_float(other->dtype) ? TX_F32 : other->dtype;
  }
  return a->dtype > b->dtype ? a->dtype : b->dtype;
}

/* -- life ------------------------------------------------------------------------------------------------------------ */

static void storage_unref(tx_storage *s) {
  if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1) return;
  if (s->derived != NULL) s->release_derived(s->derived);
  if (s->release != NULL) {
    s->release(s->owner, s->data);
  } else {
    tx_dealloc(s->data);
  }
  tx_dealloc(s);
}

/* A tensor of the given shape, contiguous, without storage. */
static tx_tensor *make_header(tx_dtype dtype, int dims, const int64_t *shape) {
  tx_tensor *t = tx_alloc_zero(sizeof *t);
  if (t == NULL) return NULL;
  atomic_init(&t->refs, 1);
  t->dtype = dtype;
  t->dims = dims;
  int64_t stride = 1;
  for (int d = dims - 1; d >= 0; d--) {
    t->shape[d] = shape[d];
    t->strides[d] = stride;
    if (shape[d] > 1) stride *= shape[d];
  }
  return t;
}

static tx_storage *make_storage(void *data, size_t bytes, void (*release)(void *, void *), void *owner) {
  tx_storage *s = tx_alloc_zero(sizeof *s);
  if (s == NULL) return NULL;
  atomic_init(&s->refs, 1);
  s->data = data;
  s->bytes = bytes;
  s->release = release;
  s->owner = owner;
  return s;
}

tx_status tx_empty(tx_dtype dtype, int dims, const int64_t *shape, tx_tensor **out) {
  int64_t numel;
  size_t bytes;
  TX_TRY(tx_shape_numel("tensor", dims, shape, &numel));
  TX_TRY(tx_size_mul((size_t)numel, tx_dtype_size(dtype), &bytes));
  void *data = tx_alloc(bytes);
  if (data == NULL) return TX_ENOMEM;
  tx_tensor *t = make_header(dtype, dims, shape);
  if (t != NULL) t->storage = make_storage(data, bytes, NULL, NULL);
  if (t == NULL || t->storage == NULL) {
    tx_dealloc(t);
    tx_dealloc(data);
    return TX_ENOMEM;
  }
  *out = t;
  return TX_OK;
}

tx_status tx_wrap(tx_dtype dtype, int dims, const int64_t *shape, void *data, void (*release)(void *, void *),
                  void *owner, tx_tensor **out) {
  int64_t numel;
  TX_TRY(tx_shape_numel("tensor", dims, shape, &numel));
  tx_tensor *t = make_header(dtype, dims, shape);
  if (t != NULL) t->storage = make_storage(data, (size_t)numel * tx_dtype_size(dtype), release, owner);
  if (t == NULL || t->storage == NULL) {
    tx_dealloc(t);
    return TX_ENOMEM;
  }
  *out = t;
  return TX_OK;
}

tx_status tx_zeros(tx_dtype dtype, int dims, const int64_t *shape, tx_tensor **out) {
  TX_TRY(tx_empty(dtype, dims, shape, out));
  memset((*out)->storage->data, 0, (*out)->storage->bytes);
  return TX_OK;
}

tx_status tx_full(tx_dtype dtype, int dims, const int64_t *shape, tx_number value, tx_tensor **out) {
  TX_TRY(tx_empty(dtype, dims, shape, out));
  return tx_keep(tx_fill(*out, value), out);
}

tx_status tx_empty_like(const tx_tensor *t, tx_tensor **out) { return tx_empty(t->dtype, t->dims, t->shape, out); }
tx_status tx_zeros_like(const tx_tensor *t, tx_tensor **out) { return tx_zeros(t->dtype, t->dims, t->shape, out); }

tx_status tx_scalar(tx_dtype dtype, tx_number value, bool weak, tx_tensor **out) {
  TX_TRY(tx_full(dtype, 0, NULL, value, out));
  (*out)->weak = weak;
  return TX_OK;
}

tx_tensor *tx_ref(tx_tensor *t) {
  if (t != NULL) atomic_fetch_add(&t->refs, 1);
  return t;
}

void tx_unref(tx_tensor *t) {
  while (t != NULL && atomic_fetch_sub(&t->refs, 1) == 1) { /* a loop: gradients of gradients may be a long chain */
    tx_tensor *grad = t->grad;
    if (t->node != NULL) t->node->release(t->node);
    storage_unref(t->storage);
    tx_unref(t->stand_in);
    tx_dealloc(t);
    t = grad;
  }
}

tx_status tx_keep(tx_status status, tx_tensor **out) {
  if (status == TX_OK) return TX_OK;
  tx_unref(*out);
  *out = NULL;
  return status;
}

/* -- views ----------------------------------------------------------------------------------------------------------- */

static tx_status make_view(const tx_tensor *t, int dims, const int64_t *shape, const int64_t *strides, int64_t offset,
                           tx_tensor **out) {
  tx_tensor *v = make_header(t->dtype, dims, shape);
  if (v == NULL) return TX_ENOMEM;
  memcpy(v->strides, strides, (size_t)dims * sizeof strides[0]);
  v->offset = offset;
  v->expanded = t->expanded;
  v->storage = t->storage;
  atomic_fetch_add(&v->storage->refs, 1);
  *out = v;
  return TX_OK;
}

tx_status tx_alias(const tx_tensor *t, tx_tensor **out) {
  return make_view(t, t->dims, t->shape, t->strides, t->offset, out);
}

/* Strides under which `t` can be seen as `shape`, found by walking both shapes in groups of equal element count. */
static bool view_strides(const tx_tensor *t, int dims, const int64_t *shape, int64_t *strides) {
  int td = t->dims - 1, vd = dims - 1;
  while (vd >= 0) {
    while (td >= 0 && t->shape[td] == 1) td--;
    if (td < 0) { /* only sizes of 1 remain */
      for (; vd >= 0; vd--) strides[vd] = 1;
      return true;
    }
    /* the longest run of old dimensions that is contiguous within itself */
    int64_t base = t->strides[td], run = t->shape[td];
    while (td > 0 && (t->shape[td - 1] == 1 || t->strides[td - 1] == base * run)) run *= t->shape[--td];
    int64_t left = run, stride = base;
    while (vd >= 0 && (left > 1 || shape[vd] == 1)) {
      if (left % shape[vd] != 0) return false;
      strides[vd] = stride;
      stride *= shape[vd];
      left /= shape[vd];
      vd--;
    }
    if (left != 1) return false;
    td--;
  }
  return true;
}

tx_status tx_view(const tx_tensor *t, int dims, const int64_t *shape, tx_tensor **out) {
  int64_t numel, strides[TX_MAX_DIMS];
  char text[TX_SHAPE_TEXT];
  TX_TRY(tx_shape_numel("view", dims, shape, &numel));
  if (numel != tx_numel(t)) {
    return tx_fail(TX_EINVAL, "view: %s has %lld elements, %s has %lld", tx_shape_of(t), (long long)tx_numel(t),
                   tx_shape_text(dims, shape, text), (long long)numel);
  }
  if (numel == 0) { /* any strides will do */
    for (int d = dims - 1; d >= 0; d--) strides[d] = 1;
  } else if (!view_strides(t, dims, shape, strides)) {
    return tx_fail(TX_EINVAL, "view: %s cannot be seen as %s without a copy: use reshape", tx_shape_of(t),
                   tx_shape_text(dims, shape, text));
  }
  return make_view(t, dims, shape, strides, t->offset, out);
}

tx_status tx_select(const tx_tensor *t, int dim, int64_t index, tx_tensor **out) {
  int64_t shape[TX_MAX_DIMS], strides[TX_MAX_DIMS];
  int dims = 0;
  for (int d = 0; d < t->dims; d++) {
    if (d == dim) continue;
    shape[dims] = t->shape[d];
    strides[dims++] = t->strides[d];
  }
  return make_view(t, dims, shape, strides, t->offset + index * t->strides[dim], out);
}

tx_status tx_slice(const tx_tensor *t, int dim, int64_t first, int64_t count, int64_t step, tx_tensor **out) {
  int64_t shape[TX_MAX_DIMS], strides[TX_MAX_DIMS];
  memcpy(shape, t->shape, sizeof shape);
  memcpy(strides, t->strides, sizeof strides);
  shape[dim] = count;
  if (count > 1) strides[dim] *= step; /* a step that is not taken may be of any size */
  return make_view(t, t->dims, shape, strides, count > 0 ? t->offset + first * t->strides[dim] : t->offset, out);
}

tx_status tx_permute(const tx_tensor *t, const int *order, tx_tensor **out) {
  int64_t shape[TX_MAX_DIMS], strides[TX_MAX_DIMS];
  for (int d = 0; d < t->dims; d++) {
    shape[d] = t->shape[order[d]];
    strides[d] = t->strides[order[d]];
  }
  return make_view(t, t->dims, shape, strides, t->offset, out);
}

tx_status tx_expand(const char *operation, const tx_tensor *t, int dims, const int64_t *shape, tx_tensor **out) {
  int64_t strides[TX_MAX_DIMS], numel;
  char text[TX_SHAPE_TEXT];
  TX_TRY(tx_shape_numel(operation, dims, shape, &numel));
  bool fits = dims >= t->dims, repeated = false;
  for (int d = 0; fits && d < dims; d++) {
    int from = d - (dims - t->dims);
    if (from < 0 || (t->shape[from] == 1 && shape[d] != 1)) {
      strides[d] = 0;
      repeated = repeated || shape[d] > 1;
    } else {
      strides[d] = t->strides[from];
      fits = t->shape[from] == shape[d];
    }
  }
  if (!fits) {
    return tx_fail(TX_EINVAL, "%s: %s does not expand to %s", operation, tx_shape_of(t),
                   tx_shape_text(dims, shape, text));
  }
  TX_TRY(make_view(t, dims, shape, strides, t->offset, out));
  if (repeated && numel > 0) (*out)->expanded = true;
  return TX_OK;
}
