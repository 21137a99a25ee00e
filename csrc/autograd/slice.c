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

/* `index` as the user gave it. */
static tx_status outside(const char *operation, const tx_tensor *t, int dim, int64_t index) {
  return tx_fail(TX_EINVAL, "%s: index %lld is outside of dimension %d, which has size %lld (tensor %s)", operation,
                 (long long)index, dim + 1, (long long)t->shape[dim], tx_shape_of(t));
}

static tx_status select_forward(tx_call *call) {
  const select_params *p = call->params;
  tx_tensor *x = call->in[0];
  int64_t size = x->shape[p->dim], position = p->index < 0 ? p->index + size : p->index;
  if (position < 0 || position >= size) return outside("select", x, p->dim, p->index < 0 ? p->index : p->index + 1);
  return tx_select(x, p->dim, position, &call->out[0]);
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
  int64_t first; /* 0-based, or negative */
  int64_t last;  /* 1-based, or negative; 0: before the first */
  int64_t step;
} slice_params;

static const tx_param slice_parameters[] = {
    TX_PARAM(slice_params, dim, TX_PARAM_DIM, NULL),
    TX_PARAM(slice_params, first, TX_PARAM_INDEX, "0"),
    TX_PARAM(slice_params, last, TX_PARAM_INT, "-1"),
    TX_PARAM(slice_params, step, TX_PARAM_INT, "1"),
    {0},
};

/* Both ends as 0-based positions on a dimension of `size`. */
static void ends(const slice_params *p, int64_t size, int64_t *first, int64_t *last) {
  *first = p->first < 0 ? p->first + size : p->first;
  *last = p->last < 0 ? p->last + size : p->last - 1;
}

static int64_t count_steps(int64_t first, int64_t last, int64_t step) {
  return last < first ? 0 : (last - first) / step + 1;
}

static tx_status slice_forward(tx_call *call) {
  const slice_params *p = call->params;
  tx_tensor *x = call->in[0];
  int64_t size = x->shape[p->dim], first, last;
  ends(p, size, &first, &last);
  if (first < 0 || first > size) return outside("slice", x, p->dim, p->first < 0 ? p->first : p->first + 1);
  if (last < -1 || last >= size) return outside("slice", x, p->dim, p->last);
  if (p->step < 1) return tx_fail(TX_EINVAL, "slice: step is %lld, must be at least 1", (long long)p->step);
  return tx_slice(x, p->dim, first, count_steps(first, last, p->step), p->step, &call->out[0]);
}

static tx_status slice_backward(tx_call *call) {
  const slice_params *p = call->params;
  const tx_meta *x = tx_input_meta(call, 0);
  int64_t first, last;
  ends(p, x->shape[p->dim], &first, &last);
  tx_formula f = tx_formula_begin(call);
  tx_tensor *dx = tx_f_zeros(&f, x), *part = NULL;
  if (f.status == TX_OK)
    tx_f_hold(&f, tx_slice(dx, p->dim, first, count_steps(first, last, p->step), p->step, &part), &part);
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
