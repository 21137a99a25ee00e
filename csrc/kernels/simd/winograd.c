/* winograd.c - the transforms of kernels/winograd.h on vectors of channels.
 *
 * Each 2-D transform is 1-D transforms over the columns, kept in a small array on the stack, then over the rows. The 1-D
 * forms share the even and odd parts of the points +-a and +-b.
 */
#include "kernels/winograd.h"

#include <stddef.h>

#include "kernels/simd/simd.h"

/* -- stride 1: 1-D forms ------------------------------------------------------------------------------------------------- */

#define A TX_WINO_A
#define B TX_WINO_B
#define A2 (A * A)
#define B2 (B * B)
#define OF_0 (1 / (A2 * B2))
#define OF_A (1 / (2 * A2 * (A2 - B2)))
#define OF_B (1 / (2 * B2 * (B2 - A2)))

/* The values at +a and -a from their even and odd parts; `a` scales the odd one. */
TX_INLINE void plus_minus(vfloat even, float a, vfloat odd, vfloat *plus, vfloat *minus) {
  *plus = vf_fma(vf_set(a), odd, even);
  *minus = vf_fnma(vf_set(a), odd, even);
}

TX_INLINE void input_1d(const vfloat *x, vfloat *y) {
  const vfloat a2 = vf_set(A2), b2 = vf_set(B2), sum = vf_set(A2 + B2), product = vf_set(A2 * B2);
  y[0] = vf_fma(product, x[0], vf_fnma(sum, x[2], x[4]));
  plus_minus(vf_fnma(b2, x[2], x[4]), A, vf_fnma(b2, x[1], x[3]), &y[1], &y[2]);
  plus_minus(vf_fnma(a2, x[2], x[4]), B, vf_fnma(a2, x[1], x[3]), &y[3], &y[4]);
  y[5] = vf_fma(product, x[1], vf_fnma(sum, x[3], x[5]));
}

TX_INLINE void output_1d(const vfloat *x, vfloat *y) {
  const vfloat even_a = x[1] + x[2], odd_a = x[1] - x[2], even_b = x[3] + x[4], odd_b = x[3] - x[4];
  y[0] = x[0] + even_a + even_b;
  y[1] = vf_fma(vf_set(A), odd_a, vf_set(B) * odd_b);
  y[2] = vf_fma(vf_set(A2), even_a, vf_set(B2) * even_b);
  y[3] = vf_fma(vf_set(A * A2), odd_a, vf_fma(vf_set(B * B2), odd_b, x[5]));
}

TX_INLINE void output_adjoint_1d(const vfloat *x, vfloat *y) {
  y[0] = x[0];
  plus_minus(vf_fma(vf_set(A2), x[2], x[0]), A, vf_fma(vf_set(A2), x[3], x[1]), &y[1], &y[2]);
  plus_minus(vf_fma(vf_set(B2), x[2], x[0]), B, vf_fma(vf_set(B2), x[3], x[1]), &y[3], &y[4]);
  y[5] = x[3];
}

TX_INLINE void weight_1d(const vfloat *x, vfloat *y) {
  y[0] = vf_set(OF_0) * x[0];
  plus_minus(vf_set(OF_A) * vf_fma(vf_set(A2), x[2], x[0]), OF_A * A, x[1], &y[1], &y[2]);
  plus_minus(vf_set(OF_B) * vf_fma(vf_set(B2), x[2], x[0]), OF_B * B, x[1], &y[3], &y[4]);
  y[5] = x[2];
}

TX_INLINE void weight_adjoint_1d(const vfloat *x, vfloat *y) {
  const vfloat even_a = vf_set(OF_A) * (x[1] + x[2]), odd_a = vf_set(OF_A) * (x[1] - x[2]);
  const vfloat even_b = vf_set(OF_B) * (x[3] + x[4]), odd_b = vf_set(OF_B) * (x[3] - x[4]);
  y[0] = vf_fma(vf_set(OF_0), x[0], even_a + even_b);
  y[1] = vf_fma(vf_set(A), odd_a, vf_set(B) * odd_b);
  y[2] = vf_fma(vf_set(A2), even_a, vf_fma(vf_set(B2), even_b, x[5]));
}

#undef A
#undef B
#undef OF_0
#undef OF_A
#undef OF_B

/* -- stride 2: 1-D forms ------------------------------------------------------------------------------------------------- */

#define A TX_WINO2_A
#define B TX_WINO2_B
#define OF_A (1 / (2 * A * (A2 - B2)))
#define OF_B (1 / (2 * B * (B2 - A2)))

/* F(4, 2) of five samples. */
TX_INLINE void five_1d(vfloat x0, vfloat x1, vfloat x2, vfloat x3, vfloat x4, vfloat *y) {
  const vfloat a2 = vf_set(A2), b2 = vf_set(B2);
  plus_minus(vf_fnma(b2, x1, x3), A, vf_fnma(b2, x0, x2), &y[0], &y[1]);
  plus_minus(vf_fnma(a2, x1, x3), B, vf_fnma(a2, x0, x2), &y[2], &y[3]);
  y[4] = vf_fma(vf_set(A2 * B2), x0, vf_fnma(vf_set(A2 + B2), x2, x4));
}

