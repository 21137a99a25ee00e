/* conv_plan.c - chooses an algorithm for each pass of a convolution and runs it.
 *
 * Winograd's error is several times that of the direct sum, and grows faster than the square root of its length, as
 * each sum over channels is one chain of additions. What is promised (and tested in spec/conv2d_spec.lua) is, for
 * inputs and weights of mean 0 and variance 1,
 *
 *     |y - exact| <= 2e-5 * sqrt(9 C)       forward; the same with K for the gradient to the input
 *
 * which holds up to MOST_CHANNELS channels. Beyond, gemm is used.
 */
#include <stdio.h>
#include <string.h>

#include "base/integers.h"
#include "base/memory.h"
#include "base/text.h"
#include "passes/conv_internal.h"

enum {
  MOST_CHANNELS = 512, /* input or output channels: beyond, Winograd's error is too large */
  MOST_ROW = 16 << 20, /* floats of V and M for one row of tiles, the least that each thread needs memory for */
  TILE_COST = 2        /* multiply-adds that transforming one element of a tile, of one channel, takes as long as */
};

static bool winograd_applies(const tx_conv_shape *v) {
  return v->r == 3 && v->s == 3 && v->stride[0] == v->stride[1] && v->stride[0] <= 2 && v->dilation[0] == 1 &&
         v->dilation[1] == 1 && v->groups == 1 && v->top <= 2 && v->left <= 2 && v->c <= MOST_CHANNELS &&
         v->k <= MOST_CHANNELS && (tx_max(v->w, v->q) / 4 + 2) * 81 * (v->c + v->k) <= MOST_ROW;
}

/* Channels as they are computed, in whole vectors: about. */
static double whole(int64_t channels) { return (double)(tx_ceil_div(channels, 16) * 16); }

/* Of the direct method, in multiply-adds or what takes as long: gathering an element of the input counts as 8. */
static double direct_cost(const tx_conv_shape *v) {
  return (double)(v->n * v->p * v->q) * 9 * (double)v->c * (whole(v->k) + 8);
}

static double winograd_cost(const tx_conv_shape *v, tx_conv_pass pass) {
  const double elements = v->stride[0] == 1 ? 36 : 81, tiles = (double)tx_conv_winograd_tiles(v, pass);
  const double product = (double)v->c * whole(v->k);
  const double weights = 36 * product * 4; /* reading a transformed weight takes as long as 4 multiply-adds */
  return tiles * elements * (product + TILE_COST * (whole(v->c) + whole(v->k))) + weights;
}

static bool is_depthwise(const tx_conv_shape *v) { return v->groups > 1 && v->groups == v->c && v->groups == v->k; }

tx_conv_plan tx_conv_choose(const tx_conv_shape *v, tx_conv_pass pass) {
  if (v->dtype == TX_F64) return (tx_conv_plan){TX_CONV_NAIVE, 0};
  if (is_depthwise(v)) return (tx_conv_plan){TX_CONV_DEPTHWISE, 0};
  if (!winograd_applies(v)) return (tx_conv_plan){TX_CONV_GEMM, 0};
  const double share = winograd_cost(v, pass) / direct_cost(v);
  return (tx_conv_plan){share < 1 ? TX_CONV_WINOGRAD : TX_CONV_GEMM, share};
}

const char *tx_conv_algorithm_name(tx_conv_algorithm algorithm) {
  static const char *const names[] = {"gemm", "winograd", "depthwise", "naive"};
  return names[algorithm];
}

const char *tx_conv_why(const tx_conv_shape *v, const tx_conv_plan *plan, char text[TX_CONV_WHY]) {
  if (plan->winograd_share > 0) {
    tx_format(text, TX_CONV_WHY, "3x3 of stride %d: winograd takes %.2f of the direct method's work", (int)v->stride[0],
              plan->winograd_share);
  } else {
    snprintf(text, TX_CONV_WHY, "%s",
             v->dtype == TX_F64 ? "f64: the definition"
             : is_depthwise(v)  ? "one filter per channel"
             : v->groups > 1    ? "groups"
                                : "not a 3x3 of stride 1 or 2, too many channels for winograd's error, or too wide");
  }
  return text;
}

