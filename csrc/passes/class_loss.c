/* class_loss.c - one pass over the rows forward (log-sum-exp and loss), one backward (the gradient, written once).
 *
 * Forward keeps two numbers per row, its highest score and the logarithm of the sum of e^(x - highest), from which
 * every log p of the row follows without overflow; log p itself is never stored. A row's loss is computed in f64.
 *
 * Backward: with L the loss and p = softmax(x), the chain rule through log p gives for class c
 *
 *     dL/dx[c] = factor * p[c] - (what L takes from log p[c] itself)
 *
 * The kernel scaled_softmax writes the first term; the second is subtracted, at the label, and with label smoothing
 * at all.
 */
#include "passes/class_loss.h"

#include <math.h>

#include "passes/passes.h"

typedef tx_class_loss_pass pass;

/* What a block of rows needs. */
typedef struct job {
  const pass *p;
  int64_t size;                       /* rows of a block */
  double weights;                     /* sum of all w[c] */
  double *losses;                     /* forward */
  const tx_class_loss_gradient *grad; /* backward */
} job;

static int64_t label_of(const pass *p, int64_t row) { return p->labels[row]; }
static bool is_ignored(const pass *p, int64_t row) { return tx_class_loss_ignores(p->loss, label_of(p, row)); }

static double weight_of(const pass *p, int64_t class0) {
  return p->weight != NULL ? tx_get_real(p->dtype, p->weight, class0) : 1;
}

static double highest_of(const pass *p, int64_t row) { return tx_get_real(p->dtype, p->normalizers, row); }
static double logsum_of(const pass *p, int64_t row) { return tx_get_real(p->dtype, p->normalizers, p->rows + row); }

static double log_p(const pass *p, int64_t row, int64_t class0) {
  double x = tx_get_real(p->dtype, p->scores, row * p->c + class0);
  if (p->normalizers == NULL) return x;
  return x - highest_of(p, row) - logsum_of(p, row);
}

/* The sum of w[c] * (x[c] - base) over n classes; w may be NULL. Inlined with a constant dtype; four sums side by
 * side keep an addition from waiting for the one before. */
