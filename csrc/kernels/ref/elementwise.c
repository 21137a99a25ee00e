/* elementwise.c - reference kernels: y[i] = f(x[i]). */
#include <math.h>

#include "kernels/ref/ref.h"

void tx_exp_f32_ref(int64_t n, const float *x, float *y) {
  for (int64_t i = 0; i < n; i++) y[i] = expf(x[i]);
}
