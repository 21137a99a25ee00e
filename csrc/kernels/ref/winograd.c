/* winograd.c - reference kernels: the transforms of kernels/winograd.h as products with its matrices. */
#include "kernels/winograd.h"

#include <stddef.h>

#include "kernels/ref/ref.h"

#define A TX_WINO_A
#define B TX_WINO_B
#define A2 TX_WINO_A2
#define B2 TX_WINO_B2

static const float input_matrix[6][6] = {
    {A2 * B2, 0, -A2 - B2, 0, 1, 0}, {0, -A * B2, -B2, A, 1, 0}, {0, A * B2, -B2, -A, 1, 0},
    {0, -B *A2, -A2, B, 1, 0},       {0, B *A2, -A2, -B, 1, 0},  {0, A2 *B2, 0, -A2 - B2, 0, 1},
};
static const float output_matrix[4][6] = {
    {1, 1, 1, 1, 1, 0}, {0, A, -A, B, -B, 0}, {0, A2, A2, B2, B2, 0}, {0, A *A2, -A *A2, B *B2, -B *B2, 1}};
static const float weight_matrix[6][3] = {
    {1 / (A2 * B2), 0, 0},
    {1 / (2 * A2 * (A2 - B2)), A / (2 * A2 * (A2 - B2)), A2 / (2 * A2 * (A2 - B2))},
    {1 / (2 * A2 * (A2 - B2)), -A / (2 * A2 * (A2 - B2)), A2 / (2 * A2 * (A2 - B2))},
    {1 / (2 * B2 * (B2 - A2)), B / (2 * B2 * (B2 - A2)), B2 / (2 * B2 * (B2 - A2))},
    {1 / (2 * B2 * (B2 - A2)), -B / (2 * B2 * (B2 - A2)), B2 / (2 * B2 * (B2 - A2))},
    {0, 0, 1},
};

/* y = M x M^T, where x is n by n, M is m by n, or n by m and used transposed. */
static void sandwich(int m, int n, const float *matrix, int row, int column, const float *x, float *y) {
  float half[6][6];
  for (int i = 0; i < m; i++) {
    for (int j = 0; j < n; j++) {
      half[i][j] = 0;
      for (int l = 0; l < n; l++) half[i][j] += matrix[i * row + l * column] * x[l * n + j];
    }
  }
  for (int i = 0; i < m; i++) {
    for (int j = 0; j < m; j++) {
      float sum = 0;
      for (int l = 0; l < n; l++) sum += half[i][l] * matrix[j * row + l * column];
      y[i * m + j] = sum;
    }
  }
}

void tx_wino_input_f32_ref(int64_t channels, const float *const *pixel, float *v, int64_t v_step) {
  for (int64_t c = 0; c < channels; c++) {
    float x[36], y[36];
    for (int i = 0; i < 36; i++) x[i] = pixel[i][c];
    sandwich(6, 6, input_matrix[0], 6, 1, x, y);
    for (int i = 0; i < 36; i++) v[i * v_step + c] = y[i];
  }
}

void tx_wino_output_f32_ref(int64_t channels, const float *m, int64_t m_step, float *const *pixel) {
  for (int64_t c = 0; c < channels; c++) {
    float x[36], y[16];
    for (int i = 0; i < 36; i++) x[i] = m[i * m_step + c];
    sandwich(4, 6, output_matrix[0], 6, 1, x, y);
    for (int i = 0; i < 16; i++) {
      if (pixel[i] != NULL) pixel[i][c] = y[i];
    }
  }
}

void tx_wino_output_adjoint_f32_ref(int64_t channels, const float *const *pixel, float *m, int64_t m_step) {
  for (int64_t c = 0; c < channels; c++) {
    float x[16], y[36];
    for (int i = 0; i < 16; i++) x[i] = pixel[i][c];
    sandwich(6, 4, output_matrix[0], 1, 6, x, y);
    for (int i = 0; i < 36; i++) m[i * m_step + c] = y[i];
  }
}

void tx_wino_weight_f32_ref(int64_t channels, const float *w, int64_t w_step, float *u, int64_t u_step) {
  for (int64_t c = 0; c < channels; c++) {
    float x[9], y[36];
    for (int i = 0; i < 9; i++) x[i] = w[i * w_step + c];
    sandwich(6, 3, weight_matrix[0], 3, 1, x, y);
    for (int i = 0; i < 36; i++) u[i * u_step + c] = y[i];
  }
}

void tx_wino_weight_adjoint_f32_ref(int64_t channels, const float *u, int64_t u_step, float *w, int64_t w_step) {
  for (int64_t c = 0; c < channels; c++) {
    float x[36], y[9];
    for (int i = 0; i < 36; i++) x[i] = u[i * u_step + c];
    sandwich(3, 6, weight_matrix[0], 1, 3, x, y);
    for (int i = 0; i < 9; i++) w[i * w_step + c] = y[i];
  }
}