/* The four outputs of F(4, 2); each plus `more`. */
TX_INLINE void four_1d(const vfloat *x, const vfloat *more, vfloat *y) {
  const vfloat even_a = x[0] + x[1], odd_a = x[0] - x[1], even_b = x[2] + x[3], odd_b = x[2] - x[3];
  y[0] = even_a + even_b + more[0];
  y[1] = vf_fma(vf_set(A), odd_a, vf_fma(vf_set(B), odd_b, more[1]));
  y[2] = vf_fma(vf_set(A2), even_a, vf_fma(vf_set(B2), even_b, more[2]));
  y[3] = vf_fma(vf_set(A * A2), odd_a, vf_fma(vf_set(B * B2), odd_b, x[4] + more[3]));
}

TX_INLINE void input2_1d(const vfloat *x, vfloat *y) {
  five_1d(x[0], x[2], x[4], x[6], x[8], y);
  y[5] = x[1];
  y[6] = x[3];
  y[7] = x[5];
  y[8] = x[7];
}

TX_INLINE void output2_1d(const vfloat *x, vfloat *y) { four_1d(x, x + 5, y); }

TX_INLINE void output2_adjoint_1d(const vfloat *x, vfloat *y) {
  plus_minus(vf_fma(vf_set(A2), x[2], x[0]), A, vf_fma(vf_set(A2), x[3], x[1]), &y[0], &y[1]);
  plus_minus(vf_fma(vf_set(B2), x[2], x[0]), B, vf_fma(vf_set(B2), x[3], x[1]), &y[2], &y[3]);
  y[4] = x[3];
  y[5] = x[0];
  y[6] = x[1];
  y[7] = x[2];
  y[8] = x[3];
}

TX_INLINE void back_input2_1d(const vfloat *x, vfloat *y) {
  five_1d(x[0], x[1], x[2], x[3], x[4], y);
  y[5] = x[0];
  y[6] = x[1];
  y[7] = x[2];
  y[8] = x[3];
}

TX_INLINE void back_output2_1d(const vfloat *x, vfloat *y) {
  const vfloat nothing[4] = {{0}};
  vfloat between[4];
  four_1d(x, nothing, between);
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    y[2 * i] = x[5 + i];
    y[2 * i + 1] = between[i];
  }
}

TX_INLINE void weight2_1d(const vfloat *x, vfloat *y) {
  const vfloat a = vf_set(OF_A) * x[0], b = vf_set(OF_B) * x[0];
  y[0] = vf_fma(vf_set(A * OF_A), x[2], a);
  y[1] = vf_fma(vf_set(A * OF_A), x[2], -a);
  y[2] = vf_fma(vf_set(B * OF_B), x[2], b);
  y[3] = vf_fma(vf_set(B * OF_B), x[2], -b);
  y[4] = x[2];
  y[5] = x[1];
}

TX_INLINE void weight2_adjoint_1d(const vfloat *x, vfloat *y) {
  y[0] = vf_fma(vf_set(OF_A), x[0] - x[1], vf_set(OF_B) * (x[2] - x[3]));
  y[1] = x[5];
  y[2] = vf_fma(vf_set(A * OF_A), x[0] + x[1], vf_fma(vf_set(B * OF_B), x[2] + x[3], x[4]));
}

/* -- 2-D ----------------------------------------------------------------------------------------------------------------- */

typedef void form_1d(const vfloat *x, vfloat *y);

/* A 2-D transform of VF channels is M x M^T for an {n,n} x, where `form` multiplies with the m by n matrix M: first the
 * columns, here, into half {m,n}, then its rows. Only the forms are unrolled: a column or row at a time fits into the
 * registers, the whole does not. */
enum { SIDE = 9 };

TX_INLINE void keep_column(int m, const vfloat *y, int j, vfloat half[SIDE][SIDE]) {
#pragma GCC unroll 9
  for (int i = 0; i < m; i++) half[i][j] = y[i];
}

/* `left` channels from pixels, which begin at `c` in each, to rows [row0, row1) of elements `step` apart. */
TX_INLINE void elements_of_pixels(int m, int n, form_1d *form, int64_t left, const float *const *pixel, int64_t c,
                                  int row0, int row1, float *v, int64_t step) {
  vfloat half[SIDE][SIDE], x[SIDE], y[SIDE];
#pragma GCC unroll 1
  for (int j = 0; j < n; j++) {
#pragma GCC unroll 9
    for (int i = 0; i < n; i++) x[i] = vf_load_part(pixel[i * n + j] + c, left);
    form(x, y);
    keep_column(m, y, j, half);
  }
  v += row0 * m * step;
#pragma GCC unroll 1
  for (int i = row0; i < row1; i++, v += m * step) {
    form(half[i], y);
#pragma GCC unroll 9
    for (int j = 0; j < m; j++) vf_store_part(v + j * step, y[j], left);
  }
}

