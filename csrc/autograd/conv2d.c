/* conv2d.c - 2-D convolution (cross-correlation): y[n,p,q,k] = sum of x[n, p*stride-top+r*dilation, ..., c] * w[r,s,c,k]
 * (+ bias[k]). The gradients are those of passes/conv.h; dbias is dy summed over n, p, q. */
#include "autograd/conv2d.h"

#include <inttypes.h>
#include <string.h>

#include "autograd/activation.h"
#include "autograd/layer.h"
#include "autograd/list.h"
#include "base/integers.h"
#include "base/memory.h"

/* -- checks -------------------------------------------------------------------------------------------------------------- */

#define LARGEST ((int64_t)1 << 31) /* of any size or parameter, so that sums of products of two fit */

static tx_status check_range(const char *operation, const char *name, int64_t value, int64_t least) {
  if (value >= least && value <= LARGEST) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: %s %" PRId64 " is not within %" PRId64 "..%" PRId64, operation, name, value, least,
                 LARGEST);
}

static tx_status check_params(const char *operation, const tx_conv2d_params *p) {
  TX_TRY(check_range(operation, "groups", p->groups, 1));
  for (int i = 0; i < 2; i++) {
    TX_TRY(check_range(operation, "stride", p->stride[i], 1));
    TX_TRY(check_range(operation, "dilation", p->dilation[i], 1));
  }
  if (p->padding.mode != TX_PAD_EXPLICIT) return TX_OK;
  TX_TRY(check_range(operation, "padding", p->padding.top, 0));
  TX_TRY(check_range(operation, "padding", p->padding.bottom, 0));
  TX_TRY(check_range(operation, "padding", p->padding.left, 0));
  return check_range(operation, "padding", p->padding.right, 0);
}

static tx_status check_inputs(const char *operation, const tx_tensor *x, const tx_tensor *w, const tx_tensor *bias,
                              int64_t groups) {
  if (x->dims != 4) {
    return tx_fail(TX_EINVAL, "%s: input must be {N,H,W,C}, got %s", operation, tx_shape_of(x));
  }
  if (w->dims != 4) {
    return tx_fail(TX_EINVAL, "%s: weight must be {R,S,C,K}, got %s", operation, tx_shape_of(w));
  }
  if (!tx_dtype_is_float(x->dtype) || x->dtype != w->dtype || (bias != NULL && bias->dtype != x->dtype)) {
    return tx_fail(TX_EINVAL, "%s: input is %s, weight is %s%s%s: all must be f32, or all f64", operation,
                   tx_dtype_name(x->dtype), tx_dtype_name(w->dtype), bias == NULL ? "" : ", bias is ",
                   bias == NULL ? "" : tx_dtype_name(bias->dtype));
  }
  for (int i = 0; i < 4; i++) {
    if (x->shape[i] > LARGEST || w->shape[i] > LARGEST) {
      return tx_fail(TX_EINVAL, "%s: a size is above %" PRId64 " (input %s, weight %s)", operation, LARGEST,
                     tx_shape_of(x), tx_shape_of(w));
    }
  }
  const int64_t c = x->shape[3], k = w->shape[3];
  if (groups == 1 && w->shape[2] != c) {
    return tx_fail(TX_EINVAL, "%s: input has %" PRId64 " channels, weight wants %" PRId64 " (input %s, weight %s)",
                   operation, c, w->shape[2], tx_shape_of(x), tx_shape_of(w));
  }
  if (c % groups != 0 || k % groups != 0) {
    return tx_fail(TX_EINVAL,
                   "%s: %" PRId64 " groups must divide the %" PRId64 " input and %" PRId64
                   " output channels (input %s, weight %s)",
                   operation, groups, c, k, tx_shape_of(x), tx_shape_of(w));
  }
  if (w->shape[2] != c / groups) {
    return tx_fail(TX_EINVAL,
                   "%s: input has %" PRId64 " channels in %" PRId64 " groups, weight wants %" PRId64
                   " in each (input %s, weight %s)",
                   operation, c, groups, w->shape[2], tx_shape_of(x), tx_shape_of(w));
  }
  if (bias != NULL && (bias->dims != 1 || bias->shape[0] != k)) {
    return tx_fail(TX_EINVAL, "%s: bias must be {%" PRId64 "}, got %s (weight %s)", operation, k, tx_shape_of(bias),
                   tx_shape_of(w));
  }
  return TX_OK;
}

