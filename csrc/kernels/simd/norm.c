/* norm.c - kernels on channels: x is rows x c, one row after the other.
 *
 * Rows whose width is no multiple of VF are taken several at a time, as one row of `fold` * c elements whose channels
 * repeat: c = 3 and VF = 16 make rows of 48 elements, three full vectors. What remains is done row by row with a part
 * of a vector at the end.
 */
#include "base/integers.h"
#include "kernels/simd/simd.h"

enum { WIDEST = 64 * VF, SHORT = 8 }; /* most elements, least vectors of a folded row: wide ones waste little */

/* How many rows make one folded row; 1: c is a multiple of VF already, or wide. */
static int64_t fold_of(int64_t rows, int64_t c) {
  if (c <= 0 || c > WIDEST / VF) return 1;
  int64_t fold = 1;
  while (fold * c % VF != 0) fold *= 2;
  while (fold * c < SHORT * VF) fold *= 2; /* in short rows a channel's sum waits for itself */
  return fold <= rows ? fold : 1;
}

/* `to` = `from` repeated `times` times; NULL stays NULL. */
static const float *repeat(int64_t times, int64_t c, const float *from, float *to) {
  if (from == NULL) return NULL;
  for (int64_t i = 0; i < times; i++) memcpy(to + i * c, from, (size_t)c * sizeof(float));
  return to;
}

/* to[j] += the sum of from[j], from[c + j], ... */
static void add_folded(int64_t times, int64_t c, const double *from, double *to) {
  for (int64_t i = 0; i < times; i++) {
    for (int64_t j = 0; j < c; j++) to[j] += from[i * c + j];
  }
}

/* -- sums -------------------------------------------------------------------------------------------------------- */

/* Adds the first `width` channels of rows that stand c apart to sum[], or with `mean` their squared distances from
 * it. Row by row, as memory has them: the sums wait in the first-level cache. */
TX_INLINE void sum_rows(int64_t rows, int64_t c, int64_t width, const float *x, const double *mean, double *sum) {
  for (int64_t i = 0; i < rows; i++, x += c) {
    int64_t j = 0;
    for (; j + VF <= width; j += VF) {
      vfloat value = vf_load(x + j);
      vdouble low = vd_low(value), high = vd_high(value);
      if (mean != NULL) {
        low -= vd_load(mean + j);
        high -= vd_load(mean + j + VD);
        low *= low;
        high *= high;
      }
      vd_store(sum + j, vd_load(sum + j) + low);
      vd_store(sum + j + VD, vd_load(sum + j + VD) + high);
    }
    for (; j < width; j++) {
      double value = (double)x[j], difference = mean != NULL ? value - mean[j] : 0;
      sum[j] += mean != NULL ? difference * difference : value;
    }
  }
}

void TX_SIMD_NAME(channel_sum_f32)(int64_t rows, int64_t c, const float *x, double *sum) {
  int64_t fold = fold_of(rows, c), folded = rows / fold;
  memset(sum, 0, (size_t)c * sizeof(double));
  if (fold > 1) {
    _Alignas(64) double wide[WIDEST] = {0};
    sum_rows(folded, fold * c, fold * c, x, NULL, wide);
    add_folded(fold, c, wide, sum);
    x += folded * fold * c;
    rows -= folded * fold;
  }
  sum_rows(rows, c, c, x, NULL, sum);
}

void TX_SIMD_NAME(channel_square_f32)(int64_t rows, int64_t c, const float *x, const double *sum, double *square) {
  int64_t fold = fold_of(rows, c), folded = rows / fold;
  _Alignas(64) double mean[WIDEST];
  memset(square, 0, (size_t)c * sizeof(double));
  if (fold > 1) {
    _Alignas(64) double wide[WIDEST] = {0};
    for (int64_t j = 0; j < fold * c; j++) mean[j] = sum[j % c] / (double)rows;
    sum_rows(folded, fold * c, fold * c, x, mean, wide);
    add_folded(fold, c, wide, square);
    x += folded * fold * c;
  }
  int64_t left = rows - (fold > 1 ? folded * fold : 0);
  for (int64_t first = 0; first < c; first += WIDEST) {
    int64_t width = tx_min(c - first, WIDEST);
    for (int64_t j = 0; j < width; j++) mean[j] = sum[first + j] / (double)rows;
    sum_rows(left, c, width, x + first, mean, square + first);
  }
}

/* -- normalize --------------------------------------------------------------------------------------------------- */

