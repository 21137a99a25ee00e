/* group_norm.c - image by image, with the kernels of batch norm: their rows are the pixels of one image. */
#include "passes/group_norm.h"

#include <math.h>

#include "base/memory.h"
#include "passes/norm.h"
#include "passes/passes.h"

typedef struct job {
  const tx_group_norm *g;
  const void *dy;        /* NULL: forward */
  void *out;             /* y, or dx: may be NULL */
  double *sum, *product; /* {N,C}: of x and of squared deviations; backward of dy and of dy * (x - mean) */
  tx_scratch scratch;    /* {3,C}: what an image's channels are multiplied by */
} job;

/* The image's part of a {N,pixels,C} array. */
static const void *at_image(const tx_group_norm *g, int64_t image, const void *data) {
  return tx_at(g->dtype, data, image * g->pixels * g->c);
}

/* Mean and invstd of one image's groups, from its channels' sums and squared deviations from their own means. Chan, Golub,
 * LeVeque: "Updating formulae and a pairwise algorithm for computing sample variances", 1979. */
static void join_channels(const tx_group_norm *g, int64_t image, const double *sum, const double *square) {
  const int64_t width = g->c / g->groups;
  const double pixels = (double)g->pixels;
  for (int64_t first = 0; first < g->c; first += width) {
    double mean = 0, variance = 0;
    for (int64_t j = first; j < first + width; j++) mean += sum[j] / (pixels * (double)width);
    for (int64_t j = first; j < first + width; j++) {
      const double difference = sum[j] / pixels - mean;
      variance += (square[j] + pixels * difference * difference) / (pixels * (double)width);
    }
    for (int64_t j = first; j < first + width; j++) {
      g->mean[image * g->c + j] = mean;
      g->invstd[image * g->c + j] = 1 / sqrt(variance + g->eps);
    }
  }
}

static void forward_image(void *context, int64_t image, int worker) {
  const job *j = context;
  const tx_group_norm *g = j->g;
  const int64_t c = g->c;
  double *sum = j->sum + image * c, *square = j->product + image * c;
  const void *x = at_image(g, image, g->x);
  void *scale = tx_scratch_of(&j->scratch, worker), *shift = tx_at_out(g->dtype, scale, c);
  void *y = tx_at_out(g->dtype, j->out, image * g->pixels * c);
  TX_KERNEL_OF(g->dtype, channel_sum, g->pixels, c, x, sum);
  TX_KERNEL_OF(g->dtype, channel_square, g->pixels, c, x, sum, square);
  join_channels(g, image, sum, square);
  const tx_norm own = {.dtype = g->dtype,
                       .c = c,
                       .gamma = g->gamma,
                       .beta = g->beta,
                       .mean = g->mean + image * c,
                       .invstd = g->invstd + image * c};
  tx_norm_affine(&own, scale, shift);
  TX_KERNEL_OF(g->dtype, norm_apply, g->pixels, c, x, scale, shift, NULL, false, false, y);
}

/* From here on product[k] is of dy * xhat: the mean that the kernel used was rounded to the dtype, which is put right. */
static void finish_sums(const tx_group_norm *g, int64_t image, const void *rounded, const double *sum,
                        double *product) {
  for (int64_t k = 0; k < g->c; k++) {
    const double rounding = tx_get_real(g->dtype, rounded, k) - g->mean[image * g->c + k];
    product[k] = (product[k] + rounding * sum[k]) * g->invstd[image * g->c + k];
  }
}

/* dx = of_dy * dy + of_x * x + constant. */
static void dx_factors(const tx_group_norm *g, int64_t image, const double *sum, const double *product, void *of_dy,
                       void *of_x, void *constant) {
  const int64_t width = g->c / g->groups;
  const double m = (double)(g->pixels * width);
  for (int64_t first = 0; first < g->c; first += width) {
    double sums = 0, products = 0;
    for (int64_t k = first; k < first + width; k++) {
      const double gamma = tx_get_real(g->dtype, g->gamma, k);
      sums += gamma * sum[k];
      products += gamma * product[k];
    }
    for (int64_t k = first; k < first + width; k++) {
      const double mean = g->mean[image * g->c + k], invstd = g->invstd[image * g->c + k];
      const double slope = -invstd * invstd * products / m;
      tx_set_real(g->dtype, of_dy, k, tx_get_real(g->dtype, g->gamma, k) * invstd);
      tx_set_real(g->dtype, of_x, k, slope);
      tx_set_real(g->dtype, constant, k, -invstd * sums / m - slope * mean);
    }
  }
}

static void backward_image(void *context, int64_t image, int worker) {
  const job *j = context;
  const tx_group_norm *g = j->g;
  const int64_t c = g->c;
  double *sum = j->sum + image * c, *product = j->product + image * c;
  const void *x = at_image(g, image, g->x), *dy = at_image(g, image, j->dy);
  void *of_dy = tx_scratch_of(&j->scratch, worker), *of_x = tx_at_out(g->dtype, of_dy, c);
  void *constant = tx_at_out(g->dtype, of_dy, 2 * c), *mean = constant; /* the mean is needed first */
  void *dx = tx_at_out(g->dtype, j->out, image * g->pixels * c);
  for (int64_t k = 0; k < c; k++) tx_set_real(g->dtype, mean, k, g->mean[image * c + k]);
  TX_KERNEL_OF(g->dtype, norm_grad_sums, g->pixels, c, x, mean, dy, NULL, NULL, NULL, sum, product);
  finish_sums(g, image, mean, sum, product);
  if (dx == NULL) return;
  dx_factors(g, image, sum, product, of_dy, of_x, constant);
  TX_KERNEL_OF(g->dtype, norm_grad, g->pixels, c, x, dy, NULL, NULL, NULL, of_dy, of_x, constant, dx, NULL);
}

static tx_status run(job *j, tx_block_fn *fn) {
  const tx_group_norm *g = j->g;
  const int64_t sums = g->n * g->c;
  j->sum = tx_alloc_array(2 * sums, sizeof(double));
  if (j->sum == NULL) return TX_ENOMEM;
  j->product = j->sum + sums;
  const tx_status status = tx_scratch_open(&j->scratch, 3 * (size_t)g->c * tx_dtype_size(g->dtype));
  if (status == TX_OK) tx_parallel(g->n, fn, j);
  tx_scratch_close(&j->scratch);
  return status;
}

tx_status tx_group_norm_forward(const tx_group_norm *g, void *y) {
  job j = {.g = g, .out = y};
  const tx_status status = run(&j, forward_image);
  tx_dealloc(j.sum);
  return status;
}

tx_status tx_group_norm_backward(const tx_group_norm *g, const void *dy, void *dx, void *dgamma, void *dbeta) {
  job j = {.g = g, .dy = dy, .out = dx};
  const tx_status status = run(&j, backward_image);
  for (int64_t k = 0; status == TX_OK && k < g->c; k++) {
    double sum = 0, product = 0;
    for (int64_t image = 0; image < g->n; image++) {
      sum += j.sum[image * g->c + k];
      product += j.product[image * g->c + k];
    }
    if (dgamma != NULL) tx_set_real(g->dtype, dgamma, k, product);
    if (dbeta != NULL) tx_set_real(g->dtype, dbeta, k, sum);
  }
  tx_dealloc(j.sum);
  return status;
}
