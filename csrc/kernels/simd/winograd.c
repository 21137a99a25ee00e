/* winograd.c - the transforms of kernels/winograd.h on vectors of channels.
 *
 * Each transform is 1-D transforms over the columns, kept in a small array on the stack, then over the rows. The 1-D
 * forms share the even and odd parts of the points +-a and +-b.
 */
#include "kernels/winograd.h"

#include "kernels/simd/simd.h"

#define A TX_WINO_A
#define B TX_WINO_B
#define A2 TX_WINO_A2
#define B2 TX_WINO_B2

enum { IN = TX_WINO_IN, OUT = TX_WINO_OUT };

/* y = B^T x */
TX_INLINE void input_1d(const vfloat x[IN], vfloat y[IN]) {
  const vfloat a2 = vf_set(A2), b2 = vf_set(B2), sum = vf_set(A2 + B2), product = vf_set(A2 * B2);
  const vfloat even_a = vf_fnma(b2, x[2], x[4]), odd_a = vf_fnma(b2, x[1], x[3]);
  const vfloat even_b = vf_fnma(a2, x[2], x[4]), odd_b = vf_fnma(a2, x[1], x[3]);
  y[0] = vf_fma(product, x[0], vf_fnma(sum, x[2], x[4]));
  y[1] = vf_fma(vf_set(A), odd_a, even_a);
  y[2] = vf_fnma(vf_set(A), odd_a, even_a);
  y[3] = vf_fma(vf_set(B), odd_b, even_b);
  y[4] = vf_fnma(vf_set(B), odd_b, even_b);
  y[5] = vf_fma(product, x[1], vf_fnma(sum, x[3], x[5]));
}

/* y = A^T x */
TX_INLINE void output_1d(const vfloat x[IN], vfloat y[OUT]) {
  const vfloat even_a = x[1] + x[2], odd_a = x[1] - x[2], even_b = x[3] + x[4], odd_b = x[3] - x[4];
  y[0] = x[0] + even_a + even_b;
  y[1] = vf_fma(vf_set(A), odd_a, vf_set(B) * odd_b);
  y[2] = vf_fma(vf_set(A2), even_a, vf_set(B2) * even_b);
  y[3] = vf_fma(vf_set(A * A2), odd_a, vf_fma(vf_set(B * B2), odd_b, x[5]));
}

/* y = A x */
TX_INLINE void output_adjoint_1d(const vfloat x[OUT], vfloat y[IN]) {
  const vfloat even_a = vf_fma(vf_set(A2), x[2], x[0]), odd_a = vf_set(A) * vf_fma(vf_set(A2), x[3], x[1]);
  const vfloat even_b = vf_fma(vf_set(B2), x[2], x[0]), odd_b = vf_set(B) * vf_fma(vf_set(B2), x[3], x[1]);
  y[0] = x[0];
  y[1] = even_a + odd_a;
  y[2] = even_a - odd_a;
  y[3] = even_b + odd_b;
  y[4] = even_b - odd_b;
  y[5] = x[3];
}

#define SCALE_0 (1 / (A2 * B2))
#define SCALE_A (1 / (2 * A2 * (A2 - B2)))
#define SCALE_B (1 / (2 * B2 * (B2 - A2)))

/* y = G x */
TX_INLINE void weight_1d(const vfloat x[3], vfloat y[IN]) {
  const vfloat even_a = vf_set(SCALE_A) * vf_fma(vf_set(A2), x[2], x[0]), odd_a = vf_set(SCALE_A * A) * x[1];
  const vfloat even_b = vf_set(SCALE_B) * vf_fma(vf_set(B2), x[2], x[0]), odd_b = vf_set(SCALE_B * B) * x[1];
  y[0] = vf_set(SCALE_0) * x[0];
  y[1] = even_a + odd_a;
  y[2] = even_a - odd_a;
  y[3] = even_b + odd_b;
  y[4] = even_b - odd_b;
  y[5] = x[2];
}

/* y = G^T x */
TX_INLINE void weight_adjoint_1d(const vfloat x[IN], vfloat y[3]) {
  const vfloat even_a = vf_set(SCALE_A) * (x[1] + x[2]), odd_a = vf_set(SCALE_A) * (x[1] - x[2]);
  const vfloat even_b = vf_set(SCALE_B) * (x[3] + x[4]), odd_b = vf_set(SCALE_B) * (x[3] - x[4]);
  y[0] = vf_fma(vf_set(SCALE_0), x[0], even_a + even_b);
  y[1] = vf_fma(vf_set(A), odd_a, vf_set(B) * odd_b);
  y[2] = vf_fma(vf_set(A2), even_a, vf_fma(vf_set(B2), even_b, x[5]));
}

