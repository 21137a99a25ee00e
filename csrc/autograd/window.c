/* window.c - how many windows a pooling has, and where; rows and columns are alike and treated one after the other. */
#include "autograd/window.h"

#include "base/integers.h"

/* One dimension: where windows start (`before` pixels outside) and how many there are. */
typedef struct line {
  int64_t before, after, count;
} line;

/* "same" is TensorFlow's rule: as many windows as strides fit into the image, the odd pixel of padding behind it. */
static line lay_out(const tx_padding *padding, bool rows, int64_t size, int64_t length, int64_t stride) {
  line l = {0};
  if (padding->mode == TX_PAD_SAME) {
    l.count = tx_ceil_div(size, stride);
    int64_t missing = (l.count - 1) * stride + length - size;
    if (size == 0 || missing < 0) missing = 0;
    l.before = missing / 2;
    l.after = missing - l.before;
    return l;
  }
  if (padding->mode == TX_PAD_EXPLICIT) {
    l.before = rows ? padding->top : padding->left;
    l.after = rows ? padding->bottom : padding->right;
  }
  int64_t room = size + l.before + l.after - length;
  l.count = room < 0 ? 0 : room / stride + 1;
  return l;
}

static tx_status check(const char *operation, const tx_window_params *params, const int64_t stride[2]) {
  const int64_t most = INT32_MAX; /* keeps sums and products far from overflow */
  for (int i = 0; i < 2; i++) {
    if (params->size[i] < 1 || params->size[i] > most || stride[i] < 1 || stride[i] > most) {
      return tx_fail(TX_EINVAL, "%s: window {%lld,%lld}, stride {%lld,%lld}: sizes from 1 on are needed", operation,
                     (long long)params->size[0], (long long)params->size[1], (long long)stride[0],
                     (long long)stride[1]);
    }
  }
  const tx_padding *pad = &params->padding;
  if (pad->mode != TX_PAD_EXPLICIT) return TX_OK;
  bool fits = pad->top >= 0 && pad->bottom >= 0 && pad->left >= 0 && pad->right >= 0 && pad->top < params->size[0] &&
              pad->bottom < params->size[0] && pad->left < params->size[1] && pad->right < params->size[1];
  if (fits) return TX_OK;
  return tx_fail(TX_EINVAL,
                 "%s: padding {%lld,%lld,%lld,%lld} does not fit window {%lld,%lld}: 0 or more, less than the "
                 "window, is needed",
                 operation, (long long)pad->top, (long long)pad->bottom, (long long)pad->left, (long long)pad->right,
                 (long long)params->size[0], (long long)params->size[1]);
}

tx_status tx_window_make(const char *operation, const tx_window_params *params, tx_dtype dtype, const int64_t shape[4],
                         tx_window *window) {
  int64_t stride[2];
  for (int i = 0; i < 2; i++) stride[i] = params->stride[i] == INT64_MIN ? params->size[i] : params->stride[i];
  TX_TRY(check(operation, params, stride));
  line rows = lay_out(&params->padding, true, shape[1], params->size[0], stride[0]);
  line columns = lay_out(&params->padding, false, shape[2], params->size[1], stride[1]);
  if (rows.count < 1 || columns.count < 1) {
    char text[TX_SHAPE_TEXT];
    return tx_fail(TX_EINVAL, "%s: window {%lld,%lld} is larger than the image with its padding (x %s)", operation,
                   (long long)params->size[0], (long long)params->size[1], tx_shape_text(4, shape, text));
  }
  *window = (tx_window){.dtype = dtype,
                        .n = shape[0],
                        .h = shape[1],
                        .w = shape[2],
                        .c = shape[3],
                        .p = rows.count,
                        .q = columns.count,
                        .r = params->size[0],
                        .s = params->size[1],
                        .stride_p = stride[0],
                        .stride_q = stride[1],
                        .top = rows.before,
                        .left = columns.before};
  return TX_OK;
}
