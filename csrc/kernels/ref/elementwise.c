/* elementwise.c - reference kernels: arithmetic and y[i] = f(x[i]). */
#include <math.h>
#include <string.h>

#include "base/integers.h"
#include "kernels/ref/ref.h"

#define UNARY(f, expression)                                   \
  void tx_##f##_f32_ref(int64_t n, const float *x, float *y) { \
    for (int64_t i = 0; i < n; i++) y[i] = expression;         \
  }

UNARY(exp, expf(x[i]))
UNARY(log, logf(x[i]))
UNARY(tanh, tanhf(x[i]))
UNARY(sigmoid, 1 / (1 + expf(-x[i])))
UNARY(erf, erff(x[i]))

void tx_pow_f32_ref(int64_t n, const float *x, const float *exponent, float *y) {
  for (int64_t i = 0; i < n; i++) y[i] = powf(x[i], exponent[i]);
}

#define NAME(name) tx_##name##_ref
#include "kernels/ref/arithmetic_body.h"