/* y = M x M^T for an n by n x and an m by n M that `transform` multiplies with; reads with load(i * n + j), writes with
 * store(i * m + j, value). */
#define SANDWICH(m, n, transform, load, store)                  \
  do {                                                          \
    vfloat half[n][m];                                          \
    _Pragma("GCC unroll 6") for (int j = 0; j < (n); j++) {     \
      vfloat column[n];                                         \
      _Pragma("GCC unroll 6") for (int i = 0; i < (n); i++) {   \
        column[i] = load(i * (n) + j);                          \
      }                                                         \
      transform(column, half[j]);                               \
    }                                                           \
    _Pragma("GCC unroll 6") for (int i = 0; i < (m); i++) {     \
      vfloat row[n], y[m];                                      \
      _Pragma("GCC unroll 6") for (int j = 0; j < (n); j++) {   \
        row[j] = half[j][i];                                    \
      }                                                         \
      transform(row, y);                                        \
      _Pragma("GCC unroll 6") for (int j = 0; j < (m); j++) {   \
        store(i *(m) + j, y[j]);                                \
      }                                                         \
    }                                                           \
  } while (0)

/* Runs a transform over the channels: whole vectors first, then the rest with partial loads and stores. */
#define OVER_CHANNELS(channels, m, n, transform)                                       \
  do {                                                                                 \
    int64_t c = 0;                                                                     \
    for (; c + VF <= (channels); c += VF) SANDWICH(m, n, transform, LOAD, STORE);      \
    const int64_t left = (channels)-c;                                                 \
    if (left > 0) SANDWICH(m, n, transform, LOAD_LEFT, STORE_LEFT);                    \
  } while (0)

void TX_SIMD_NAME(wino_input_f32)(int64_t channels, const float *const *pixel, float *v, int64_t v_step) {
#define LOAD(i) vf_load(pixel[i] + c)
#define LOAD_LEFT(i) vf_load_n(pixel[i] + c, left)
#define STORE(i, y) vf_store(v + (i)*v_step + c, y)
#define STORE_LEFT(i, y) vf_store_n(v + (i)*v_step + c, y, left)
  OVER_CHANNELS(channels, IN, IN, input_1d);
#undef STORE
#undef STORE_LEFT
}

void TX_SIMD_NAME(wino_output_adjoint_f32)(int64_t channels, const float *const *pixel, float *m, int64_t m_step) {
#define STORE(i, y) vf_store(m + (i)*m_step + c, y)
#define STORE_LEFT(i, y) vf_store_n(m + (i)*m_step + c, y, left)
  OVER_CHANNELS(channels, IN, OUT, output_adjoint_1d);
#undef LOAD
#undef LOAD_LEFT
#undef STORE
#undef STORE_LEFT
}

void TX_SIMD_NAME(wino_output_f32)(int64_t channels, const float *m, int64_t m_step, float *const *pixel) {
#define LOAD(i) vf_load(m + (i)*m_step + c)
#define LOAD_LEFT(i) vf_load_n(m + (i)*m_step + c, left)
#define STORE(i, y) \
  if (pixel[i] != NULL) vf_store(pixel[i] + c, y)
#define STORE_LEFT(i, y) \
  if (pixel[i] != NULL) vf_store_n(pixel[i] + c, y, left)
  OVER_CHANNELS(channels, OUT, IN, output_1d);
#undef LOAD
#undef LOAD_LEFT
#undef STORE
#undef STORE_LEFT
}

void TX_SIMD_NAME(wino_weight_f32)(int64_t channels, const float *w, int64_t w_step, float *u, int64_t u_step) {
#define LOAD(i) vf_load(w + (i)*w_step + c)
#define LOAD_LEFT(i) vf_load_n(w + (i)*w_step + c, left)
#define STORE(i, y) vf_store(u + (i)*u_step + c, y)
#define STORE_LEFT(i, y) vf_store_n(u + (i)*u_step + c, y, left)
  OVER_CHANNELS(channels, IN, 3, weight_1d);
#undef LOAD
#undef LOAD_LEFT
#undef STORE
#undef STORE_LEFT
}

void TX_SIMD_NAME(wino_weight_adjoint_f32)(int64_t channels, const float *u, int64_t u_step, float *w, int64_t w_step) {
#define LOAD(i) vf_load(u + (i)*u_step + c)
#define LOAD_LEFT(i) vf_load_n(u + (i)*u_step + c, left)
#define STORE(i, y) vf_store(w + (i)*w_step + c, y)
#define STORE_LEFT(i, y) vf_store_n(w + (i)*w_step + c, y, left)
  OVER_CHANNELS(channels, 3, IN, weight_adjoint_1d);
}
