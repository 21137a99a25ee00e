/* resize.c - a row of the result is a block: first the rows that it is made of become one, then its pixels are made of that. */
#include "passes/resize.h"

#include <math.h>

#include "base/memory.h"
#include "passes/passes.h"

/* -- lines --------------------------------------------------------------------------------------------------------------- */

/* Memory for a line whose weights are all 0. Of both kinds here, and reversed, no element is made of more. */
static tx_status open_line(int64_t from, int64_t to, tx_line *line) {
  *line = (tx_line){.from = from, .to = to, .taps = tx_ceil_div(2 * from, to) + 1};
  int64_t weights;
  if (!tx_product_fits(to, line->taps, &weights)) weights = -1; /* which tx_alloc_array refuses */
  line->first = tx_alloc_array(to, sizeof(int64_t));
  line->count = tx_alloc_array(to, sizeof(int64_t));
  line->weight = tx_alloc_array(weights, sizeof(double));
  if (line->first == NULL || line->count == NULL || line->weight == NULL) {
    tx_line_close(line);
    return TX_ENOMEM;
  }
  for (int64_t i = 0; i < to; i++) line->count[i] = 0;
  return TX_OK;
}

void tx_line_close(tx_line *line) {
  tx_dealloc(line->first);
  tx_dealloc(line->count);
  tx_dealloc(line->weight);
  *line = (tx_line){0};
}

/* One more element that element `to` is made of; the next one after the last. */
static void add_tap(tx_line *line, int64_t to, int64_t from, double weight) {
  if (line->count[to] == 0) line->first[to] = from;
  line->weight[to * line->taps + line->count[to]++] = weight;
}

tx_status tx_line_linear(int64_t size, int64_t factor, tx_line *line) {
  TX_TRY(open_line(size, size * factor, line));
  for (int64_t i = 0; i < line->to; i++) {
    const double place = ((double)i + 0.5) / (double)factor - 0.5;
    const int64_t first = (int64_t)floor(place);
    const double weight = place - (double)first; /* of the second */
    if (weight == 0 || first < 0 || first == size - 1) {
      add_tap(line, i, tx_max(first, 0), 1);
    } else {
      add_tap(line, i, first, 1 - weight);
      add_tap(line, i, first + 1, weight);
    }
  }
  return TX_OK;
}

tx_status tx_line_mean(int64_t size, int64_t out, tx_line *line) {
  TX_TRY(open_line(size, out, line));
  for (int64_t i = 0; i < out; i++) {
    const int64_t first = i * size / out, end = tx_ceil_div((i + 1) * size, out);
    for (int64_t j = first; j < end; j++) add_tap(line, i, j, 1 / (double)(end - first));
  }
  return TX_OK;
}

tx_status tx_line_reversed(const tx_line *line, tx_line *reversed) {
  TX_TRY(open_line(line->to, line->from, reversed));
  for (int64_t i = 0; i < line->to; i++) {
    for (int64_t k = 0; k < line->count[i]; k++) {
      add_tap(reversed, line->first[i] + k, i, line->weight[i * line->taps + k]);
    }
  }
  return TX_OK;
}

/* -- images -------------------------------------------------------------------------------------------------------------- */

typedef struct job {
  const tx_resize *r;
  const void *x;
  void *y;
  tx_scratch scratch; /* {W,C} */
} job;

/* y = the weighted sum of vectors of n numbers, which are element `to` of the line; x is the first of all elements. */
static void sum_taps(tx_dtype dtype, const tx_line *line, int64_t to, int64_t n, const void *x, void *y) {
  for (int64_t k = 0; k < line->count[to]; k++) {
    const void *tap = tx_at(dtype, x, (line->first[to] + k) * n);
    const double weight = line->weight[to * line->taps + k];
    if (dtype == TX_F32) {
      tx_kernels.sum_window_f32(1, 1, 0, n, tap, (float)weight, k > 0, y);
    } else {
      tx_sum_window_f64(1, 1, 0, n, tap, weight, k > 0, y);
    }
  }
}

static void resize_row(void *context, int64_t block, int worker) {
  const job *j = context;
  const tx_resize *r = j->r;
  const int64_t n = block / r->rows->to, p = block % r->rows->to, width = r->columns->from * r->c;
  void *row = tx_scratch_of(&j->scratch, worker);
  sum_taps(r->dtype, r->rows, p, width, tx_at(r->dtype, j->x, n * r->rows->from * width), row);
  for (int64_t q = 0; q < r->columns->to; q++) {
    sum_taps(r->dtype, r->columns, q, r->c, row, tx_at_out(r->dtype, j->y, (block * r->columns->to + q) * r->c));
  }
}

tx_status tx_resize_images(const tx_resize *r, const void *x, void *y) {
  job j = {.r = r, .x = x, .y = y};
  TX_TRY(tx_scratch_open(&j.scratch, (size_t)(r->columns->from * r->c) * tx_dtype_size(r->dtype)));
  tx_parallel(r->n * r->rows->to, resize_row, &j);
  tx_scratch_close(&j.scratch);
  return TX_OK;
}
