/* batch_norm.c - y = (x - mean) * gamma / sqrt(var + eps) + beta, per channel (the last dimension). The passes over the data
 * stand in tensor/norm.c. */
#include <math.h>

#include "autograd/layer.h"
#include "autograd/list.h"
#include "base/memory.h"
#include "tensor/norm.h"

enum { X, GAMMA, BETA, RUNNING_MEAN, RUNNING_VAR };
enum { SAVED_X, SAVED_GAMMA, SAVED_STATISTICS }; /* statistics: f64 {2,C}, mean and 1 / sqrt(var + eps) */

typedef struct params {
  bool training;
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

static tx_norm describe(const tx_tensor *x, const tx_tensor *gamma, const void *beta, const tx_tensor *statistics) {
  int64_t c = x->shape[x->dims - 1];
  return (tx_norm){.dtype = x->dtype,
                   .rows = rows_of(x),
                   .c = c,
                   .x = tx_data(x),
                   .gamma = tx_data(gamma),
                   .beta = beta,
                   .mean = tx_f64(statistics),
                   .invstd = tx_f64(statistics) + c};
}

static tx_status normalize(tx_call *call, tx_tensor *x, tx_tensor *gamma, tx_tensor *beta, tx_tensor *statistics) {
  TX_TRY(gather(call, x, rows_of(x), statistics));
  TX_TRY(tx_empty_like(x, &call->out[0]));
  tx_norm n = describe(x, gamma, tx_data(beta), statistics);
  TX_TRY(tx_norm_forward(&n, tx_data(call->out[0])));
  tx_save(call, SAVED_X, x);
  tx_save(call, SAVED_GAMMA, gamma);
  tx_save(call, SAVED_STATISTICS, statistics);
  return TX_OK;
}

static tx_status forward(tx_call *call) {
  TX_TRY(check(call));
  tx_tensor *x = NULL, *gamma = NULL, *beta = NULL, *statistics = NULL;
  int64_t shape[2] = {2, call->in[GAMMA]->shape[0]};
  tx_status status = tx_contiguous(call->in[X], &x);
  if (status == TX_OK) status = tx_contiguous(call->in[GAMMA], &gamma);
  if (status == TX_OK) status = tx_contiguous(call->in[BETA], &beta);
  if (status == TX_OK) status = tx_empty(TX_F64, 2, shape, &statistics);
  if (status == TX_OK) status = normalize(call, x, gamma, beta, statistics);
  tx_unref(x);
  tx_unref(gamma);
  tx_unref(beta);
  tx_unref(statistics);
  return status;
}

static tx_status wanted(const tx_call *call, int input, const tx_tensor *like) {
  return call->needs[input] ? tx_empty_like(like, &call->din[input]) : TX_OK;
}

static void *data_of(const tx_tensor *t) { return t != NULL ? tx_data(t) : NULL; }

static tx_status backward(tx_call *call) {
  tx_tensor *x = tx_saved(call, SAVED_X), *gamma = tx_saved(call, SAVED_GAMMA), *dy;
  const params *p = call->params;
  TX_TRY(wanted(call, X, x));
  TX_TRY(wanted(call, GAMMA, gamma));
  TX_TRY(wanted(call, BETA, gamma));
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  tx_norm n = describe(x, gamma, NULL, tx_saved(call, SAVED_STATISTICS));
  tx_status status = tx_norm_backward(&n, NULL, p->training, tx_data(dy), data_of(call->din[X]), NULL,
                                      data_of(call->din[GAMMA]), data_of(call->din[BETA]));
  tx_unref(dy);
  return status;
}

static const tx_param parameters[] = {TX_PARAM(params, training, TX_PARAM_BOOL, "false"),
                                      TX_PARAM(params, momentum, TX_PARAM_NUMBER, "0.1"),
                                      TX_PARAM(params, eps, TX_PARAM_NUMBER, "1e-5"),
                                      {NULL}};

const tx_op tx_op_batch_norm = {
    .name = "batch_norm",
    .inputs = "x gamma beta running_mean? running_var?",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc = "batch_norm(x, gamma, beta, {running_mean=, running_var=, training=false, momentum=0.1, eps=1e-5}): normalizes "
           "every channel of x {N,...,C} by the mean and variance of the batch (training: the running tensors then follow "
           "them, the variance unbiased) or by the running ones, times gamma {C} plus beta {C}.",
};
