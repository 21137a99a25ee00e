/* optim.c - optimizer steps over lists of tensors: checked, made contiguous and handed to passes/optim.h. */
#include "tensor/optim.h"

#include <math.h>

#include "base/memory.h"
#include "passes/optim.h"
#include "tensor/math.h"

enum { COLUMNS = 4 };

/* A row: parameter, gradient (contiguous here), state. NULL where there is none. */
typedef struct row {
  tx_tensor *column[COLUMNS];
} row;

/* What messages call a column. */
static const char *const columns[COLUMNS] = {"memory", "gradient", "state", "state"};

static tx_status check_row(const char *operation, int64_t number, const row *r) {
  const tx_tensor *p = r->column[0];
  for (int i = 0; i < COLUMNS; i++) {
    const tx_tensor *t = r->column[i];
    if (t == NULL) continue;
    if (i != 1 && tx_elements_apart(t) != TX_OK) return tx_fail_by(TX_EINVAL, operation);
    bool fits =
        tx_same_shape(p, t) && p->dtype == t->dtype && tx_dtype_is_float(t->dtype) && (i == 1 || tx_is_contiguous(t));
    if (fits) continue;
    return tx_fail(TX_EINVAL, "%s: parameter %lld is %s of %s, its %s is %s of %s%s", operation, (long long)number + 1,
                   tx_shape_of(p), tx_dtype_name(p->dtype), columns[i], tx_shape_of(t), tx_dtype_name(t->dtype),
                   tx_is_contiguous(t) ? "" : ", not contiguous");
  }
  return TX_OK;
}

/* What the pass is told of all rows, whose contents it is about to change; NULL when memory ran out. */
static tx_update *updates_of(int64_t count, const row *rows) {
  tx_update *updates = tx_alloc_array(count, sizeof *updates);
  for (int64_t i = 0; i < count && updates != NULL; i++) {
    tx_tensor *const *t = rows[i].column;
    updates[i] = (tx_update){
        t[0]->dtype, tx_numel(t[0]), tx_data(t[0]), tx_data(t[1]), {tx_data_or_null(t[2]), tx_data_or_null(t[3])}};
    for (int c = 0; c < COLUMNS; c++) {
      if (c != 1 && t[c] != NULL) tx_touch(t[c]);
    }
  }
  return updates;
}

/* Runs SGD or Adam over all rows; their gradients are made contiguous first, and let go in the end. */
static tx_status run(const char *operation, int64_t count, row *rows, const tx_sgd_factors *sgd,
                     const tx_adam_factors *adam) {
  int64_t ready = 0;
  tx_status status = TX_OK;
  for (; ready < count && status == TX_OK; ready++) {
    if ((status = check_row(operation, ready, &rows[ready])) != TX_OK) break;
    if ((status = tx_contiguous(rows[ready].column[1], &rows[ready].column[1])) != TX_OK) break;
  }
  tx_update *updates = NULL;
  if (status == TX_OK && (updates = updates_of(count, rows)) == NULL) status = TX_ENOMEM;
  if (status == TX_OK) status = sgd != NULL ? tx_sgd_pass(count, updates, sgd) : tx_adam_pass(count, updates, adam);
  for (int64_t i = 0; i < ready; i++) tx_unref(rows[i].column[1]);
  tx_dealloc(updates);
  return status;
}

tx_status tx_sgd_step(int count, const tx_sgd_row *rows, const tx_sgd_options *o) {
  tx_sgd_factors f = {.lr = o->lr, .decay = o->weight_decay};
  f.keep = o->first ? 0 : o->momentum;
  f.fresh = o->first ? 1 : 1 - o->dampening;
  f.of_gradient = o->nesterov ? 1 : 0;
  f.of_velocity = o->nesterov ? o->momentum : 1;
  row *used = tx_alloc_array(count, sizeof *used);
  if (used == NULL) return TX_ENOMEM;
  int64_t n = 0;
  tx_status status = TX_OK;
  for (int i = 0; i < count; i++) {
    if (rows[i].gradient == NULL) continue;
    tx_tensor *velocity = o->momentum != 0 ? rows[i].velocity : NULL;
    used[n++] = (row){{rows[i].parameter, rows[i].gradient, velocity, NULL}};
    if (o->first && velocity != NULL && status == TX_OK) {
      status = check_row("sgd_step", i, &used[n - 1]);
      if (status == TX_OK) status = tx_fill(velocity, tx_integer(0)); /* 0 * NaN would be NaN */
    }
  }
  if (status == TX_OK) status = run("sgd_step", n, used, &f, NULL);
  tx_dealloc(used);
  return status;
}

tx_status tx_adam_step(int count, const tx_adam_row *rows, const tx_adam_options *o) {
  if (o->step < 1) return tx_fail(TX_EINVAL, "adam_step: step is %lld; the first is 1", (long long)o->step);
  tx_adam_factors f = {.beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps};
  f.step = o->lr / (1 - pow(o->beta1, (double)o->step));
  f.correction = 1 / sqrt(1 - pow(o->beta2, (double)o->step));
  f.decay = o->decoupled ? 0 : o->weight_decay;
  f.shrink = o->decoupled ? 1 - o->lr * o->weight_decay : 1;
  row *used = tx_alloc_array(count, sizeof *used);
  if (used == NULL) return TX_ENOMEM;
  int64_t n = 0;
  for (int i = 0; i < count; i++) {
    if (rows[i].gradient != NULL)
      used[n++] = (row){{rows[i].parameter, rows[i].gradient, rows[i].mean, rows[i].square}};
  }
  tx_status status = run("adam_step", n, used, NULL, &f);
  tx_dealloc(used);
  return status;
}

tx_status tx_total_norm(int count, tx_tensor *const *gradients, double *norm) {
  double square = 0;
  for (int i = 0; i < count; i++) {
    if (gradients[i] == NULL) continue;
    tx_tensor *one;
    TX_TRY(tx_reduce("total_norm", TX_NORM, gradients[i], UINT32_MAX, false, 0, &one));
    square += tx_item(one) * tx_item(one);
    tx_unref(one);
  }
  *norm = sqrt(square);
  return TX_OK;
}
