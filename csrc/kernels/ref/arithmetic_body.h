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

#define UNARY_LOOP(name, function)                                             \
  void NAME(name##_f32)(int64_t n, const float *x, float *y) {                 \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = function(x[i]); \
  }

UNARY_LOOP(sqrt, sqrtf)
UNARY_LOOP(floor, floorf)
UNARY_LOOP(ceil, ceilf)
UNARY_LOOP(round, rintf)

void NAME(clamp_f32)(int64_t n, float low, float high, const float *x, float *y) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    float z = x[i] < low ? low : x[i];
    y[i] = z > high ? high : z;
  }
}

/* fmod is m = a - q z with q = trunc(a / z): exact in doubles while q has 29 bits, though q may be one too large where
 * a / z was rounded up. The few other values are left to fmodf. Then, as in Lua, m gets the sign of z. */
void NAME(mod_f32)(int64_t n, const float *a, const float *b, float *y) {
  enum { PIECE = 64 };
  for (int64_t first = 0; first < n; first += PIECE) {
    const int64_t count = tx_min(n - first, PIECE);
    float x[PIECE], z[PIECE];      /* y may be a or b */
    double largest = 0, check = 0; /* of the q; NaN where something was not finite */
    memcpy(x, a + first, (size_t)count * sizeof(float));
    memcpy(z, b + first, (size_t)count * sizeof(float));
#pragma omp simd reduction(max : largest) reduction(+ : check)
    for (int64_t i = 0; i < count; i++) {
      double value = (double)x[i], divisor = (double)z[i], q = trunc(value / divisor), m = value - q * divisor;
      largest = fabs(q) > largest ? fabs(q) : largest;
      check += (q + divisor) * 0;
      m += m * value < 0 ? (value < 0 ? -fabs(divisor) : fabs(divisor)) : 0;
      y[first + i] = (float)(m + (m * divisor < 0 ? divisor : 0));
    }
    const bool hard = !(largest < 0x1p29) || check != 0;
    for (int64_t i = 0; i < count && hard; i++) {
      float m = fmodf(x[i], z[i]);
      y[first + i] = m != 0 && (m < 0) != (z[i] < 0) ? m + z[i] : m;
    }
  }
}

void NAME(u8_to_f32)(int64_t n, const uint8_t *x, float *y) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) y[i] = (float)x[i];
}
