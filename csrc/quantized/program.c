/* program.c - networks in 8 bits: planned once, run from images of floats to floats. */
#include "quantized/program.h"

#include <stddef.h>
#include <string.h>

#include "base/integers.h"
#include "base/memory.h"
#include "base/threads.h"

enum {
  GROUP_BYTES = 3 << 20, /* of the values of a group of images, for which all weights are read once */
  MOST_STEPS = 1 << 13,
  LARGEST_SIDE = 1 << 20,
  LARGEST_VALUE = 1 << 30, /* bytes of an image */
};

tx_status tx_qprogram_open(tx_qprogram *p, int values) {
  p->place = tx_alloc_zero((size_t)values * sizeof *p->place);
  p->values = values;
  return p->place != NULL ? TX_OK : TX_ENOMEM;
}

tx_status tx_qprogram_add(tx_qprogram *p, tx_qstep **step) {
  if (p->steps == p->room) {
    if (p->steps >= MOST_STEPS) return tx_fail(TX_EINVAL, "quantized_program: more than %d steps", MOST_STEPS);
    const int room = p->room > 0 ? 2 * p->room : 32;
    tx_qstep *all = tx_alloc_array(room, sizeof *all);
    if (all == NULL) return TX_ENOMEM;
    if (p->steps > 0) memcpy(all, p->step, (size_t)p->steps * sizeof *all);
    tx_dealloc(p->step);
    p->step = all;
    p->room = room;
  }
  *step = &p->step[p->steps++];
  **step = (tx_qstep){0};
  return TX_OK;
}

void tx_qprogram_close(tx_qprogram *p) {
  for (int i = 0; i < p->steps; i++) tx_qconv_release(&p->step[i].conv);
  tx_dealloc(p->step);
  tx_dealloc(p->place);
  *p = (tx_qprogram){0};
}

/* -- checks ------------------------------------------------------------------------------------------------------------- */

static tx_status fail(const tx_qstep *s, const char *message) {
  return tx_fail(TX_EINVAL, "quantized_program: step %d: %s", s->number, message);
}

static bool side_fits(int64_t v) { return v >= 1 && v <= LARGEST_SIDE; }

static tx_status check_layouts(const tx_qprogram *p) {
  for (int v = 0; v < p->values; v++) {
    const tx_qlayout *l = &p->place[v].layout;
    int64_t bytes;
    if (!side_fits(l->h) || !side_fits(l->w) || !side_fits(l->c) || l->zero < 0 || l->zero > 255 ||
        !tx_product_fits(l->h * l->w, l->c, &bytes) || bytes > LARGEST_VALUE) {
      return tx_fail(TX_EINVAL, "quantized_program: value %d has a size or zero that can't be", v + 1);
    }
  }
  return TX_OK;
}

static bool same_size(const tx_qlayout *a, const tx_qlayout *b) { return a->h == b->h && a->w == b->w && a->c == b->c; }

/* Whether a window of r rows and its padding give p rows of h; `pad` above. */
static bool window_fits(int64_t h, int64_t p, int64_t r, int64_t stride, int64_t dilation, int64_t pad) {
  if (!side_fits(r) || !side_fits(stride) || !side_fits(dilation) || pad < 0 || pad > LARGEST_SIDE) return false;
  const int64_t reach = (p - 1) * stride + (r - 1) * dilation + 1 - pad; /* rows of the input, with padding below */
  return reach - h < LARGEST_SIDE;
}

static tx_status check_conv(const tx_qprogram *p, const tx_qstep *s, const tx_qlayout *x, const tx_qlayout *y) {
  const tx_qconv *c = &s->conv;
  if (c->c != x->c || c->k != y->c) return fail(s, "its channels are not those of its values");
  if (!window_fits(x->h, y->h, c->r, c->stride[0], c->dilation[0], c->top) ||
      !window_fits(x->w, y->w, c->s, c->stride[1], c->dilation[1], c->left)) {
    return fail(s, "kernel, stride and padding don't fit its values");
  }
  if (s->floats && (y->h != 1 || y->w != 1)) return fail(s, "floats are made of one pixel only");
  if (s->floats && c->groups != 1) return fail(s, "floats are made in one group only");
  const int other = s->other;
  if (other >= 0 && !same_size(&p->place[other].layout, y)) return fail(s, "the residual has another size");
  return TX_OK;
}

static tx_status check_window(const tx_qstep *s, const tx_qlayout *x, const tx_qlayout *y) {
  const tx_qwindow *w = &s->window;
  if (x->c != y->c) return fail(s, "the pool changes the channels");
  if (!window_fits(x->h, y->h, w->r, w->stride[0], 1, w->top) ||
      !window_fits(x->w, y->w, w->s, w->stride[1], 1, w->left) || w->r * w->s > (1 << 23)) {
    return fail(s, "window, stride and padding don't fit its values");
  }
  return TX_OK;
}

