/* winograd.c - reference kernels: the transforms of kernels/winograd.h as products with its matrices. */
#include "kernels/winograd.h"

#include <stddef.h>

#include "kernels/ref/ref.h"

/* A matrix of a 1-D transform, up to 9 x 9; transposed: its adjoint. */
typedef struct matrix {
  int rows, columns;
  float at[9][9];
} matrix;

static matrix transposed(const matrix *m) {
  matrix t = {.rows = m->columns, .columns = m->rows};
  for (int i = 0; i < t.rows; i++) {
    for (int j = 0; j < t.columns; j++) t.at[i][j] = m->at[j][i];
  }
  return t;
}

/* -- stride 1 ------------------------------------------------------------------------------------------------------------ */

#define A TX_WINO_A
#define B TX_WINO_B
#define A2 (A * A)
#define B2 (B * B)
#define OF_A (1 / (2 * A2 * (A2 - B2)))
#define OF_B (1 / (2 * B2 * (B2 - A2)))

/* clang-format off */
static const matrix input = {6, 6, {
  {A2 * B2,       0, -A2 - B2,        0, 1, 0},
  {0,       -A * B2,      -B2,        A, 1, 0},
  {0,        A * B2,      -B2,       -A, 1, 0},
  {0,       -B * A2,      -A2,        B, 1, 0},
  {0,        B * A2,      -A2,       -B, 1, 0},
  {0,       A2 * B2,        0, -A2 - B2, 0, 1}}};

static const matrix output = {4, 6, {
  {1,      1,       1,      1,       1, 0},
  {0,      A,      -A,      B,      -B, 0},
  {0,     A2,      A2,     B2,      B2, 0},
  {0, A * A2, -A * A2, B * B2, -B * B2, 1}}};

static const matrix weight = {6, 3, {
  {1 / (A2 * B2), 0, 0},
  {OF_A,  A * OF_A, A2 * OF_A},
  {OF_A, -A * OF_A, A2 * OF_A},
  {OF_B,  B * OF_B, B2 * OF_B},
  {OF_B, -B * OF_B, B2 * OF_B},
  {0, 0, 1}}};
/* clang-format on */

#undef A
#undef B
#undef OF_A
#undef OF_B

/* -- stride 2 ------------------------------------------------------------------------------------------------------------ */

#define A TX_WINO2_A
#define B TX_WINO2_B
#define OF_A (1 / (2 * A * (A2 - B2)))
#define OF_B (1 / (2 * B * (B2 - A2)))

/* clang-format off */
static const matrix input2 = {9, 9, {
  {-A * B2, 0, -B2, 0,        A, 0,  1, 0, 0},
  { A * B2, 0, -B2, 0,       -A, 0,  1, 0, 0},
  {-B * A2, 0, -A2, 0,        B, 0,  1, 0, 0},
  { B * A2, 0, -A2, 0,       -B, 0,  1, 0, 0},
  {A2 * B2, 0,   0, 0, -A2 - B2, 0,  0, 0, 1},
  {0, 1}, {0, 0, 0, 1}, {0, 0, 0, 0, 0, 1}, {0, 0, 0, 0, 0, 0, 0, 1}}};

static const matrix output2 = {4, 9, {
  {     1,       1,      1,       1, 0, 1, 0, 0, 0},
  {     A,      -A,      B,      -B, 0, 0, 1, 0, 0},
  {    A2,      A2,     B2,      B2, 0, 0, 0, 1, 0},
  {A * A2, -A * A2, B * B2, -B * B2, 1, 0, 0, 0, 1}}};

static const matrix back_input2 = {9, 5, {
  {-A * B2, -B2,        A, 1, 0},
  { A * B2, -B2,       -A, 1, 0},
  {-B * A2, -A2,        B, 1, 0},
  { B * A2, -A2,       -B, 1, 0},
  {A2 * B2,   0, -A2 - B2, 0, 1},
  {1}, {0, 1}, {0, 0, 1}, {0, 0, 0, 1}}};

static const matrix back_output2 = {8, 9, {
  {0, 0, 0, 0, 0, 1, 0, 0, 0},
  {     1,       1,      1,       1, 0, 0, 0, 0, 0},
  {0, 0, 0, 0, 0, 0, 1, 0, 0},
  {     A,      -A,      B,      -B, 0, 0, 0, 0, 0},
  {0, 0, 0, 0, 0, 0, 0, 1, 0},
  {    A2,      A2,     B2,      B2, 0, 0, 0, 0, 0},
  {0, 0, 0, 0, 0, 0, 0, 0, 1},
  {A * A2, -A * A2, B * B2, -B * B2, 1, 0, 0, 0, 0}}};

static const matrix weight2 = {6, 3, {
  { OF_A, 0, A * OF_A},
  {-OF_A, 0, A * OF_A},
  { OF_B, 0, B * OF_B},
  {-OF_B, 0, B * OF_B},
  {0, 0, 1},
  {0, 1, 0}}};
