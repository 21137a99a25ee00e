/* pool_body.h - the text of kernels/ref/pool.c for one type: REAL is float or double, NAME(x) the function's name. */

void NAME(max_window)(int64_t rows, int64_t columns, int64_t row_step, int64_t c, const REAL *x, int64_t first,
                      int64_t index_step, REAL *y, uint16_t *index) {
  for (int64_t j = 0; j < c; j++) {
    y[j] = x[j];
    index[j] = (uint16_t)first;
  }
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t s = 0; s < columns; s++) {
      const REAL *tap = x + r * row_step + s * c;
      for (int64_t j = 0; j < c; j++) {
        bool better = tap[j] > y[j] || (tap[j] != tap[j] && y[j] == y[j]);
        if (better) index[j] = (uint16_t)(first + r * index_step + s);
        if (better) y[j] = tap[j];
      }
    }
  }
}

void NAME(max_window_grad)(int64_t rows, int64_t columns, int64_t row_step, int64_t c, const REAL *dy,
                           const uint16_t *index, int64_t first, int64_t index_step, int64_t column_step, REAL *dx) {
  for (int64_t j = 0; j < c; j++) dx[j] = 0;
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t s = 0; s < columns; s++) {
      int64_t at = r * row_step + s * c, wanted = first - r * index_step - s * column_step;
      for (int64_t j = 0; j < c; j++) {
        if (index[at + j] == wanted) dx[j] += dy[at + j];
      }
    }
  }
}

void NAME(sum_window)(int64_t rows, int64_t columns, int64_t row_step, int64_t c, const REAL *x, REAL factor,
                      bool accumulate, REAL *y) {
  for (int64_t j = 0; j < c; j++) {
    REAL sum = 0;
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t s = 0; s < columns; s++) sum += x[r * row_step + s * c + j];
    }
    y[j] = accumulate ? y[j] + factor * sum : factor * sum;
  }
}
