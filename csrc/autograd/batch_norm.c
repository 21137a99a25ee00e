/* batch_norm.c - y = (x - mean) * gamma / sqrt(var + eps) + beta, per channel (the last dimension); on request with a
 * residual added and ReLU applied in the same pass. The passes over the data stand in tensor/norm.c. */
#include <math.h>

#include "autograd/layer.h"
#include "autograd/list.h"
#include "base/memory.h"
#include "tensor/norm.h"

enum { X, GAMMA, BETA, RUNNING_MEAN, RUNNING_VAR, RESIDUAL };
enum {
  SAVED_X,
  SAVED_GAMMA,
  SAVED_BETA,
  SAVED_STATISTICS,
  SAVED_Y
}; /* statistics: f64 {2,C}, mean and 1 / sqrt(var + eps) */

typedef struct params {
  bool training, relu;
  double momentum, eps;
} params;

static tx_status check(const tx_call *call) {
  const tx_tensor *x = call->in[X];
  TX_TRY(tx_want_float(call, X));
  if (x->dims < 2) {
    return tx_fail(TX_EINVAL, "batch_norm: x is %s: {N,C} or {N,...,C} is needed", tx_shape_of(x));
  }
  for (int i = GAMMA; i <= RUNNING_VAR; i++) {
    TX_TRY(tx_want_vector(call, i, X, x->shape[x->dims - 1], "channels in the last dimension of x"));
  }
  if ((call->in[RUNNING_MEAN] == NULL) != (call->in[RUNNING_VAR] == NULL)) {
    return tx_fail(TX_EINVAL, "batch_norm: running_mean and running_var come together: one of them is missing");
  }
  const tx_tensor *residual = call->in[RESIDUAL];
  if (residual != NULL && (!tx_same_shape(x, residual) || x->dtype != residual->dtype)) {
    return tx_fail(TX_EINVAL, "batch_norm: residual is %s %s, x is %s %s: they must be alike",
                   tx_dtype_name(residual->dtype), tx_shape_of(residual), tx_dtype_name(x->dtype), tx_shape_of(x));
  }
  const params *p = call->params;
  if (!p->training && call->in[RUNNING_MEAN] == NULL) {
    return tx_fail(TX_EINVAL, "batch_norm: without training=true, running_mean and running_var are needed");
  }
  return TX_OK;
}

static int64_t rows_of(const tx_tensor *x) {
  int64_t rows = 1;
  for (int d = 0; d < x->dims - 1; d++) rows *= x->shape[d];
  return rows;
}

/* running = (1 - momentum) * running + momentum * value. */
static void follow(tx_tensor *running, double momentum, int64_t j, double value) {
  void *data = tx_data(running);
  int64_t at = j * running->strides[0];
  tx_set_real(running->dtype, data, at, (1 - momentum) * tx_get_real(running->dtype, data, at) + momentum * value);
}

static tx_status batch_statistics(tx_call *call, const tx_tensor *x, int64_t rows, double *mean, double *variance) {
  const params *p = call->params;
  int64_t c = x->shape[x->dims - 1];
  if (rows == 1) {
    return tx_fail(TX_EINVAL,
                   "batch_norm: x %s has one value per channel: its variance is undefined in training; use a larger "
                   "batch, or evaluation mode",
                   tx_shape_of(x));
  }
  TX_TRY(tx_norm_moments(x->dtype, rows, c, tx_data(x), mean, variance));
  tx_tensor *running_mean = call->in[RUNNING_MEAN], *running_var = call->in[RUNNING_VAR];
  if (running_mean == NULL) return TX_OK;
  double unbiased = (double)rows / (double)(rows - 1);
  for (int64_t j = 0; j < c; j++) {
    follow(running_mean, p->momentum, j, mean[j]);
    follow(running_var, p->momentum, j, variance[j] * unbiased);
  }
  tx_touch(running_mean);
  tx_touch(running_var);
  return TX_OK;
}

/* Fills statistics {2,C} from the batch or from the running tensors. */
static tx_status gather(tx_call *call, const tx_tensor *x, int64_t rows, tx_tensor *statistics) {
  const params *p = call->params;
  int64_t c = x->shape[x->dims - 1];
  double *mean = tx_f64(statistics), *invstd = mean + c;
  if (p->training && rows > 0) {
    TX_TRY(batch_statistics(call, x, rows, mean, invstd));
  } else {
    const tx_tensor *m = call->in[RUNNING_MEAN], *v = call->in[RUNNING_VAR];
    for (int64_t j = 0; j < c; j++) {
      mean[j] = m != NULL ? tx_get_real(m->dtype, tx_data(m), j * m->strides[0]) : 0;
      invstd[j] = v != NULL ? tx_get_real(v->dtype, tx_data(v), j * v->strides[0]) : 0;
    }
  }
  for (int64_t j = 0; j < c; j++) invstd[j] = 1 / sqrt(invstd[j] + p->eps);
  return TX_OK;
}

