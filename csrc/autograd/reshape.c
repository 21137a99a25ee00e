/* reshape.c - other sizes over the same elements in the same order; dx = dy with the sizes of x.
 *
 *     reshape(x, 2, -1)       any sizes of the same product, one of them -1; a view when strides allow, else a copy
 *     view(x, 2, -1)          the same, but an error where a copy would be needed
 *     flatten(x, first, last) a run of dimensions made one        {4,5,6} -> {4,30} by flatten(2)
 *     squeeze(x, dim)         a size of 1 left out, or all of them
 *     unsqueeze(x, dim)       a size of 1 put in before a dimension, or at the end
 */
#include "autograd/formula.h"
#include "autograd/list.h"

static tx_status reshape_backward(tx_call *call) {
  const tx_meta *x = tx_input_meta(call, 0);
  tx_formula f = tx_formula_begin(call);
  tx_f_gradient(&f, 0, tx_f_reshape(&f, call->dout[0], x->dims, x->shape));
  return tx_formula_end(&f);
}

/* -- reshape, view --------------------------------------------------------------------------------------------------- */

typedef struct sizes_params {
  tx_ints sizes;
} sizes_params;

static const tx_param sizes_parameters[] = {TX_PARAM(sizes_params, sizes, TX_PARAM_INTS, NULL), {0}};

/* Replaces the -1 among the sizes by what the element count leaves for it; checks the count. */
static tx_status complete(const char *operation, const tx_tensor *x, const tx_ints *sizes, int64_t *shape) {
  int64_t known = 1;
  int open = -1;
  char text[TX_SHAPE_TEXT];
  tx_shape_text(sizes->count, sizes->value, text);
  for (int d = 0; d < sizes->count; d++) {
    shape[d] = sizes->value[d];
    if (shape[d] != -1) continue;
    if (open >= 0) return tx_fail(TX_EINVAL, "%s: only one size may be -1, got %s", operation, text);
    open = d;
    shape[d] = 1;
  }
  TX_TRY(tx_shape_numel(operation, sizes->count, shape, &known));
  int64_t numel = tx_numel(x);
  if (open >= 0 && known > 0) shape[open] = numel / known;
  if (open >= 0 ? known > 0 && known * shape[open] == numel : known == numel) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: %s has %lld elements, which do not make %s", operation, tx_shape_of(x),
                 (long long)numel, text);
}

static tx_status reshape_forward(tx_call *call) {
  const sizes_params *p = call->params;
  int64_t shape[TX_MAX_DIMS];
  TX_TRY(complete("reshape", call->in[0], &p->sizes, shape));
  tx_formula f = tx_formula_begin(call);
  tx_f_output(&f, 0, tx_f_reshape(&f, call->in[0], p->sizes.count, shape));
  return tx_formula_end(&f);
}

const tx_op tx_op_reshape = {
    .name = "reshape",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(sizes_params),
    .params = sizes_parameters,
    .forward = reshape_forward,
    .backward = reshape_backward,
    .doc = "reshape(x, sizes...): other sizes, same elements; one size may be -1: what is left; a view when possible.",
};

static tx_status view_forward(tx_call *call) {
  const sizes_params *p = call->params;
  int64_t shape[TX_MAX_DIMS];
  TX_TRY(complete("view", call->in[0], &p->sizes, shape));
  return tx_view(call->in[0], p->sizes.count, shape, &call->out[0]);
}

const tx_op tx_op_view = {
    .name = "view",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(sizes_params),
    .params = sizes_parameters,
    .forward = view_forward,
    .backward = reshape_backward,
    .doc = "view(x, sizes...): reshape that never copies: an error where the strides of x do not allow it.",
};

/* -- flatten --------------------------------------------------------------------------------------------------------- */

typedef struct flatten_params {
  int64_t first, last; /* dimensions, 0-based or negative: a tensor without dimensions has none to name */
} flatten_params;

static const tx_param flatten_parameters[] = {
    TX_PARAM(flatten_params, first, TX_PARAM_INDEX, "0"),
    TX_PARAM(flatten_params, last, TX_PARAM_INDEX, "-1"),
    {0},
};

