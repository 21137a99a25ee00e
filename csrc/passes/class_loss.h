/* class_loss.h - losses of rows of class scores against class numbers: cross entropy, likelihood of log p, focal loss.
 *
 *     scores {rows,C}        labels {rows}: 1..C        weight {C}
 *
 * With log p = x - log(sum of e^x) of a row (or the scores themselves, `normalized`), y its label and w its weights (1
 * without), a row's loss is
 *
 *     (1 - s) * w[y] * -log p[y]  +  s / C * sum over c of w[c] * -log p[c]       s: label smoothing
 *     w[y] * (1 - p[y])^gamma * -log p[y]                                         focal loss
 *
 * Rows whose label is `ignore_index` have no loss and no gradient.
 */
#ifndef TX_PASSES_CLASS_LOSS_H
#define TX_PASSES_CLASS_LOSS_H

#include <stdbool.h>

#include "base/dtype.h"

typedef struct tx_class_loss {
  bool normalized; /* scores are log p already */
  bool focal;      /* the second formula */
  double gamma;
  double smoothing;     /* s */
  int reduction;        /* for the caller: TX_REDUCTION_... */
  int64_t ignore_index; /* INT64_MIN: none */
} tx_class_loss;

typedef struct tx_class_loss_pass {
  const tx_class_loss *loss;
  tx_dtype dtype; /* f32 or f64: of scores, weight, normalizers and gradients */
  int64_t rows, c;
  const void *scores;
  const int64_t *labels;
  const void *weight; /* NULL: 1 */
  void *
      normalizers; /* {2,rows}: of every row the highest score, and the logarithm of the sum of e^(x - highest); NULL when
                       * the scores are log p. Written by forward, read by backward */
} tx_class_loss_pass;

static inline bool tx_class_loss_ignores(const tx_class_loss *loss, int64_t label) {
  return loss->ignore_index != INT64_MIN && label == loss->ignore_index;
}

/* The loss of every row. */
void tx_class_loss_rows(const tx_class_loss_pass *pass, double *losses);
/* What a mean divides by: the weights of the rows that count, or (focal loss) their number. */
double tx_class_loss_divisor(const tx_class_loss_pass *pass);
/* dscores {rows,C}, from the derivative of the result by each row's loss: scale * dloss, which is one number or (`each`) one
 * per row. `factors` is room for a number per row, needed with normalizers; without, dscores holds zeros before. */
typedef struct tx_class_loss_gradient {
  const void *dloss;
  bool each;
  double scale;
  void *factors, *dscores;
} tx_class_loss_gradient;
void tx_class_loss_backward(const tx_class_loss_pass *pass, const tx_class_loss_gradient *gradient);

#endif
