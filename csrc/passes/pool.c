/* pool.c - rows of windows forward, rows of pixels backward, so that no two threads write to one place.
 *
 * Along one dimension:
 *
 *     size 5, length 3, stride 2, one pixel of padding on each side (.):
 *
 *         . 0 1 2 3 4 .        window 0 covers pixels 0 to 1, window 1 pixels 1 to 3, window 2 pixels 3 to 4;
 *         |___|                pixel 1 lies in windows 0 and 1, pixel 2 in window 1 alone
 *             |___|
 *                 |___|
 */
#include "passes/pool.h"

#include "base/memory.h"
#include "passes/passes.h"

typedef struct job {
  const tx_window *w;
  const void *from; /* x, or dy */
  void *to;         /* y, or dx */
  uint16_t *index;  /* of max: {N,P,Q,C} */
  bool whole;       /* of avg */
} job;

/* The pixels that window number `at` covers along one dimension of `size` pixels: from where the window starts, or the
 * image, to where the first of both ends. */
static tx_range window_pixels(int64_t at, int64_t stride, int64_t before, int64_t length, int64_t size) {
  const int64_t first = tx_max(at * stride - before, 0), end = tx_min(at * stride - before + length, size);
  return (tx_range){first, end - first};
}

/* The windows, of `windows`, that cover pixel `at`: those w with w * stride - before <= at < w * stride - before + length. */
static tx_range pixel_windows(int64_t at, int64_t stride, int64_t before, int64_t length, int64_t windows) {
  const int64_t first = at + before < length ? 0 : (at + before - length) / stride + 1;
  const int64_t last = tx_min((at + before) / stride, windows - 1);
  return last < first ? (tx_range){0, 0} : (tx_range){first, last - first + 1};
}

static tx_range rows_of_window(const tx_window *w, int64_t p) {
  return window_pixels(p, w->stride_p, w->top, w->r, w->h);
}
static tx_range columns_of_window(const tx_window *w, int64_t q) {
  return window_pixels(q, w->stride_q, w->left, w->s, w->w);
}
static tx_range windows_over_row(const tx_window *w, int64_t h) {
  return pixel_windows(h, w->stride_p, w->top, w->r, w->p);
}
static tx_range windows_over_column(const tx_window *w, int64_t x) {
  return pixel_windows(x, w->stride_q, w->left, w->s, w->q);
}

/* The first number of a pixel of x, or of a window of y. */
static int64_t at_pixel(const tx_window *w, int64_t n, int64_t row, int64_t column) {
  return ((n * w->h + row) * w->w + column) * w->c;
}
static int64_t at_window(const tx_window *w, int64_t n, int64_t p, int64_t q) {
  return ((n * w->p + p) * w->q + q) * w->c;
}

/* -- max ----------------------------------------------------------------------------------------------------------------- */

static void max_windows(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  const tx_window *w = j->w;
  const int64_t n = block / w->p, p = block % w->p;
  const tx_range rows = rows_of_window(w, p);
  for (int64_t q = 0; q < w->q; q++) {
    const tx_range columns = columns_of_window(w, q);
    const void *x = tx_at(w->dtype, j->from, at_pixel(w, n, rows.first, columns.first));
    void *y = tx_at_out(w->dtype, j->to, at_window(w, n, p, q));
    uint16_t *index = j->index + at_window(w, n, p, q);
    const int64_t first = (rows.first - p * w->stride_p + w->top) * w->s + columns.first - q * w->stride_q + w->left;
    TX_KERNEL_OF(w->dtype, max_window, rows.count, columns.count, w->w * w->c, w->c, x, first, w->s, y, index);
  }
}

static void max_pixels(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  const tx_window *w = j->w;
  const int64_t n = block / w->h, h = block % w->h, step_p = w->stride_p * w->s, width = w->q * w->c;
  const tx_range rows = windows_over_row(w, h);
  for (int64_t x = 0; x < w->w; x++) {
    const tx_range columns = windows_over_column(w, x);
    const int64_t from = at_window(w, n, rows.first, columns.first);
    const void *dy = tx_at(w->dtype, j->from, from);
    void *dx = tx_at_out(w->dtype, j->to, at_pixel(w, n, h, x));
    const int64_t first = (h - rows.first * w->stride_p + w->top) * w->s + x - columns.first * w->stride_q + w->left;
    TX_KERNEL_OF(w->dtype, max_window_grad, rows.count, columns.count, width, w->c, dy, j->index + from, first, step_p,
                 w->stride_q, dx);
  }
}

static bool is_empty(const tx_window *w) { return w->n == 0 || w->c == 0; }

void tx_max_pool_forward(const tx_window *w, const void *x, void *y, uint16_t *index) {
  if (!is_empty(w)) tx_parallel(w->n * w->p, max_windows, &(job){.w = w, .from = x, .to = y, .index = index});
}

void tx_max_pool_backward(const tx_window *w, const void *dy, const uint16_t *index, void *dx) {
  job j = {.w = w, .from = dy, .to = dx, .index = (uint16_t *)index}; /* only read */
  if (!is_empty(w)) tx_parallel(w->n * w->h, max_pixels, &j);
}

/* -- avg ----------------------------------------------------------------------------------------------------------------- */

