/* class_loss.c - rows of scores, labels and weights, checked and handed to the passes of passes/class_loss.h. */
#include "autograd/class_loss.h"

#include <math.h>

#include "autograd/layer.h"

enum { SCORES, LABELS, WEIGHT };
enum { SAVED_SCORES, SAVED_LABELS, SAVED_WEIGHT, SAVED_NORMALIZERS };

/* All contiguous; weight and normalizers may be NULL. */
static tx_class_loss_pass describe(const tx_class_loss *loss, const tx_tensor *scores, const tx_tensor *labels,
                                   const tx_tensor *weight, const tx_tensor *normalizers) {
  return (tx_class_loss_pass){.loss = loss,
                              .dtype = scores->dtype,
                              .rows = tx_numel(labels),
                              .c = scores->shape[scores->dims - 1],
                              .scores = tx_data(scores),
                              .labels = tx_i64(labels),
                              .weight = tx_data_or_null(weight),
                              .normalizers = tx_data_or_null(normalizers)};
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

static tx_status check_labels(const char *name, const tx_class_loss_pass *p) {
  for (int64_t row = 0; row < p->rows; row++) {
    int64_t label = p->labels[row];
    if (tx_class_loss_ignores(p->loss, label) || (label >= 1 && label <= p->c)) continue;
    return tx_fail(TX_EINVAL, "%s: label %lld at position %lld: classes are 1..%lld", name, (long long)label,
                   (long long)row + 1, (long long)p->c);
  }
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

/* -- forward ----------------------------------------------------------------------------------------------------- */

static tx_status reduce(tx_call *call, const tx_class_loss_pass *p, const double *losses) {
  const tx_tensor *labels = call->in[LABELS];
  bool each = p->loss->reduction == TX_REDUCTION_NONE;
  TX_TRY(tx_empty(p->dtype, each ? labels->dims : 0, labels->shape, &call->out[0]));
  double sum = 0;
  for (int64_t row = 0; row < p->rows; row++) {
    if (each) tx_set_real(p->dtype, tx_data(call->out[0]), row, losses[row]);
    sum += losses[row];
  }
  if (p->loss->reduction == TX_REDUCTION_MEAN) sum /= tx_class_loss_divisor(p);
  if (!each) tx_set_real(p->dtype, tx_data(call->out[0]), 0, sum);
  return TX_OK;
}

static tx_status run_forward(tx_call *call, const tx_class_loss *loss, tx_tensor *scores, tx_tensor *labels,
                             tx_tensor *weight) {
  tx_class_loss_pass p = describe(loss, scores, labels, weight, NULL);
  tx_tensor *normalizers = NULL, *losses = NULL;
  TX_TRY(check_labels(call->op->name, &p));
  tx_status status = loss->normalized ? TX_OK : tx_empty(p.dtype, 2, (int64_t[]){2, p.rows}, &normalizers);
  if (status == TX_OK) status = tx_empty(TX_F64, 1, &p.rows, &losses);
  if (status == TX_OK) {
    p.normalizers = tx_data_or_null(normalizers);
    tx_class_loss_rows(&p, tx_f64(losses));
    status = reduce(call, &p, tx_f64(losses));
  }
  if (status == TX_OK) {
    tx_save(call, SAVED_SCORES, scores);
    tx_save(call, SAVED_LABELS, labels);
    tx_save(call, SAVED_WEIGHT, weight);
    tx_save(call, SAVED_NORMALIZERS, normalizers);
  }
  tx_unref(normalizers);
  tx_unref(losses);
  return status;
}

tx_status tx_class_loss_run(tx_call *call, const tx_class_loss *loss) {
  TX_TRY(check_shapes(call));
  TX_TRY(check_weight(call));
  if (!(loss->smoothing >= 0 && loss->smoothing <= 1)) {
    return tx_fail(TX_EINVAL, "%s: label_smoothing is %g: 0 to 1 is needed", call->op->name, loss->smoothing);
  }
  tx_tensor *scores = NULL, *labels = NULL, *flat = NULL, *weight = NULL;
  tx_status status = tx_contiguous(call->in[SCORES], &scores);
  if (status == TX_OK) status = tx_to(call->in[LABELS], TX_I64, &flat);
  if (status == TX_OK) status = tx_contiguous(flat, &labels);
  if (status == TX_OK && call->in[WEIGHT] != NULL) status = tx_contiguous(call->in[WEIGHT], &weight);
  if (status == TX_OK) status = run_forward(call, loss, scores, labels, weight);
  tx_unref(scores);
  tx_unref(flat);
  tx_unref(labels);
  tx_unref(weight);
  return status;
}

/* -- backward ---------------------------------------------------------------------------------------------------- */

tx_status tx_class_loss_grad(tx_call *call, const tx_class_loss *loss) {
  if (!call->needs[SCORES]) return TX_OK;
  const tx_tensor *scores = tx_saved(call, SAVED_SCORES), *normalizers = tx_saved(call, SAVED_NORMALIZERS);
  const tx_class_loss_pass p =
      describe(loss, scores, tx_saved(call, SAVED_LABELS), tx_saved(call, SAVED_WEIGHT), normalizers);
  tx_tensor **dx = &call->din[SCORES], *dout = NULL, *factors = NULL;
  /* without normalizers only the labels' elements are written */
  tx_status status = normalizers != NULL ? tx_empty_like(scores, dx) : tx_zeros_like(scores, dx);
  if (status == TX_OK && normalizers != NULL) status = tx_empty(p.dtype, 1, &p.rows, &factors);
  if (status == TX_OK) status = tx_contiguous(call->dout[0], &dout);
  if (status == TX_OK) {
    const tx_class_loss_gradient gradient = {
        .dloss = tx_data(dout),
        .each = loss->reduction == TX_REDUCTION_NONE,
        .scale = loss->reduction == TX_REDUCTION_MEAN ? 1 / tx_class_loss_divisor(&p) : 1,
        .factors = tx_data_or_null(factors),
        .dscores = tx_data(*dx)};
    tx_class_loss_backward(&p, &gradient);
  }
  tx_unref(dout);
  tx_unref(factors);
  return status;
}