static tx_status flatten_forward(tx_call *call) {
  const flatten_params *p = call->params;
  tx_tensor *x = call->in[0];
  int64_t shape[TX_MAX_DIMS] = {1};
  int64_t dims = x->dims > 0 ? x->dims : 1; /* one number becomes {1} */
  int64_t first = p->first < 0 ? p->first + dims : p->first, last = p->last < 0 ? p->last + dims : p->last;
  if (first < 0 || last >= dims || first > last) {
    return tx_fail(TX_EINVAL, "flatten: dimensions %lld to %lld are not a run in %s",
                   (long long)(p->first < 0 ? p->first : p->first + 1),
                   (long long)(p->last < 0 ? p->last : p->last + 1), tx_shape_of(x));
  }
  int count = 0;
  for (int d = 0; d < x->dims; d++) {
    if (d > first && d <= last) {
      shape[count - 1] *= x->shape[d];
    } else {
      shape[count++] = x->shape[d];
    }
  }
  tx_formula f = tx_formula_begin(call);
  tx_f_output(&f, 0, tx_f_reshape(&f, x, x->dims > 0 ? count : 1, shape));
  return tx_formula_end(&f);
}

const tx_op tx_op_flatten = {
    .name = "flatten",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION | TX_AS_FUNCTIONAL,
    .params_size = sizeof(flatten_params),
    .params = flatten_parameters,
    .forward = flatten_forward,
    .backward = reshape_backward,
    .doc = "flatten(x, first = 1, last = -1): dimensions first..last made one; a view when possible.",
};

/* -- squeeze, unsqueeze ---------------------------------------------------------------------------------------------- */

typedef struct squeeze_params {
  int dim;
} squeeze_params;

static const tx_param squeeze_parameters[] = {TX_PARAM(squeeze_params, dim, TX_PARAM_DIM, "none"), {0}};

static tx_status squeeze_forward(tx_call *call) {
  const squeeze_params *p = call->params;
  tx_tensor *x = call->in[0];
  int64_t shape[TX_MAX_DIMS];
  int count = 0;
  for (int d = 0; d < x->dims; d++) {
    bool leave_out = x->shape[d] == 1 && (p->dim == TX_NO_DIM || p->dim == d);
    if (!leave_out) shape[count++] = x->shape[d];
  }
  return tx_view(x, count, shape, &call->out[0]);
}

const tx_op tx_op_squeeze = {
    .name = "squeeze",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(squeeze_params),
    .params = squeeze_parameters,
    .forward = squeeze_forward,
    .backward = reshape_backward,
    .doc = "squeeze(x, dim): leaves out a dimension of size 1 (another size stays), or all of them; a view of x.",
};

typedef struct unsqueeze_params {
  int64_t dim; /* 0-based or negative, in the result: up to one past the dimensions of x */
} unsqueeze_params;

static const tx_param unsqueeze_parameters[] = {TX_PARAM(unsqueeze_params, dim, TX_PARAM_INDEX, NULL), {0}};

static tx_status unsqueeze_forward(tx_call *call) {
  const unsqueeze_params *p = call->params;
  tx_tensor *x = call->in[0];
  int64_t shape[TX_MAX_DIMS + 1];
  int64_t at = p->dim < 0 ? p->dim + x->dims + 1 : p->dim;
  if (at < 0 || at > x->dims) {
    return tx_fail(TX_EINVAL, "unsqueeze: dimension %lld: a new one of %s may be 1 to %d, or -1 to %d",
                   (long long)(p->dim < 0 ? p->dim : p->dim + 1), tx_shape_of(x), x->dims + 1, -x->dims - 1);
  }
  for (int d = 0, from = 0; d <= x->dims; d++) shape[d] = d == at ? 1 : x->shape[from++];
  return tx_view(x, x->dims + 1, shape, &call->out[0]);
}

const tx_op tx_op_unsqueeze = {
    .name = "unsqueeze",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(unsqueeze_params),
    .params = unsqueeze_parameters,
    .forward = unsqueeze_forward,
    .backward = reshape_backward,
    .doc = "unsqueeze(x, dim): a dimension of size 1 put in as number dim of the result (-1: the last); a view of x.",
};