/* Where a residual is added. */
typedef enum adding { NOTHING, BEFORE_RELU, AFTER_RELU } adding;

TX_INLINE void apply_part(adding add, bool relu, int64_t n, const float *x, const float *scale, const float *shift,
                          const float *residual, float *y) {
  vfloat z = vf_fma(vf_load_part(x, n), vf_load_part(scale, n), vf_load_part(shift, n));
  if (add == BEFORE_RELU) z += vf_load_part(residual, n);
  if (relu) z = vf_max(vf_set(0), z); /* in this order a NaN stays */
  if (add == AFTER_RELU) z += vf_load_part(residual, n);
  vf_store_part(y, z, n);
}

TX_INLINE void apply_rows(adding add, bool relu, int64_t rows, int64_t c, const float *x, const float *scale,
                          const float *shift, const float *residual, float *y) {
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < c; j += VF) {
      const int64_t k = i * c + j;
      const float *also = add != NOTHING ? residual + k : NULL;
      if (j + VF <= c) {
        apply_part(add, relu, VF, x + k, scale + j, shift + j, also, y + k);
      } else {
        apply_part(add, relu, c - j, x + k, scale + j, shift + j, also, y + k);
      }
    }
  }
}

/* The loops once for each combination, so that they hold no branches. */
static void apply(adding add, bool relu, int64_t rows, int64_t c, const float *x, const float *scale,
                  const float *shift, const float *residual, float *y) {
  if (add == NOTHING && !relu) apply_rows(NOTHING, false, rows, c, x, scale, shift, NULL, y);
  if (add == NOTHING && relu) apply_rows(NOTHING, true, rows, c, x, scale, shift, NULL, y);
  if (add != NOTHING && !relu) apply_rows(BEFORE_RELU, false, rows, c, x, scale, shift, residual, y);
  if (add == BEFORE_RELU && relu) apply_rows(BEFORE_RELU, true, rows, c, x, scale, shift, residual, y);
  if (add == AFTER_RELU && relu) apply_rows(AFTER_RELU, true, rows, c, x, scale, shift, residual, y);
}

void TX_SIMD_NAME(norm_apply_f32)(int64_t rows, int64_t c, const float *x, const float *scale, const float *shift,
                                  const float *residual, bool relu, bool residual_last, float *y) {
  const adding add = residual == NULL ? NOTHING : residual_last ? AFTER_RELU : BEFORE_RELU;
  int64_t fold = fold_of(rows, c), folded = rows / fold;
  if (fold > 1) {
    _Alignas(64) float wide[2][WIDEST];
    int64_t done = folded * fold;
    repeat(fold, c, scale, wide[0]);
    repeat(fold, c, shift, wide[1]);
    apply(add, relu, folded, fold * c, x, wide[0], wide[1], residual, y);
    x += done * c;
    y += done * c;
    if (residual != NULL) residual += done * c;
    rows -= done;
  }
  apply(add, relu, rows, c, x, scale, shift, residual, y);
}

/* -- gradient ---------------------------------------------------------------------------------------------------- */

typedef enum gate { OPEN, BY_X, BY_Y } gate;

/* dy where the gate lets it through; `y` is only loaded for BY_Y, the factors for BY_X. */
TX_INLINE vfloat gated(gate by, int64_t n, vfloat x, const float *dy, const float *y, const float *scale,
                       const float *shift) {
  vfloat dz = vf_load_part(dy, n);
  if (by != OPEN) dz = vf_loaded(dz);
  if (by == BY_X) dz = vf_select(vf_fma(x, vf_load_part(scale, n), vf_load_part(shift, n)) > 0.0f, dz, vf_set(0));
  if (by == BY_Y) dz = vf_select(vf_load_part(y, n) > 0.0f, dz, vf_set(0));
  return dz;
}

enum { GROUP = 8 }; /* rows that are added up in f32 before they join the sums in f64 */

/* One vector of one row, added to s[] and p[]. */
TX_INLINE void grad_sums_part(gate by, int64_t n, const float *x, const float *mean, const float *dy, const float *y,
                              const float *scale, const float *shift, float *s, float *p) {
  vfloat value = vf_load_part(x, n), dz = gated(by, n, value, dy, y, scale, shift);
  vf_store_part(s, vf_load_part(s, n) + dz, n);
  vf_store_part(p, vf_fma(dz, value - vf_load_part(mean, n), vf_load_part(p, n)), n);
}