static tx_status check_step(const tx_qprogram *p, int i) {
  const tx_qstep *s = &p->step[i];
  const tx_qlayout *x = &p->place[s->input].layout, *y = &p->place[s->output].layout;
  const tx_qlayout *b = s->other >= 0 ? &p->place[s->other].layout : NULL;
  const bool last = i == p->steps - 1;
  if ((s->op == TX_Q_QUANTIZE) != (s->input == 0) || s->other == 0) return fail(s, "floats come in by quantize");
  if ((s->op == TX_Q_DEQUANTIZE || s->floats) != last) return fail(s, "the last step, and no other, makes floats");
  switch (s->op) {
    case TX_Q_CONV:
      return check_conv(p, s, x, y);
    case TX_Q_POOL:
      return check_window(s, x, y);
    case TX_Q_ADD:
      return b != NULL && same_size(x, y) && same_size(b, y) ? TX_OK : fail(s, "the sizes of a sum differ");
    case TX_Q_MULTIPLY:
      return b != NULL && same_size(x, y) && b->c == y->c && ((b->h == 1 && b->w == 1) || same_size(b, y))
                 ? TX_OK
                 : fail(s, "the sizes of a product differ");
    case TX_Q_COPY:
      return x->h == y->h && x->w == y->w && s->at >= 0 && s->at <= y->c - x->c ? TX_OK : fail(s, "it does not fit");
    case TX_Q_FLATTEN:
      return y->h == 1 && y->w == 1 && y->c == x->h * x->w * x->c ? TX_OK
                                                                  : fail(s, "flatten keeps the number of bytes");
    default:
      return same_size(x, y) ? TX_OK : fail(s, "the sizes of its values differ");
  }
}

/* Each value is made before it is read, by one step, or channel by channel by copies. */
static tx_status check_order(const tx_qprogram *p) {
  int64_t *made = tx_alloc_zero((size_t)p->values * sizeof *made); /* channels */
  if (made == NULL) return TX_ENOMEM;
  tx_status status = TX_OK;
  made[0] = p->place[0].layout.c;
  for (int i = 0; i < p->steps && status == TX_OK; i++) {
    const tx_qstep *s = &p->step[i];
    const tx_qlayout *x = &p->place[s->input].layout, *y = &p->place[s->output].layout;
    if (made[s->input] != x->c || (s->other >= 0 && made[s->other] != p->place[s->other].layout.c)) {
      status = fail(s, "it reads a value that was not made before");
    } else if (made[s->output] != s->at) {
      status = fail(s, "it makes a value that was made before");
    }
    made[s->output] = s->op == TX_Q_COPY ? s->at + x->c : y->c;
  }
  tx_dealloc(made);
  return status;
}

/* -- planning ----------------------------------------------------------------------------------------------------------- */

/* What a convolution adds to a residual is read with the strides of its output. */
static void share_border(tx_qlayout *a, tx_qlayout *b) {
  a->top = b->top = tx_max(a->top, b->top);
  a->left = b->left = tx_max(a->left, b->left);
  a->bottom = b->bottom = tx_max(a->bottom, b->bottom);
  a->right = b->right = tx_max(a->right, b->right);
}

static tx_status plan_borders(tx_qprogram *p) {
  for (int i = 0; i < p->steps; i++) {
    const tx_qstep *s = &p->step[i];
    const tx_qlayout *y = &p->place[s->output].layout;
    tx_qlayout *x = &p->place[s->input].layout;
    if (s->op == TX_Q_CONV) tx_qconv_border(&s->conv, x, y->h, y->w, x);
  }
  for (int round = 0; round < p->steps; round++) { /* from residual to residual */
    for (int i = 0; i < p->steps; i++) {
      const tx_qstep *s = &p->step[i];
      if (s->op == TX_Q_CONV && s->other >= 0) share_border(&p->place[s->other].layout, &p->place[s->output].layout);
    }
  }
  for (int v = 0; v < p->values; v++) {
    tx_qlayout *l = &p->place[v].layout;
    const int64_t rows = l->top + l->h + l->bottom, row = (l->left + l->w + l->right) * l->c;
    int64_t bytes;
    if (!tx_product_fits(rows, row, &bytes) || bytes > LARGEST_VALUE) {
      return tx_fail(TX_ENOMEM, "quantized_program: value %d is too large", v + 1);
    }
    tx_qlayout_finish(l);
  }
  return TX_OK;
}

