/* dropout_body.h - the text of kernels/ref/dropout.c for one type: REAL is float or double, NAME(x) the function's
 * name. */

void NAME(dropout)(int64_t n, int64_t first, uint64_t seed, uint64_t stream, uint32_t threshold, REAL scale,
                   const REAL *x, REAL *y) {
  for (int64_t group = 0; group * 64 < n; group++) {
    for (int64_t lane = 0; lane < 16; lane++) {
      uint32_t word[4];
      tx_philox(seed, stream, (uint64_t)(first / 4 + group * 16 + lane), word);
      for (int64_t w = 0; w < 4; w++) {
        int64_t i = group * 64 + w * 16 + lane;
        if (i < n) y[i] = word[w] >= threshold ? x[i] * scale : 0;
      }
    }
  }
}