static inline double weighted_sum(tx_dtype dtype, int64_t n, const void *x, int64_t first, const void *w, double base) {
  double sum[4] = {0};
  int64_t c = 0;
  for (; c + 4 <= n; c += 4) {
    for (int k = 0; k < 4; k++) {
      sum[k] += (w != NULL ? tx_get_real(dtype, w, c + k) : 1) * (tx_get_real(dtype, x, first + c + k) - base);
    }
  }
  for (; c < n; c++) {
    sum[0] += (w != NULL ? tx_get_real(dtype, w, c) : 1) * (tx_get_real(dtype, x, first + c) - base);
  }
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* The sum of w[c] * log p[c] over all classes, for scores that are not log p yet. */
static double all_log_p(const job *j, int64_t row) {
  const pass *p = j->p;
  const void *x = p->scores, *w = p->weight;
  double base = highest_of(p, row);
  double sum = p->dtype == TX_F32 ? weighted_sum(TX_F32, p->c, x, row * p->c, w, base)
                                  : weighted_sum(TX_F64, p->c, x, row * p->c, w, base);
  return sum - j->weights * logsum_of(p, row);
}

/* -- forward ----------------------------------------------------------------------------------------------------- */

/* (1 - p)^gamma, and 1 where both are 0. */
static double focus(double p, double gamma) { return gamma == 0 ? 1 : pow(1 - p, gamma); }

static double row_loss(const job *j, int64_t row) {
  const pass *p = j->p;
  if (is_ignored(p, row)) return 0;
  int64_t label = label_of(p, row) - 1;
  double lost = -weight_of(p, label) * log_p(p, row, label), s = p->loss->smoothing;
  if (p->loss->focal) return lost * focus(exp(log_p(p, row, label)), p->loss->gamma);
  if (s == 0) return lost;
  return (1 - s) * lost - s / (double)p->c * all_log_p(j, row);
}

static void forward_block(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  const pass *p = j->p;
  const tx_range r = tx_block_range(p->rows, j->size, block);
  if (p->normalizers != NULL) {
    const void *x = tx_at(p->dtype, p->scores, r.first * p->c);
    void *highest = tx_at_out(p->dtype, p->normalizers, r.first);
    void *logsum = tx_at_out(p->dtype, p->normalizers, p->rows + r.first);
    TX_KERNEL_OF(p->dtype, log_sum_exp, r.count, p->c, x, highest, logsum);
  }
  for (int64_t row = r.first; row < r.first + r.count; row++) j->losses[row] = row_loss(j, row);
}

double tx_class_loss_divisor(const pass *p) {
  double sum = 0;
  for (int64_t row = 0; row < p->rows; row++) {
    if (!is_ignored(p, row)) sum += p->loss->focal ? 1 : weight_of(p, label_of(p, row) - 1);
  }
  return sum;
}

static job prepare(const pass *p) {
  job j = {.p = p, .size = tx_block_size(p->rows, 8 * p->c)};
  for (int64_t c = 0; c < p->c; c++) j.weights += weight_of(p, c);
  return j;
}

void tx_class_loss_rows(const pass *p, double *losses) {
  job j = prepare(p);
  j.losses = losses;
  tx_parallel(tx_ceil_div(p->rows, j.size), forward_block, &j);
}

/* -- backward ---------------------------------------------------------------------------------------------------- */

/* The derivative of the result by this row's loss. */
static double dloss(const job *j, int64_t row) {
  const pass *p = j->p;
  if (is_ignored(p, row)) return 0;
  return j->grad->scale * tx_get_real(p->dtype, j->grad->dloss, j->grad->each ? row : 0);
}

/* The derivative of a row's loss by -log p[y]. */
static double dlost(const pass *p, int64_t row, int64_t label) {
  double w = weight_of(p, label), gamma = p->loss->gamma;
  if (!p->loss->focal) return w * (1 - p->loss->smoothing);
  double lp = log_p(p, row, label), prob = exp(lp);
  if (gamma == 0) return w;
  double slope = prob < 1 ? gamma * pow(1 - prob, gamma - 1) * prob * lp : 0;
  return w * (focus(prob, gamma) - slope);
}

/* By the chain rule the gradient of a row is factor * softmax minus what each class's log p contributes itself. */
static double factor_of(const job *j, int64_t row) {
  const pass *p = j->p;
  if (is_ignored(p, row)) return 0;
  double s = p->loss->smoothing / (double)p->c;
  return dloss(j, row) * (dlost(p, row, label_of(p, row) - 1) + s * j->weights);
}

/* gradient[first + c] -= factor * w[c] for n classes; w may be NULL. Inlined with a constant dtype. */
static inline void subtract(tx_dtype dtype, int64_t n, void *gradient, int64_t first, const void *w, double factor) {
  for (int64_t c = 0; c < n; c++) {
    double value = factor * (w != NULL ? tx_get_real(dtype, w, c) : 1);
    tx_set_real(dtype, gradient, first + c, tx_get_real(dtype, gradient, first + c) - value);
  }
}

static void backward_row(const job *j, int64_t row) {
  const pass *p = j->p;
  if (is_ignored(p, row)) return;
  int64_t label = label_of(p, row) - 1;
  double s = p->loss->smoothing / (double)p->c, d = dloss(j, row);
  void *gradient = j->grad->dscores;
  const void *w = p->weight;
  if (s > 0 && p->dtype == TX_F32) subtract(TX_F32, p->c, gradient, row * p->c, w, d * s);
  if (s > 0 && p->dtype == TX_F64) subtract(TX_F64, p->c, gradient, row * p->c, w, d * s);
  subtract(p->dtype, 1, gradient, row * p->c + label, NULL, d * dlost(p, row, label));
}

static void backward_block(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  const pass *p = j->p;
  const tx_range r = tx_block_range(p->rows, j->size, block);
  if (p->normalizers != NULL) {
    for (int64_t row = r.first; row < r.first + r.count; row++) {
      tx_set_real(p->dtype, j->grad->factors, row, factor_of(j, row));
    }
    const void *x = tx_at(p->dtype, p->scores, r.first * p->c), *factors = tx_at(p->dtype, j->grad->factors, r.first);
    const void *highest = tx_at(p->dtype, p->normalizers, r.first);
    const void *logsum = tx_at(p->dtype, p->normalizers, p->rows + r.first);
    void *dx = tx_at_out(p->dtype, j->grad->dscores, r.first * p->c);
    TX_KERNEL_OF(p->dtype, scaled_softmax, r.count, p->c, x, highest, logsum, factors, dx);
  }
  for (int64_t row = r.first; row < r.first + r.count; row++) backward_row(j, row);
}

void tx_class_loss_backward(const pass *p, const tx_class_loss_gradient *gradient) {
  job j = prepare(p);
  j.grad = gradient;
  tx_parallel(tx_ceil_div(p->rows, j.size), backward_block, &j);
}
