/* arithmetic_body.h - arithmetic on f32; NAME(x) is the function's name.
 *
 * Plain loops that compilers vectorize: the text of both kernels/ref/elementwise.c and kernels/simd/elementwise.c.
 */

#define BINARY(name, operator)                                                     \
  void NAME(name##_f32)(int64_t n, const float *a, const float *b, float *y) {     \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = a[i] operator b[i]; \
  }

BINARY(add, +)
BINARY(sub, -)
BINARY(mul, *)
BINARY(div, /)

void NAME(axpy_f32)(int64_t n, float alpha, const float *x, float *y) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) y[i] += alpha * x[i];
}