/* Output size and leading padding along one axis. "same" is TensorFlow's rule: ceil(size / stride) outputs, and of an
 * odd total the larger part after. */
static int64_t output_size(int mode, int64_t size, int64_t kernel, int64_t stride, int64_t dilation, int64_t before,
                           int64_t after, int64_t *leading) {
  const int64_t reach = dilation * (kernel - 1) + 1;
  if (mode == TX_PAD_SAME) {
    const int64_t out = tx_ceil_div(size, stride);
    const int64_t total = (out - 1) * stride + reach - size;
    *leading = total > 0 ? total / 2 : 0;
    return out;
  }
  *leading = mode == TX_PAD_EXPLICIT ? before : 0;
  const int64_t span = size + (mode == TX_PAD_EXPLICIT ? before + after : 0) - reach;
  return span < 0 ? 0 : span / stride + 1;
}

tx_status tx_conv2d_shape(const char *operation, const tx_tensor *x, const tx_tensor *w, const tx_tensor *bias,
                          const tx_conv2d_params *params, tx_conv_shape *shape) {
  TX_TRY(check_params(operation, params));
  TX_TRY(check_inputs(operation, x, w, bias, params->groups));
  const tx_padding *pad = &params->padding;
  tx_conv_shape v = {.dtype = x->dtype,
                     .n = x->shape[0],
                     .h = x->shape[1],
                     .w = x->shape[2],
                     .c = x->shape[3],
                     .r = w->shape[0],
                     .s = w->shape[1],
                     .k = w->shape[3],
                     .stride = {params->stride[0], params->stride[1]},
                     .dilation = {params->dilation[0], params->dilation[1]},
                     .groups = params->groups};
  v.p = output_size(pad->mode, v.h, v.r, v.stride[0], v.dilation[0], pad->top, pad->bottom, &v.top);
  v.q = output_size(pad->mode, v.w, v.s, v.stride[1], v.dilation[1], pad->left, pad->right, &v.left);
  if (v.p == 0 || v.q == 0) {
    return tx_fail(TX_EINVAL, "%s: the kernel does not fit into the padded input (input %s, weight %s)", operation,
                   tx_shape_of(x), tx_shape_of(w));
  }
  *shape = v;
  return TX_OK;
}

/* -- on tensors ------------------------------------------------------------------------------------------------------------ */

/* Contiguous versions of some tensors; all or nothing. NULL is passed through. */
static tx_status make_contiguous(int count, tx_tensor *const *from, tx_tensor **to) {
  for (int i = 0; i < count; i++) {
    to[i] = NULL;
    const tx_status status = from[i] == NULL ? TX_OK : tx_contiguous(from[i], &to[i]);
    if (status == TX_OK) continue;
    while (i-- > 0) tx_unref(to[i]);
    return status;
  }
  return TX_OK;
}

/* Packed weights as they are kept with the storage of w (storage->derived), and what they were made from: they are used
 * again while all of that is the same. */
typedef struct packed_weights {
  uint64_t version;
  int64_t offset, shape[4], groups;
  tx_conv_weights packed;
} packed_weights;

static void release_packed(void *kept) {
  tx_conv_release_weights(&((packed_weights *)kept)->packed);
  tx_dealloc(kept);
}

static bool is_current(const packed_weights *k, const tx_tensor *w, int64_t groups) {
  return k->version == w->storage->version && k->offset == w->offset && k->groups == groups &&
         memcmp(k->shape, w->shape, sizeof k->shape) == 0;
}

/* Where the pass finds and keeps the packed weights of w, which is contiguous; outdated ones are freed. NULL: nothing
 * is kept, as w is about to change (it is being trained) or is f64, which is not packed. */
static tx_conv_weights *packed_of(tx_tensor *w, int64_t groups) {
  if (w->dtype != TX_F32) return NULL;
  tx_storage *s = w->storage;
  packed_weights *k = s->derived;
  if (k != NULL && !is_current(k, w, groups)) {
    release_packed(k);
    k = s->derived = NULL;
  }
  if (k == NULL && !(tx_grad_enabled() && tx_requires_grad(w))) {
    k = tx_alloc_zero(sizeof *k);
    if (k == NULL) return NULL; /* it can be done without */
    k->version = s->version;
    k->offset = w->offset;
    k->groups = groups;
    memcpy(k->shape, w->shape, sizeof k->shape);
    s->derived = k;
    s->release_derived = release_packed;
  }
  return k == NULL ? NULL : &k->packed;
}

