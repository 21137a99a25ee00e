/* softmax_body.h - the text of kernels/ref/softmax.c for one type: REAL is float or double, NAME(x) the function's
 * name. */

/* The highest of a row (a NaN wins), and the sum of e^(x - highest). */
static double NAME(row_sum)(int64_t n, const REAL *x, REAL *highest) {
  REAL most = x[0];
  for (int64_t j = 1; j < n; j++) {
    if (x[j] > most || x[j] != x[j]) most = x[j];
  }
  double sum = 0;
  for (int64_t j = 0; j < n; j++) sum += exp((double)(x[j] - most));
  *highest = most;
  return sum;
}

void NAME(softmax)(int64_t rows, int64_t n, bool logarithm, const REAL *x, REAL *y) {
  for (int64_t i = 0; i < rows; i++, x += n, y += n) {
    REAL highest;
    double sum = NAME(row_sum)(n, x, &highest), logsum = log(sum);
    for (int64_t j = 0; j < n; j++) {
      double difference = (double)(x[j] - highest);
      y[j] = (REAL)(logarithm ? difference - logsum : exp(difference) / sum);
    }
  }
}

void NAME(softmax_grad)(int64_t rows, int64_t n, bool logarithm, const REAL *y, const REAL *dy, REAL *dx) {
  for (int64_t i = 0; i < rows; i++, y += n, dy += n, dx += n) {
    double sum = 0;
    for (int64_t j = 0; j < n; j++) sum += logarithm ? (double)dy[j] : (double)y[j] * (double)dy[j];
    for (int64_t j = 0; j < n; j++) {
      double g = (double)dy[j], v = (double)y[j];
      dx[j] = (REAL)(logarithm ? g - exp(v) * sum : v * (g - sum));
    }
  }
}

void NAME(log_sum_exp)(int64_t rows, int64_t n, const REAL *x, REAL *highest, REAL *logsum) {
  for (int64_t i = 0; i < rows; i++) logsum[i] = (REAL)log(NAME(row_sum)(n, x + i * n, &highest[i]));
}

void NAME(scaled_softmax)(int64_t rows, int64_t n, const REAL *x, const REAL *highest, const REAL *logsum,
                          const REAL *factor, REAL *y) {
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < n; j++) {
      y[i * n + j] = (REAL)((double)factor[i] * exp((double)(x[i * n + j] - highest[i]) - (double)logsum[i]));
    }
  }
}

double NAME(squared_distance)(int64_t n, const REAL *a, const REAL *b) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    double difference = (double)(a[i] - b[i]);
    sum += difference * difference;
  }
  return sum;
}
