/* print.c - tensors as text.
 *
 * Two walks over the elements that are shown: the first finds the number format and the width of a column, the second
 * writes. A walk leaves out the middle of dimensions that are summarized.
 */
#include "tensor/print.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

enum {
  FULL = 1000, /* elements that are shown without summary */
  EDGE = 3,    /* elements at either end of a summarized dimension */
  LINE = 80    /* columns of text */
};

/* A growing string; once memory has run out, `failed` stays set and nothing more is added. */
typedef struct text {
  char *data;
  size_t length, room;
  size_t line_start; /* of the last line */
  bool failed;
} text;

static void add_bytes(text *s, const char *bytes, size_t n) {
  if (s->failed) return;
  if (s->length + n + 1 > s->room) {
    size_t room = 2 * (s->length + n + 1) + 256;
    char *data = tx_alloc(room);
    if (data == NULL) {
      s->failed = true;
      return;
    }
    if (s->data != NULL) memcpy(data, s->data, s->length);
    tx_dealloc(s->data);
    s->data = data;
    s->room = room;
  }
  memcpy(s->data + s->length, bytes, n);
  s->length += n;
  s->data[s->length] = '\0';
}

static void add(text *s, const char *bytes) { add_bytes(s, bytes, strlen(bytes)); }

static void add_spaces(text *s, int n) {
  for (int i = 0; i < n; i++) add_bytes(s, " ", 1);
}

static void new_line(text *s, int indent) {
  add_bytes(s, "\n", 1);
  s->line_start = s->length;
  add_spaces(s, indent);
}

/* How numbers are written. */
typedef struct format {
  bool scientific, whole;   /* whole: all numbers are integers, "2." */
  double largest, smallest; /* magnitudes other than zero; what the two flags are decided by */
  int width;
} format;

typedef struct printer {
  const tx_tensor *t;
  bool summarize;
  format format;
  text text;
} printer;

enum { NUMBER = 352 }; /* room for any double with four decimals */

static void number_text(const printer *p, int64_t offset, char out[NUMBER]) {
  tx_tensor element = *p->t; /* a view of one element; the storage is borrowed */
  element.dims = 0;
  element.offset = offset;
  double value = tx_item(&element);
  if (p->t->dtype == TX_I64) {
    tx_format(out, NUMBER, "%" PRId64, *tx_i64(&element));
  } else if (p->t->dtype == TX_U8) {
    tx_format(out, NUMBER, "%d", *tx_u8(&element));
  } else if (!isfinite(value)) {
    tx_format(out, NUMBER, "%s", value != value ? "nan" : value > 0 ? "inf" : "-inf");
  } else if (p->format.scientific) {
    tx_format(out, NUMBER, "%.4e", value);
  } else {
    tx_format(out, NUMBER, p->format.whole ? "%.0f." : "%.4f", value);
  }
}

/* -- walks ------------------------------------------------------------------------------------------------------------- */

typedef void visit_fn(printer *p, int64_t offset);

/* The index after i: jumps over the middle of a summarized dimension. */
static int64_t next_index(const printer *p, int64_t size, int64_t i) {
  return p->summarize && size > 2 * EDGE && i == EDGE - 1 ? size - EDGE : i + 1;
}

static void walk(printer *p, int dim, int64_t offset, visit_fn *visit) {
  if (dim == p->t->dims) {
    visit(p, offset);
    return;
  }
  int64_t size = p->t->shape[dim];
  for (int64_t i = 0; i < size; i = next_index(p, size, i)) walk(p, dim + 1, offset + i * p->t->strides[dim], visit);
}

static void measure_value(printer *p, int64_t offset) {
  tx_tensor element = *p->t;
  element.dims = 0;
  element.offset = offset;
  double magnitude = fabs(tx_item(&element));
  if (!isfinite(magnitude) || magnitude == 0) return;
  if (magnitude != floor(magnitude)) p->format.whole = false;
  if (magnitude > p->format.largest) p->format.largest = magnitude;
  if (magnitude < p->format.smallest) p->format.smallest = magnitude;
}

static void measure_width(printer *p, int64_t offset) {
  char number[NUMBER];
  number_text(p, offset, number);
  int width = (int)strlen(number);
  if (width > p->format.width) p->format.width = width;
}

static void write_number(printer *p, int64_t offset) {
  char number[NUMBER];
  number_text(p, offset, number);
  add_spaces(&p->text, p->format.width - (int)strlen(number));
  add(&p->text, number);
}

/* What stands between two items of dimension `dim`: a comma, and for rows as many line breaks as there are dimensions
 * below; numbers go on in the next line when the present one is full. */
static void separate(printer *p, int dim) {
  text *s = &p->text;
  int below = p->t->dims - 1 - dim;
  add(s, ",");
  if (below == 0) {
    if (s->length - s->line_start + (size_t)p->format.width + 2 > LINE) {
      new_line(s, dim + 1);
    } else {
      add(s, " ");
    }
    return;
  }
  for (int i = 1; i < below; i++) new_line(s, 0);
  new_line(s, dim + 1);
}

static void write(printer *p, int dim, int64_t offset) {
  if (dim == p->t->dims) {
    write_number(p, offset);
    return;
  }
  int64_t size = p->t->shape[dim];
  add(&p->text, "[");
  for (int64_t i = 0; i < size;) {
    write(p, dim + 1, offset + i * p->t->strides[dim]);
    int64_t next = next_index(p, size, i);
    if (next < size) separate(p, dim);
    if (next > i + 1) {
      add(&p->text, "...");
      separate(p, dim);
    }
    i = next;
  }
  add(&p->text, "]");
}

tx_status tx_print(const tx_tensor *t, char **out) {
  printer p = {.t = t, .format = {.whole = true, .smallest = INFINITY}};
  int64_t numel = tx_numel(t);
  p.summarize = numel > FULL;
  if (numel > 0) {
    walk(&p, 0, t->offset, measure_value);
    format *f = &p.format;
    f->scientific = f->largest >= 1e8 || f->smallest < 1e-4 || (!f->whole && f->largest / f->smallest > 1e7);
    walk(&p, 0, t->offset, measure_width);
    write(&p, 0, t->offset);
  } else {
    add(&p.text, "[]");
  }
  add(&p.text, "\n");
  add(&p.text, tx_dtype_name(t->dtype));
  add(&p.text, " ");
  add(&p.text, tx_shape_of(t));
  if (p.text.failed) {
    tx_dealloc(p.text.data);
    return TX_ENOMEM;
  }
  *out = p.text.data;
  return TX_OK;
}
