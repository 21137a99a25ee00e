/* distance.h - squared differences between two arrays: (x - target)^2. */
#ifndef TX_PASSES_DISTANCE_H
#define TX_PASSES_DISTANCE_H

#include <stdbool.h>

#include "base/dtype.h"
#include "base/status.h"

typedef struct tx_distance {
  tx_dtype dtype; /* f32 or f64 */
  int64_t n;
  const void *x, *target;
} tx_distance;

/* The sum of all, in f64, block by block in their order. */
tx_status tx_distance_sum(const tx_distance *d, double *sum);
/* y[i] = (x[i] - target[i])^2. */
void tx_distance_each(const tx_distance *d, void *y);
/* dx[i] = factor * dy * (x[i] - target[i]); dy is one number, or (`each`) one for every element. */
void tx_distance_backward(const tx_distance *d, double factor, const void *dy, bool each, void *dx);

#endif
