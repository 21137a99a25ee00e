/* norm.c - kernels on channels: x is rows x c, one row after the other.
 *
 * Rows whose width is no multiple of VF are taken several at a time, as one row of `fold` * c elements whose channels
 * repeat: c = 3 and VF = 16 make rows of 48 elements, three full vectors. What remains is done row by row with a part of a
 * vector at the end.
 */
#include "kernels/simd/simd.h"

enum { WIDEST = 64 * VF }; /* of a folded row: widths above 64 waste little in their last vector */

/* How many rows make one folded row; 1: c is a multiple of VF already, or wide. */
static int64_t fold_of(int64_t rows, int64_t c) {
  if (c <= 0 || c >= WIDEST / VF) return 1;
  int64_t fold = 1;
  while (fold * c % VF != 0) fold *= 2;
  while (fold * c < 4 * VF) fold *= 2; /* short rows make short loops */
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

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* -- sums -------------------------------------------------------------------------------------------------------------- */

/* Adds the sums of a tile of vectors next to each other to sum[]; the last vector of the row may be `last` < VF wide. With
 * `mean`: the sums of squared distances from it. */
TX_INLINE void sum_tile(int tile, int64_t last, int64_t rows, int64_t c, const float *x, const double *mean, double *sum) {
  vdouble acc[8], middle[8];
  double row[8 * VD] = {0};
  int64_t width = (tile - 1) * VF + last;
  if (mean != NULL) memcpy(row, mean, (size_t)width * sizeof(double));
  for (int v = 0; v < 2 * tile; v++) {
    acc[v] = (vdouble){0};
    middle[v] = vd_load(row + v * VD);
  }
  for (int64_t i = 0; i < rows; i++) {
    for (int v = 0; v < tile; v++) {
      const float *at = x + i * c + v * VF;
      vfloat value = v == tile - 1 && last < VF ? vf_load_n(at, last) : vf_load(at);
      vdouble low = vd_low(value), high = vd_high(value);
      if (mean != NULL) {
        low -= middle[2 * v];
        high -= middle[2 * v + 1];
        low *= low;
        high *= high;
      }
      acc[2 * v] += low;
      acc[2 * v + 1] += high;
    }
  }
  for (int v = 0; v < 2 * tile; v++) vd_store(row + v * VD, acc[v]);
  for (int64_t j = 0; j < width; j++) sum[j] += row[j];
}

/* The first `width` channels of rows that stand c apart. */
TX_INLINE void sum_rows(int64_t rows, int64_t c, int64_t width, const float *x, const double *mean, double *sum) {
  int64_t j = 0;
  for (; j + 4 * VF <= width; j += 4 * VF) sum_tile(4, VF, rows, c, x + j, mean != NULL ? mean + j : NULL, sum + j);
  for (; j < width; j += VF) sum_tile(1, least(width - j, VF), rows, c, x + j, mean != NULL ? mean + j : NULL, sum + j);
}

void TX_SIMD_NAME(channel_sum_f32)(int64_t rows, int64_t c, const float *x, double *sum) {
  int64_t fold = fold_of(rows, c), folded = rows / fold;
  memset(sum, 0, (size_t)c * sizeof(double));
  if (fold > 1) {
    double wide[WIDEST] = {0};
    sum_rows(folded, fold * c, fold * c, x, NULL, wide);
    add_folded(fold, c, wide, sum);
    x += folded * fold * c;
    rows -= folded * fold;
  }
  sum_rows(rows, c, c, x, NULL, sum);
}

void TX_SIMD_NAME(channel_square_f32)(int64_t rows, int64_t c, const float *x, const double *sum, double *square) {
  int64_t fold = fold_of(rows, c), folded = rows / fold;
  double mean[WIDEST];
  memset(square, 0, (size_t)c * sizeof(double));
  if (fold > 1) {
    double wide[WIDEST] = {0};
    for (int64_t j = 0; j < fold * c; j++) mean[j] = sum[j % c] / (double)rows;
    sum_rows(folded, fold * c, fold * c, x, mean, wide);
    add_folded(fold, c, wide, square);
    x += folded * fold * c;
  }
  int64_t left = rows - (fold > 1 ? folded * fold : 0);
  for (int64_t first = 0; first < c; first += WIDEST) {
    int64_t width = least(c - first, WIDEST);
    for (int64_t j = 0; j < width; j++) mean[j] = sum[first + j] / (double)rows;
    sum_rows(left, c, width, x + first, mean, square + first);
  }
}

/* -- normalize --------------------------------------------------------------------------------------------------------- */

TX_INLINE void apply_part(int64_t n, const float *x, const float *scale, const float *shift, const float *residual, bool relu,
                          float *y) {
  vfloat z = vf_fma(vf_load_part(x, n), vf_load_part(scale, n), vf_load_part(shift, n));
  if (residual != NULL) z += vf_load_part(residual, n);
  if (relu) z = vf_max(vf_set(0), z); /* in this order a NaN stays */
  vf_store_part(y, z, n);
}

TX_INLINE void apply_rows(int64_t rows, int64_t c, const float *x, const float *scale, const float *shift,
                          const float *residual, bool relu, float *y) {
  for (int64_t i = 0; i < rows; i++) {
    const float *also = residual != NULL ? residual + i * c : NULL;
    int64_t j = 0;
    for (; j + VF <= c; j += VF) {
      apply_part(VF, x + i * c + j, scale + j, shift + j, also != NULL ? also + j : NULL, relu, y + i * c + j);
    }
    if (j < c) apply_part(c - j, x + i * c + j, scale + j, shift + j, also != NULL ? also + j : NULL, relu, y + i * c + j);
  }
}

/* The loops once for each combination, so that they hold no branches. */
static void apply(int64_t rows, int64_t c, const float *x, const float *scale, const float *shift, const float *residual,
                  bool relu, float *y) {
  if (residual == NULL && !relu) apply_rows(rows, c, x, scale, shift, NULL, false, y);
  if (residual == NULL && relu) apply_rows(rows, c, x, scale, shift, NULL, true, y);
  if (residual != NULL && !relu) apply_rows(rows, c, x, scale, shift, residual, false, y);
  if (residual != NULL && relu) apply_rows(rows, c, x, scale, shift, residual, true, y);
}

void TX_SIMD_NAME(norm_apply_f32)(int64_t rows, int64_t c, const float *x, const float *scale, const float *shift,
                                  const float *residual, bool relu, float *y) {
  int64_t fold = fold_of(rows, c), folded = rows / fold;
  if (fold > 1) {
    float wide[2][WIDEST];
    int64_t done = folded * fold;
    apply(folded, fold * c, x, repeat(fold, c, scale, wide[0]), repeat(fold, c, shift, wide[1]), residual, relu, y);
    x += done * c;
    y += done * c;
    if (residual != NULL) residual += done * c;
    rows -= done;
  }
  apply(rows, c, x, scale, shift, residual, relu, y);
}

/* -- gradient ---------------------------------------------------------------------------------------------------------- */

typedef enum gate { OPEN, BY_X, BY_Y } gate;

/* dy where the gate lets it through; `y` is only loaded for BY_Y, the factors for BY_X. */
TX_INLINE vfloat gated(gate by, int64_t n, vfloat x, const float *dy, const float *y, const float *scale,
                       const float *shift) {
  vfloat dz = vf_load_part(dy, n);
  if (by == BY_X) dz = vf_select(vf_fma(x, vf_load_part(scale, n), vf_load_part(shift, n)) > 0.0f, dz, vf_set(0));
  if (by == BY_Y) dz = vf_select(vf_load_part(y, n) > 0.0f, dz, vf_set(0));
  return dz;
}

TX_INLINE void grad_sums_tile(gate by, int tile, int64_t last, int64_t rows, int64_t c, const float *x, const float *mean,
                              const float *dy, const float *y, const float *scale, const float *shift, double *sum,
                              double *product) {
  vdouble acc[4], acc_product[4];
  for (int v = 0; v < 2 * tile; v++) acc[v] = acc_product[v] = (vdouble){0};
  for (int64_t i = 0; i < rows; i++) {
    for (int v = 0; v < tile; v++) {
      int64_t n = v == tile - 1 ? last : VF, j = v * VF, k = i * c + j;
      vfloat value = vf_load_part(x + k, n);
      vfloat dz = gated(by, n, value, dy + k, by == BY_Y ? y + k : NULL, by == BY_X ? scale + j : NULL,
                        by == BY_X ? shift + j : NULL);
      vfloat p = dz * (value - vf_load_part(mean + j, n));
      acc[2 * v] += vd_low(dz);
      acc[2 * v + 1] += vd_high(dz);
      acc_product[2 * v] += vd_low(p);
      acc_product[2 * v + 1] += vd_high(p);
    }
  }
  double row[2][4 * VD];
  for (int v = 0; v < 2 * tile; v++) {
    vd_store(row[0] + v * VD, acc[v]);
    vd_store(row[1] + v * VD, acc_product[v]);
  }
  for (int64_t j = 0; j < (tile - 1) * VF + last; j++) {
    sum[j] += row[0][j];
    product[j] += row[1][j];
  }
}

TX_INLINE void grad_sums_rows(gate by, int64_t rows, int64_t c, const float *x, const float *mean, const float *dy,
                              const float *y, const float *scale, const float *shift, double *sum, double *product) {
  int64_t j = 0;
  for (; j + 2 * VF <= c; j += 2 * VF) {
    grad_sums_tile(by, 2, VF, rows, c, x + j, mean + j, dy + j, by == BY_Y ? y + j : NULL, by == BY_X ? scale + j : NULL,
                   by == BY_X ? shift + j : NULL, sum + j, product + j);
  }
  for (; j < c; j += VF) {
    grad_sums_tile(by, 1, least(c - j, VF), rows, c, x + j, mean + j, dy + j, by == BY_Y ? y + j : NULL,
                   by == BY_X ? scale + j : NULL, by == BY_X ? shift + j : NULL, sum + j, product + j);
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
    float wide[3][WIDEST];
    double sums[2][WIDEST] = {{0}};
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
        grad_part(by, c - j, x + k, dy + k, gate_y, gate_scale, gate_shift, of_dz + j, of_x + j, constant + j, to, also);
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
    float wide[5][WIDEST];
    int64_t done = folded * fold * c;
    grad(folded, fold * c, x, dy, y, repeat(fold, c, scale, wide[0]), repeat(fold, c, shift, wide[1]),
         repeat(fold, c, of_dz, wide[2]), repeat(fold, c, of_x, wide[3]), repeat(fold, c, constant, wide[4]), dx, dresidual);
    x += done;
    dy += done;
    if (y != NULL) y += done;
    if (dx != NULL) dx += done;
    if (dresidual != NULL) dresidual += done;
    rows -= folded * fold;
  }
  grad(rows, c, x, dy, y, scale, shift, of_dz, of_x, constant, dx, dresidual);
}
