/* window.h - the windows of a pooling: a grid of P x Q windows of R x S pixels over an image of H x W.
 *
 *     window (p,q) starts at row p * stride_p - top, column q * stride_q - left; what lies outside the image is padding
 *     P = (H + top + bottom - R) / stride_p + 1, rounded down; "same": P = H / stride_p, rounded up
 *
 * Padding is smaller than the window, so every window holds at least one pixel.
 */
#ifndef TX_AUTOGRAD_WINDOW_H
#define TX_AUTOGRAD_WINDOW_H

#include "autograd/op.h"
#include "passes/pool.h"

/* Parameters of a pooling, as in Lua: k, {stride = k, padding = 0}. */
typedef struct tx_window_params {
  int64_t size[2];
  int64_t stride[2]; /* INT64_MIN: like size */
  tx_padding padding;
} tx_window_params;

#define TX_WINDOW_PARAMS(type, member)                           \
  {"k", TX_PARAM_PAIR, offsetof(type, member.size), NULL, NULL}, \
      TX_PARAM_IN(type, member, stride, TX_PARAM_PAIR, "none"),  \
      TX_PARAM_IN(type, member, padding, TX_PARAM_PADDING, "0")

/* The windows over images {N,H,W,C}; fails naming the operation and the shapes. */
tx_status tx_window_make(const char *operation, const tx_window_params *params, tx_dtype dtype, const int64_t shape[4],
                         tx_window *window);

#endif