tx_status tx_conv2d_forward(const tx_conv_shape *v, tx_tensor *x, tx_tensor *w, tx_tensor *bias,
                            const tx_conv_epilogue *epilogue, tx_tensor **y) {
  tx_tensor *whole[3];
  TX_TRY(make_contiguous(3, (tx_tensor *[]){x, w, bias}, whole));
  tx_status status = tx_empty(v->dtype, 4, (int64_t[]){v->n, v->p, v->q, v->k}, y);
  if (status == TX_OK) {
    tx_conv_epilogue e = epilogue != NULL ? *epilogue : (tx_conv_epilogue){0};
    if (bias != NULL) e.shift = tx_data(whole[2]);
    tx_conv_weights *kept = packed_of(whole[1], v->groups);
    status = tx_keep(tx_conv_forward(v, tx_data(whole[0]), tx_data(whole[1]), kept, &e, tx_data(*y)), y);
  }
  for (int i = 0; i < 3; i++) tx_unref(whole[i]);
  return status;
}

static tx_status input_gradient(const tx_conv_shape *v, const tx_tensor *dy, const tx_tensor *w, tx_tensor *accumulated,
                                tx_tensor **dx) {
  TX_TRY(tx_empty(v->dtype, 4, (int64_t[]){v->n, v->h, v->w, v->c}, dx));
  return tx_conv_input_gradient(v, tx_data(dy), tx_data(w), tx_data_or_null(accumulated), tx_data(*dx));
}

static tx_status weight_gradient(const tx_conv_shape *v, const tx_tensor *x, const tx_tensor *dy, tx_tensor **dw) {
  TX_TRY(tx_empty(v->dtype, 4, (int64_t[]){v->r, v->s, v->c / v->groups, v->k}, dw));
  return tx_conv_weight_gradient(v, tx_data(x), tx_data(dy), tx_data(*dw));
}

/* -- the function ------------------------------------------------------------------------------------------------------------ */

enum { X, W, BIAS, RESIDUAL };
enum { SAVED_X, SAVED_W, SAVED_Y };

typedef struct arguments {
  tx_conv2d_params conv; /* first: csrc/lua/kernels.c reads them as such */
  bool relu, residual_last;
} arguments;

static tx_status check_residual(const tx_call *call, const tx_conv_shape *v) {
  const tx_tensor *residual = call->in[RESIDUAL];
  if (residual == NULL) return TX_OK;
  const int64_t *size = residual->shape;
  if (residual->dims == 4 && size[0] == v->n && size[1] == v->p && size[2] == v->q && size[3] == v->k) {
    return tx_want_dtype_of(call, RESIDUAL, X);
  }
  char text[TX_SHAPE_TEXT];
  return tx_fail(TX_EINVAL, "conv2d: residual is %s, the output %s: they must be alike", tx_shape_of(residual),
                 tx_shape_text(4, (int64_t[]){v->n, v->p, v->q, v->k}, text));
}

static tx_status convolve(tx_call *call, const tx_conv_shape *shape, const tx_tensor *residual) {
  const arguments *p = call->params;
  const tx_conv_epilogue epilogue = {
      .relu = p->relu, .residual_last = p->residual_last, .residual = tx_data_or_null(residual)};
  return tx_conv2d_forward(shape, call->in[X], call->in[W], call->in[BIAS], &epilogue, &call->out[0]);
}

static tx_status add_residual(tx_call *call, const tx_tensor *residual) {
  tx_tensor *sum;
  TX_TRY(tx_binary("conv2d", TX_ADD, call->out[0], residual, &sum));
  tx_unref(call->out[0]);
  call->out[0] = sum;
  return TX_OK;
}

static tx_status forward(tx_call *call) {
  const arguments *p = call->params;
  tx_conv_shape shape;
  tx_tensor *residual = NULL;
  TX_TRY(tx_conv2d_shape(call->op->name, call->in[X], call->in[W], call->in[BIAS], &p->conv, &shape));
  TX_TRY(check_residual(call, &shape));
  if (call->in[RESIDUAL] != NULL) TX_TRY(tx_contiguous(call->in[RESIDUAL], &residual));
  /* backward needs the result of ReLU alone, to see where it is above 0: the residual is added after that, separately */
  bool separately = p->relu && p->residual_last && residual != NULL && call->recording;
  tx_status status = convolve(call, &shape, separately ? NULL : residual);
  if (status == TX_OK && call->needs[W]) tx_save(call, SAVED_X, call->in[X]);
  if (status == TX_OK) tx_save(call, SAVED_W, call->in[W]);
  if (status == TX_OK && p->relu) tx_save(call, SAVED_Y, call->out[0]);
  if (status == TX_OK && separately) status = add_residual(call, residual);
  tx_unref(residual);
  return status;
}