/* The contiguous tensors of one call. */
typedef struct tensors {
  tx_tensor *x, *gamma, *beta, *statistics, *residual; /* residual may be NULL */
} tensors;

static void *data_of(const tx_tensor *t) { return t != NULL ? tx_data(t) : NULL; }

static tx_norm describe(const params *p, const tensors *t) {
  const tx_tensor *x = t->x;
  int64_t c = x->shape[x->dims - 1];
  return (tx_norm){.dtype = x->dtype,
                   .rows = rows_of(x),
                   .c = c,
                   .x = tx_data(x),
                   .gamma = tx_data(t->gamma),
                   .beta = tx_data(t->beta),
                   .mean = tx_f64(t->statistics),
                   .invstd = tx_f64(t->statistics) + c,
                   .residual = data_of(t->residual),
                   .relu = p->relu};
}

static tx_status normalize(tx_call *call, const tensors *t) {
  const params *p = call->params;
  TX_TRY(gather(call, t->x, rows_of(t->x), t->statistics));
  TX_TRY(tx_empty_like(t->x, &call->out[0]));
  tx_norm n = describe(p, t);
  TX_TRY(tx_norm_forward(&n, tx_data(call->out[0])));
  tx_save(call, SAVED_X, t->x);
  tx_save(call, SAVED_GAMMA, t->gamma);
  tx_save(call, SAVED_BETA, t->beta);
  tx_save(call, SAVED_STATISTICS, t->statistics);
  if (p->relu && t->residual != NULL) tx_save(call, SAVED_Y, call->out[0]); /* else its sign follows from x */
  return TX_OK;
}

static tx_status forward(tx_call *call) {
  TX_TRY(check(call));
  tensors t = {0};
  int64_t shape[2] = {2, call->in[GAMMA]->shape[0]};
  tx_status status = tx_contiguous(call->in[X], &t.x);
  if (status == TX_OK) status = tx_contiguous(call->in[GAMMA], &t.gamma);
  if (status == TX_OK) status = tx_contiguous(call->in[BETA], &t.beta);
  if (status == TX_OK) status = tx_empty(TX_F64, 2, shape, &t.statistics);
  if (status == TX_OK && call->in[RESIDUAL] != NULL) status = tx_contiguous(call->in[RESIDUAL], &t.residual);
  if (status == TX_OK) status = normalize(call, &t);
  tx_unref(t.x);
  tx_unref(t.gamma);
  tx_unref(t.beta);
  tx_unref(t.statistics);
  tx_unref(t.residual);
  return status;
}

static tx_status wanted(const tx_call *call, int input, const tx_tensor *like) {
  return call->needs[input] ? tx_empty_like(like, &call->din[input]) : TX_OK;
}

static tx_status backward(tx_call *call) {
  const params *p = call->params;
  tensors t = {tx_saved(call, SAVED_X), tx_saved(call, SAVED_GAMMA), tx_saved(call, SAVED_BETA),
               tx_saved(call, SAVED_STATISTICS), NULL};
  tx_tensor *y = tx_saved(call, SAVED_Y), *dy;
  TX_TRY(wanted(call, X, t.x));
  TX_TRY(wanted(call, GAMMA, t.gamma));
  TX_TRY(wanted(call, BETA, t.gamma));
  TX_TRY(wanted(call, RESIDUAL, t.x));
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  tx_norm n = describe(p, &t);
  n.residual = data_of(y); /* all that backward wants to know is whether there was one */
  tx_status status =
      tx_norm_backward(&n, data_of(y), p->training, tx_data(dy), data_of(call->din[X]), data_of(call->din[RESIDUAL]),
                       data_of(call->din[GAMMA]), data_of(call->din[BETA]));
  tx_unref(dy);
  return status;
}

static const tx_param parameters[] = {TX_PARAM(params, training, TX_PARAM_BOOL, "false"),
                                      TX_PARAM(params, momentum, TX_PARAM_NUMBER, "0.1"),
                                      TX_PARAM(params, eps, TX_PARAM_NUMBER, "1e-5"),
                                      TX_PARAM(params, relu, TX_PARAM_BOOL, "false"),
                                      {NULL}};

const tx_op tx_op_batch_norm = {
    .name = "batch_norm",
    .inputs = "x gamma beta running_mean? running_var? residual?",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "batch_norm(x, gamma, beta, {running_mean=, running_var=, training=false, momentum=0.1, eps=1e-5, "
        "residual=, relu=false}): normalizes "
        "every channel of x {N,...,C} by the mean and variance of the batch (training: the running tensors then follow "
        "them, the variance unbiased) or by the running ones, times gamma {C} plus beta {C}; then adds the residual "
        "(same "
        "shape as x) and takes max(y, 0), in the same pass.",
};
