/* batch_norm.c - y = (x - mean) * gamma / sqrt(var + eps) + beta, per channel (the last dimension); on request with a
 * residual added and ReLU applied in the same pass. The passes over the data stand in passes/norm.c. */
#include "autograd/batch_norm.h"

#include <math.h>

#include "autograd/layer.h"
#include "autograd/list.h"
#include "base/interrupt.h"
#include "base/memory.h"

enum { X, GAMMA };                                      /* inputs; the others follow gamma */
enum { BETA = 1, RUNNING_MEAN, RUNNING_VAR, RESIDUAL }; /* places after gamma */
enum { SAVED_X, SAVED_GAMMA, SAVED_BETA, SAVED_STATISTICS, SAVED_Y };

/* -- shared with conv2d_batch_norm ------------------------------------------------------------------------------- */

static tx_status check_residual(const tx_call *call, int input, int dims, const int64_t *shape) {
  const tx_tensor *residual = call->in[input];
  if (residual == NULL) return TX_OK;
  bool same = residual->dims == dims;
  for (int d = 0; same && d < dims; d++) same = residual->shape[d] == shape[d];
  if (same) return tx_want_dtype_of(call, input, X);
  char text[TX_SHAPE_TEXT];
  return tx_fail(TX_EINVAL, "%s: residual is %s, the normalized tensor %s: they must be alike", call->op->name,
                 tx_shape_of(residual), tx_shape_text(dims, shape, text));
}

tx_status tx_batch_norm_check(const tx_call *call, int at, const tx_batch_norm_params *p, int dims,
                              const int64_t *shape, const char *counted) {
  const char *name = call->op->name;
  for (int i = at; i <= at + RUNNING_VAR; i++) TX_TRY(tx_want_vector(call, i, X, shape[dims - 1], counted));
  if ((call->in[at + RUNNING_MEAN] == NULL) != (call->in[at + RUNNING_VAR] == NULL)) {
    return tx_fail(TX_EINVAL, "%s: running_mean and running_var come together: one of them is missing", name);
  }
  TX_TRY(check_residual(call, at + RESIDUAL, dims, shape));
  if (!(p->eps >= 0)) return tx_fail(TX_EINVAL, "%s: eps is %g: 0 or more is needed", name, p->eps);
  if (!(p->momentum >= 0 && p->momentum <= 1)) {
    return tx_fail(TX_EINVAL, "%s: momentum is %g: 0 to 1 is needed", name, p->momentum);
  }
  if (p->training && call->in[at + RUNNING_MEAN] != NULL) { /* they are written to */
    TX_TRY(tx_elements_apart(call->in[at + RUNNING_MEAN]));
    TX_TRY(tx_elements_apart(call->in[at + RUNNING_VAR]));
  }
  if (!p->training && call->in[at + RUNNING_MEAN] == NULL) {
    return tx_fail(TX_EINVAL, "%s: without training=true, running_mean and running_var are needed", name);
  }
  int64_t rows = 1;
  for (int d = 0; d < dims - 1; d++) rows *= shape[d];
  if (p->training && rows == 1) {
    char text[TX_SHAPE_TEXT];
    return tx_fail(TX_EINVAL,
                   "%s: %s has one value per channel: its variance is undefined in training; use a larger batch, or "
                   "evaluation mode",
                   name, tx_shape_text(dims, shape, text));
  }
  return TX_OK;
}

tx_status tx_batch_norm_take(const tx_call *call, int at, tx_batch_norm *t) {
  *t = (tx_batch_norm){0};
  int64_t shape[2] = {2, call->in[at]->shape[0]};
  TX_TRY(tx_contiguous(call->in[at], &t->gamma));
  TX_TRY(tx_contiguous(call->in[at + BETA], &t->beta));
  TX_TRY(tx_empty(TX_F64, 2, shape, &t->statistics));
  return call->in[at + RESIDUAL] != NULL ? tx_contiguous(call->in[at + RESIDUAL], &t->residual) : TX_OK;
}

void tx_batch_norm_release(tx_batch_norm *t) {
  tx_unref(t->x);
  tx_unref(t->gamma);
  tx_unref(t->beta);
  tx_unref(t->statistics);
  tx_unref(t->residual);
}

