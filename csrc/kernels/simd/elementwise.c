/* elementwise.c - y[i] = f(x[i]) on vectors. */
#include "kernels/simd/vmath.h"

void TX_SIMD_NAME(exp_f32)(int64_t n, const float *x, float *y) {
  int64_t i = 0;
  for (; i + VF <= n; i += VF) vf_store(y + i, vf_exp(vf_load(x + i)));
  if (i < n) vf_store_n(y + i, vf_exp(vf_load_n(x + i, n - i)), n - i);
}
