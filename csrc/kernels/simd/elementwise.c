/* elementwise.c - arithmetic, and y[i] = f(x[i]) on vectors; the functions themselves stand in vmath.h. */
#include "base/integers.h"
#include "kernels/simd/vmath.h"

#define UNARY(name, f)                                                 \
  void TX_SIMD_NAME(name##_f32)(int64_t n, const float *x, float *y) { \
    int64_t i = 0;                                                     \
    for (; i + VF <= n; i += VF) vf_store(y + i, f(vf_load(x + i)));   \
    if (i < n) vf_store_n(y + i, f(vf_load_n(x + i, n - i)), n - i);   \
  }

UNARY(exp, vf_exp)
UNARY(log, vf_log)
UNARY(tanh, vf_tanh)
UNARY(sigmoid, vf_logistic)
UNARY(erf, vf_erf)

void TX_SIMD_NAME(pow_f32)(int64_t n, const float *x, const float *exponent, float *y) {
  for (int64_t i = 0; i < n; i += VF) {
    vf_store_part(y + i, vf_pow(vf_load_part(x + i, n - i), vf_load_part(exponent + i, n - i)), n - i);
  }
}

#define NAME(name) TX_SIMD_NAME(name)
#include "kernels/ref/arithmetic_body.h"
