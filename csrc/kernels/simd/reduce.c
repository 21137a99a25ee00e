/* reduce.c - kernels on rows: one result per row. Sums are kept in doubles, in two vectors for each vector of floats. */
#include "kernels/simd/vmath.h"

/* What is summed up. */
typedef enum term { VALUE, SQUARE, EXPONENTIAL } term;

/* The low and high halves of the terms of v. */
TX_INLINE void add_terms(term kind, vfloat v, vdouble centre, float exp_centre, vdouble *low, vdouble *high) {
  if (kind == EXPONENTIAL) v = vf_exp(v - exp_centre);
  vdouble a = vd_low(v), b = vd_high(v);
  if (kind == SQUARE) {
    a -= centre;
    b -= centre;
    a *= a;
    b *= b;
  }
  *low += a;
  *high += b;
}

TX_INLINE double one_term(term kind, float x, double centre) {
  if (kind == SQUARE) return ((double)x - centre) * ((double)x - centre);
  return (double)x;
}

TX_INLINE double add_up(vdouble v) {
  double x[VD];
  vd_store(x, v);
  for (int width = VD / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; i++) x[i] += x[i + width];
  }
  return x[0];
}

/* Four vectors at a time, then single ones; the last elements one by one. */
TX_INLINE double sum_row(term kind, int64_t n, const float *x, double centre) {
  vdouble acc[8] = {{0}}, middle = (vdouble){0} + centre;
  float c = (float)centre;
  int64_t j = 0;
  for (; j + 4 * VF <= n; j += 4 * VF) {
    for (int v = 0; v < 4; v++) add_terms(kind, vf_load(x + j + v * VF), middle, c, &acc[2 * v], &acc[2 * v + 1]);
  }
  for (; j + VF <= n; j += VF) add_terms(kind, vf_load(x + j), middle, c, &acc[0], &acc[1]);
  double sum = add_up(((acc[0] + acc[1]) + (acc[2] + acc[3])) + ((acc[4] + acc[5]) + (acc[6] + acc[7])));
  if (kind == EXPONENTIAL && j < n) { /* all rest at once: an exponential alone costs as much as a vector of them */
    float rest[VF];
    vf_store(rest, vf_exp(vf_load_n(x + j, n - j) - c));
    for (int64_t k = 0; k < n - j; k++) sum += (double)rest[k];
    return sum;
  }
  for (; j < n; j++) sum += one_term(kind, x[j], centre);
  return sum;
}

void TX_SIMD_NAME(sum_rows_f32)(int64_t rows, int64_t n, const float *x, double *sum) {
  for (int64_t i = 0; i < rows; i++) sum[i] = sum_row(VALUE, n, x + i * n, 0);
}

void TX_SIMD_NAME(square_rows_f32)(int64_t rows, int64_t n, const float *x, const double *centre, double *sum) {
  for (int64_t i = 0; i < rows; i++) sum[i] = sum_row(SQUARE, n, x + i * n, centre != NULL ? centre[i] : 0);
}

void TX_SIMD_NAME(exp_rows_f32)(int64_t rows, int64_t n, const float *x, const double *centre, double *sum) {
  for (int64_t i = 0; i < rows; i++) sum[i] = sum_row(EXPONENTIAL, n, x + i * n, centre != NULL ? centre[i] : 0);
}

/* sign 1: the largest, -1: the smallest, found as the largest of -x. */
TX_INLINE double extreme(int64_t n, const float *x, float sign) {
  float lane[VF], most = sign * x[0];
  int64_t j = 0;
  if (n >= VF) {
    vfloat acc[4];
    vint not_a_number = vi_set(0); /* vf_max forgets a NaN in its first operand */
    for (int v = 0; v < 4; v++) acc[v] = sign * vf_load(x);
    for (; j + 4 * VF <= n; j += 4 * VF) {
      for (int v = 0; v < 4; v++) {
        vfloat value = sign * vf_load(x + j + v * VF);
        acc[v] = vf_max(value, acc[v]);
        not_a_number |= value != value;
      }
    }
    for (; j < n; j += VF) {
      vfloat value = sign * vf_load(x + (j + VF <= n ? j : n - VF)); /* the last vector overlaps the one before */
      acc[0] = vf_max(value, acc[0]);
      not_a_number |= value != value;
    }
    if (vi_any(not_a_number)) return (double)NAN;
    vf_store(lane, vf_max(vf_max(acc[0], acc[1]), vf_max(acc[2], acc[3])));
    for (int width = VF / 2; width > 0; width /= 2) {
      for (int i = 0; i < width; i++) lane[i] = lane[i] > lane[i + width] ? lane[i] : lane[i + width];
    }
    most = lane[0];
  }
  for (; j < n; j++) most = sign * x[j] > most || x[j] != x[j] ? sign * x[j] : most;
  return (double)(sign * most);
}

void TX_SIMD_NAME(max_rows_f32)(int64_t rows, int64_t n, const float *x, double *most) {
  for (int64_t i = 0; i < rows; i++) most[i] = extreme(n, x + i * n, 1);
}

void TX_SIMD_NAME(min_rows_f32)(int64_t rows, int64_t n, const float *x, double *least) {
  for (int64_t i = 0; i < rows; i++) least[i] = extreme(n, x + i * n, -1);
}
