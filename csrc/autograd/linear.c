/* linear.c - y = x w + b over the last dimension; dx = dy w^T, dw = x^T dy, db = sum of dy over all rows.
 *
 *     x {...,in}   w {in,out}   b {out}  ->  y {...,out}
 *
 * All dimensions of x but the last count as one: `rows` rows of `in` features. A single {in} is one row. The three
 * products are one call of the matrix product each; b is laid into y first, and the product is added to it.
 */
#include <string.h>

#include "autograd/layer.h"
#include "autograd/list.h"
#include "passes/gemm.h"

enum { X, W, B };

/* C = op(A) op(B) (+ C when `accumulate`), dense: m x k times k x n. */
static void multiply(tx_dtype dtype, bool ta, bool tb, int64_t m, int64_t n, int64_t k, const void *a, const void *b,
                     bool accumulate, void *c) {
  tx_product p = {.dtype = dtype, .ta = ta, .tb = tb, .m = m, .n = n, .k = k, .accumulate = accumulate};
  p.a = a;
  p.b = b;
  p.c = c;
  p.lda = ta ? m : k;
  p.ldb = tb ? k : n;
  tx_multiply(1, &p);
}

static tx_status check(const tx_call *call) {
  const tx_tensor *x = call->in[X], *w = call->in[W];
  TX_TRY(tx_want_float(call, X));
  TX_TRY(tx_want_dtype_of(call, W, X));
  if (w->dims != 2) return tx_fail(TX_EINVAL, "linear: w is %s: {in,out} is needed", tx_shape_of(w));
  if (x->dims < 1 || x->shape[x->dims - 1] != w->shape[0]) {
    return tx_fail(TX_EINVAL, "linear: x %s has %lld features in its last dimension, w %s wants %lld", tx_shape_of(x),
                   x->dims < 1 ? 0LL : (long long)x->shape[x->dims - 1], tx_shape_of(w), (long long)w->shape[0]);
  }
  return tx_want_vector(call, B, W, w->shape[1], "columns of w");
}

/* b in every row of y, or zeros where the product would be empty. */
static void fill_rows(const tx_tensor *b, int64_t rows, tx_tensor *y) {
  size_t bytes = (size_t)b->shape[0] * tx_dtype_size(b->dtype);
  for (int64_t i = 0; i < rows; i++) memcpy((char *)tx_data(y) + (size_t)i * bytes, tx_data(b), bytes);
}

static tx_status run_forward(tx_call *call, tx_tensor *x, tx_tensor *w, tx_tensor *b) {
  int64_t in = w->shape[0], out = w->shape[1], rows = 1, shape[TX_MAX_DIMS];
  memcpy(shape, x->shape, sizeof shape);
  shape[x->dims - 1] = out;
  for (int d = 0; d < x->dims - 1; d++) rows *= x->shape[d];
  TX_TRY(tx_empty(x->dtype, x->dims, shape, &call->out[0]));
  if (b != NULL) fill_rows(b, rows, call->out[0]);
  multiply(x->dtype, false, false, rows, out, in, tx_data(x), tx_data(w), b != NULL, tx_data(call->out[0]));
  tx_save(call, X, x);
  tx_save(call, W, w);
  return TX_OK;
}

static tx_status forward(tx_call *call) {
  tx_tensor *x = NULL, *w = NULL, *b = NULL;
  TX_TRY(check(call));
  tx_status status = tx_contiguous(call->in[X], &x);
  if (status == TX_OK) status = tx_contiguous(call->in[W], &w);
  if (status == TX_OK && call->in[B] != NULL) status = tx_contiguous(call->in[B], &b);
  if (status == TX_OK) status = run_forward(call, x, w, b);
  tx_unref(x);
  tx_unref(w);
  tx_unref(b);
  return status;
}

/* dy {...,out} is contiguous: rows x out. */
static tx_status run_backward(tx_call *call, tx_tensor *dy) {
  const tx_tensor *x = tx_saved(call, X), *w = tx_saved(call, W);
  int64_t in = w->shape[0], out = w->shape[1], rows = 1;
  for (int d = 0; d < x->dims - 1; d++) rows *= x->shape[d];
  if (call->needs[X]) {
    TX_TRY(tx_empty_like(x, &call->din[X]));
    multiply(x->dtype, false, true, rows, in, out, tx_data(dy), tx_data(w), false, tx_data(call->din[X]));
  }
  if (call->needs[W]) {
    TX_TRY(tx_empty_like(w, &call->din[W]));
    multiply(x->dtype, true, false, in, out, rows, tx_data(x), tx_data(dy), false, tx_data(call->din[W]));
  }
  if (call->n_in <= B || !call->needs[B]) return TX_OK;
  uint32_t leading = (1u << (dy->dims - 1)) - 1u;
  if (leading == 0) return tx_clone(dy, &call->din[B]);
  return tx_reduce("linear", TX_SUM, dy, leading, false, 0, &call->din[B]);
}

static tx_status backward(tx_call *call) {
  tx_tensor *dy;
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  tx_status status = run_backward(call, dy);
  tx_unref(dy);
  return status;
}

const tx_op tx_op_linear = {
    .name = "linear",
    .inputs = "x w b?",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .forward = forward,
    .backward = backward,
    .doc = "linear(x, w, b): x w + b over the last dimension; x {...,in}, w {in,out}, b {out} or absent -> {...,out}.",
};
