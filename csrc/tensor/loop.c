/* loop.c - see loop.h.
 *
 * The dimensions are first put in the order of the output's strides and joined where all operands walk them as one. What
 * remains is a number of rows along the innermost dimension. Long rows that need no conversion are handed to the body as
 * they lie; all else goes in chunks of a few hundred elements, each operand packed into scratch unless it lies ready.
 */
#include "tensor/loop.h"

#include <stdatomic.h>

#include "base/integers.h"
#include "base/threads.h"
#include "tensor/convert.h"

enum {
  CHUNK = 512,   /* elements packed at a time: four operands of 8 bytes stay in the first-level cache */
  LONG_ROW = 256 /* rows at least this long are worth a call of the body each */
};

typedef struct side {
  char *data;
  int64_t strides[TX_MAX_DIMS]; /* in elements, 0 where broadcast */
  int64_t size, as_size;        /* bytes of an element, and of one as the body wants it */
  bool ready;                   /* every row is contiguous and of the wanted dtype */
  bool linear;                  /* ... and so are all rows together */
  bool periodic;                /* the same in every row: packed once serves all chunks that hold whole rows */
  tx_convert_fn *pack, *unpack;
} side;

typedef struct loop {
  int count, dims;
  int64_t shape[TX_MAX_DIMS];
  side operand[TX_LOOP_OPERANDS];
  int64_t total, block, chunk;
  bool whole_rows; /* pass rows as they lie */
  tx_loop_body *body;
  const void *context;
} loop;

/* Where element number `index` (row-major over the loop's shape) lies in an operand. */
static char *locate(const loop *l, const side *o, int64_t index) {
  int64_t offset = 0;
  for (int d = l->dims - 1; d >= 0; d--) {
    offset += index % l->shape[d] * o->strides[d];
    index /= l->shape[d];
  }
  return o->data + offset * o->size;
}

/* Copies elements first .. first+n-1 of an operand into scratch, or back when `back`. */
static void pack(const loop *l, const side *o, int64_t first, int64_t n, char *scratch, bool back) {
  int last = l->dims - 1;
  int64_t row = l->shape[last], stride = o->strides[last];
  while (n > 0) {
    const int64_t run = tx_min(n, row - first % row);
    char *at = locate(l, o, first);
    if (back) {
      o->unpack(run, scratch, 1, at, stride);
    } else {
      o->pack(run, at, stride, scratch, 1);
    }
    scratch += run * o->as_size;
    first += run;
    n -= run;
  }
}

static void run_rows(const loop *l, int64_t first, int64_t end) {
  int64_t row = l->shape[l->dims - 1];
  void *at[TX_LOOP_OPERANDS];
  while (first < end) {
    int64_t run = row - first % row;
    if (run > end - first) run = end - first;
    for (int i = 0; i < l->count; i++) at[i] = locate(l, &l->operand[i], first);
    l->body(l->context, run, at);
    first += run;
  }
}

static void run_chunks(const loop *l, int64_t first, int64_t end) {
  _Alignas(64) char scratch[TX_LOOP_OPERANDS][CHUNK * sizeof(double)];
  void *at[TX_LOOP_OPERANDS];
  bool packed[TX_LOOP_OPERANDS] = {false};
  for (; first < end; first += l->chunk) {
    int64_t n = tx_min(end - first, l->chunk);
    for (int i = 0; i < l->count; i++) {
      const side *o = &l->operand[i];
      if (o->linear) {
        at[i] = o->data + first * o->size;
        continue;
      }
      at[i] = scratch[i];
      if (i == 0 || (o->periodic && packed[i])) continue;
      pack(l, o, first, n, scratch[i], false);
      packed[i] = true;
    }
    l->body(l->context, n, at);
    if (!l->operand[0].linear) pack(l, &l->operand[0], first, n, scratch[0], true);
  }
}

static void run_block(void *context, int64_t block, int worker) {
  (void)worker;
  const loop *l = context;
  int64_t first = block * l->block, end = tx_min(first + l->block, l->total);
  if (l->whole_rows) {
    run_rows(l, first, end);
  } else {
    run_chunks(l, first, end);
  }
}

/* Strides of a tensor under the output's shape: 0 in dimensions that it lacks or that are broadcast. */
static void broadcast_strides(const tx_tensor *t, const tx_tensor *out, int64_t *strides) {
  for (int d = 0; d < out->dims; d++) {
    int k = d - (out->dims - t->dims);
    strides[d] = k < 0 || (t->shape[k] == 1 && out->shape[d] != 1) ? 0 : t->strides[k];
  }
}

/* Writes to `order` the output's dimensions by falling stride: the innermost loop then writes neighbours. */
static void order_dims(const tx_tensor *out, int *order) {
  for (int d = 0; d < out->dims; d++) {
    int k = d;
    for (; k > 0 && out->strides[order[k - 1]] < out->strides[d]; k--) order[k] = order[k - 1];
    order[k] = d;
  }
}

/* Leaves out sizes of 1 and joins neighbours that all operands walk as one. */
static void collapse(loop *l, const tx_tensor *out, int64_t strides[][TX_MAX_DIMS], const int *order) {
  l->dims = 0;
  for (int d = 0; d < out->dims; d++) {
    int64_t size = out->shape[order[d]];
    if (size == 1) continue;
    int k = l->dims - 1;
    bool join = k >= 0;
    for (int i = 0; i < l->count && join; i++) join = l->operand[i].strides[k] == strides[i][order[d]] * size;
    if (join) {
      l->shape[k] *= size;
    } else {
      k = l->dims++;
      l->shape[k] = size;
    }
    for (int i = 0; i < l->count; i++) l->operand[i].strides[k] = strides[i][order[d]];
  }
  if (l->dims == 0) {
    l->dims = 1;
    l->shape[0] = 1;
    for (int i = 0; i < l->count; i++) l->operand[i].strides[0] = 1;
  }
}

