/* norm_body.h - the text of kernels/ref/norm.c for one type: REAL is float or double, NAME(x) the function's name. */

void NAME(channel_sum)(int64_t rows, int64_t c, const REAL *x, double *sum) {
  for (int64_t j = 0; j < c; j++) sum[j] = 0;
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < c; j++) sum[j] += (double)x[i * c + j];
  }
}

void NAME(channel_square)(int64_t rows, int64_t c, const REAL *x, const double *sum, double *square) {
  for (int64_t j = 0; j < c; j++) square[j] = 0;
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < c; j++) {
      double difference = (double)x[i * c + j] - sum[j] / (double)rows;
      square[j] += difference * difference;
    }
  }
}

void NAME(norm_apply)(int64_t rows, int64_t c, const REAL *x, const REAL *scale, const REAL *shift,
                      const REAL *residual, bool relu, bool residual_last, REAL *y) {
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < c; j++) {
      REAL z = x[i * c + j] * scale[j] + shift[j];
      if (residual != NULL && !residual_last) z += residual[i * c + j];
      if (relu && z < 0) z = 0;
      if (residual != NULL && residual_last) z += residual[i * c + j];
      y[i * c + j] = z;
    }
  }
}

/* dz of element k, which belongs to channel j. */
static REAL NAME(gated)(int64_t k, int64_t j, const REAL *x, const REAL *dy, const REAL *y, const REAL *scale,
                        const REAL *shift) {
  if (y != NULL) return y[k] > 0 ? dy[k] : 0;
  if (scale != NULL) return x[k] * scale[j] + shift[j] > 0 ? dy[k] : 0;
  return dy[k];
}

void NAME(norm_grad_sums)(int64_t rows, int64_t c, const REAL *x, const REAL *mean, const REAL *dy, const REAL *y,
                          const REAL *scale, const REAL *shift, double *sum, double *product) {
  for (int64_t j = 0; j < c; j++) sum[j] = product[j] = 0;
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < c; j++) {
      int64_t k = i * c + j;
      REAL dz = NAME(gated)(k, j, x, dy, y, scale, shift);
      sum[j] += (double)dz;
      product[j] += (double)(dz * (x[k] - mean[j]));
    }
  }
}

void NAME(norm_grad)(int64_t rows, int64_t c, const REAL *x, const REAL *dy, const REAL *y, const REAL *scale,
                     const REAL *shift, const REAL *of_dz, const REAL *of_x, const REAL *constant, REAL *dx,
                     REAL *dresidual) {
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < c; j++) {
      int64_t k = i * c + j;
      REAL dz = NAME(gated)(k, j, x, dy, y, scale, shift);
      if (dx != NULL) dx[k] = dz * of_dz[j] + (x[k] * of_x[j] + constant[j]);
      if (dresidual != NULL) dresidual[k] = dz;
    }
  }
}
