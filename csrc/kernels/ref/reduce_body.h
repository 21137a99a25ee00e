/* reduce_body.h - the text of kernels/ref/reduce.c for one type: REAL is float or double, NAME(x) the function's name. */

void NAME(sum_rows)(int64_t rows, int64_t n, const REAL *x, double *sum) {
  for (int64_t i = 0; i < rows; i++, x += n) {
    double so_far = 0;
    for (int64_t j = 0; j < n; j++) so_far += (double)x[j];
    sum[i] = so_far;
  }
}

void NAME(square_rows)(int64_t rows, int64_t n, const REAL *x, const double *centre, double *sum) {
  for (int64_t i = 0; i < rows; i++, x += n) {
    double so_far = 0, c = centre != NULL ? centre[i] : 0;
    for (int64_t j = 0; j < n; j++) so_far += ((double)x[j] - c) * ((double)x[j] - c);
    sum[i] = so_far;
  }
}

void NAME(exp_rows)(int64_t rows, int64_t n, const REAL *x, const double *centre, double *sum) {
  for (int64_t i = 0; i < rows; i++, x += n) {
    double so_far = 0, c = centre != NULL ? centre[i] : 0;
    for (int64_t j = 0; j < n; j++) so_far += exp((double)x[j] - c);
    sum[i] = so_far;
  }
}

void NAME(max_rows)(int64_t rows, int64_t n, const REAL *x, double *most) {
  for (int64_t i = 0; i < rows; i++, x += n) {
    REAL so_far = x[0];
    for (int64_t j = 1; j < n; j++) so_far = x[j] > so_far || x[j] != x[j] ? x[j] : so_far;
    most[i] = (double)so_far;
  }
}

void NAME(min_rows)(int64_t rows, int64_t n, const REAL *x, double *least) {
  for (int64_t i = 0; i < rows; i++, x += n) {
    REAL so_far = x[0];
    for (int64_t j = 1; j < n; j++) so_far = x[j] < so_far || x[j] != x[j] ? x[j] : so_far;
    least[i] = (double)so_far;
  }
}
