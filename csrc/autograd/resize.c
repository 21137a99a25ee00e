/* resize.c - images in another size: upsample_bilinear2d and adaptive_avg_pool2d, the same linear map of the rows of every image
 * and then of its columns (passes/resize.h). Backward is the reversed map.
 *
 * An output is made of its own pixels alone: one that is not finite changes no other. */
#include <inttypes.h>

#include "autograd/layer.h"
#include "autograd/list.h"
#include "passes/resize.h"

typedef struct params {
  int64_t sizes[2]; /* factors, or rows and columns of the output */
} params;

/* What a dimension of `size` elements, at least 1, becomes, given its entry of `sizes`. */
typedef tx_status make_line(int64_t size, int64_t given, tx_line *line);

static tx_status check(const tx_call *call, const char *what) {
  const params *p = call->params;
  const int64_t large = (int64_t)1 << 31; /* so that products of two fit */
  TX_TRY(tx_want_float(call, 0));
  TX_TRY(tx_want_images(call, 0));
  for (int i = 0; i < 2; i++) {
    if (p->sizes[i] < 1 || p->sizes[i] > large) {
      return tx_fail(TX_EINVAL, "%s: %s %" PRId64 " is not within 1..%" PRId64, call->op->name, what, p->sizes[i],
                     large);
    }
    if (call->in[0]->shape[1 + i] > large) {
      return tx_fail(TX_EINVAL, "%s: x is %s: a side is above %" PRId64, call->op->name, tx_shape_of(call->in[0]),
                     large);
    }
  }
  return TX_OK;
}

/* The map from `in` to `out`, or with `reversed` that of the gradients. */
static tx_status map(const params *p, make_line *make, const tx_meta *x, bool reversed, const void *in, void *out) {
  tx_line line[2] = {{0}}, back[2] = {{0}};
  tx_status status = TX_OK;
  for (int i = 0; i < 2 && status == TX_OK; i++) {
    status = make(x->shape[1 + i], p->sizes[i], &line[i]);
    if (status == TX_OK && reversed) status = tx_line_reversed(&line[i], &back[i]);
  }
  const tx_line *used = reversed ? back : line;
  const tx_resize r = {.dtype = x->dtype, .n = x->shape[0], .c = x->shape[3], .rows = &used[0], .columns = &used[1]};
  if (status == TX_OK) status = tx_resize_images(&r, in, out);
  for (int i = 0; i < 2; i++) {
    tx_line_close(&line[i]);
    tx_line_close(&back[i]);
  }
  return status;
}

static tx_status resize(tx_call *call, make_line *make, int64_t rows, int64_t columns) {
  tx_tensor *x = NULL;
  tx_meta meta = {.dtype = call->in[0]->dtype, .dims = 4};
  for (int d = 0; d < 4; d++) meta.shape[d] = call->in[0]->shape[d];
  TX_TRY(tx_empty(meta.dtype, 4, (int64_t[]){meta.shape[0], rows, columns, meta.shape[3]}, &call->out[0]));
  if (tx_numel(call->out[0]) == 0) return TX_OK;
  TX_TRY(tx_contiguous(call->in[0], &x));
  const tx_status status = map(call->params, make, &meta, false, tx_data(x), tx_data(call->out[0]));
  tx_unref(x);
  return status;
}

static tx_status resize_back(tx_call *call, make_line *make) {
  const tx_meta *x = tx_input_meta(call, 0);
  tx_tensor *dy = NULL;
  TX_TRY(tx_empty(x->dtype, 4, x->shape, &call->din[0]));
  if (tx_numel(call->din[0]) == 0) return TX_OK;
  TX_TRY(tx_contiguous(call->dout[0], &dy));
  const tx_status status = map(call->params, make, x, true, tx_data(dy), tx_data(call->din[0]));
  tx_unref(dy);
  return status;
}

/* -- upsample_bilinear2d --------------------------------------------------------------------------------------------------- */

static tx_status upsample_forward(tx_call *call) {
  const params *p = call->params;
  const int64_t *shape = call->in[0]->shape;
  TX_TRY(check(call, "factor"));
  return resize(call, tx_line_linear, shape[1] * p->sizes[0], shape[2] * p->sizes[1]);
}

static tx_status upsample_backward(tx_call *call) { return resize_back(call, tx_line_linear); }

static const tx_param upsample_parameters[] = {{"factor", TX_PARAM_PAIR, offsetof(params, sizes), NULL, NULL}, {NULL}};

const tx_op tx_op_upsample_bilinear2d = {
    .name = "upsample_bilinear2d",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = upsample_parameters,
    .forward = upsample_forward,
    .backward = upsample_backward,
    .doc =
        "upsample_bilinear2d(x, factor): images {N,H,W,C} `factor` times as large, a whole number or {rows, columns}, "
        "linear "
        "between the middles of pixels: align_corners=false of PyTorch's interpolate.",
};

/* -- adaptive_avg_pool2d --------------------------------------------------------------------------------------------------- */

static tx_status adaptive_forward(tx_call *call) {
  const params *p = call->params;
  const int64_t *shape = call->in[0]->shape;
  TX_TRY(check(call, "size"));
  if (shape[1] == 0 || shape[2] == 0) {
    return tx_fail(TX_EINVAL, "%s: x is %s: an image without pixels has no mean", call->op->name,
                   tx_shape_of(call->in[0]));
  }
  return resize(call, tx_line_mean, p->sizes[0], p->sizes[1]);
}

static tx_status adaptive_backward(tx_call *call) { return resize_back(call, tx_line_mean); }

static const tx_param adaptive_parameters[] = {{"size", TX_PARAM_PAIR, offsetof(params, sizes), NULL, NULL}, {NULL}};

const tx_op tx_op_adaptive_avg_pool2d = {
    .name = "adaptive_avg_pool2d",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = adaptive_parameters,
    .forward = adaptive_forward,
    .backward = adaptive_backward,
    .doc =
        "adaptive_avg_pool2d(x, size): images {N,H,W,C} to {N,rows,columns,C}, `size` a number or {rows, columns}: "
        "each pixel "
        "is the mean of the rows from floor(i H / rows) to ceil((i + 1) H / rows), i from 0 on, and of such columns.",
};
