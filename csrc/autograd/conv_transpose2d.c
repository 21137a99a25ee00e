/* conv_transpose2d.c - the gradient of conv2d's input as a function of its own: with v the convolution from y to x,
 *
 *     y[n, p*stride-top+r*dilation, q*stride-left+s*dilation, k] = sum over p,q,r,s,c of x[n,p,q,c] * w[r,s,k,c]  (+ bias[k])
 *
 * so that dx = v(dy), dw is v's gradient of its weight for input dy and result x, and dbias is dy summed over n and pixels.
 *
 * Source: Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", 2016. */
#include <inttypes.h>

#include "autograd/conv2d.h"
#include "autograd/layer.h"
#include "autograd/list.h"

enum { X, W, BIAS };

typedef struct params {
  tx_conv2d_params conv;
  int64_t output_padding[2];
} params;

/* What is not checked by the convolution from y to x. */
static tx_status check(const tx_call *call) {
  const params *p = call->params;
  const tx_tensor *x = call->in[X], *w = call->in[W];
  TX_TRY(tx_want_float(call, X));
  TX_TRY(tx_want_images(call, X));
  TX_TRY(tx_want_dtype_of(call, W, X));
  if (w->dims != 4) {
    return tx_fail(TX_EINVAL, "%s: weight must be {R,S,K/groups,C}, got %s", call->op->name, tx_shape_of(w));
  }
  if (x->shape[3] != w->shape[3]) {
    return tx_fail(TX_EINVAL, "%s: input has %" PRId64 " channels, weight wants %" PRId64 " (input %s, weight %s)",
                   call->op->name, x->shape[3], w->shape[3], tx_shape_of(x), tx_shape_of(w));
  }
  if (x->shape[1] == 0 || x->shape[2] == 0) {
    return tx_fail(TX_EINVAL, "%s: x is %s: an image without pixels gives none", call->op->name, tx_shape_of(x));
  }
  if (p->conv.padding.mode != TX_PAD_EXPLICIT) {
    return tx_fail(TX_EINVAL, "%s: padding must be numbers", call->op->name);
  }
  for (int i = 0; i < 2; i++) {
    const int64_t extra = p->output_padding[i], stride = p->conv.stride[i];
    if (stride < 1 || p->conv.dilation[i] < 1) {
      return tx_fail(TX_EINVAL, "%s: stride and dilation must be at least 1", call->op->name);
    }
    if (extra >= 0 && extra < stride) continue;
    return tx_fail(TX_EINVAL, "%s: output_padding %" PRId64 " must be at least 0 and less than the stride",
                   call->op->name, extra);
  }
  return TX_OK;
}

/* The rows or columns of y. */
static int64_t size_of(int64_t size, int64_t kernel, int64_t stride, int64_t dilation, int64_t padding, int64_t extra) {
  return (size - 1) * stride + dilation * (kernel - 1) + 1 - padding + extra;
}

/* The convolution from y to x; its input has the sizes {n,h,w,c} of y, its result {n,p,q,k} those of x, as output_padding
 * is less than the stride. */
static tx_status shape_of(const tx_op *op, const tx_meta *x, const tx_tensor *w, const params *given,
                          tx_conv_shape *v) {
  const tx_conv2d_params *p = &given->conv;
  const tx_padding *pad = &p->padding;
  tx_tensor y = {.dtype = x->dtype, .dims = 4, .shape = {x->shape[0]}};
  const int64_t large = (int64_t)1 << 31;
  for (int i = 0; i < 2; i++) {
    if (x->shape[1 + i] > large || w->shape[i] > large || p->stride[i] > large || p->dilation[i] > large) {
      return tx_fail(TX_EINVAL, "%s: a size, stride or dilation is above %" PRId64, op->name, large);
    }
  }
  const int64_t sides[] = {pad->top, pad->bottom, pad->left, pad->right};
  for (int i = 0; i < 4; i++) {
    if (sides[i] < 0 || sides[i] > large) {
      return tx_fail(TX_EINVAL, "%s: padding %" PRId64 " is not within 0..%" PRId64, op->name, sides[i], large);
    }
  }
  if (p->groups < 1 || p->groups > large || w->shape[2] > large / p->groups) {
    return tx_fail(TX_EINVAL, "%s: %" PRId64 " groups are too many or too few", op->name, p->groups);
  }
  y.shape[1] =
      size_of(x->shape[1], w->shape[0], p->stride[0], p->dilation[0], pad->top + pad->bottom, given->output_padding[0]);
  y.shape[2] =
      size_of(x->shape[2], w->shape[1], p->stride[1], p->dilation[1], pad->left + pad->right, given->output_padding[1]);
  y.shape[3] = w->shape[2] * p->groups;
  if (y.shape[1] < 1 || y.shape[2] < 1) {
    return tx_fail(TX_EINVAL, "%s: the padding leaves no pixel (%" PRId64 " x %" PRId64 ")", op->name, y.shape[1],
                   y.shape[2]);
  }
  return tx_conv2d_shape(op->name, &y, w, NULL, p, v);
}