static void classify(loop *l, side *o, bool same_dtype) {
  int last = l->dims - 1;
  o->ready = same_dtype && o->strides[last] == 1;
  o->linear = o->ready;
  o->periodic = true;
  int64_t expected = l->shape[last];
  for (int d = last - 1; d >= 0; d--) {
    if (o->strides[d] != expected) o->linear = false;
    if (o->strides[d] != 0) o->periodic = false;
    expected *= l->shape[d];
  }
  if (last == 0 && o->strides[0] != 0) o->periodic = false; /* one row: only a constant repeats */
}

/* Whether a large input's neighbours under the output are far apart in its memory: then it is worth a copy, which knows how
 * to turn (copy.c). */
static bool is_turned(const tx_tensor *t, const tx_tensor *out) {
  enum { LARGE = 4096, FAR = 16 };
  if (t->dims < 2 || tx_numel(t) < LARGE || !tx_is_contiguous(out) || t->strides[t->dims - 1] < FAR) return false;
  for (int d = 0; d < t->dims - 1; d++) {
    if (t->strides[d] == 1 && t->shape[d] >= FAR) return t->shape[t->dims - 1] > 1;
  }
  return false;
}

static void run_loop(int count, const tx_tensor *const *operand, const tx_dtype *as, tx_loop_body *body,
                     const void *context, int64_t cost) {
  const tx_tensor *out = operand[0];
  loop l = {.count = count, .total = tx_numel(out), .body = body, .context = context};
  if (l.total == 0) return;
  int order[TX_MAX_DIMS];
  int64_t strides[TX_LOOP_OPERANDS][TX_MAX_DIMS];
  order_dims(out, order);
  for (int i = 0; i < count; i++) broadcast_strides(operand[i], out, strides[i]);
  collapse(&l, out, strides, order);
  int64_t row = l.shape[l.dims - 1];
  l.whole_rows = l.dims == 1 || row >= LONG_ROW;
  for (int i = 0; i < count; i++) {
    tx_dtype dtype = operand[i]->dtype;
    l.operand[i].data = tx_data(operand[i]);
    l.operand[i].size = (int64_t)tx_dtype_size(dtype);
    l.operand[i].as_size = (int64_t)tx_dtype_size(as[i]);
    l.operand[i].pack = tx_convert(dtype, as[i]);
    l.operand[i].unpack = tx_convert(as[i], dtype);
    classify(&l, &l.operand[i], dtype == as[i]);
    l.whole_rows = l.whole_rows && l.operand[i].ready;
  }
  l.chunk = row < CHUNK ? CHUNK / row * row : CHUNK;
  if (row > CHUNK) { /* a chunk is part of a row: only a constant repeats */
    for (int i = 0; i < count; i++)
      l.operand[i].periodic = l.operand[i].periodic && l.operand[i].strides[l.dims - 1] == 0;
  }
  int64_t block = tx_block_size(l.total, cost);
  l.block = tx_ceil_div(block, l.chunk) * l.chunk;
  tx_parallel(tx_ceil_div(l.total, l.block), run_block, &l);
}

void tx_loop(int count, const tx_tensor *const *operand, const tx_dtype *as, tx_loop_body *body, const void *context,
             int64_t cost) {
  const tx_tensor *straight[TX_LOOP_OPERANDS] = {NULL};
  tx_tensor *copy[TX_LOOP_OPERANDS] = {NULL};
  for (int i = 0; i < count; i++) {
    straight[i] = operand[i];
    if (i == 0 || !is_turned(operand[i], operand[0])) continue;
    if (tx_clone(operand[i], &copy[i]) == TX_OK) straight[i] = copy[i]; /* else as it lies: slower, and as good */
  }
  run_loop(count, straight, as, body, context, cost);
  for (int i = 0; i < count; i++) tx_unref(copy[i]);
}

/* -- a question to all elements --------------------------------------------------------------------------------------- */

enum { SURVEY_BLOCK = 65536 };

typedef struct survey {
  tx_test_fn *test;
  const void *data;
  int64_t total;
  atomic_bool denied;
} survey;

static void survey_block(void *context, int64_t block, int worker) {
  (void)worker;
  survey *s = context;
  const int64_t first = block * SURVEY_BLOCK;
  if (!s->test(s->data, first, tx_min(s->total - first, SURVEY_BLOCK))) atomic_store(&s->denied, true);
}

tx_status tx_all(const tx_tensor *t, tx_test_fn *test, bool *all) {
  tx_tensor *x;
  TX_TRY(tx_as_contiguous(t, &x));
  survey s = {.test = test, .data = tx_data(x), .total = tx_numel(x)};
  tx_parallel(tx_ceil_div(s.total, SURVEY_BLOCK), survey_block, &s);
  *all = !atomic_load(&s.denied);
  tx_unref(x);
  return TX_OK;
}

bool tx_overlaps(const tx_tensor *a, const tx_tensor *b) {
  if (a->storage != b->storage) return false;
  if (a->dtype != b->dtype || a->offset != b->offset || a->dims != b->dims) return true;
  for (int d = 0; d < a->dims; d++) {
    if (a->shape[d] != b->shape[d] || (a->strides[d] != b->strides[d] && a->shape[d] != 1)) return true;
  }
  return false;
}
