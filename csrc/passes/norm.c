/* norm.c - batch norm's passes: blocks of rows handed to the kernels, per-channel numbers joined in the order of
 * blocks.
 *
 *     statistics   read x                                    per block: sum and squared deviations, from the cache
 *     forward      read x (residual), write y
 *     backward     read x, dy (y)                            sums of dz and of dz (x - mean): dbeta and dgamma
 *                  read x, dy (y), write dx (dresidual)      dx = dz * of_dz + x * of_x + constant
 *
 * ReLU's gate is not stored. Behind a plain normalization x * scale + shift > 0 says again where it was open, bit for
 * bit as in forward; behind a residual addition y is read, which the next layer keeps anyway.
 */
#include "passes/norm.h"

#include <string.h>

#include "base/integers.h"
#include "base/memory.h"
#include "passes/passes.h"

enum { LEAST_ROWS = 32 }; /* in a block, so that its per-channel results are small beside its data */

static int64_t rows_per_block(int64_t rows, int64_t c) {
  return tx_max(tx_block_size(rows, c), tx_min(rows, LEAST_ROWS));
}

/* What every pass needs: the blocks of rows. */
typedef struct cutting {
  tx_dtype dtype;
  int64_t rows, c, size, count;
} cutting;

static cutting cut(tx_dtype dtype, int64_t rows, int64_t c) {
  cutting b = {.dtype = dtype, .rows = rows, .c = c, .size = rows_per_block(rows, c)};
  b.count = b.size > 0 ? tx_ceil_div(rows, b.size) : 0;
  return b;
}

static int64_t rows_of(const cutting *b, int64_t block) { return tx_block_range(b->rows, b->size, block).count; }

/* The block's part of a [rows * c] array; NULL stays NULL. */
static const void *at(const cutting *b, int64_t block, const void *data) {
  return tx_at(b->dtype, data, block * b->size * b->c);
}
static void *at_out(const cutting *b, int64_t block, void *data) {
  return tx_at_out(b->dtype, data, block * b->size * b->c);
}

/* -- statistics -------------------------------------------------------------------------------------------------- */

typedef struct moments_pass {
  cutting b;
  const void *x;
  double *sum, *square; /* [blocks * c] */
} moments_pass;

/* Both passes over a block of about 128 KiB: the second one finds it in the cache. */
static void moments_block(void *context, int64_t block, int worker) {
  (void)worker;
  moments_pass *p = context;
  int64_t rows = rows_of(&p->b, block), c = p->b.c;
  double *sum = p->sum + block * c, *square = p->square + block * c;
  const void *x = at(&p->b, block, p->x);
  TX_KERNEL_OF(p->b.dtype, channel_sum, rows, c, x, sum);
  TX_KERNEL_OF(p->b.dtype, channel_square, rows, c, x, sum, square);
}

/* Joins the sums and the squared deviations from the block's own mean; block b has count[b] rows. Chan, Golub,
 * LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979. */
static void join(int64_t blocks, int64_t c, const int64_t *count, const double *sum, const double *square, double *mean,
                 double *variance) {
  int64_t rows = 0;
  for (int64_t j = 0; j < c; j++) mean[j] = variance[j] = 0;
  for (int64_t b = 0; b < blocks; b++) {
    rows += count[b];
    for (int64_t j = 0; j < c; j++) mean[j] += sum[b * c + j];
  }
  for (int64_t j = 0; j < c; j++) mean[j] /= (double)rows;
  for (int64_t b = 0; b < blocks; b++) {
    if (count[b] == 0) continue;
    double n = (double)count[b];
    for (int64_t j = 0; j < c; j++) {
      double difference = sum[b * c + j] / n - mean[j];
      variance[j] += square[b * c + j] + n * difference * difference;
    }
  }
  for (int64_t j = 0; j < c; j++) variance[j] /= (double)rows;
}

