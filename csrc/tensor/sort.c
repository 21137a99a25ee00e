/* sort.c - order along a dimension: a stable merge sort of (key, position) records, one line at a time.
 *
 * The key of an element is an unsigned integer that orders like the element does: floats have their bits flipped so that
 * they do, NaN is the largest of all. A descending sort complements the keys of all but NaN. So one comparison serves all
 * dtypes and both directions.
 */
#include "tensor/sort.h"

#include <string.h>

#include "base/integers.h"
#include "base/memory.h"
#include "base/threads.h"
#include "tensor/math.h"

typedef struct record {
  uint64_t key;
  int64_t position;
} record;

#define SIGN64 (UINT64_C(1) << 63)

static uint64_t key_of_f64(double x) {
  uint64_t bits;
  if (x != x) return UINT64_MAX;
  if (x == 0) x = 0; /* -0 equals 0 */
  memcpy(&bits, &x, sizeof bits);
  return (bits & SIGN64) != 0 ? ~bits : bits | SIGN64;
}

/* Lines of a contiguous {outer, n, inner}. */
typedef struct job {
  const tx_tensor *in;
  int64_t n, inner, lines, keep; /* keep: the first elements that are wanted */
  bool descending;
  tx_tensor *values, *indices; /* {outer, keep, inner}; may be NULL */
  record *scratch;             /* 2 n records for each worker */
  int64_t per_block;           /* lines */
} job;

/* At element `at` of n: whether Ctrl-C was pressed. Then nobody reads the result. */
static bool gives_up(int64_t at, int64_t n) {
  enum { LOOK = 1 << 20 };
  return n > LOOK && at % LOOK == 0 && tx_should_stop();
}

static bool load_keys(const job *j, int64_t at, record *records) {
  for (int64_t i = 0; i < j->n; i++, at += j->inner) {
    if (gives_up(i, j->n)) return false;
    uint64_t key;
    bool is_nan = false;
    switch (j->in->dtype) {
      case TX_U8:
        key = tx_u8(j->in)[at];
        break;
      case TX_I64:
        key = (uint64_t)tx_i64(j->in)[at] ^ SIGN64;
        break;
      case TX_F32:
        key = key_of_f64((double)tx_f32(j->in)[at]);
        is_nan = key == UINT64_MAX;
        break;
      default:
        key = key_of_f64(tx_f64(j->in)[at]);
        is_nan = key == UINT64_MAX;
    }
    records[i] = (record){j->descending && !is_nan ? ~key : key, i};
  }
  return true;
}

/* Runs of up to 16 by insertion, then merged bottom-up between the two halves of the scratch space. */
static const record *merge_sort(record *from, record *to, int64_t n) {
  enum { RUN = 16 };
  for (int64_t first = 0; first < n; first += RUN) {
    if (gives_up(first, n)) return from;
    int64_t end = tx_min(first + RUN, n);
    for (int64_t i = first + 1; i < end; i++) {
      record r = from[i];
      int64_t k = i;
      for (; k > first && from[k - 1].key > r.key; k--) from[k] = from[k - 1];
      from[k] = r;
    }
  }
  for (int64_t width = RUN; width < n; width *= 2) {
    for (int64_t first = 0; first < n; first += 2 * width) {
      if (gives_up(first, n)) return from;
      int64_t middle = tx_min(first + width, n), end = tx_min(middle + width, n);
      int64_t left = first, right = middle;
      for (int64_t k = first; k < end; k++) {
        bool take_left = left < middle && (right >= end || from[left].key <= from[right].key);
        to[k] = take_left ? from[left++] : from[right++];
      }
    }
    record *swap = from;
    from = to;
    to = swap;
  }
  return from;
}

/* The first `keep` of n records in order. Candidates gather in a buffer that is sorted and cut whenever it holds twice as
 * many; what does not come before the last of those kept is passed over. */
