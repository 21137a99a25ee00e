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
#include "autograd/class_loss.h"

#include <math.h>

#include "autograd/layer.h"
#include "base/integers.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "kernels/plain.h"

enum { SCORES, LABELS, WEIGHT };
enum { SAVED_SCORES, SAVED_LABELS, SAVED_WEIGHT, SAVED_NORMALIZERS }; /* {2,rows}: highest and logsum of every row */

/* Everything that a block of rows needs. */
typedef struct pass {
  const tx_class_loss *loss;
  int64_t rows, c, size;
  tx_dtype dtype;
  const tx_tensor *scores, *labels, *weight; /* contiguous; weight may be NULL */
  tx_tensor *normalizers;                    /* {2,rows}; NULL when the scores are log p */
  tx_tensor *losses;                         /* forward: f64 {rows} */
  double weights;                            /* sum of all w[c] */
  tx_tensor *gradient;                       /* backward: of the scores */
  tx_tensor *factors;                        /* backward: {rows}, what softmax is multiplied by */
  const tx_tensor *dout;                     /* backward: per row for "none", else one number */
  double scale;                              /* backward: 1 / what the mean divided by */
} pass;

static int64_t label_of(const pass *p, int64_t row) { return tx_i64(p->labels)[row]; }
static bool is_ignored(const pass *p, int64_t row) {
  const int64_t none = INT64_MIN, ignored = p->loss->ignore_index;
  return ignored != none && label_of(p, row) == ignored;
}

static double weight_of(const pass *p, int64_t class0) {
  return p->weight != NULL ? tx_get_real(p->dtype, tx_data(p->weight), class0) : 1;
}

static double highest_of(const pass *p, int64_t row) { return tx_get_real(p->dtype, tx_data(p->normalizers), row); }
static double logsum_of(const pass *p, int64_t row) {
  return tx_get_real(p->dtype, tx_data(p->normalizers), p->rows + row);
}