/* The other way; nothing is stored where a pixel is NULL. */
TX_INLINE void pixels_of_elements(int m, int n, form_1d *form, int64_t left, const float *v, int64_t step,
                                  float *const *pixel, int64_t c) {
  vfloat half[SIDE][SIDE], x[SIDE], y[SIDE];
#pragma GCC unroll 1
  for (int j = 0; j < n; j++, v += step) {
#pragma GCC unroll 9
    for (int i = 0; i < n; i++) x[i] = vf_load_part(v + i * n * step, left);
    form(x, y);
    keep_column(m, y, j, half);
  }
#pragma GCC unroll 1
  for (int i = 0; i < m; i++, pixel += m) {
    form(half[i], y);
#pragma GCC unroll 9
    for (int j = 0; j < m; j++) {
      if (pixel[j] != NULL) vf_store_part(pixel[j] + c, y[j], left);
    }
  }
}

TX_INLINE void from_pixels(int m, int n, form_1d *form, int64_t channels, const float *const *pixel, int row0, int row1,
                           float *v, int64_t step) {
  int64_t c = 0;
  for (; c + VF <= channels; c += VF) elements_of_pixels(m, n, form, VF, pixel, c, row0, row1, v + c, step);
  if (c < channels) elements_of_pixels(m, n, form, channels - c, pixel, c, row0, row1, v + c, step);
}

TX_INLINE void to_pixels(int m, int n, form_1d *form, int64_t channels, const float *v, int64_t step,
                         float *const *pixel) {
  int64_t c = 0;
  for (; c + VF <= channels; c += VF) pixels_of_elements(m, n, form, VF, v + c, step, pixel, c);
  if (c < channels) pixels_of_elements(m, n, form, channels - c, v + c, step, pixel, c);
}

/* Between two arrays of elements. */
TX_INLINE void between(int m, int n, form_1d *form, int64_t channels, const float *from, int64_t from_step, float *to,
                       int64_t to_step) {
  const float *pixel[36];
  for (int i = 0; i < n * n; i++) pixel[i] = from + i * from_step;
  from_pixels(m, n, form, channels, pixel, 0, m, to, to_step);
}

/* -- kernels ------------------------------------------------------------------------------------------------------------- */

void TX_SIMD_NAME(wino_input_f32)(int64_t channels, const float *const *pixel, int row0, int row1, float *v,
                                  int64_t v_step) {
  from_pixels(6, 6, input_1d, channels, pixel, row0, row1, v, v_step);
}

void TX_SIMD_NAME(wino_output_f32)(int64_t channels, const float *m, int64_t m_step, float *const *pixel) {
  to_pixels(4, 6, output_1d, channels, m, m_step, pixel);
}

void TX_SIMD_NAME(wino_output_adjoint_f32)(int64_t channels, const float *const *pixel, int row0, int row1, float *m,
                                           int64_t m_step) {
  from_pixels(6, 4, output_adjoint_1d, channels, pixel, row0, row1, m, m_step);
}

void TX_SIMD_NAME(wino_weight_f32)(int64_t channels, const float *w, int64_t w_step, float *u, int64_t u_step) {
  between(6, 3, weight_1d, channels, w, w_step, u, u_step);
}

void TX_SIMD_NAME(wino_weight_adjoint_f32)(int64_t channels, const float *u, int64_t u_step, float *w, int64_t w_step) {
  between(3, 6, weight_adjoint_1d, channels, u, u_step, w, w_step);
}

void TX_SIMD_NAME(wino2_input_f32)(int64_t channels, const float *const *pixel, int row0, int row1, float *v,
                                   int64_t v_step) {
  from_pixels(9, 9, input2_1d, channels, pixel, row0, row1, v, v_step);
}

void TX_SIMD_NAME(wino2_output_f32)(int64_t channels, const float *m, int64_t m_step, float *const *pixel) {
  to_pixels(4, 9, output2_1d, channels, m, m_step, pixel);
}

void TX_SIMD_NAME(wino2_output_adjoint_f32)(int64_t channels, const float *const *pixel, int row0, int row1, float *m,
                                            int64_t m_step) {
  from_pixels(9, 4, output2_adjoint_1d, channels, pixel, row0, row1, m, m_step);
}

void TX_SIMD_NAME(wino2_back_input_f32)(int64_t channels, const float *const *pixel, int row0, int row1, float *v,
                                        int64_t v_step) {
  from_pixels(9, 5, back_input2_1d, channels, pixel, row0, row1, v, v_step);
}

void TX_SIMD_NAME(wino2_back_output_f32)(int64_t channels, const float *m, int64_t m_step, float *const *pixel) {
  to_pixels(8, 9, back_output2_1d, channels, m, m_step, pixel);
}

void TX_SIMD_NAME(wino2_weight_f32)(int64_t channels, const float *w, int64_t w_step, float *u, int64_t u_step) {
  between(6, 3, weight2_1d, channels, w, w_step, u, u_step);
}

void TX_SIMD_NAME(wino2_weight_adjoint_f32)(int64_t channels, const float *u, int64_t u_step, float *w,
                                            int64_t w_step) {
  between(3, 6, weight2_adjoint_1d, channels, u, u_step, w, w_step);
}
