/* gemm_body.h - a tile of a matrix product, for modules without OpenBLAS: REAL is float or double, NAME(x) the function's
 * name.
 *
 * op(B) is packed on the stack, STEPS rows of a panel of PANEL columns at a time, columns that are missing as zeros. The
 * panel is then multiplied by two rows of op(A) at once, with sums in the 16-byte vectors that every CPU has:
 *
 *     c[0][0..PANEL)   +=   a[0][s] * b[s][0..PANEL)       summed in the order of s
 *     c[1][0..PANEL)   +=   a[1][s] * b[s][0..PANEL)
 */
typedef REAL NAME(vector) __attribute__((vector_size(16)));

enum {
  NAME(lanes) = 16 / sizeof(REAL),
  NAME(panel_size) = 4 * NAME(lanes),
  NAME(step_count) = 128,
};
#define PANEL NAME(panel_size)
#define STEPS NAME(step_count)

/* A row of a panel. */
typedef union NAME(row) {
  NAME(vector) v[4];
  REAL x[PANEL];
} NAME(row);

static void NAME(pack_panel)(int64_t steps, int64_t columns, const REAL *b, int64_t b_step, int64_t b_column,
                             NAME(row) * panel) {
  for (int64_t s = 0; s < steps; s++) {
    for (int64_t j = 0; j < PANEL; j++) panel[s].x[j] = j < columns ? b[s * b_step + j * b_column] : 0;
  }
}

static void NAME(multiply_rows)(int64_t steps, const REAL *a0, const REAL *a1, int64_t a_step, const NAME(row) * panel,
                                int64_t columns, bool accumulate, REAL *c0, REAL *c1) {
  NAME(row) sum0 = {0}, sum1 = {0};
  for (int64_t j = 0; j < columns && accumulate; j++) sum0.x[j] = c0[j], sum1.x[j] = c1[j];
  NAME(vector) p0 = sum0.v[0], p1 = sum0.v[1], p2 = sum0.v[2], p3 = sum0.v[3];
  NAME(vector) q0 = sum1.v[0], q1 = sum1.v[1], q2 = sum1.v[2], q3 = sum1.v[3];
  for (int64_t s = 0; s < steps; s++) {
    const REAL x = a0[s * a_step], y = a1[s * a_step];
    const NAME(vector) *b = panel[s].v;
    p0 += x * b[0], p1 += x * b[1], p2 += x * b[2], p3 += x * b[3];
    q0 += y * b[0], q1 += y * b[1], q2 += y * b[2], q3 += y * b[3];
  }
  sum0 = (NAME(row)){{p0, p1, p2, p3}};
  sum1 = (NAME(row)){{q0, q1, q2, q3}};
  for (int64_t j = 0; j < columns; j++) c0[j] = sum0.x[j], c1[j] = sum1.x[j];
}

static void NAME(multiply_tile)(const tx_product *p, int64_t first_row, int64_t rows, int64_t first_column,
                                int64_t columns) {
  const int64_t a_row = p->ta ? 1 : p->lda, a_step = p->ta ? p->lda : 1;
  const int64_t b_step = p->tb ? 1 : p->ldb, b_column = p->tb ? p->ldb : 1;
  NAME(row) panel[STEPS];
  for (int64_t j = first_column; j < first_column + columns; j += PANEL) {
    const int64_t width = tx_min(PANEL, first_column + columns - j);
    for (int64_t s = 0; s < p->k; s += STEPS) {
      const int64_t steps = tx_min(STEPS, p->k - s);
      NAME(pack_panel)(steps, width, (const REAL *)p->b + s * b_step + j * b_column, b_step, b_column, panel);
      for (int64_t i = first_row; i < first_row + rows; i += 2) {
        const int64_t next = tx_min(i + 1, first_row + rows - 1); /* the last row may be computed twice */
        const REAL *a = (const REAL *)p->a + s * a_step;
        REAL *c = (REAL *)p->c + j;
        NAME(multiply_rows)
        (steps, a + i * a_row, a + next * a_row, a_step, panel, width, s > 0 || p->accumulate, c + i * p->n,
         c + next * p->n);
      }
    }
  }
}

#undef PANEL
#undef STEPS
