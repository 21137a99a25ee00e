/* conv2d_batch_norm.c - y = relu(batch_norm(conv2d(x, w)) + residual) with fewer passes over memory.
 *
 *     z = conv2d(x, w)                                          {N,P,Q,K}
 *     y = (z - mean) * gamma / sqrt(var + eps) + beta [+ residual], then max(y, 0) on request; or the residual last
 *
 * In training the convolution gathers mean and variance of z while it writes z, and one more pass makes y. In evaluation,
 * when nothing is recorded, the normalization is a factor and a shift per filter that the convolution applies itself:
 * z is never stored.
 */
#include "autograd/batch_norm.h"
#include "autograd/conv2d.h"
#include "autograd/list.h"

enum { X, W, GAMMA };
enum { SAVED_X, SAVED_W, SAVED_Z, SAVED_GAMMA, SAVED_BETA, SAVED_STATISTICS, SAVED_Y };

typedef struct params {
  tx_conv2d_params conv;
  tx_batch_norm_params norm;
} params;

/* y in one pass: y = z * scale + shift. */
static tx_status fold(tx_call *call, const tx_conv_shape *shape, const tx_batch_norm *t) {
  const params *p = call->params;
  tx_tensor *factors; /* {2,K}: scale, shift */
  TX_TRY(tx_empty(shape->dtype, 2, (int64_t[]){2, shape->k}, &factors));
  char *scale = tx_data(factors), *shift = scale + (size_t)shape->k * tx_dtype_size(shape->dtype);
  tx_norm n = tx_batch_norm_describe(&p->norm, t);
  tx_norm_affine(&n, scale, shift);
  tx_conv_epilogue epilogue = {.scale = scale,
                               .shift = shift,
                               .residual = n.residual,
                               .relu = p->norm.relu,
                               .residual_last = p->norm.residual_last};
  tx_status status = tx_conv2d_forward(shape, call->in[X], call->in[W], NULL, &epilogue, &call->out[0]);
  tx_unref(factors);
  return status;
}

/* z into t->x, and the statistics. */
static tx_status convolve(tx_call *call, const tx_conv_shape *shape, tx_batch_norm *t) {
  const params *p = call->params;
  int64_t rows = shape->n * shape->p * shape->q;
  double *mean = tx_f64(t->statistics), *variance = mean + shape->k;
  bool measure = p->norm.training && rows > 0;
  tx_conv_epilogue epilogue = {.mean = mean, .variance = variance};
  TX_TRY(tx_conv2d_forward(shape, call->in[X], call->in[W], NULL, measure ? &epilogue : NULL, &t->x));
  tx_batch_norm_settle(call, GAMMA, &p->norm, rows, t);
  return TX_OK;
}

static tx_status normalize(tx_call *call, const tx_batch_norm *t) {
  const params *p = call->params;
  if (!call->recording) {
    call->out[0] = tx_ref(t->x); /* nobody will ask for z */
  } else {
    TX_TRY(tx_empty_like(t->x, &call->out[0]));
  }
  tx_norm n = tx_batch_norm_describe(&p->norm, t);
  TX_TRY(tx_norm_forward(&n, tx_data(call->out[0])));
  if (call->needs[W]) tx_save(call, SAVED_X, call->in[X]);
  tx_save(call, SAVED_W, call->in[W]);
  tx_save(call, SAVED_Z, t->x);
  tx_save(call, SAVED_GAMMA, t->gamma);
  tx_save(call, SAVED_BETA, t->beta);
  tx_save(call, SAVED_STATISTICS, t->statistics);
  if (tx_batch_norm_needs_y(&p->norm, t)) tx_save(call, SAVED_Y, call->out[0]);
  return TX_OK;
}

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  tx_conv_shape shape;
  TX_TRY(tx_conv2d_shape("conv2d", call->in[X], call->in[W], NULL, &p->conv, &shape));
  TX_TRY(tx_batch_norm_check(call, GAMMA, &p->norm, 4, (int64_t[]){shape.n, shape.p, shape.q, shape.k}, "filters"));
  tx_batch_norm t;
  tx_status status = tx_batch_norm_take(call, GAMMA, &t);
  if (status == TX_OK && !p->norm.training && !call->recording) {
    tx_batch_norm_settle(call, GAMMA, &p->norm, 0, &t);
    status = fold(call, &shape, &t);
  } else if (status == TX_OK) {
    status = convolve(call, &shape, &t);
    if (status == TX_OK) status = normalize(call, &t);
  }
  tx_batch_norm_release(&t);
  return status;
}

static tx_status backward(tx_call *call) {
  const params *p = call->params;
  bool through = call->needs[X] || call->needs[W];
  tx_tensor *w = tx_saved(call, SAVED_W), *dz = NULL;
  tx_conv_shape shape;
  TX_TRY(tx_conv2d_call_shape(call, w, &p->conv, &shape));
  tx_tensor *y = tx_saved(call, SAVED_Y);
  if (through) TX_TRY(tx_batch_norm_gradient_buffer(call, GAMMA, SAVED_Z, y, &dz));
  tx_batch_norm t = {tx_saved(call, SAVED_Z), tx_saved(call, SAVED_GAMMA), tx_saved(call, SAVED_BETA),
                     tx_saved(call, SAVED_STATISTICS), NULL};
  tx_status status = tx_batch_norm_backward(call, GAMMA, &p->norm, &t, y, dz);
  if (status == TX_OK && through) {
    status = tx_conv2d_backward(call, &shape, tx_saved(call, SAVED_X), w, dz, 0);
  }
  tx_unref(dz);
  return status;
}

static const tx_param parameters[] = {TX_CONV2D_PARAMS(params, conv), TX_BATCH_NORM_PARAMS(params, norm), {NULL}};

const tx_op tx_op_conv2d_batch_norm = {
    .name = "conv2d_batch_norm",
    .inputs = "x w gamma beta running_mean? running_var? residual?",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "conv2d_batch_norm(x, w, gamma, beta, {options of conv2d and batch_norm}): batch_norm(conv2d(x, w), gamma, "
        "beta) with the residual and ReLU of batch_norm, in fewer passes over memory.",
};
