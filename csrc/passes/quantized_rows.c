/* quantized_rows.c - layers in 8 bits that are no convolutions: pools, sums, products, tables, and the way in and out. */
#include <float.h>
#include <string.h>

#include "passes/passes.h"
#include "passes/quantized.h"
#include "passes/quantized_internal.h"

void tx_qlayout_finish(tx_qlayout *l) {
  l->row = (l->left + l->w + l->right) * l->c;
  l->image = (l->top + l->h + l->bottom) * l->row;
}

void tx_qfill_border(tx_qvalue y, int64_t image, int64_t first, int64_t end) {
  const tx_qlayout *l = y.layout;
  uint8_t *data = y.data + image * l->image;
  for (int64_t i = first; i < end; i++) {
    uint8_t *row = data + (i + l->top) * l->row;
    memset(row, l->zero, (size_t)(l->left * l->c));
    memset(row + (l->left + l->w) * l->c, l->zero, (size_t)(l->right * l->c));
  }
  if (first == 0) memset(data, l->zero, (size_t)(l->top * l->row));
  if (end == l->h) memset(data + (l->top + l->h) * l->row, l->zero, (size_t)(l->bottom * l->row));
}

/* One row of all images together. */
typedef struct row_place {
  int64_t image, y;
} row_place;

static row_place place_of(tx_qvalue v, int64_t row) { return (row_place){row / v.layout->h, row % v.layout->h}; }

static void fill_beside(tx_qvalue y, row_place at) { tx_qfill_border(y, at.image, at.y, at.y + 1); }

/* -- pools -------------------------------------------------------------------------------------------------------------- */

/* The pixels of the input that the window at (p, q) has inside. */
typedef struct inside {
  int64_t y0, y1, x0, x1;
} inside;

static inside inside_of(const tx_qwindow *w, const tx_qlayout *x, int64_t p, int64_t q) {
  const int64_t y = p * w->stride[0] - w->top, left = q * w->stride[1] - w->left;
  inside in = {tx_max(y, 0), tx_min(y + w->r, x->h), tx_max(left, 0), tx_min(left + w->s, x->w)};
  in.y1 = tx_max(in.y0, in.y1); /* a window may lie in the border as a whole */
  in.x1 = tx_max(in.x0, in.x1);
  return in;
}

static void largest(tx_qvalue x, int64_t image, inside in, uint8_t *restrict to) {
  const int64_t c = x.layout->c;
  memset(to, 0, (size_t)c);
  for (int64_t i = in.y0; i < in.y1; i++) {
    for (int64_t j = in.x0; j < in.x1; j++) {
      const uint8_t *restrict from = tx_qpixel(x, image, i, j);
      for (int64_t d = 0; d < c; d++) to[d] = from[d] > to[d] ? from[d] : to[d];
    }
  }
}

enum { SLICE = 256 }; /* channels whose sums are on the stack */

/* By which a sum of so many pixels becomes their mean. */
static float mean_factor(const tx_qwindow *w, int64_t count) {
  return (float)(w->scale / (w->scale_y * (double)count));
}

static void mean(const tx_qwindow *w, tx_qvalue x, int64_t image, inside in, float zero, uint8_t *restrict to) {
  const int32_t count = (int32_t)((in.y1 - in.y0) * (in.x1 - in.x0)), zeros = count * x.layout->zero;
  const float factor = mean_factor(w, w->with_border ? w->r * w->s : tx_max(count, 1));
  for (int64_t first = 0; first < x.layout->c; first += SLICE) {
    const int64_t c = tx_min(SLICE, x.layout->c - first);
    int32_t sum[SLICE] = {0};
    for (int64_t i = in.y0; i < in.y1; i++) {
      for (int64_t j = in.x0; j < in.x1; j++) {
        const uint8_t *from = tx_qpixel(x, image, i, j) + first;
        for (int64_t d = 0; d < c; d++) sum[d] += from[d];
      }
    }
    for (int64_t d = 0; d < c; d++) {
      to[first + d] = tx_qnearest((float)(sum[d] - zeros) * factor, zero);
    }
  }
}

void tx_qpool_rows(const tx_qwindow *window, tx_qvalue x, tx_qvalue y, int64_t first, int64_t count) {
  for (int64_t i = first; i < first + count; i++) {
    const row_place at = place_of(y, i);
    for (int64_t q = 0; q < y.layout->w; q++) {
      const inside in = inside_of(window, x.layout, at.y, q);
      uint8_t *to = tx_qpixel(y, at.image, at.y, q);
      if (window->largest) {
        largest(x, at.image, in, to);
      } else {
        mean(window, x, at.image, in, (float)y.layout->zero, to);
      }
    }
    fill_beside(y, at);
  }
}

/* -- element by element ------------------------------------------------------------------------------------------------- */

