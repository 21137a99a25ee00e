/* matmul.c - matrix product: a {..,m,k} b {..,k,n} -> y {..,m,n}; leading dimensions broadcast; a 1-dimensional operand
 * is a row on the left, a column on the right, and its dimension leaves the result.
 *
 *     dA = dY B^T     dB = A^T dY     each summed over the leading dimensions along which it was broadcast
 *
 * One matrix b under many of a is one long product: the leading dimensions of a and y are then part of the rows. */
#include "autograd/formula.h"
#include "autograd/list.h"

static tx_status forward(tx_call *call) {
  tx_tensor *a = call->in[0], *b = call->in[1];
  if (call->needs[1]) tx_save(call, 0, a);
  if (call->needs[0]) tx_save(call, 1, b);
  return tx_matmul("matmul", a, b, &call->out[0]);
}

/* The operand as a matrix: a row for the left one, a column for the right one. */
static tx_tensor *as_matrix(tx_formula *f, tx_tensor *t, bool left) {
  if (t == NULL || t->dims > 1) return t;
  int64_t shape[2] = {left ? 1 : t->shape[0], left ? t->shape[0] : 1};
  return tx_f_reshape(f, t, 2, shape);
}

/* dy with the dimensions of 1 that vectors have taken from it. */
static tx_tensor *as_product(tx_formula *f, tx_tensor *dy, bool row, bool column) {
  if (!row && !column) return dy;
  int64_t shape[TX_MAX_DIMS] = {0};
  int lead = dy->dims - !row - !column;
  for (int d = 0; d < lead; d++) shape[d] = dy->shape[d];
  shape[lead] = row ? 1 : dy->shape[lead];
  shape[lead + 1] = column ? 1 : dy->shape[dy->dims - 1];
  return tx_f_reshape(f, dy, lead + 2, shape);
}

/* {..,m,n} as {..*m, n}. */
static tx_tensor *as_rows(tx_formula *f, tx_tensor *t) {
  if (f->status != TX_OK || t->dims == 2) return t;
  int64_t shape[2] = {1, t->shape[t->dims - 1]};
  for (int d = 0; d < t->dims - 1; d++) shape[0] *= t->shape[d];
  return tx_f_reshape(f, t, 2, shape);
}

static void gradient_of_b(tx_formula *f, tx_tensor *a, tx_tensor *dy, const tx_meta *b) {
  if (b->dims <= 2) {
    a = as_rows(f, a);
    dy = as_rows(f, dy);
  }
  tx_tensor *db = tx_f_matmul(f, tx_f_transpose(f, a), dy);
  tx_f_gradient(f, 1, b->dims == 1 ? tx_f_reshape(f, db, 1, b->shape) : db);
}

static tx_status backward(tx_call *call) {
  tx_formula f = tx_formula_begin(call);
  const tx_meta *a = tx_input_meta(call, 0), *b = tx_input_meta(call, 1);
  tx_tensor *dy = as_product(&f, call->dout[0], a->dims == 1, b->dims == 1);
  if (call->needs[0]) {
    tx_tensor *to = tx_f_transpose(&f, as_matrix(&f, tx_saved(call, 1), false));
    tx_f_gradient(&f, 0, tx_f_matmul(&f, dy, to));
  }
  if (call->needs[1]) gradient_of_b(&f, as_matrix(&f, tx_saved(call, 0), true), dy, b);
  return tx_formula_end(&f);
}

const tx_op tx_op_matmul = {
    .name = "matmul",
    .inputs = "a b",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .forward = forward,
    .backward = backward,
    .doc = "matmul(a, b): matrix product, a {..,m,k} b {..,k,n} -> {..,m,n}; leading dimensions broadcast; f32 or f64.",
};
