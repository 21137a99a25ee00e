/* conv_finish.c - the epilogue of a convolution, piece by piece, and its batch statistics.
 *
 * A piece keeps, per filter, the sums of d and d*d with d = y - (first y of the piece), so that a large mean costs no
 * accuracy, and the pieces are merged in f64 in order by the formula of Chan, Golub and LeVeque:
 *
 *     M2 = M2a + M2b + (mean_b - mean_a)^2 * count_a * count_b / (count_a + count_b)
 */
#include <string.h>

#include "base/memory.h"
#include "kernels/kernels.h"
#include "passes/conv_internal.h"

static bool wants_statistics(const tx_conv_finish *f) { return f->epilogue != NULL && f->epilogue->mean != NULL; }

tx_status tx_conv_finish_open(tx_conv_finish *f, const tx_conv_epilogue *epilogue, int64_t pieces, int64_t k) {
  *f = (tx_conv_finish){.epilogue = epilogue, .k = k, .pieces = pieces};
  if (!wants_statistics(f)) return TX_OK;
  const size_t row = (size_t)pieces * (size_t)k;
  f->origin = tx_alloc(3 * row * sizeof(float));
  f->count = tx_alloc_zero((size_t)pieces * sizeof(int64_t));
  if (f->origin == NULL || f->count == NULL) {
    tx_dealloc(f->origin);
    tx_dealloc(f->count);
    return TX_ENOMEM;
  }
  f->sum = f->origin + row;
  f->square = f->sum + row;
  return TX_OK;
}

void tx_conv_finish_rows(const tx_conv_finish *f, int64_t piece, float *y, int64_t row0, int64_t rows, int64_t k0,
                         int64_t columns) {
  const tx_conv_epilogue *e = f->epilogue;
  if (e == NULL || rows == 0) return;
  const int64_t at = row0 * f->k + k0;
  if (e->mean != NULL) {
    const int64_t slot = piece * f->k + k0;
    if (k0 == 0) f->count[piece] = rows; /* other columns of the piece may be in work on another core */
    memcpy(f->origin + slot, y + at, (size_t)columns * sizeof(float));
    tx_kernels.moments_f32(rows, columns, y + at, f->k, f->sum + slot, f->square + slot);
  }
  const float *scale = e->scale, *shift = e->shift, *residual = e->residual;
  if (scale == NULL && shift == NULL && residual == NULL && !e->relu) return;
  tx_kernels.epilogue_f32(rows, columns, y + at, scale == NULL ? NULL : scale + k0, shift == NULL ? NULL : shift + k0,
                          residual == NULL ? NULL : residual + at, e->relu, e->residual_last, y + at, f->k);
}

void tx_conv_finish_close(tx_conv_finish *f) {
  if (!wants_statistics(f)) return;
  double *mean = f->epilogue->mean, *m2 = f->epilogue->variance;
  memset(mean, 0, (size_t)f->k * sizeof(double));
  memset(m2, 0, (size_t)f->k * sizeof(double));
  double total = 0;
  for (int64_t b = 0; b < f->pieces; b++) {
    const double count = (double)f->count[b];
    if (count == 0) continue;
    const double share = count / (total + count);
    for (int64_t k = 0; k < f->k; k++) {
      const int64_t at = b * f->k + k;
      const double d = f->sum[at] / count;
      const double gap = f->origin[at] + d - mean[k];
      m2[k] += f->square[at] - d * f->sum[at] + gap * gap * total * share;
      mean[k] += gap * share;
    }
    total += count;
  }
  for (int64_t k = 0; k < f->k && total > 0; k++) m2[k] = m2[k] > 0 ? m2[k] / total : 0;
  tx_dealloc(f->origin);
  tx_dealloc(f->count);
}
