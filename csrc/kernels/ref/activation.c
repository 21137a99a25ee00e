/* activation.c - reference kernels of the activation functions, computed in double for both types. */
#include <math.h>

#include "kernels/plain.h"
#include "kernels/ref/ref.h"

static const double sqrt_half = 0.70710678118654752440, sqrt_2_over_pi = 0.79788456080286535588;

/* The inner part of gelu's tanh form, and its derivative. */
static double gelu_inner(double x) { return sqrt_2_over_pi * (x + 0.044715 * x * x * x); }
static double gelu_inner_slope(double x) { return sqrt_2_over_pi * (1 + 3 * 0.044715 * x * x); }

static double value(tx_activation kind, double slope, double x) {
  switch (kind) {
    case TX_ACT_RELU:
      return x < 0 ? 0 : x;
    case TX_ACT_LEAKY_RELU:
      return x > 0 ? x : slope * x;
    case TX_ACT_SILU:
      return x / (1 + exp(-x));
    case TX_ACT_GELU:
      return 0.5 * x * (1 + erf(x * sqrt_half));
    case TX_ACT_GELU_TANH:
      return 0.5 * x * (1 + tanh(gelu_inner(x)));
    case TX_ACT_SOFTPLUS:
      return (x < 0 ? 0 : x) + log1p(exp(-fabs(x)));
    case TX_ACT_ELU:
      return x > 0 ? x : slope * expm1(x);
    case TX_ACT_HARD_SWISH:
      return x <= -3 ? 0 : x >= 3 ? x : x * (x + 3) / 6;
  }
  return x;
}

/* f'(x) * dy. */
static double gradient(tx_activation kind, double slope, double x, double dy) {
  switch (kind) {
    case TX_ACT_RELU:
      return x > 0 ? dy : 0;
    case TX_ACT_LEAKY_RELU:
      return x > 0 ? dy : slope * dy;
    case TX_ACT_SILU: {
      double s = 1 / (1 + exp(-x));
      return dy * s * (1 + x * (1 - s));
    }
    case TX_ACT_GELU: {
      double density = 0.5 * sqrt_2_over_pi * exp(-0.5 * x * x);
      return dy * (0.5 * (1 + erf(x * sqrt_half)) + x * density);
    }
    case TX_ACT_GELU_TANH: {
      double t = tanh(gelu_inner(x));
      return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * gelu_inner_slope(x));
    }
    case TX_ACT_SOFTPLUS:
      return dy / (1 + exp(-x));
    case TX_ACT_ELU:
      return x > 0 ? dy : dy * slope * exp(x);
    case TX_ACT_HARD_SWISH:
      return x <= -3 ? 0 : x >= 3 ? dy : dy * (x / 3 + 0.5);
  }
  return dy;
}

void tx_activate_f32_ref(tx_activation kind, int64_t n, float slope, const float *x, float *y) {
  for (int64_t i = 0; i < n; i++) y[i] = (float)value(kind, (double)slope, (double)x[i]);
}

void tx_activate_f64(tx_activation kind, int64_t n, double slope, const double *x, double *y) {
  for (int64_t i = 0; i < n; i++) y[i] = value(kind, slope, x[i]);
}

void tx_activate_grad_f32_ref(tx_activation kind, int64_t n, float slope, const float *x, const float *dy, float *dx) {
  for (int64_t i = 0; i < n; i++) dx[i] = (float)gradient(kind, (double)slope, (double)x[i], (double)dy[i]);
}

void tx_activate_grad_f64(tx_activation kind, int64_t n, double slope, const double *x, const double *dy, double *dx) {
  for (int64_t i = 0; i < n; i++) dx[i] = gradient(kind, slope, x[i], dy[i]);
}