/* clang-format on */

/* -- kernels ------------------------------------------------------------------------------------------------------------- */

/* y = M x M^T */
static void sandwich(const matrix *m, const float *x, float *y) {
  float half[9][9];
  for (int i = 0; i < m->rows; i++) {
    for (int j = 0; j < m->columns; j++) {
      half[i][j] = 0;
      for (int l = 0; l < m->columns; l++) half[i][j] += m->at[i][l] * x[l * m->columns + j];
    }
  }
  for (int i = 0; i < m->rows; i++) {
    for (int j = 0; j < m->rows; j++) {
      float sum = 0;
      for (int l = 0; l < m->columns; l++) sum += half[i][l] * m->at[j][l];
      y[i * m->rows + j] = sum;
    }
  }
}

static void from_pixels(const matrix *m, int64_t channels, const float *const *pixel, int row0, int row1, float *v,
                        int64_t v_step) {
  for (int64_t c = 0; c < channels; c++) {
    float x[81], y[81];
    for (int i = 0; i < m->columns * m->columns; i++) x[i] = pixel[i][c];
    sandwich(m, x, y);
    for (int i = row0 * m->rows; i < row1 * m->rows; i++) v[i * v_step + c] = y[i];
  }
}

static void to_pixels(const matrix *m, int64_t channels, const float *v, int64_t v_step, float *const *pixel) {
  for (int64_t c = 0; c < channels; c++) {
    float x[81], y[81];
    for (int i = 0; i < m->columns * m->columns; i++) x[i] = v[i * v_step + c];
    sandwich(m, x, y);
    for (int i = 0; i < m->rows * m->rows; i++) {
      if (pixel[i] != NULL) pixel[i][c] = y[i];
    }
  }
}

static void between(const matrix *m, int64_t channels, const float *from, int64_t from_step, float *to,
                    int64_t to_step) {
  for (int64_t c = 0; c < channels; c++) {
    float x[81], y[81];
    for (int i = 0; i < m->columns * m->columns; i++) x[i] = from[i * from_step + c];
    sandwich(m, x, y);
    for (int i = 0; i < m->rows * m->rows; i++) to[i * to_step + c] = y[i];
  }
}

void tx_wino_input_f32_ref(int64_t channels, const float *const *pixel, int row0, int row1, float *v, int64_t v_step) {
  from_pixels(&input, channels, pixel, row0, row1, v, v_step);
}

void tx_wino_output_f32_ref(int64_t channels, const float *m, int64_t m_step, float *const *pixel) {
  to_pixels(&output, channels, m, m_step, pixel);
}

void tx_wino_output_adjoint_f32_ref(int64_t channels, const float *const *pixel, int row0, int row1, float *m,
                                    int64_t m_step) {
  const matrix adjoint = transposed(&output);
  from_pixels(&adjoint, channels, pixel, row0, row1, m, m_step);
}

void tx_wino_weight_f32_ref(int64_t channels, const float *w, int64_t w_step, float *u, int64_t u_step) {
  between(&weight, channels, w, w_step, u, u_step);
}

void tx_wino_weight_adjoint_f32_ref(int64_t channels, const float *u, int64_t u_step, float *w, int64_t w_step) {
  const matrix adjoint = transposed(&weight);
  between(&adjoint, channels, u, u_step, w, w_step);
}

void tx_wino2_input_f32_ref(int64_t channels, const float *const *pixel, int row0, int row1, float *v, int64_t v_step) {
  from_pixels(&input2, channels, pixel, row0, row1, v, v_step);
}

void tx_wino2_output_f32_ref(int64_t channels, const float *m, int64_t m_step, float *const *pixel) {
  to_pixels(&output2, channels, m, m_step, pixel);
}

void tx_wino2_output_adjoint_f32_ref(int64_t channels, const float *const *pixel, int row0, int row1, float *m,
                                     int64_t m_step) {
  const matrix adjoint = transposed(&output2);
  from_pixels(&adjoint, channels, pixel, row0, row1, m, m_step);
}

void tx_wino2_back_input_f32_ref(int64_t channels, const float *const *pixel, int row0, int row1, float *v,
                                 int64_t v_step) {
  from_pixels(&back_input2, channels, pixel, row0, row1, v, v_step);
}

void tx_wino2_back_output_f32_ref(int64_t channels, const float *m, int64_t m_step, float *const *pixel) {
  to_pixels(&back_output2, channels, m, m_step, pixel);
}

void tx_wino2_weight_f32_ref(int64_t channels, const float *w, int64_t w_step, float *u, int64_t u_step) {
  between(&weight2, channels, w, w_step, u, u_step);
}

void tx_wino2_weight_adjoint_f32_ref(int64_t channels, const float *u, int64_t u_step, float *w, int64_t w_step) {
  const matrix adjoint = transposed(&weight2);
  between(&adjoint, channels, u, u_step, w, w_step);
}