tx_status tx_norm_moments(tx_dtype dtype, int64_t rows, int64_t c, const void *x, double *mean, double *variance) {
  moments_pass p = {.b = cut(dtype, rows, c), .x = x};
  p.sum = tx_alloc_array(2 * p.b.count * c, sizeof(double));
  int64_t *count = tx_alloc_array(p.b.count, sizeof(int64_t));
  if (p.sum != NULL && count != NULL) {
    p.square = p.sum + p.b.count * c;
    for (int64_t b = 0; b < p.b.count; b++) count[b] = rows_of(&p.b, b);
    tx_parallel(p.b.count, moments_block, &p);
    join(p.b.count, c, count, p.sum, p.square, mean, variance);
  }
  bool failed = p.sum == NULL || count == NULL;
  tx_dealloc(p.sum);
  tx_dealloc(count);
  return failed ? TX_ENOMEM : TX_OK;
}

/* -- forward ----------------------------------------------------------------------------------------------------- */

void tx_norm_affine(const tx_norm *n, void *scale, void *shift) {
  for (int64_t j = 0; j < n->c; j++) {
    double factor = tx_get_real(n->dtype, n->gamma, j) * n->invstd[j];
    tx_set_real(n->dtype, scale, j, factor);
    tx_set_real(n->dtype, shift, j, tx_get_real(n->dtype, n->beta, j) - n->mean[j] * factor);
  }
}

typedef struct forward_pass {
  cutting b;
  const tx_norm *n;
  const void *scale, *shift;
  void *y;
} forward_pass;

static void forward_block(void *context, int64_t block, int worker) {
  (void)worker;
  forward_pass *p = context;
  int64_t rows = rows_of(&p->b, block), c = p->b.c;
  const void *x = at(&p->b, block, p->n->x), *residual = at(&p->b, block, p->n->residual);
  void *y = at_out(&p->b, block, p->y);
  TX_KERNEL_OF(p->b.dtype, norm_apply, rows, c, x, p->scale, p->shift, residual, p->n->relu, p->n->residual_last, y);
}

tx_status tx_norm_forward(const tx_norm *n, void *y) {
  size_t size = tx_dtype_size(n->dtype);
  char *factors = tx_alloc_array(2 * n->c, size);
  if (factors == NULL) return TX_ENOMEM;
  forward_pass p = {cut(n->dtype, n->rows, n->c), n, factors, factors + (size_t)n->c * size, y};
  tx_norm_affine(n, factors, factors + (size_t)n->c * size);
  tx_parallel_reversed(p.b.count, forward_block, &p); /* the caches hold the end of x; y's beginning comes next */
  tx_dealloc(factors);
  return TX_OK;
}

/* -- backward ---------------------------------------------------------------------------------------------------- */

typedef struct backward_pass {
  cutting b;
  const void *x, *dy;
  const void *y, *scale, *shift;       /* ReLU's gate: y > 0, or x * scale + shift > 0; all NULL: open */
  const void *mean;                    /* [c], in dtype */
  double *sum, *product;               /* [blocks * c] of dz, of dz * (x - mean) */
  const void *of_dz, *of_x, *constant; /* [c]: dx = of_dz * dz + of_x * x + constant */
  void *dx, *dresidual;
} backward_pass;

static void sums_block(void *context, int64_t block, int worker) {
  (void)worker;
  backward_pass *p = context;
  int64_t rows = rows_of(&p->b, block), c = p->b.c;
  double *sum = p->sum + block * c, *product = p->product + block * c;
  const void *x = at(&p->b, block, p->x), *dy = at(&p->b, block, p->dy), *y = at(&p->b, block, p->y);
  TX_KERNEL_OF(p->b.dtype, norm_grad_sums, rows, c, x, p->mean, dy, y, p->scale, p->shift, sum, product);
}

static void dx_block(void *context, int64_t block, int worker) {
  (void)worker;
  backward_pass *p = context;
  int64_t rows = rows_of(&p->b, block), c = p->b.c;
  const void *x = at(&p->b, block, p->x), *dy = at(&p->b, block, p->dy), *y = at(&p->b, block, p->y);
  void *dx = at_out(&p->b, block, p->dx), *dresidual = at_out(&p->b, block, p->dresidual);
  TX_KERNEL_OF(p->b.dtype, norm_grad, rows, c, x, dy, y, p->scale, p->shift, p->of_dz, p->of_x, p->constant, dx,
               dresidual);
}