/* When a value is needed: from the step that makes it to the last one that reads it. */
typedef struct life {
  int first, last;
} life;

static void lengthen(life *l, int step) {
  if (step < l->first) l->first = step;
  if (step > l->last) l->last = step;
}

/* life[value]; those that no step has are not needed at all. */
static void find_lives(const tx_qprogram *p, life *lives) {
  for (int v = 0; v < p->values; v++) lives[v] = (life){p->steps, -1};
  for (int i = 0; i < p->steps; i++) {
    const tx_qstep *s = &p->step[i];
    lengthen(&lives[s->output], i);
    lengthen(&lives[s->input], i);
    if (s->other >= 0) lengthen(&lives[s->other], i);
  }
}

static bool together(life a, life b) { return a.first <= b.last && b.first <= a.last; }

/* Nothing else stands where a kernel may read behind the value. */
static int64_t place_bytes(const tx_qplace *place) { return (place->layout.image + TX_QSLACK + 63) / 64 * 64; }

/* The lowest place for a value among `count` others, in the order of their places, where none of these stands that is
 * needed at the same time. */
static int64_t lowest_place(const tx_qprogram *p, const life *lives, int value, const int *order, int count) {
  const int64_t bytes = place_bytes(&p->place[value]);
  int64_t at = 0;
  for (int i = 0; i < count; i++) {
    const tx_qplace *other = &p->place[order[i]];
    if (other->offset >= at + bytes) break;
    if (together(lives[order[i]], lives[value])) at = tx_max(at, other->offset + place_bytes(other));
  }
  return at;
}

static void insert_by_place(const tx_qprogram *p, int value, int *order, int count) {
  int i = count;
  for (; i > 0 && p->place[order[i - 1]].offset > p->place[value].offset; i--) order[i] = order[i - 1];
  order[i] = value;
}

static tx_status plan_places(tx_qprogram *p) {
  life *lives = tx_alloc_array(p->values, sizeof *lives);
  int *order = tx_alloc_array(p->values, sizeof *order);
  const tx_status status = lives != NULL && order != NULL ? TX_OK : TX_ENOMEM;
  if (status == TX_OK) {
    find_lives(p, lives);
    for (int v = 1; v < p->values; v++) {
      tx_qplace *place = &p->place[v];
      place->offset = lowest_place(p, lives, v, order, v - 1);
      insert_by_place(p, v, order, v - 1);
      p->arena = tx_max(p->arena, place->offset + place_bytes(place));
    }
  }
  tx_dealloc(lives);
  tx_dealloc(order);
  return status;
}

tx_status tx_qprogram_plan(tx_qprogram *p) {
  TX_TRY(check_layouts(p));
  for (int i = 0; i < p->steps; i++) TX_TRY(check_step(p, i));
  TX_TRY(check_order(p));
  TX_TRY(plan_borders(p));
  TX_TRY(plan_places(p));
  for (int i = 0; i < p->steps; i++) {
    const tx_qstep *s = &p->step[i];
    if (s->op != TX_Q_CONV) continue;
    p->scratch = tx_max(p->scratch, tx_qconv_scratch(&s->conv, &p->place[s->output].layout));
  }
  return TX_OK;
}

const tx_qplace *tx_qprogram_output(const tx_qprogram *p) { return &p->place[p->step[p->steps - 1].output]; }

/* -- running ------------------------------------------------------------------------------------------------------------ */

/* Some images in an arena. */
typedef struct group {
  const tx_qprogram *p;
  int64_t images;
  const float *x;
  float *y;
  char *arena;
} group;

static tx_qvalue value_of(const group *g, int value) {
  if (value < 1) return (tx_qvalue){0};
  const tx_qplace *place = &g->p->place[value];
  return (tx_qvalue){&place->layout, (uint8_t *)g->arena + g->images * place->offset};
}

/* Rows of a step that is no convolution. */
static void do_rows(const group *g, const tx_qstep *s, int64_t first, int64_t count) {
  const tx_qvalue x = value_of(g, s->input), b = value_of(g, s->other), y = value_of(g, s->output);
  switch (s->op) {
    case TX_Q_QUANTIZE:
      tx_qquantize_rows(s->factor, g->x, y, first, count);
      break;
    case TX_Q_POOL:
      tx_qpool_rows(&s->window, x, y, first, count);
      break;
    case TX_Q_ADD:
      tx_qadd_rows(&s->sum, x, b, y, first, count);
      break;
    case TX_Q_MULTIPLY:
      tx_qmultiply_rows(s->factor, x, b, y, first, count);
      break;
    case TX_Q_COPY:
      tx_qcopy_rows(s->factor, x, y, s->at, first, count);
      break;
    case TX_Q_LOOKUP:
      tx_qlookup_rows(s->table, x, y, first, count);
      break;
    case TX_Q_FLATTEN:
      tx_qflatten_rows(x, y, first, count);
      break;
    default:
      tx_qdequantize_rows(s->factor, x, g->y, first, count);
  }
}