tx_status tx_conv2d_call_shape(tx_call *call, const tx_tensor *w, const tx_conv2d_params *params,
                               tx_conv_shape *shape) {
  const tx_meta *x = tx_input_meta(call, 0);
  tx_tensor stand_in = {.dtype = x->dtype, .dims = x->dims};
  for (int i = 0; i < x->dims; i++) stand_in.shape[i] = x->shape[i];
  return tx_conv2d_shape(call->op->name, &stand_in, w, NULL, params, shape);
}

/* The gradient of x accumulated so far, where the pass can add it; NULL where it can't: then the tape adds the two. */
static tx_tensor *take_accumulated(tx_call *call, const tx_conv_shape *v) {
  return call->needs[X] && tx_conv_adds(v) ? tx_take_accumulated(call, X) : NULL;
}

tx_status tx_conv2d_backward(tx_call *call, const tx_conv_shape *v, tx_tensor *x, tx_tensor *w, tx_tensor *dy,
                             int bias) {
  const bool *needs = call->needs;
  tx_tensor *sum = take_accumulated(call, v), *whole[4];
  tx_status status = make_contiguous(4, (tx_tensor *[]){needs[W] ? x : NULL, needs[X] ? w : NULL, dy, sum}, whole);
  tx_unref(sum);
  if (status != TX_OK) return status;
  if (needs[X]) status = input_gradient(v, whole[2], whole[1], whole[3], &call->din[X]);
  if (needs[W] && status == TX_OK) status = weight_gradient(v, whole[0], whole[2], &call->din[W]);
  if (bias > 0 && needs[bias] && status == TX_OK) status = tx_sum_to(whole[2], 1, &v->k, &call->din[bias]);
  for (int i = 0; i < 4; i++) tx_unref(whole[i]);
  return status;
}

static tx_status backward(tx_call *call) {
  const arguments *p = call->params;
  bool keep = p->residual_last && call->needs[RESIDUAL]; /* dy is the residual's gradient */
  tx_tensor *w = tx_saved(call, SAVED_W), *dz = NULL;    /* the gradient before ReLU */
  tx_conv_shape shape;
  if (!p->relu) {
    dz = tx_ref(call->dout[0]);
  } else if (!keep) {
    dz = tx_take_dout(call, 0);
  }
  tx_status status = tx_conv2d_call_shape(call, w, &p->conv, &shape);
  if (status == TX_OK && p->relu) {
    status = tx_activation_gradient(TX_ACT_RELU, 0, tx_saved(call, SAVED_Y), call->dout[0], &dz);
  }
  if (status == TX_OK && call->needs[RESIDUAL]) call->din[RESIDUAL] = tx_ref(p->residual_last ? call->dout[0] : dz);
  if (status == TX_OK) status = tx_conv2d_backward(call, &shape, tx_saved(call, SAVED_X), w, dz, BIAS);
  tx_unref(dz);
  return status;
}

static const tx_param parameters[] = {TX_CONV2D_PARAMS(arguments, conv),
                                      TX_PARAM(arguments, relu, TX_PARAM_BOOL, "false"),
                                      TX_PARAM(arguments, residual_last, TX_PARAM_BOOL, "false"),
                                      {0}};

const tx_op tx_op_conv2d = {
    .name = "conv2d",
    .inputs = "x w bias? residual?",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(arguments),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "conv2d(x {N,H,W,C}, w {R,S,C/groups,K}, {bias={K}, stride=1, padding=0, dilation=1, groups=1, residual=, "
        "relu=false, residual_last=false}): {N,P,Q,K}, the sum over r, s, c of x[n, p*stride-top+r*dilation, "
        "q*stride-left+s*dilation, c] * "
        "w[r,s,c,k] (+ bias[k]); padding is a number, {top,bottom,left,right}, \"same\" (TensorFlow's rule) or "
        "\"valid\". Then, in the same pass, adds the residual {N,P,Q,K} and takes max(y, 0), or with residual_last the "
        "other "
        "way round.",
};