/* Up to WIDEST channels of a few rows that stand c apart. */
TX_INLINE void grad_sums_group(gate by, int64_t rows, int64_t c, int64_t width, const float *x, const float *mean,
                               const float *dy, const float *y, const float *scale, const float *shift, double *sum,
                               double *product) {
  _Alignas(64) float s[WIDEST], p[WIDEST];
  memset(s, 0, (size_t)width * sizeof s[0]);
  memset(p, 0, (size_t)width * sizeof p[0]);
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < width; j += VF) {
      int64_t k = i * c + j;
      const float *gate_y = by == BY_Y ? y + k : NULL, *gate_scale = by == BY_X ? scale + j : NULL,
                  *gate_shift = by == BY_X ? shift + j : NULL;
      if (j + VF <= width) {
        grad_sums_part(by, VF, x + k, mean + j, dy + k, gate_y, gate_scale, gate_shift, s + j, p + j);
      } else {
        grad_sums_part(by, width - j, x + k, mean + j, dy + k, gate_y, gate_scale, gate_shift, s + j, p + j);
      }
    }
  }
  for (int64_t j = 0; j < width; j++) {
    sum[j] += (double)s[j];
    product[j] += (double)p[j];
  }
}

/* The same for rows of SHORT vectors, the width that narrow ones are folded to: the sums wait in registers. */
TX_INLINE void grad_sums_short(gate by, int64_t rows, const float *x, const float *mean, const float *dy,
                               const float *y, const float *scale, const float *shift, double *sum, double *product) {
  vfloat s[SHORT], p[SHORT];
#pragma GCC unroll 8
  for (int v = 0; v < SHORT; v++) s[v] = p[v] = vf_set(0);
  for (int64_t i = 0; i < rows; i++) {
#pragma GCC unroll 8
    for (int v = 0; v < SHORT; v++) {
      const int64_t j = v * VF, k = (i * SHORT + v) * VF;
      vfloat value = vf_load(x + k), dz = gated(by, VF, value, dy + k, by == BY_Y ? y + k : NULL,
                                                by == BY_X ? scale + j : NULL, by == BY_X ? shift + j : NULL);
      s[v] += dz;
      p[v] = vf_fma(dz, value - vf_load(mean + j), p[v]);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < SHORT; v++) {
    double *to = sum + v * VF, *to_product = product + v * VF;
    vd_store(to, vd_load(to) + vd_low(s[v]));
    vd_store(to + VD, vd_load(to + VD) + vd_high(s[v]));
    vd_store(to_product, vd_load(to_product) + vd_low(p[v]));
    vd_store(to_product + VD, vd_load(to_product + VD) + vd_high(p[v]));
  }
}

TX_INLINE void grad_sums_rows(gate by, int64_t rows, int64_t c, const float *x, const float *mean, const float *dy,
                              const float *y, const float *scale, const float *shift, double *sum, double *product) {
  for (int64_t first = 0; first < rows; first += GROUP) {
    if (c == SHORT * VF) {
      const int64_t k = first * c;
      grad_sums_short(by, tx_min(rows - first, GROUP), x + k, mean, dy + k, by == BY_Y ? y + k : NULL, scale, shift,
                      sum, product);
      continue;
    }
    for (int64_t j = 0; j < c; j += WIDEST) {
      int64_t k = first * c + j;
      grad_sums_group(by, tx_min(rows - first, GROUP), c, tx_min(c - j, WIDEST), x + k, mean + j, dy + k,
                      by == BY_Y ? y + k : NULL, by == BY_X ? scale + j : NULL, by == BY_X ? shift + j : NULL, sum + j,
                      product + j);
    }
  }
}

static void grad_sums(int64_t rows, int64_t c, const float *x, const float *mean, const float *dy, const float *y,
                      const float *scale, const float *shift, double *sum, double *product) {
  if (y != NULL) {
    grad_sums_rows(BY_Y, rows, c, x, mean, dy, y, NULL, NULL, sum, product);
  } else if (scale != NULL) {
    grad_sums_rows(BY_X, rows, c, x, mean, dy, NULL, scale, shift, sum, product);
  } else {
    grad_sums_rows(OPEN, rows, c, x, mean, dy, NULL, NULL, NULL, sum, product);
  }
}

void TX_SIMD_NAME(norm_grad_sums_f32)(int64_t rows, int64_t c, const float *x, const float *mean, const float *dy,
                                      const float *y, const float *scale, const float *shift, double *sum,
                                      double *product) {
  int64_t fold = fold_of(rows, c), folded = rows / fold;
  memset(sum, 0, (size_t)c * sizeof(double));
  memset(product, 0, (size_t)c * sizeof(double));
  if (fold > 1) {
    _Alignas(64) float wide[3][WIDEST];
    _Alignas(64) double sums[2][WIDEST] = {{0}};
    int64_t done = folded * fold * c;
    grad_sums(folded, fold * c, x, repeat(fold, c, mean, wide[0]), dy, y, repeat(fold, c, scale, wide[1]),
              repeat(fold, c, shift, wide[2]), sums[0], sums[1]);
    add_folded(fold, c, sums[0], sum);
    add_folded(fold, c, sums[1], product);
    x += done;
    dy += done;
    if (y != NULL) y += done;
    rows -= folded * fold;
  }
  grad_sums(rows, c, x, mean, dy, y, scale, shift, sum, product);
}

TX_INLINE void grad_part(gate by, int64_t n, const float *x, const float *dy, const float *y, const float *scale,
                         const float *shift, const float *of_dz, const float *of_x, const float *constant, float *dx,
                         float *dresidual) {
  vfloat value = vf_load_part(x, n), dz = gated(by, n, value, dy, y, scale, shift);
  if (dx != NULL) {
    vfloat rest = vf_fma(value, vf_load_part(of_x, n), vf_load_part(constant, n));
    vf_store_part(dx, vf_fma(dz, vf_load_part(of_dz, n), rest), n);
  }
  if (dresidual != NULL) vf_store_part(dresidual, dz, n);
}

TX_INLINE void grad_rows(gate by, int64_t rows, int64_t c, const float *x, const float *dy, const float *y,
                         const float *scale, const float *shift, const float *of_dz, const float *of_x,
                         const float *constant, float *dx, float *dresidual) {
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < c; j += VF) {
      int64_t k = i * c + j;
      const float *gate_y = by == BY_Y ? y + k : NULL, *gate_scale = by == BY_X ? scale + j : NULL,
                  *gate_shift = by == BY_X ? shift + j : NULL;
      float *to = dx != NULL ? dx + k : NULL, *also = dresidual != NULL ? dresidual + k : NULL;
      if (j + VF <= c) {
        grad_part(by, VF, x + k, dy + k, gate_y, gate_scale, gate_shift, of_dz + j, of_x + j, constant + j, to, also);
      } else {
        grad_part(by, c - j, x + k, dy + k, gate_y, gate_scale, gate_shift, of_dz + j, of_x + j, constant + j, to,
                  also);
      }
    }
  }
}