void tx_qadd_rows(const tx_qsum *sum, tx_qvalue a, tx_qvalue b, tx_qvalue y, int64_t first, int64_t count) {
  const tx_qlayout *l = y.layout;
  const int32_t zero_a = a.layout->zero, zero_b = b.layout->zero;
  const float factor_a = sum->factor[0], factor_b = sum->factor[1], zero = (float)l->zero;
  const float least = sum->relu ? 0 : -FLT_MAX;
  for (int64_t i = first; i < first + count; i++) {
    const row_place at = place_of(y, i);
    const uint8_t *p = tx_qpixel(a, at.image, at.y, 0), *q = tx_qpixel(b, at.image, at.y, 0);
    uint8_t *restrict to = tx_qpixel(y, at.image, at.y, 0);
    for (int64_t d = 0; d < l->w * l->c; d++) {
      const float u = (float)(p[d] - zero_a) * factor_a, v = (float)(q[d] - zero_b) * factor_b;
      const float t = u + v;
      to[d] = tx_qnearest(t > least ? t : least, zero);
    }
    fill_beside(y, at);
  }
}

void tx_qmultiply_rows(float factor, tx_qvalue a, tx_qvalue b, tx_qvalue y, int64_t first, int64_t count) {
  const tx_qlayout *l = y.layout;
  const bool one = b.layout->h * b.layout->w == 1;
  const int32_t zero_a = a.layout->zero, zero_b = b.layout->zero;
  const float zero = (float)l->zero;
  for (int64_t i = first; i < first + count; i++) {
    const row_place at = place_of(y, i);
    for (int64_t x = 0; x < l->w; x++) {
      const uint8_t *p = tx_qpixel(a, at.image, at.y, x), *q = tx_qpixel(b, at.image, one ? 0 : at.y, one ? 0 : x);
      uint8_t *restrict to = tx_qpixel(y, at.image, at.y, x);
      for (int64_t d = 0; d < l->c; d++) {
        const int32_t product = (p[d] - zero_a) * (q[d] - zero_b);
        to[d] = tx_qnearest((float)product * factor, zero);
      }
    }
    fill_beside(y, at);
  }
}

void tx_qcopy_rows(float factor, tx_qvalue x, tx_qvalue y, int64_t at_channel, int64_t first, int64_t count) {
  const int64_t c = x.layout->c;
  const bool same = factor == 1 && x.layout->zero == y.layout->zero;
  const int32_t zero_x = x.layout->zero;
  const float zero = (float)y.layout->zero;
  for (int64_t i = first; i < first + count; i++) {
    const row_place at = place_of(y, i);
    for (int64_t q = 0; q < y.layout->w; q++) {
      const uint8_t *from = tx_qpixel(x, at.image, at.y, q);
      uint8_t *restrict to = tx_qpixel(y, at.image, at.y, q) + at_channel;
      if (same) {
        memcpy(to, from, (size_t)c);
      } else {
        for (int64_t d = 0; d < c; d++) to[d] = tx_qnearest((float)(from[d] - zero_x) * factor, zero);
      }
    }
    fill_beside(y, at);
  }
}

void tx_qlookup_rows(const uint8_t table[256], tx_qvalue x, tx_qvalue y, int64_t first, int64_t count) {
  for (int64_t i = first; i < first + count; i++) {
    const row_place at = place_of(y, i);
    const uint8_t *from = tx_qpixel(x, at.image, at.y, 0);
    uint8_t *to = tx_qpixel(y, at.image, at.y, 0);
    for (int64_t d = 0; d < y.layout->w * y.layout->c; d++) to[d] = table[from[d]];
    fill_beside(y, at);
  }
}

/* -- in and out --------------------------------------------------------------------------------------------------------- */

void tx_qquantize_rows(float inverse, const float *x, tx_qvalue y, int64_t first, int64_t count) {
  const int64_t n = y.layout->w * y.layout->c;
  for (int64_t i = first; i < first + count; i++) {
    const row_place at = place_of(y, i);
    tx_kernels.quantize_f32(n, inverse, (float)y.layout->zero, x + i * n, tx_qpixel(y, at.image, at.y, 0));
    fill_beside(y, at);
  }
}

void tx_qdequantize_rows(float scale, tx_qvalue x, float *y, int64_t first, int64_t count) {
  const int64_t n = x.layout->w * x.layout->c;
  for (int64_t i = first; i < first + count; i++) {
    const row_place at = place_of(x, i);
    const uint8_t *from = tx_qpixel(x, at.image, at.y, 0);
    for (int64_t d = 0; d < n; d++) y[i * n + d] = (float)(from[d] - x.layout->zero) * scale;
  }
}

void tx_qflatten_rows(tx_qvalue x, tx_qvalue y, int64_t first, int64_t count) {
  const int64_t row = x.layout->w * x.layout->c;
  for (int64_t i = first; i < first + count; i++) {
    for (int64_t h = 0; h < x.layout->h; h++) {
      memcpy(tx_qpixel(y, i, 0, 0) + h * row, tx_qpixel(x, i, h, 0), (size_t)row);
    }
    tx_qfill_border(y, i, 0, 1);
  }
}
