/* conv_plan.c - chooses an algorithm for each pass of a convolution and runs it.
 *
 * Winograd's error grows with the length of its sums; against the direct sum it is about six times as large. The bound that
 * is promised (and tested in spec/conv2d_spec.lua) is, for inputs and weights of mean 0 and variance 1,
 *
 *     |y - exact| <= 2e-5 * sqrt(9 C)       forward; the same with K for the gradient to the input
 *
 * and holds for any C that is let in here: up to MOST_CHANNELS. Beyond, gemm is used.
 */
#include <stdio.h>
#include <string.h>

#include "kernels/conv_internal.h"
#include "kernels/winograd.h"

enum {
  MOST_CHANNELS = 2048, /* of the sum, for Winograd's error */
  TILE_COST = 80        /* of transforming a tile, per channel of either side, in multiply-adds of one number */
};

/* Multiply-adds, or what takes as long, of both ways; `n` images of p x q results from c to k channels. */
static double direct_cost(double pixels, double c, double k) { return pixels * 9 * c * (k + 8); }

static double winograd_cost(double tiles, double c, double k) {
  const double weights = 36 * c * k * 16; /* reading a transformed weight takes as long as 16 multiply-adds */
  return tiles * 36 * c * k + tiles * TILE_COST * (c + k) + weights;
}

static bool winograd_applies(const tx_conv_shape *v) {
  return v->r == 3 && v->s == 3 && v->stride[0] == 1 && v->stride[1] == 1 && v->dilation[0] == 1 && v->dilation[1] == 1 &&
         v->groups == 1 && v->c <= MOST_CHANNELS && v->k <= MOST_CHANNELS;
}

tx_conv_plan tx_conv_choose(const tx_conv_shape *v, tx_conv_pass pass) {
  tx_conv_plan plan = {.algorithm = TX_CONV_GEMM, .name = "gemm"};
  if (v->groups > 1 && v->groups == v->c && v->groups == v->k) {
    snprintf(plan.why, sizeof plan.why, "one filter per channel");
    plan.algorithm = TX_CONV_DEPTHWISE;
    plan.name = "depthwise";
  } else if (winograd_applies(v)) {
    const bool to_input = pass == TX_CONV_INPUT_GRADIENT;
    const int64_t rows = to_input ? v->h : v->p, columns = to_input ? v->w : v->q;
    const double tiles = (double)(v->n * tx_ceil_div(rows, TX_WINO_OUT) * tx_ceil_div(columns, TX_WINO_OUT));
    const double direct = direct_cost((double)(v->n * v->p * v->q), (double)v->c, (double)v->k);
    const double winograd = winograd_cost(tiles, (double)v->c, (double)v->k);
    if (winograd < direct) {
      snprintf(plan.why, sizeof plan.why, "3x3 of stride 1: %.1f times less work", direct / winograd);
      plan.algorithm = TX_CONV_WINOGRAD;
      plan.name = "winograd";
    } else {
      snprintf(plan.why, sizeof plan.why, "3x3 of stride 1, but transforms would take %.1f times as long", winograd / direct);
    }
  } else {
    snprintf(plan.why, sizeof plan.why, v->groups > 1 ? "groups" : "not a 3x3 of stride 1");
  }
  return plan;
}

/* Whether there is nothing to add up; then the result is zero. */
static bool is_empty(const tx_conv_shape *v) {
  return v->n == 0 || v->p == 0 || v->q == 0 || v->c == 0 || v->k == 0 || v->h == 0 || v->w == 0 || v->r == 0 || v->s == 0;
}

static void clear(float *data, int64_t count) { memset(data, 0, (size_t)count * sizeof(float)); }

tx_status tx_conv_forward_f32(const tx_conv_shape *v, const float *x, const float *w, const tx_conv_epilogue *epilogue,
                              float *y) {
  if (is_empty(v)) {
    const int64_t pixels = v->n * v->p * v->q;
    clear(y, pixels * v->k);
    tx_conv_finish finish;
    TX_TRY(tx_conv_finish_open(&finish, epilogue, 1, v->k));
    tx_conv_finish_rows(&finish, 0, y, 0, pixels, 0, v->k);
    tx_conv_finish_close(&finish);
    return TX_OK;
  }
  switch (tx_conv_choose(v, TX_CONV_FORWARD).algorithm) {
    case TX_CONV_WINOGRAD:
      return tx_conv_winograd_forward(v, x, w, epilogue, y);
    case TX_CONV_DEPTHWISE:
      return tx_conv_depthwise_forward(v, x, w, epilogue, y);
    default:
      return tx_conv_gemm_forward(v, x, w, epilogue, y);
  }
}

tx_status tx_conv_input_gradient_f32(const tx_conv_shape *v, const float *dy, const float *w, float *dx) {
  if (is_empty(v)) {
    clear(dx, v->n * v->h * v->w * v->c);
    return TX_OK;
  }
  switch (tx_conv_choose(v, TX_CONV_INPUT_GRADIENT).algorithm) {
    case TX_CONV_WINOGRAD:
      return tx_conv_winograd_input_gradient(v, dy, w, dx);
    case TX_CONV_DEPTHWISE:
      return tx_conv_depthwise_input_gradient(v, dy, w, dx);
    default:
      return tx_conv_gemm_input_gradient(v, dy, w, dx);
  }
}

tx_status tx_conv_weight_gradient_f32(const tx_conv_shape *v, const float *x, const float *dy, float *dw) {
  if (is_empty(v)) {
    clear(dw, v->r * v->s * (v->groups > 0 ? v->c / v->groups : 0) * v->k);
    return TX_OK;
  }
  switch (tx_conv_choose(v, TX_CONV_WEIGHT_GRADIENT).algorithm) {
    case TX_CONV_WINOGRAD:
      return tx_conv_winograd_weight_gradient(v, x, dy, dw);
    case TX_CONV_DEPTHWISE:
      return tx_conv_depthwise_weight_gradient(v, x, dy, dw);
    default:
      return tx_conv_gemm_weight_gradient(v, x, dy, dw);
  }
}