static double log_p(const pass *p, int64_t row, int64_t class0) {
  double x = tx_get_real(p->dtype, tx_data(p->scores), row * p->c + class0);
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
static double all_log_p(const pass *p, int64_t row) {
  const void *x = tx_data(p->scores), *w = p->weight != NULL ? tx_data(p->weight) : NULL;
  double base = highest_of(p, row);
  double sum = p->dtype == TX_F32 ? weighted_sum(TX_F32, p->c, x, row * p->c, w, base)
                                  : weighted_sum(TX_F64, p->c, x, row * p->c, w, base);
  return sum - p->weights * logsum_of(p, row);
}

/* -- checks ------------------------------------------------------------------------------------------------------ */

static tx_status check_shapes(const tx_call *call) {
  const tx_tensor *x = call->in[SCORES], *labels = call->in[LABELS];
  const char *name = call->op->name;
  TX_TRY(tx_want_float(call, SCORES));
  if (x->dims < 1 || x->shape[x->dims - 1] == 0) {
    return tx_fail(TX_EINVAL, "%s: scores are %s: {N,C} or {N,...,C} with at least one class is needed", name,
                   tx_shape_of(x));
  }
  if (tx_dtype_is_float(labels->dtype)) {
    return tx_fail(TX_EINVAL, "%s: labels are %s: class numbers must be i64", name, tx_dtype_name(labels->dtype));
  }
  bool fits = labels->dims == x->dims - 1;
  for (int d = 0; fits && d < labels->dims; d++) fits = labels->shape[d] == x->shape[d];
  if (!fits) {
    return tx_fail(TX_EINVAL, "%s: labels are %s, scores %s: one label for every row of scores is needed", name,
                   tx_shape_of(labels), tx_shape_of(x));
  }
  return tx_want_vector(call, WEIGHT, SCORES, x->shape[x->dims - 1], "classes in the last dimension of the scores");
}

static tx_status check_labels(const char *name, const pass *p) {
  for (int64_t row = 0; row < p->rows; row++) {
    int64_t label = label_of(p, row);
    if (is_ignored(p, row) || (label >= 1 && label <= p->c)) continue;
    return tx_fail(TX_EINVAL, "%s: label %lld at position %lld: classes are 1..%lld", name, (long long)label,
                   (long long)row + 1, (long long)p->c);
  }
  return TX_OK;
}

/* -- forward ----------------------------------------------------------------------------------------------------- */

/* (1 - p)^gamma, and 1 where both are 0. */
static double focus(double p, double gamma) { return gamma == 0 ? 1 : pow(1 - p, gamma); }

static double row_loss(const pass *p, int64_t row) {
  if (is_ignored(p, row)) return 0;
  int64_t label = label_of(p, row) - 1;
  double lost = -weight_of(p, label) * log_p(p, row, label), s = p->loss->smoothing;
  if (p->loss->focal) return lost * focus(exp(log_p(p, row, label)), p->loss->gamma);
  if (s == 0) return lost;
  return (1 - s) * lost - s / (double)p->c * all_log_p(p, row);
}

static void forward_block(void *context, int64_t block, int worker) {
  (void)worker;
  pass *p = context;
  int64_t first = block * p->size, rows = p->rows - first < p->size ? p->rows - first : p->size, at = first * p->c;
  if (p->normalizers != NULL && p->dtype == TX_F32) {
    float *n = tx_f32(p->normalizers) + first;
    tx_kernels.log_sum_exp_f32(rows, p->c, tx_f32(p->scores) + at, n, n + p->rows);
  } else if (p->normalizers != NULL) {
    double *n = tx_f64(p->normalizers) + first;
    tx_log_sum_exp_f64(rows, p->c, tx_f64(p->scores) + at, n, n + p->rows);
  }
  for (int64_t row = first; row < first + rows; row++) tx_f64(p->losses)[row] = row_loss(p, row);
}

/* What the mean divides by: the weights of the rows that count, or (focal loss) their number. */
static double divisor(const pass *p) {
  double sum = 0;
  for (int64_t row = 0; row < p->rows; row++) {
    if (!is_ignored(p, row)) sum += p->loss->focal ? 1 : weight_of(p, label_of(p, row) - 1);
  }
  return sum;
}

static void prepare(pass *p, const tx_class_loss *loss, tx_tensor *scores, tx_tensor *labels, tx_tensor *weight) {
  *p = (pass){.loss = loss, .dtype = scores->dtype, .scores = scores, .labels = labels, .weight = weight};
  p->c = scores->shape[scores->dims - 1];
  p->rows = tx_numel(labels);
  p->size = tx_block_size(p->rows, 8 * p->c);
  for (int64_t c = 0; c < p->c; c++) p->weights += weight_of(p, c);
}

static tx_status reduce(tx_call *call, const pass *p) {
  const tx_tensor *labels = call->in[LABELS];
  bool each = p->loss->reduction == TX_REDUCTION_NONE;
  TX_TRY(tx_empty(p->dtype, each ? labels->dims : 0, labels->shape, &call->out[0]));
  double sum = 0;
  for (int64_t row = 0; row < p->rows; row++) {
    double value = tx_f64(p->losses)[row];
    if (each) tx_set_real(p->dtype, tx_data(call->out[0]), row, value);
    sum += value;
  }
  if (p->loss->reduction == TX_REDUCTION_MEAN) sum /= divisor(p);
  if (!each) tx_set_real(p->dtype, tx_data(call->out[0]), 0, sum);
  return TX_OK;
}

static tx_status check_weight(const tx_call *call) {
  const tx_tensor *weight = call->in[WEIGHT];
  bool any = weight == NULL || weight->shape[0] == 0; /* that is above 0 */
  for (int64_t k = 0; weight != NULL && k < weight->shape[0]; k++) {
    double w = tx_get_real(weight->dtype, tx_data(weight), k * weight->strides[0]);
    any = any || w > 0;
    if (w >= 0 && isfinite(w)) continue;
    return tx_fail(TX_EINVAL, "%s: the weight of class %lld is %g: finite numbers of at least 0 are needed",
                   call->op->name, (long long)k + 1, isnan(w) ? (double)NAN : w);
  }
  return any ? TX_OK : tx_fail(TX_EINVAL, "%s: the weights of all classes are 0: one has to count", call->op->name);
}

static tx_status run_forward(tx_call *call, pass *p) {
  int64_t pairs[2] = {2, p->rows};
  TX_TRY(check_labels(call->op->name, p));
  if (!p->loss->normalized) TX_TRY(tx_empty(p->dtype, 2, pairs, &p->normalizers));
  TX_TRY(tx_empty(TX_F64, 1, &p->rows, &p->losses));
  tx_parallel(tx_ceil_div(p->rows, p->size), forward_block, p);
  return reduce(call, p);
}

tx_status tx_class_loss_forward(tx_call *call, const tx_class_loss *loss) {
  TX_TRY(check_shapes(call));
  TX_TRY(check_weight(call));
  if (!(loss->smoothing >= 0 && loss->smoothing <= 1)) {
    return tx_fail(TX_EINVAL, "%s: label_smoothing is %g: 0 to 1 is needed", call->op->name, loss->smoothing);
  }
  tx_tensor *scores = NULL, *labels = NULL, *flat = NULL, *weight = NULL;
  pass p = {0};
  tx_status status = tx_contiguous(call->in[SCORES], &scores);
  if (status == TX_OK) status = tx_to(call->in[LABELS], TX_I64, &flat);
  if (status == TX_OK) status = tx_contiguous(flat, &labels);
  if (status == TX_OK && call->in[WEIGHT] != NULL) status = tx_contiguous(call->in[WEIGHT], &weight);
  if (status == TX_OK) {
    prepare(&p, loss, scores, labels, weight);
    status = run_forward(call, &p);
  }
  if (status == TX_OK) {
    tx_save(call, SAVED_SCORES, scores);
    tx_save(call, SAVED_LABELS, labels);
    tx_save(call, SAVED_WEIGHT, weight);
    tx_save(call, SAVED_NORMALIZERS, p.normalizers);
  }
  tx_unref(p.normalizers);
  tx_unref(p.losses);
  tx_unref(scores);
  tx_unref(flat);
  tx_unref(labels);
  tx_unref(weight);
  return status;
}

/* -- backward ---------------------------------------------------------------------------------------------------- */

/* The derivative of the result by this row's loss. */
static double dloss(const pass *p, int64_t row) {
  if (is_ignored(p, row)) return 0;
  return p->scale * tx_get_real(p->dtype, tx_data(p->dout), p->loss->reduction == TX_REDUCTION_NONE ? row : 0);
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
static double factor_of(const pass *p, int64_t row) {
  if (is_ignored(p, row)) return 0;
  double s = p->loss->smoothing / (double)p->c;
  return dloss(p, row) * (dlost(p, row, label_of(p, row) - 1) + s * p->weights);
}

/* gradient[first + c] -= factor * w[c] for n classes; w may be NULL. Inlined with a constant dtype. */
static inline void subtract(tx_dtype dtype, int64_t n, void *gradient, int64_t first, const void *w, double factor) {
  for (int64_t c = 0; c < n; c++) {
    double value = factor * (w != NULL ? tx_get_real(dtype, w, c) : 1);
    tx_set_real(dtype, gradient, first + c, tx_get_real(dtype, gradient, first + c) - value);
  }
}

static void backward_row(const pass *p, int64_t row) {
  if (is_ignored(p, row)) return;
  int64_t label = label_of(p, row) - 1;
  double s = p->loss->smoothing / (double)p->c, d = dloss(p, row);
  void *gradient = tx_data(p->gradient);
  const void *w = p->weight != NULL ? tx_data(p->weight) : NULL;
  if (s > 0 && p->dtype == TX_F32) subtract(TX_F32, p->c, gradient, row * p->c, w, d * s);
  if (s > 0 && p->dtype == TX_F64) subtract(TX_F64, p->c, gradient, row * p->c, w, d * s);
  subtract(p->dtype, 1, gradient, row * p->c + label, NULL, d * dlost(p, row, label));
}

static void backward_block(void *context, int64_t block, int worker) {
  (void)worker;
  pass *p = context;
  int64_t first = block * p->size, rows = p->rows - first < p->size ? p->rows - first : p->size, at = first * p->c;
  for (int64_t row = first; p->normalizers != NULL && row < first + rows; row++) {
    tx_set_real(p->dtype, tx_data(p->factors), row, factor_of(p, row));
  }
  if (p->normalizers != NULL && p->dtype == TX_F32) {
    const float *n = tx_f32(p->normalizers) + first;
    tx_kernels.scaled_softmax_f32(rows, p->c, tx_f32(p->scores) + at, n, n + p->rows, tx_f32(p->factors) + first,
                                  tx_f32(p->gradient) + at);
  } else if (p->normalizers != NULL) {
    const double *n = tx_f64(p->normalizers) + first;
    tx_scaled_softmax_f64(rows, p->c, tx_f64(p->scores) + at, n, n + p->rows, tx_f64(p->factors) + first,
                          tx_f64(p->gradient) + at);
  }
  for (int64_t row = first; row < first + rows; row++) backward_row(p, row);
}

tx_status tx_class_loss_backward(tx_call *call, const tx_class_loss *loss) {
  if (!call->needs[SCORES]) return TX_OK;
  pass p;
  tx_tensor *dout = NULL;
  prepare(&p, loss, tx_saved(call, SAVED_SCORES), tx_saved(call, SAVED_LABELS), tx_saved(call, SAVED_WEIGHT));
  p.normalizers = tx_saved(call, SAVED_NORMALIZERS);
  p.scale = loss->reduction == TX_REDUCTION_MEAN ? 1 / divisor(&p) : 1;
  /* without normalizers only the labels' elements are written */
  tx_status status =
      p.normalizers != NULL ? tx_empty_like(p.scores, &p.gradient) : tx_zeros_like(p.scores, &p.gradient);
  if (status == TX_OK && p.normalizers != NULL) status = tx_empty(p.dtype, 1, &p.rows, &p.factors);
  if (status == TX_OK) status = tx_contiguous(call->dout[0], &dout);
  if (status == TX_OK) {
    p.dout = dout;
    tx_parallel(tx_ceil_div(p.rows, p.size), backward_block, &p);
  }
  tx_unref(dout);
  tx_unref(p.factors);
  call->din[SCORES] = p.gradient;
  return status;
}
