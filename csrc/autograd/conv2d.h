/* conv2d.h - what conv2d and the functions fused with it share: parameters, checks, tensors made contiguous.
 *
 *     x {N,H,W,C}    w {R,S,C/groups,K}    bias {K}    y {N,P,Q,K}
 *     P = floor((H + top + bottom - dilation*(R-1) - 1) / stride) + 1,   Q likewise
 */
#ifndef TX_AUTOGRAD_CONV2D_H
#define TX_AUTOGRAD_CONV2D_H

#include "autograd/op.h"
#include "passes/conv.h"

typedef struct tx_conv2d_params {
  int64_t stride[2];
  tx_padding padding;
  int64_t dilation[2];
  int64_t groups;
} tx_conv2d_params;

/* Rows of an op's parameter list, for a member of type tx_conv2d_params. */
#define TX_CONV2D_PARAMS(type, member)                                                                              \
  TX_PARAM_IN(type, member, stride, TX_PARAM_PAIR, "1"), TX_PARAM_IN(type, member, padding, TX_PARAM_PADDING, "0"), \
      TX_PARAM_IN(type, member, dilation, TX_PARAM_PAIR, "1"), TX_PARAM_IN(type, member, groups, TX_PARAM_INT, "1")

/* Checks inputs and parameters and works out the shape; `operation` begins the messages. bias may be NULL. */
tx_status tx_conv2d_shape(const char *operation, const tx_tensor *x, const tx_tensor *w, const tx_tensor *bias,
                          const tx_conv2d_params *params, tx_conv_shape *shape);

/* The shape again in backward, from what the tape keeps of x (input 0) and from the saved w. */
tx_status tx_conv2d_call_shape(tx_call *call, const tx_tensor *w, const tx_conv2d_params *params, tx_conv_shape *shape);

/* y = conv(x, w) (+ bias), without autograd; x, w and bias as checked above, any strides. `epilogue` may be
 * NULL; its shift is taken from bias when that is given. */
tx_status tx_conv2d_forward(const tx_conv_shape *shape, tx_tensor *x, tx_tensor *w, tx_tensor *bias,
                            const tx_conv_epilogue *epilogue, tx_tensor **y);
/* The gradients that a call needs: of x (input 0) together with what has arrived there, of w (input 1) and of the bias, input
 * number `bias`; 0: there is none. */
tx_status tx_conv2d_backward(tx_call *call, const tx_conv_shape *shape, tx_tensor *x, tx_tensor *w, tx_tensor *dy,
                             int bias);

#endif
