/* formula.c - see formula.h. */
#include "autograd/formula.h"

tx_formula tx_formula_begin(tx_call *call) { return (tx_formula){.call = call, .status = TX_OK, .count = 0}; }

tx_status tx_formula_end(tx_formula *f) {
  while (f->count > 0) tx_unref(f->held[--f->count]);
  return f->status;
}

tx_tensor *tx_f_hold(tx_formula *f, tx_status status, tx_tensor **t) {
  if (f->status != TX_OK) return NULL;
  if (status != TX_OK) {
    f->status = status;
    return NULL;
  }
  if (f->count == TX_FORMULA_STEPS) {
    tx_unref(*t);
    f->status = tx_fail(TX_EINVAL, "%s: more steps than TX_FORMULA_STEPS", f->call->op->name);
    return NULL;
  }
  return f->held[f->count++] = *t;
}

/* -- results ----------------------------------------------------------------------------------------------------------- */

void tx_f_gradient(tx_formula *f, int input, tx_tensor *t) {
  const tx_meta *meta = tx_input_meta(f->call, input);
  tx_tensor *sum = tx_f_sum_to(f, t, meta->dims, meta->shape);
  if (f->status == TX_OK) f->status = tx_to(sum, meta->dtype, &f->call->din[input]);
}

void tx_f_output(tx_formula *f, int output, tx_tensor *t) {
  if (f->status == TX_OK) f->call->out[output] = tx_ref(t);
}

/* -- steps ------------------------------------------------------------------------------------------------------------- */

/* The body of a step: nothing after a failure; else `call`, which sets `made`. */
#define TX_STEP(f, call)                   \
  do {                                     \
    tx_tensor *made = NULL;                \
    if ((f)->status != TX_OK) return NULL; \
    return tx_f_hold(f, call, &made);      \
  } while (0)

tx_tensor *tx_f_number(tx_formula *f, double value) { TX_STEP(f, tx_scalar(TX_F64, tx_real(value), true, &made)); }

tx_tensor *tx_f_unary(tx_formula *f, tx_unary_op op, tx_tensor *t) { TX_STEP(f, tx_unary(op, t, &made)); }

tx_tensor *tx_f_binary(tx_formula *f, tx_binary_op op, tx_tensor *a, tx_tensor *b) {
  TX_STEP(f, tx_binary(f->call->op->name, op, a, b, &made));
}

tx_tensor *tx_f_shift(tx_formula *f, tx_tensor *t, double value) { return tx_f_add(f, t, tx_f_number(f, value)); }

tx_tensor *tx_f_scale(tx_formula *f, tx_tensor *t, double value) { return tx_f_mul(f, t, tx_f_number(f, value)); }

tx_tensor *tx_f_where(tx_formula *f, tx_tensor *condition, tx_tensor *a, tx_tensor *b) {
  TX_STEP(f, tx_where(condition, a, b, &made));
}

tx_tensor *tx_f_reduce(tx_formula *f, tx_reduce_op op, tx_tensor *t, uint32_t mask, bool keepdim, double correction) {
  TX_STEP(f, tx_reduce(f->call->op->name, op, t, mask, keepdim, correction, &made));
}

tx_tensor *tx_f_matmul(tx_formula *f, tx_tensor *a, tx_tensor *b) {
  TX_STEP(f, tx_matmul(f->call->op->name, a, b, &made));
}

tx_tensor *tx_f_transpose(tx_formula *f, tx_tensor *t) {
  int order[TX_MAX_DIMS] = {0};
  if (f->status != TX_OK) return NULL;
  for (int d = 0; d < t->dims; d++) order[d] = d;
  order[t->dims - 1] = t->dims - 2;
  order[t->dims - 2] = t->dims - 1;
  TX_STEP(f, tx_permute(t, order, &made));
}

static tx_status reshape(tx_tensor *t, int dims, const int64_t *shape, tx_tensor **out) {
  if (tx_view(t, dims, shape, out) == TX_OK) return TX_OK;
  tx_tensor *whole;
  TX_TRY(tx_contiguous(t, &whole));
  tx_status status = tx_view(whole, dims, shape, out);
  tx_unref(whole);
  return status;
}

tx_tensor *tx_f_reshape(tx_formula *f, tx_tensor *t, int dims, const int64_t *shape) {
  TX_STEP(f, reshape(t, dims, shape, &made));
}

tx_tensor *tx_f_expand(tx_formula *f, tx_tensor *t, int dims, const int64_t *shape) {
  TX_STEP(f, tx_expand(f->call->op->name, t, dims, shape, &made));
}

tx_tensor *tx_f_sum_to(tx_formula *f, tx_tensor *t, int dims, const int64_t *shape) {
  TX_STEP(f, tx_sum_to(t, dims, shape, &made));
}

tx_tensor *tx_f_unreduce(tx_formula *f, tx_tensor *t, const tx_meta *input, uint32_t mask) {
  int64_t shape[TX_MAX_DIMS];
  for (int d = 0; d < input->dims; d++) shape[d] = mask >> d & 1u ? 1 : input->shape[d];
  return tx_f_reshape(f, t, input->dims, shape);
}

tx_tensor *tx_f_zeros(tx_formula *f, const tx_meta *meta) {
  TX_STEP(f, tx_zeros(meta->dtype, meta->dims, meta->shape, &made));
}