/* How a step is cut for so many threads. */
static tx_qparts parts_of(const group *g, const tx_qstep *s, int threads) {
  const tx_qlayout *y = &g->p->place[s->output].layout;
  if (s->op == TX_Q_CONV) return tx_qconv_parts(&s->conv, y, g->images, threads);
  const int64_t rows = g->images * y->h, block = tx_ceil_div(rows, threads);
  return (tx_qparts){.rows = tx_ceil_div(rows, block), .channels = 1, .row_block = block};
}

static void do_part(const group *g, const tx_qstep *s, const tx_qparts *parts, int64_t part, void *scratch) {
  if (s->op == TX_Q_CONV) {
    tx_qconv_part(&s->conv, parts, part, g->images, value_of(g, s->input), value_of(g, s->other),
                  value_of(g, s->output), s->floats ? g->y : NULL, scratch);
  } else {
    const int64_t first = part * parts->row_block;
    do_rows(g, s, first, tx_min(parts->row_block, g->images * g->p->place[s->output].layout.h - first));
  }
}

/* A job of tx_parallel: groups of images, each through all steps, or the parts of one step. */
typedef struct job {
  group all;
  int64_t group_images;
  const tx_qstep *step;
  tx_qparts parts;
  tx_scratch scratch;
} job;

static int64_t arena_bytes(const tx_qprogram *p, int64_t images) {
  return (p->arena * images + TX_QSLACK + 63) / 64 * 64;
}

static void do_group(void *context, int64_t block, int worker) {
  const job *j = context;
  const tx_qprogram *p = j->all.p;
  const int64_t first = block * j->group_images;
  const tx_qlayout *x = &p->place[0].layout, *y = &tx_qprogram_output(p)->layout;
  char *arena = tx_scratch_of(&j->scratch, worker);
  const group own = {p, tx_min(j->group_images, j->all.images - first), j->all.x + first * x->h * x->w * x->c,
                     j->all.y + first * y->h * y->w * y->c, arena};
  void *scratch = arena + arena_bytes(p, j->group_images);
  for (int i = 0; i < p->steps; i++) {
    const tx_qparts parts = parts_of(&own, &p->step[i], 1);
    for (int64_t k = 0; k < parts.rows * parts.channels; k++) do_part(&own, &p->step[i], &parts, k, scratch);
    if (tx_should_stop()) return;
  }
}

static void do_step_part(void *context, int64_t block, int worker) {
  const job *j = context;
  do_part(&j->all, j->step, &j->parts, block, tx_scratch_of(&j->scratch, worker));
}

static tx_status run_groups(job *j, int threads) {
  const tx_qprogram *p = j->all.p;
  const int64_t each = tx_ceil_div(j->all.images, threads);
  j->group_images = tx_min(each, tx_max(1, GROUP_BYTES / p->arena));
  j->group_images = tx_ceil_div(each, tx_ceil_div(each, j->group_images)); /* groups of the same size */
  TX_TRY(tx_scratch_open(&j->scratch, (size_t)(arena_bytes(p, j->group_images) + p->scratch)));
  tx_parallel(tx_ceil_div(j->all.images, j->group_images), do_group, j);
  tx_scratch_close(&j->scratch);
  return TX_OK;
}

static tx_status run_steps(job *j, int threads) {
  const tx_qprogram *p = j->all.p;
  j->all.arena = tx_alloc((size_t)arena_bytes(p, j->all.images));
  tx_status status = j->all.arena == NULL ? TX_ENOMEM : tx_scratch_open(&j->scratch, (size_t)p->scratch);
  if (status == TX_OK) {
    for (int i = 0; i < p->steps; i++) {
      j->step = &p->step[i];
      j->parts = parts_of(&j->all, j->step, threads);
      tx_parallel(j->parts.rows * j->parts.channels, do_step_part, j);
    }
    tx_scratch_close(&j->scratch);
  }
  tx_dealloc(j->all.arena);
  return status;
}

tx_status tx_qprogram_run(const tx_qprogram *p, int64_t images, const float *x, float *y) {
  if (images == 0) return TX_OK;
  const int threads = tx_num_threads();
  job j = {.all = {.p = p, .images = images, .x = x, .y = y}};
  return images < threads ? run_steps(&j, threads) : run_groups(&j, threads);
}