/* Whether an array has no elements; then the result, if it has any, is zero. */
static bool is_empty(const tx_conv_shape *v) {
  return v->n == 0 || v->p == 0 || v->q == 0 || v->c == 0 || v->k == 0 || v->h == 0 || v->w == 0 || v->r == 0 ||
         v->s == 0;
}

static void clear(tx_dtype dtype, void *data, int64_t count) { memset(data, 0, (size_t)count * tx_dtype_size(dtype)); }

void tx_conv_release_weights(tx_conv_weights *kept) {
  tx_dealloc(kept->packed);
  tx_dealloc(kept->winograd[0]);
  tx_dealloc(kept->winograd[1]);
}

tx_status tx_conv_forward(const tx_conv_shape *v, const void *x, const void *w, tx_conv_weights *kept,
                          const tx_conv_epilogue *epilogue, void *y) {
  const tx_conv_algorithm algorithm = tx_conv_choose(v, TX_CONV_FORWARD).algorithm;
  if (is_empty(v) && algorithm != TX_CONV_NAIVE) {
    const int64_t pixels = v->n * v->p * v->q;
    clear(v->dtype, y, pixels * v->k);
    tx_conv_finish finish;
    TX_TRY(tx_conv_finish_open(&finish, epilogue, 1, v->k));
    tx_conv_finish_rows(&finish, 0, y, 0, pixels, 0, v->k);
    tx_conv_finish_close(&finish);
    return TX_OK;
  }
  switch (algorithm) {
    case TX_CONV_WINOGRAD:
      return tx_conv_winograd_forward(v, x, w, kept == NULL ? NULL : &kept->winograd[v->stride[0] - 1], epilogue, y);
    case TX_CONV_DEPTHWISE:
      return tx_conv_depthwise_forward(v, x, w, epilogue, y);
    case TX_CONV_NAIVE:
      return tx_conv_naive_forward(v, x, w, epilogue, y);
    default:
      return tx_conv_gemm_forward(v, x, w, kept == NULL ? NULL : &kept->packed, epilogue, y);
  }
}

bool tx_conv_adds(const tx_conv_shape *v) {
  return !is_empty(v) && tx_conv_choose(v, TX_CONV_INPUT_GRADIENT).algorithm == TX_CONV_WINOGRAD;
}

tx_status tx_conv_input_gradient(const tx_conv_shape *v, const void *dy, const void *w, const void *accumulated,
                                 void *dx) {
  if (is_empty(v)) {
    clear(v->dtype, dx, v->n * v->h * v->w * v->c);
    return TX_OK;
  }
  switch (tx_conv_choose(v, TX_CONV_INPUT_GRADIENT).algorithm) {
    case TX_CONV_WINOGRAD:
      return tx_conv_winograd_input_gradient(v, dy, w, accumulated, dx);
    case TX_CONV_DEPTHWISE:
      return tx_conv_depthwise_input_gradient(v, dy, w, dx);
    case TX_CONV_NAIVE:
      tx_conv_naive_input_gradient(v, dy, w, dx);
      return TX_OK;
    default:
      return tx_conv_gemm_input_gradient(v, dy, w, dx);
  }
}

tx_status tx_conv_weight_gradient(const tx_conv_shape *v, const void *x, const void *dy, void *dw) {
  if (is_empty(v)) {
    clear(v->dtype, dw, v->r * v->s * (v->groups > 0 ? v->c / v->groups : 0) * v->k);
    return TX_OK;
  }
  switch (tx_conv_choose(v, TX_CONV_WEIGHT_GRADIENT).algorithm) {
    case TX_CONV_WINOGRAD:
      return tx_conv_winograd_weight_gradient(v, x, dy, dw);
    case TX_CONV_DEPTHWISE:
      return tx_conv_depthwise_weight_gradient(v, x, dy, dw);
    case TX_CONV_NAIVE:
      tx_conv_naive_weight_gradient(v, x, dy, dw);
      return TX_OK;
    default:
      return tx_conv_gemm_weight_gradient(v, x, dy, dw);
  }
}