/* running = (1 - momentum) * running + momentum * value. */
static void follow(tx_tensor *running, double momentum, int64_t j, double value) {
  void *data = tx_data(running);
  int64_t at = j * running->strides[0];
  tx_set_real(running->dtype, data, at, (1 - momentum) * tx_get_real(running->dtype, data, at) + momentum * value);
}

static void move_running(tx_tensor *running_mean, tx_tensor *running_var, double momentum, int64_t rows, int64_t c,
                         const double *mean, const double *variance) {
  double unbiased = (double)rows / (double)(rows - 1);
  for (int64_t j = 0; j < c; j++) {
    follow(running_mean, momentum, j, mean[j]);
    follow(running_var, momentum, j, variance[j] * unbiased);
  }
  tx_touch(running_mean);
  tx_touch(running_var);
}

void tx_batch_norm_settle(const tx_call *call, int at, const tx_batch_norm_params *p, int64_t rows, tx_batch_norm *t) {
  tx_tensor *m = call->in[at + RUNNING_MEAN], *v = call->in[at + RUNNING_VAR];
  int64_t c = t->gamma->shape[0];
  double *mean = tx_f64(t->statistics), *invstd = mean + c;
  if (p->training && rows > 0) {
    if (m != NULL && !tx_interrupted()) move_running(m, v, p->momentum, rows, c, mean, invstd);
  } else {
    for (int64_t j = 0; j < c; j++) {
      mean[j] = m != NULL ? tx_get_real(m->dtype, tx_data(m), j * m->strides[0]) : 0;
      invstd[j] = v != NULL ? tx_get_real(v->dtype, tx_data(v), j * v->strides[0]) : 0;
    }
  }
  for (int64_t j = 0; j < c; j++) invstd[j] = 1 / sqrt(invstd[j] + p->eps);
}

static int64_t rows_of(const tx_tensor *x) {
  int64_t rows = 1;
  for (int d = 0; d < x->dims - 1; d++) rows *= x->shape[d];
  return rows;
}

tx_norm tx_batch_norm_describe(const tx_batch_norm_params *p, const tx_batch_norm *t) {
  int64_t c = t->gamma->shape[0];
  return (tx_norm){.dtype = t->gamma->dtype,
                   .rows = t->x != NULL ? rows_of(t->x) : 0,
                   .c = c,
                   .x = tx_data_or_null(t->x),
                   .gamma = tx_data(t->gamma),
                   .beta = tx_data(t->beta),
                   .mean = tx_f64(t->statistics),
                   .invstd = tx_f64(t->statistics) + c,
                   .residual = tx_data_or_null(t->residual),
                   .relu = p->relu,
                   .residual_last = p->residual_last};
}

bool tx_batch_norm_needs_y(const tx_batch_norm_params *p, const tx_batch_norm *t) {
  return p->relu && t->residual != NULL && !p->residual_last;
}

static tx_status wanted(const tx_call *call, int input, const tx_tensor *like) {
  return call->needs[input] ? tx_empty_like(like, &call->din[input]) : TX_OK;
}

tx_status tx_batch_norm_gradient_buffer(tx_call *call, int at, int x_slot, const tx_tensor *y, tx_tensor **dx) {
  bool keep = y == NULL && call->needs[at + RESIDUAL]; /* dy is the residual's gradient */
  *dx = keep ? NULL : tx_take_dout(call, 0);
  if (*dx == NULL) *dx = tx_take_saved(call, x_slot);
  return *dx == NULL ? tx_empty_like(tx_saved(call, x_slot), dx) : TX_OK;
}