static const record *first_of(record *from, record *to, int64_t n, int64_t keep) {
  int64_t room = 2 * keep, held = 0;
  bool full = false;
  for (int64_t i = 0; i < n; i++) {
    if (full && from[i].key >= from[keep - 1].key) continue;
    from[held++] = from[i];
    if (held < room) continue;
    const record *sorted = merge_sort(from, to, held);
    if (sorted != from) memcpy(from, sorted, (size_t)keep * sizeof *from);
    held = keep;
    full = true;
  }
  return merge_sort(from, to, held);
}

static void sort_line(const job *j, int64_t line, record *records) {
  int64_t o = line / j->inner, i = line % j->inner;
  int64_t from = o * j->n * j->inner + i, to = o * j->keep * j->inner + i;
  if (!load_keys(j, from, records)) return;
  const record *sorted = first_of(records, records + j->n, j->n, j->keep);
  size_t size = tx_dtype_size(j->in->dtype);
  for (int64_t k = 0; k < j->keep; k++, to += j->inner) {
    if (gives_up(k, j->keep)) return;
    if (j->indices != NULL) tx_i64(j->indices)[to] = sorted[k].position + 1;
    if (j->values != NULL) {
      const char *element = (const char *)tx_data(j->in) + (size_t)(from + sorted[k].position * j->inner) * size;
      memcpy((char *)tx_data(j->values) + (size_t)to * size, element, size);
    }
  }
}

static void sort_block(void *context, int64_t block, int worker) {
  const job *j = context;
  int64_t first = block * j->per_block, end = first + j->per_block;
  for (int64_t line = first; line < end && line < j->lines; line++) sort_line(j, line, j->scratch + 2 * j->n * worker);
}

static tx_status run(job *j) {
  j->scratch = tx_alloc_array(2 * j->n * tx_num_threads(), sizeof(record));
  if (j->scratch == NULL) return TX_ENOMEM;
  j->per_block = tx_block_size(j->lines, 32 * j->n);
  tx_parallel(tx_ceil_div(j->lines, j->per_block), sort_block, j);
  tx_dealloc(j->scratch);
  return TX_OK;
}

static tx_status sort_first(const tx_tensor *t, int64_t keep, int dim, bool descending, tx_tensor **values,
                            tx_tensor **indices) {
  tx_tensor *in, *v = NULL, *p = NULL;
  int64_t shape[TX_MAX_DIMS];
  memcpy(shape, t->shape, sizeof shape);
  if (t->dims > 0) shape[dim] = keep;
  TX_TRY(tx_as_contiguous(t, &in));
  tx_status status = TX_OK;
  if (values != NULL) status = tx_empty(t->dtype, t->dims, shape, &v);
  if (status == TX_OK && indices != NULL) status = tx_empty(TX_I64, t->dims, shape, &p);
  if (status == TX_OK && tx_numel(t) > 0 && keep > 0) {
    job j = {.in = in, .n = t->dims > 0 ? t->shape[dim] : 1, .inner = 1, .keep = keep, .descending = descending};
    for (int d = dim + 1; d < t->dims; d++) j.inner *= t->shape[d];
    j.lines = tx_numel(t) / j.n;
    j.values = v;
    j.indices = p;
    status = run(&j);
  }
  tx_unref(in);
  if (status != TX_OK) {
    tx_unref(v);
    tx_unref(p);
    return status;
  }
  if (values != NULL) *values = v;
  if (indices != NULL) *indices = p;
  return TX_OK;
}

tx_status tx_sort(const tx_tensor *t, int dim, bool descending, tx_tensor **values, tx_tensor **indices) {
  return sort_first(t, t->dims > 0 ? t->shape[dim] : 1, dim, descending, values, indices);
}

tx_status tx_topk(const tx_tensor *t, int64_t k, int dim, bool largest, tx_tensor **values, tx_tensor **indices) {
  int64_t n = t->dims > 0 ? t->shape[dim] : 1;
  if (k < 0 || k > n) {
    return tx_fail(TX_EINVAL, "topk: k is %lld, dimension %d of %s has %lld elements", (long long)k, dim + 1,
                   tx_shape_of(t), (long long)n);
  }
  return sort_first(t, k, dim, largest, values, indices);
}
