/* layer_norm_body.h - the text of kernels/ref/layer_norm.c for one type: REAL is float or double, NAME(x) the function's name. */

void NAME(layer_norm)(int64_t rows, int64_t n, double eps, const REAL *x, const REAL *gamma, const REAL *beta,
                      double *mean, double *invstd, REAL *y) {
  for (int64_t i = 0; i < rows; i++, x += n, y += n) {
    double sum = 0, square = 0;
    for (int64_t j = 0; j < n; j++) sum += (double)x[j];
    mean[i] = sum / (double)n;
    for (int64_t j = 0; j < n; j++) square += ((double)x[j] - mean[i]) * ((double)x[j] - mean[i]);
    invstd[i] = 1 / sqrt(square / (double)n + eps);
    for (int64_t j = 0; j < n; j++) y[j] = (REAL)(((double)x[j] - mean[i]) * invstd[i]) * gamma[j] + beta[j];
  }
}

void NAME(layer_norm_grad)(int64_t rows, int64_t n, const REAL *x, const REAL *dy, const REAL *gamma,
                           const double *mean, const double *invstd, REAL *dx, double *dgamma, double *dbeta) {
  for (int64_t i = 0; i < rows; i++, x += n, dy += n) {
    double sum = 0, product = 0;
    for (int64_t j = 0; j < n; j++) {
      const double xhat = ((double)x[j] - mean[i]) * invstd[i], g = (double)(gamma[j] * dy[j]);
      sum += g;
      product += g * xhat;
      dbeta[j] += (double)dy[j];
      dgamma[j] += (double)dy[j] * xhat;
    }
    if (dx == NULL) continue;
    for (int64_t j = 0; j < n; j++) {
      const double xhat = ((double)x[j] - mean[i]) * invstd[i], g = (double)(gamma[j] * dy[j]);
      dx[j] = (REAL)(invstd[i] * (g - (sum + xhat * product) / (double)n));
    }
    dx += n;
  }
}