tx_status tx_batch_norm_backward(tx_call *call, int at, const tx_batch_norm_params *p, const tx_batch_norm *t,
                                 const tx_tensor *y, tx_tensor *dx) {
  tx_tensor *dy;
  TX_TRY(wanted(call, at, t->gamma));
  TX_TRY(wanted(call, at + BETA, t->gamma));
  if (y != NULL) TX_TRY(wanted(call, at + RESIDUAL, t->x));
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  tx_norm n = tx_batch_norm_describe(p, t);
  n.residual = tx_data_or_null(y); /* all that backward wants to know is whether ReLU came after one */
  tx_status status = tx_norm_backward(&n, tx_data_or_null(y), p->training, tx_data(dy), tx_data_or_null(dx),
                                      tx_data_or_null(call->din[at + RESIDUAL]), tx_data_or_null(call->din[at]),
                                      tx_data_or_null(call->din[at + BETA]));
  if (y == NULL && call->needs[at + RESIDUAL]) call->din[at + RESIDUAL] = tx_ref(dy);
  tx_unref(dy);
  return status;
}

/* -- the function ------------------------------------------------------------------------------------------------ */

/* Forward keeps x, gamma, beta and the statistics; the normalized values are made again from them in backward. */

static tx_status check(const tx_call *call) {
  const tx_tensor *x = call->in[X];
  TX_TRY(tx_want_float(call, X));
  if (x->dims < 2) {
    return tx_fail(TX_EINVAL, "batch_norm: x is %s: {N,C} or {N,...,C} is needed", tx_shape_of(x));
  }
  return tx_batch_norm_check(call, GAMMA, call->params, x->dims, x->shape, "channels in the last dimension of x");
}

static tx_status normalize(tx_call *call, tx_batch_norm *t) {
  const tx_batch_norm_params *p = call->params;
  int64_t rows = rows_of(t->x), c = t->gamma->shape[0];
  double *mean = tx_f64(t->statistics);
  if (p->training && rows > 0) TX_TRY(tx_norm_moments(t->x->dtype, rows, c, tx_data(t->x), mean, mean + c));
  tx_batch_norm_settle(call, GAMMA, p, rows, t);
  TX_TRY(tx_empty_like(t->x, &call->out[0]));
  tx_norm n = tx_batch_norm_describe(p, t);
  TX_TRY(tx_norm_forward(&n, tx_data(call->out[0])));
  tx_save(call, SAVED_X, t->x);
  tx_save(call, SAVED_GAMMA, t->gamma);
  tx_save(call, SAVED_BETA, t->beta);
  tx_save(call, SAVED_STATISTICS, t->statistics);
  if (tx_batch_norm_needs_y(p, t)) tx_save(call, SAVED_Y, call->out[0]);
  return TX_OK;
}

static tx_status forward(tx_call *call) {
  TX_TRY(check(call));
  tx_batch_norm t;
  tx_status status = tx_batch_norm_take(call, GAMMA, &t);
  if (status == TX_OK) status = tx_contiguous(call->in[X], &t.x);
  if (status == TX_OK) status = normalize(call, &t);
  tx_batch_norm_release(&t);
  return status;
}

static tx_status backward(tx_call *call) {
  tx_batch_norm t = {tx_saved(call, SAVED_X), tx_saved(call, SAVED_GAMMA), tx_saved(call, SAVED_BETA),
                     tx_saved(call, SAVED_STATISTICS), NULL};
  tx_tensor *y = tx_saved(call, SAVED_Y);
  if (call->needs[X]) TX_TRY(tx_batch_norm_gradient_buffer(call, GAMMA, SAVED_X, y, &call->din[X]));
  return tx_batch_norm_backward(call, GAMMA, call->params, &t, y, call->din[X]);
}

/* All that the function has, as a member. */
typedef struct only {
  tx_batch_norm_params norm;
} only;

static const tx_param parameters[] = {TX_BATCH_NORM_PARAMS(only, norm), {NULL}};

const tx_op tx_op_batch_norm = {
    .name = "batch_norm",
    .inputs = "x gamma beta running_mean? running_var? residual?",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(only),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "batch_norm(x, gamma, beta, {running_mean=, running_var=, training=false, momentum=0.1, eps=1e-5, residual=, "
        "relu=false, residual_last=false}): normalizes every channel of x {N,...,C} by the mean and variance of the "
        "batch "
        "(training: the running tensors then follow them, the variance unbiased) or by the running ones, times gamma "
        "{C} plus beta {C}; then, in the same pass, adds the residual (same shape as x) and takes max(y, 0), or with "
        "residual_last the other way round.",
};