static void grad(int64_t rows, int64_t c, const float *x, const float *dy, const float *y, const float *scale,
                 const float *shift, const float *of_dz, const float *of_x, const float *constant, float *dx,
                 float *dresidual) {
  if (y != NULL) {
    grad_rows(BY_Y, rows, c, x, dy, y, NULL, NULL, of_dz, of_x, constant, dx, dresidual);
  } else if (scale != NULL) {
    grad_rows(BY_X, rows, c, x, dy, NULL, scale, shift, of_dz, of_x, constant, dx, dresidual);
  } else {
    grad_rows(OPEN, rows, c, x, dy, NULL, NULL, NULL, of_dz, of_x, constant, dx, dresidual);
  }
}

void TX_SIMD_NAME(norm_grad_f32)(int64_t rows, int64_t c, const float *x, const float *dy, const float *y,
                                 const float *scale, const float *shift, const float *of_dz, const float *of_x,
                                 const float *constant, float *dx, float *dresidual) {
  int64_t fold = fold_of(rows, c), folded = rows / fold;
  if (fold > 1) {
    _Alignas(64) float wide[5][WIDEST];
    int64_t done = folded * fold * c;
    grad(folded, fold * c, x, dy, y, repeat(fold, c, scale, wide[0]), repeat(fold, c, shift, wide[1]),
         repeat(fold, c, of_dz, wide[2]), repeat(fold, c, of_x, wide[3]), repeat(fold, c, constant, wide[4]), dx,
         dresidual);
    x += done;
    dy += done;
    if (y != NULL) y += done;
    if (dx != NULL) dx += done;
    if (dresidual != NULL) dresidual += done;
    rows -= folded * fold;
  }
  grad(rows, c, x, dy, y, scale, shift, of_dz, of_x, constant, dx, dresidual);
}