/* Adds up the blocks' results in their order, into the slots of block 0. */
static void join_sums(const backward_pass *p) {
  for (int64_t b = 1; b < p->b.count; b++) {
    for (int64_t j = 0; j < p->b.c; j++) {
      p->sum[j] += p->sum[b * p->b.c + j];
      p->product[j] += p->product[b * p->b.c + j];
    }
  }
}

/* From here on product[j] is dgamma: the mean that the kernel used was rounded to dtype, which is put right. */
static void finish_sums(const tx_norm *n, const backward_pass *p, void *dgamma, void *dbeta) {
  for (int64_t j = 0; j < n->c; j++) {
    double rounding = tx_get_real(n->dtype, p->mean, j) - n->mean[j];
    p->product[j] = (p->product[j] + rounding * p->sum[j]) * n->invstd[j];
    if (dgamma != NULL) tx_set_real(n->dtype, dgamma, j, p->product[j]);
    if (dbeta != NULL) tx_set_real(n->dtype, dbeta, j, p->sum[j]);
  }
}

static void dx_factors(const tx_norm *n, const backward_pass *p, bool through, void *of_dz, void *of_x,
                       void *constant) {
  for (int64_t j = 0; j < n->c; j++) {
    double factor = tx_get_real(n->dtype, n->gamma, j) * n->invstd[j], slope = 0, mean = 0;
    if (through) {
      slope = -factor * n->invstd[j] * p->product[j] / (double)n->rows;
      mean = -factor * p->sum[j] / (double)n->rows;
    }
    tx_set_real(n->dtype, of_dz, j, factor);
    tx_set_real(n->dtype, of_x, j, slope);
    tx_set_real(n->dtype, constant, j, mean - slope * n->mean[j]);
  }
}

tx_status tx_norm_backward(const tx_norm *n, const void *y, bool batch, const void *dy, void *dx, void *dresidual,
                           void *dgamma, void *dbeta) {
  size_t size = tx_dtype_size(n->dtype), step = (size_t)n->c * size;
  backward_pass p = {.b = cut(n->dtype, n->rows, n->c), .x = n->x, .dy = dy, .dx = dx, .dresidual = dresidual};
  bool through = batch && dx != NULL, sums = dgamma != NULL || dbeta != NULL || through;
  int64_t slots = tx_max(1, p.b.count);
  char *factors = tx_alloc_array(6 * n->c, size);
  p.sum = sums ? tx_alloc_array(2 * slots * n->c, sizeof(double)) : NULL;
  if (factors == NULL || (sums && p.sum == NULL)) {
    tx_dealloc(factors);
    tx_dealloc(p.sum);
    return TX_ENOMEM;
  }
  char *scale = factors, *shift = factors + step, *mean = factors + 2 * step;
  for (int64_t j = 0; j < n->c; j++) tx_set_real(n->dtype, mean, j, n->mean[j]);
  p.mean = mean;
  if (n->relu && n->residual != NULL && !n->residual_last) {
    p.y = y;
  } else if (n->relu) {
    tx_norm_affine(n, scale, shift);
    p.scale = scale;
    p.shift = shift;
  }
  if (sums) {
    p.product = p.sum + slots * n->c;
    if (p.b.count == 0) memset(p.sum, 0, (size_t)(2 * n->c) * sizeof(double));
    tx_parallel(p.b.count, sums_block, &p);
    join_sums(&p);
    finish_sums(n, &p, dgamma, dbeta);
  }
  if (dx != NULL || dresidual != NULL) {
    char *of_dz = factors + 3 * step, *of_x = factors + 4 * step, *constant = factors + 5 * step;
    dx_factors(n, &p, through, of_dz, of_x, constant);
    p.of_dz = of_dz;
    p.of_x = of_x;
    p.constant = constant;
    tx_parallel_reversed(p.b.count, dx_block, &p); /* as sums_block left the caches */
  }
  tx_dealloc(factors);
  tx_dealloc(p.sum);
  return TX_OK;
}