/* to (+)= factor * the sum of rows x columns pixels of `from`, whose rows are `row` numbers long. */
static void sum_window(const job *j, int64_t rows, int64_t columns, int64_t row, int64_t from, double factor,
                       bool accumulate, int64_t to) {
  const int64_t c = j->w->c;
  const void *x = tx_at(j->w->dtype, j->from, from);
  void *y = tx_at_out(j->w->dtype, j->to, to);
  if (j->w->dtype == TX_F32) {
    tx_kernels.sum_window_f32(rows, columns, row, c, x, (float)factor, accumulate, y);
  } else {
    tx_sum_window_f64(rows, columns, row, c, x, factor, accumulate, y);
  }
}

static double factor_of(const job *j, int64_t rows, int64_t columns) {
  return 1 / (double)(j->whole ? j->w->r * j->w->s : rows * columns);
}

static void avg_windows(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  const tx_window *w = j->w;
  const int64_t n = block / w->p, p = block % w->p;
  const tx_range rows = rows_of_window(w, p);
  for (int64_t q = 0; q < w->q; q++) {
    const tx_range columns = columns_of_window(w, q);
    sum_window(j, rows.count, columns.count, w->w * w->c, at_pixel(w, n, rows.first, columns.first),
               factor_of(j, rows.count, columns.count), false, at_window(w, n, p, q));
  }
}

/* One pixel of which each window has its own divisor. */
static void gather(const job *j, int64_t n, tx_range rows, tx_range columns, int64_t to) {
  const tx_window *w = j->w;
  sum_window(j, 0, 0, 0, 0, 0, false, to);
  for (int64_t p = rows.first; p < rows.first + rows.count; p++) {
    for (int64_t q = columns.first; q < columns.first + columns.count; q++) {
      const double factor = factor_of(j, rows_of_window(w, p).count, columns_of_window(w, q).count);
      sum_window(j, 1, 1, w->q * w->c, at_window(w, n, p, q), factor, true, to);
    }
  }
}

static void avg_pixels(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  const tx_window *w = j->w;
  const int64_t n = block / w->h, h = block % w->h;
  const tx_range rows = windows_over_row(w, h);
  for (int64_t x = 0; x < w->w; x++) {
    const tx_range columns = windows_over_column(w, x);
    const int64_t to = at_pixel(w, n, h, x);
    if (j->whole) {
      sum_window(j, rows.count, columns.count, w->q * w->c, at_window(w, n, rows.first, columns.first),
                 factor_of(j, 0, 0), false, to);
    } else {
      gather(j, n, rows, columns, to);
    }
  }
}

void tx_avg_pool_forward(const tx_window *w, bool whole, const void *x, void *y) {
  if (!is_empty(w)) tx_parallel(w->n * w->p, avg_windows, &(job){.w = w, .whole = whole, .from = x, .to = y});
}

void tx_avg_pool_backward(const tx_window *w, bool whole, const void *dy, void *dx) {
  if (!is_empty(w)) tx_parallel(w->n * w->h, avg_pixels, &(job){.w = w, .whole = whole, .from = dy, .to = dx});
}

/* -- whole images -------------------------------------------------------------------------------------------------------- */

typedef struct images {
  tx_dtype dtype;
  int64_t pixels, c;
  const void *from; /* x {N,pixels,C}, or dy {N,C} */
  void *to;         /* y {N,C}, or dx {N,pixels,C} */
  double *sums;     /* forward: {N,C} */
} images;

static void mean_of_image(void *context, int64_t image, int worker) {
  (void)worker;
  const images *p = context;
  double *sum = p->sums + image * p->c;
  const void *x = tx_at(p->dtype, p->from, image * p->pixels * p->c);
  TX_KERNEL_OF(p->dtype, channel_sum, p->pixels, p->c, x, sum);
  for (int64_t j = 0; j < p->c; j++) tx_set_real(p->dtype, p->to, image * p->c + j, sum[j] / (double)p->pixels);
}

static void spread_over_image(void *context, int64_t image, int worker) {
  (void)worker;
  const images *p = context;
  const void *dy = tx_at(p->dtype, p->from, image * p->c);
  const double factor = 1 / (double)p->pixels;
  for (int64_t i = 0; i < p->pixels; i++) {
    void *dx = tx_at_out(p->dtype, p->to, (image * p->pixels + i) * p->c);
    if (p->dtype == TX_F32) {
      tx_kernels.sum_window_f32(1, 1, 0, p->c, dy, (float)factor, false, dx);
    } else {
      tx_sum_window_f64(1, 1, 0, p->c, dy, factor, false, dx);
    }
  }
}

tx_status tx_global_avg_pool_forward(tx_dtype dtype, int64_t n, int64_t pixels, int64_t c, const void *x, void *y) {
  images p = {dtype, pixels, c, x, y, tx_alloc_array(n * c, sizeof(double))};
  if (p.sums == NULL) return TX_ENOMEM;
  tx_parallel(n, mean_of_image, &p);
  tx_dealloc(p.sums);
  return TX_OK;
}

void tx_global_avg_pool_backward(tx_dtype dtype, int64_t n, int64_t pixels, int64_t c, const void *dy, void *dx) {
  tx_parallel(n, spread_over_image, &(images){dtype, pixels, c, dy, dx, NULL});
}