static tx_status add_bias(tx_call *call) {
  tx_tensor *sum;
  TX_TRY(tx_binary(call->op->name, TX_ADD, call->out[0], call->in[BIAS], &sum));
  tx_unref(call->out[0]);
  call->out[0] = sum;
  return TX_OK;
}

static tx_status forward(tx_call *call) {
  const params *p = call->params;
  tx_tensor *x = NULL, *w = NULL;
  tx_conv_shape v;
  TX_TRY(check(call));
  tx_meta meta = {.dtype = call->in[X]->dtype, .dims = 4};
  for (int d = 0; d < 4; d++) meta.shape[d] = call->in[X]->shape[d];
  TX_TRY(shape_of(call->op, &meta, call->in[W], p, &v));
  TX_TRY(tx_want_vector(call, BIAS, X, v.c, "channels of the output"));
  tx_status status = tx_contiguous(call->in[X], &x);
  if (status == TX_OK) status = tx_contiguous(call->in[W], &w);
  if (status == TX_OK) status = tx_empty(v.dtype, 4, (int64_t[]){v.n, v.h, v.w, v.c}, &call->out[0]);
  if (status == TX_OK) status = tx_conv_input_gradient(&v, tx_data(x), tx_data(w), NULL, tx_data(call->out[0]));
  if (status == TX_OK && call->in[BIAS] != NULL) status = add_bias(call);
  if (status == TX_OK && call->needs[W]) tx_save(call, X, x);
  if (status == TX_OK) tx_save(call, W, w);
  tx_unref(x);
  tx_unref(w);
  return status;
}

static tx_status gradients(tx_call *call, const tx_conv_shape *v, tx_tensor *dy) {
  tx_tensor *w = tx_saved(call, W);
  if (call->needs[X]) TX_TRY(tx_conv2d_forward(v, dy, w, NULL, NULL, &call->din[X]));
  if (call->needs[W]) {
    TX_TRY(tx_empty(v->dtype, 4, w->shape, &call->din[W]));
    TX_TRY(tx_conv_weight_gradient(v, tx_data(dy), tx_data(tx_saved(call, X)), tx_data(call->din[W])));
  }
  return call->needs[BIAS] ? tx_sum_to(dy, 1, &v->c, &call->din[BIAS]) : TX_OK;
}

static tx_status backward(tx_call *call) {
  tx_conv_shape v;
  tx_tensor *dy;
  TX_TRY(shape_of(call->op, tx_input_meta(call, X), tx_saved(call, W), call->params, &v));
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  const tx_status status = gradients(call, &v, dy);
  tx_unref(dy);
  return status;
}

static const tx_param parameters[] = {
    TX_CONV2D_PARAMS(params, conv), TX_PARAM(params, output_padding, TX_PARAM_PAIR, "0"), {0}};

const tx_op tx_op_conv_transpose2d = {
    .name = "conv_transpose2d",
    .inputs = "x w bias?",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "conv_transpose2d(x {N,H,W,C}, w {R,S,K/groups,C}, {bias={K}, stride=1, padding=0, dilation=1, groups=1, "
        "output_padding=0}): {N,P,Q,K}, what conv2d from K to C channels gives to its input as gradient: every pixel "
        "of "
        "x "
        "adds its window, P = (H - 1) * stride + dilation * (R - 1) + 1 - top - bottom + output_padding. Padding is "
        "cut "
        "off; output_padding adds rows below and columns on the right.",
};
