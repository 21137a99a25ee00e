/* slice.c - parts of a tensor along one dimension, as views that share its memory:
 *
 *     select(x, dim, index)               one position; the dimension goes         {4,5,6} at 2 -> {4,6}
 *     slice(x, dim, first, last, step)    first..last, both included, every step-th {4,5,6} 2..4 -> {4,3,6}
 *
 * Gradient: zeros, with dy in the part. */
#include "autograd/formula.h"
#include "autograd/list.h"

/* -- select ---------------------------------------------------------------------------------------------------------- */

typedef struct select_params {
  int dim;
  int64_t index;
} select_params;

static const tx_param select_parameters[] = {
    TX_PARAM(select_params, dim, TX_PARAM_DIM, NULL),
    TX_PARAM(select_params, index, TX_PARAM_INDEX, NULL),
    {0},
};

/* Negative indices count from the end; `index` is 0-based otherwise. */
static tx_status resolve(const tx_tensor *t, int dim, int64_t index, const char *operation, int64_t *position) {
  int64_t size = t->shape[dim];
  *position = index < 0 ? index + size : index;
  if (*position >= 0 && *position < size) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: index %lld is outside of dimension %d, which has size %lld (tensor %s)", operation,
                 (long long)(index < 0 ? index : index + 1), dim + 1, (long long)size, tx_shape_of(t));
}

static tx_status select_forward(tx_call *call) {
  const select_params *p = call->params;
  int64_t position;
  TX_TRY(resolve(call->in[0], p->dim, p->index, "select", &position));
  return tx_select(call->in[0], p->dim, position, &call->out[0]);
}

static tx_status select_backward(tx_call *call) {
  const select_params *p = call->params;
  const tx_meta *x = tx_input_meta(call, 0);
  int64_t position = p->index < 0 ? p->index + x->shape[p->dim] : p->index;
  tx_formula f = tx_formula_begin(call);
  tx_tensor *dx = tx_f_zeros(&f, x), *part = NULL;
  if (f.status == TX_OK) tx_f_hold(&f, tx_select(dx, p->dim, position, &part), &part);
  if (f.status == TX_OK) f.status = tx_copy(part, call->dout[0]);
  tx_f_gradient(&f, 0, dx);
  return tx_formula_end(&f);
}

const tx_op tx_op_select = {
    .name = "select",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(select_params),
    .params = select_parameters,
    .forward = select_forward,
    .backward = select_backward,
    .doc = "select(x, dim, index): the part at one position of a dimension, without that dimension; a view of x.",
};

/* -- slice ----------------------------------------------------------------------------------------------------------- */

typedef struct slice_params {
  int dim;
  int64_t first, last, step;
} slice_params;

static const tx_param slice_parameters[] = {
    TX_PARAM(slice_params, dim, TX_PARAM_DIM, NULL),
    TX_PARAM(slice_params, first, TX_PARAM_INDEX, "0"),
    TX_PARAM(slice_params, last, TX_PARAM_INDEX, "-1"),
    TX_PARAM(slice_params, step, TX_PARAM_INT, "1"),
    {0},
};

/* First position and number of positions on a dimension of `size`. */
static void extent(const slice_params *p, int64_t size, int64_t *first, int64_t *count) {
  int64_t last = p->last < 0 ? p->last + size : p->last;
  *first = p->first < 0 ? p->first + size : p->first;
  *count = last < *first ? 0 : (last - *first) / p->step + 1;
}

static tx_status slice_forward(tx_call *call) {
  const slice_params *p = call->params;
  tx_tensor *x = call->in[0];
  int64_t unused, first, count;
  if (p->step < 1) return tx_fail(TX_EINVAL, "slice: step is %lld, must be at least 1", (long long)p->step);
  extent(p, x->shape[p->dim], &first, &count);
  bool empty = count == 0 && first >= 0 && first <= x->shape[p->dim];
  if (!empty) {
    TX_TRY(resolve(x, p->dim, p->first, "slice", &unused));
    TX_TRY(resolve(x, p->dim, p->last, "slice", &unused));
  }
  return tx_slice(x, p->dim, first, count, p->step, &call->out[0]);
}

static tx_status slice_backward(tx_call *call) {
  const slice_params *p = call->params;
  const tx_meta *x = tx_input_meta(call, 0);
  int64_t first, count;
  extent(p, x->shape[p->dim], &first, &count);
  tx_formula f = tx_formula_begin(call);
  tx_tensor *dx = tx_f_zeros(&f, x), *part = NULL;
  if (f.status == TX_OK) tx_f_hold(&f, tx_slice(dx, p->dim, first, count, p->step, &part), &part);
  if (f.status == TX_OK) f.status = tx_copy(part, call->dout[0]);
  tx_f_gradient(&f, 0, dx);
  return tx_formula_end(&f);
}

const tx_op tx_op_slice = {
    .name = "slice",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(slice_params),
    .params = slice_parameters,
    .forward = slice_forward,
    .backward = slice_backward,
    .doc =
        "slice(x, dim, first, last, step = 1): positions first..last of a dimension, both included, negative ones from "
        "the end; last = first - 1 is empty; a view of x.",
};
