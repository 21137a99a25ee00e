/* resize.h - images in another size: every row of the result is a weighted sum of rows, and every pixel of it one of pixels.
 *
 *     x {N,H,W,C}     y {N,P,Q,C}     y[n,p,q,c] = sum over i, j of rows[p,i] * columns[q,j] * x[n,i,j,c]
 *
 * A tx_line says it for one dimension: element i of `to` is made of `from` elements first[i] ... first[i] + count[i] - 1, with
 * weights weight[i * taps] .... Nothing else is read, so that what is not finite stays with the pixels that it is part of. The
 * gradient of x is the same with reversed lines: dx from dy.
 */
#ifndef TX_PASSES_RESIZE_H
#define TX_PASSES_RESIZE_H

#include "base/dtype.h"
#include "base/status.h"

typedef struct tx_line {
  int64_t from, to, taps; /* taps: the most that an element is made of */
  int64_t *first, *count;
  double *weight;
} tx_line;

/* `size` elements to `size` * factor: linear between the middles of two, beyond the outer ones as they are. */
tx_status tx_line_linear(int64_t size, int64_t factor, tx_line *line);

/* `size` elements to `out`: each the mean of those from floor(i size / out) to ceil((i + 1) size / out). */
tx_status tx_line_mean(int64_t size, int64_t out, tx_line *line);

/* The line of the gradients: from line->to elements to line->from. */
tx_status tx_line_reversed(const tx_line *line, tx_line *reversed);

void tx_line_close(tx_line *line); /* {0} is ignored */

typedef struct tx_resize {
  tx_dtype dtype; /* f32 or f64 */
  int64_t n, c;
  const tx_line *rows, *columns; /* H to P, W to Q */
} tx_resize;

/* Writes y from x, all of whose sizes are at least 1; or, with reversed lines, dx from dy. */
tx_status tx_resize_images(const tx_resize *r, const void *x, void *y);

#endif
