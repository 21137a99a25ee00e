/* activation.c - activation functions and their gradients on vectors. */
#include "kernels/simd/vmath.h"

static const float sqrt_half = 0.707106781f, sqrt_2_over_pi = 0.797884561f, gelu_cubic = 0.044715f;

/* Twice the argument of tanh in gelu's approximation: (1 + tanh(u)) / 2 is the logistic function of 2 u. */
TX_INLINE vfloat gelu_inner(vfloat x) { return 2.0f * sqrt_2_over_pi * vf_fma(gelu_cubic * x, x * x, x); }

TX_INLINE vfloat value(tx_activation kind, vfloat slope, vfloat x) {
  switch (kind) {
    case TX_ACT_RELU:
      return vf_max(vf_set(0), x); /* in this order a NaN stays */
    case TX_ACT_LEAKY_RELU:
      return vf_select(x > 0.0f, x, slope * x);
    case TX_ACT_SILU:
      return x * vf_logistic(x);
    case TX_ACT_GELU:
      return 0.5f * x * (1.0f + vf_erf(x * sqrt_half));
    case TX_ACT_GELU_TANH:
      return x * vf_logistic(gelu_inner(x));
    case TX_ACT_SOFTPLUS:
      return vf_max(vf_set(0), x) + vf_log1p(vf_exp(-vf_abs(x)));
    case TX_ACT_ELU:
      return vf_select(x > 0.0f, x, slope * vf_expm1(x));
    case TX_ACT_HARD_SWISH:
      return vf_select(x <= -3.0f, vf_set(0), vf_select(x >= 3.0f, x, x * (x + 3.0f) / 6.0f));
  }
  return x;
}

TX_INLINE vfloat gradient(tx_activation kind, vfloat slope, vfloat x, vfloat dy) {
  switch (kind) {
    case TX_ACT_RELU:
      return vf_select(x > 0.0f, dy, vf_set(0));
    case TX_ACT_LEAKY_RELU:
      return vf_select(x > 0.0f, dy, slope * dy);
    case TX_ACT_SILU: {
      vfloat s = vf_logistic(x);
      return dy * s * vf_fma(x, 1.0f - s, vf_set(1));
    }
    case TX_ACT_GELU: {
      vfloat density = 0.5f * sqrt_2_over_pi * vf_exp(-0.5f * x * x);
      return dy * vf_fma(x, density, 0.5f + 0.5f * vf_erf(x * sqrt_half));
    }
    case TX_ACT_GELU_TANH: {
      vfloat u = gelu_inner(x), e = vf_exp(-vf_max(u, -u)), r = 1.0f / (1.0f + e);
      vfloat s = vf_select(u < 0.0f, e * r, r); /* and s (1 - s) is e r^2, without cancellation */
      vfloat slope_of_u = 2.0f * sqrt_2_over_pi * vf_fma(3.0f * gelu_cubic * x, x, vf_set(1));
      return dy * vf_fma(x * slope_of_u, e * r * r, s);
    }
    case TX_ACT_SOFTPLUS:
      return dy * vf_logistic(x);
    case TX_ACT_ELU:
      return vf_select(x > 0.0f, dy, dy * slope * vf_exp(x));
    case TX_ACT_HARD_SWISH:
      return vf_select(x <= -3.0f, vf_set(0), vf_select(x >= 3.0f, dy, dy * (x / 3.0f + 0.5f)));
  }
  return dy;
}

TX_INLINE void activate(tx_activation kind, int64_t n, float slope, const float *x, float *y) {
  vfloat slopes = vf_set(slope);
  int64_t i = 0;
  for (; i + VF <= n; i += VF) vf_store(y + i, value(kind, slopes, vf_load(x + i)));
  if (i < n) vf_store_n(y + i, value(kind, slopes, vf_load_n(x + i, n - i)), n - i);
}

TX_INLINE void activate_grad(tx_activation kind, int64_t n, float slope, const float *x, const float *dy, float *dx) {
  vfloat slopes = vf_set(slope);
  int64_t i = 0;
  for (; i + VF <= n; i += VF) vf_store(dx + i, gradient(kind, slopes, vf_load(x + i), vf_loaded(vf_load(dy + i))));
  if (i < n) vf_store_n(dx + i, gradient(kind, slopes, vf_load_n(x + i, n - i), vf_load_n(dy + i, n - i)), n - i);
}

/* The loops once for each function. */
void TX_SIMD_NAME(activate_f32)(tx_activation kind, int64_t n, float slope, const float *x, float *y) {
  switch (kind) {
    case TX_ACT_RELU:
      activate(TX_ACT_RELU, n, slope, x, y);
      break;
    case TX_ACT_LEAKY_RELU:
      activate(TX_ACT_LEAKY_RELU, n, slope, x, y);
      break;
    case TX_ACT_SILU:
      activate(TX_ACT_SILU, n, slope, x, y);
      break;
    case TX_ACT_GELU:
      activate(TX_ACT_GELU, n, slope, x, y);
      break;
    case TX_ACT_GELU_TANH:
      activate(TX_ACT_GELU_TANH, n, slope, x, y);
      break;
    case TX_ACT_SOFTPLUS:
      activate(TX_ACT_SOFTPLUS, n, slope, x, y);
      break;
    case TX_ACT_ELU:
      activate(TX_ACT_ELU, n, slope, x, y);
      break;
    case TX_ACT_HARD_SWISH:
      activate(TX_ACT_HARD_SWISH, n, slope, x, y);
      break;
  }
}

void TX_SIMD_NAME(activate_grad_f32)(tx_activation kind, int64_t n, float slope, const float *x, const float *dy,
                                     float *dx) {
  switch (kind) {
    case TX_ACT_RELU:
      activate_grad(TX_ACT_RELU, n, slope, x, dy, dx);
      break;
    case TX_ACT_LEAKY_RELU:
      activate_grad(TX_ACT_LEAKY_RELU, n, slope, x, dy, dx);
      break;
    case TX_ACT_SILU:
      activate_grad(TX_ACT_SILU, n, slope, x, dy, dx);
      break;
    case TX_ACT_GELU:
      activate_grad(TX_ACT_GELU, n, slope, x, dy, dx);
      break;
    case TX_ACT_GELU_TANH:
      activate_grad(TX_ACT_GELU_TANH, n, slope, x, dy, dx);
      break;
    case TX_ACT_SOFTPLUS:
      activate_grad(TX_ACT_SOFTPLUS, n, slope, x, dy, dx);
      break;
    case TX_ACT_ELU:
      activate_grad(TX_ACT_ELU, n, slope, x, dy, dx);
      break;
    case TX_ACT_HARD_SWISH:
      activate_grad(TX_ACT_HARD_SWISH, n, slope, x, dy, dx);
      break;
  }
}
