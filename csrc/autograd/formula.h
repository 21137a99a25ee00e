/* formula.h - arithmetic on tensors that reads like the formula it computes.
 *
 * A formula holds every intermediate tensor until it ends, and the first failure: after that, further steps do nothing and
 * return NULL. So a backward function is its formula and nothing else; that of y = a * b:
 *
 *     tx_formula f = tx_formula_begin(call);
 *     if (call->needs[0]) tx_f_gradient(&f, 0, tx_f_mul(&f, dy, b));
 *     if (call->needs[1]) tx_f_gradient(&f, 1, tx_f_mul(&f, dy, a));
 *     return tx_formula_end(&f);
 *
 * A forward function may be a formula as well, which ends with tx_f_output: autograd/norm.c.
 *
 * Steps broadcast and promote as in tensor/math.h. What they return is borrowed: it lives until tx_formula_end, unless it
 * was given away with tx_f_gradient or tx_f_output. Messages name the operation of the call.
 */
#ifndef TX_AUTOGRAD_FORMULA_H
#define TX_AUTOGRAD_FORMULA_H

#include "autograd/op.h"

enum { TX_FORMULA_STEPS = 40 };

typedef struct tx_formula {
  tx_call *call;
  tx_status status;
  int count;
  tx_tensor *held[TX_FORMULA_STEPS];
} tx_formula;

tx_formula tx_formula_begin(tx_call *call);
/* Releases the intermediates; returns the first failure, or TX_OK. */
tx_status tx_formula_end(tx_formula *f);

/* -- results ----------------------------------------------------------------------------------------------------------- */

/* din[input] = t, summed down to the shape of that input (undoing broadcasting) and in its dtype. */
void tx_f_gradient(tx_formula *f, int input, tx_tensor *t);
/* out[output] = t. */
void tx_f_output(tx_formula *f, int output, tx_tensor *t);

/* -- steps ------------------------------------------------------------------------------------------------------------- */

/* A number that yields to the dtype of what it is combined with; only comparisons take its value as it is, in f64. */
tx_tensor *tx_f_number(tx_formula *f, double value);
tx_tensor *tx_f_unary(tx_formula *f, tx_unary_op op, tx_tensor *t);
tx_tensor *tx_f_binary(tx_formula *f, tx_binary_op op, tx_tensor *a, tx_tensor *b);
static inline tx_tensor *tx_f_add(tx_formula *f, tx_tensor *a, tx_tensor *b) { return tx_f_binary(f, TX_ADD, a, b); }
static inline tx_tensor *tx_f_sub(tx_formula *f, tx_tensor *a, tx_tensor *b) { return tx_f_binary(f, TX_SUB, a, b); }
static inline tx_tensor *tx_f_mul(tx_formula *f, tx_tensor *a, tx_tensor *b) { return tx_f_binary(f, TX_MUL, a, b); }
static inline tx_tensor *tx_f_div(tx_formula *f, tx_tensor *a, tx_tensor *b) { return tx_f_binary(f, TX_DIV, a, b); }
static inline tx_tensor *tx_f_pow(tx_formula *f, tx_tensor *a, tx_tensor *b) { return tx_f_binary(f, TX_POW, a, b); }
/* t + value and t * value. */
tx_tensor *tx_f_shift(tx_formula *f, tx_tensor *t, double value);
tx_tensor *tx_f_scale(tx_formula *f, tx_tensor *t, double value);
/* condition ? a : b. */
tx_tensor *tx_f_where(tx_formula *f, tx_tensor *condition, tx_tensor *a, tx_tensor *b);
/* Over the dimensions of a mask as in tx_reduce: UINT32_MAX for everything. */
tx_tensor *tx_f_reduce(tx_formula *f, tx_reduce_op op, tx_tensor *t, uint32_t mask, bool keepdim, double correction);
tx_tensor *tx_f_matmul(tx_formula *f, tx_tensor *a, tx_tensor *b);
/* The last two dimensions exchanged (a view). */
tx_tensor *tx_f_transpose(tx_formula *f, tx_tensor *t);
/* Other sizes over the same elements: a view when strides allow it, else of a contiguous copy. */
tx_tensor *tx_f_reshape(tx_formula *f, tx_tensor *t, int dims, const int64_t *shape);
/* t, broadcast to a shape (a view). */
tx_tensor *tx_f_expand(tx_formula *f, tx_tensor *t, int dims, const int64_t *shape);
/* t, summed down to a shape that broadcasts to it. */
tx_tensor *tx_f_sum_to(tx_formula *f, tx_tensor *t, int dims, const int64_t *shape);
/* The result of a reduction without keepdim, given its sizes of 1 back: `mask` holds the reduced dimensions of `input`. It
 * then broadcasts against what was reduced. */
tx_tensor *tx_f_unreduce(tx_formula *f, tx_tensor *t, const tx_meta *input, uint32_t mask);
/* Zeros of an input's shape and dtype. */
tx_tensor *tx_f_zeros(tx_formula *f, const tx_meta *meta);
/* Any other function of tensor/ as a step: takes over the reference t, or notes the failure.
 *     tx_tensor *t = NULL;
 *     if (f.status == TX_OK) tx_f_hold(&f, tx_clone(x, &t), &t);  */
tx_tensor *tx_f_hold(tx_formula *f, tx_status status, tx_tensor **t);

#endif
