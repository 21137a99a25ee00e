/* conv_gemm.c - convolution as a matrix product whose left matrix is gathered block by block and never stands in memory
 * as a whole.
 *
 *     forward             y {pixels, K}  =  x gathered {pixels, R*S*C}  .  w {R*S*C, K}
 *     gradient to w       dw {R*S*C, K}  =  (x gathered)^T  .  dy {pixels, K}
 *     gradient to x       with stride t the input pixels fall into t*t phases by their row and column modulo t; all pixels
 *                         of a phase are reached by the same taps, so that for each phase
 *                         dx {pixels, C} =  dy gathered {pixels, taps*K}  .  w^T of these taps {taps*K, C}
 *
 * A block is up to BLOCK_ROWS pixels by at most BLOCK_FLOATS / BLOCK_ROWS of the sum: it stays in the second-level cache.
 * Groups are done one after the other inside a block.
 */
#include <string.h>

#include "base/integers.h"
#include "base/memory.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "passes/conv_internal.h"

enum {
  BLOCK_ROWS = 112,         /* pixels per block */
  BLOCK_FLOATS = 72 * 1024, /* of a gathered block: 288 KiB */
  PARTIALS = 16,            /* partial sums of a weight gradient, at most */
  PARTIAL_FLOATS = 8 << 20, /* of all partial sums of a weight gradient, at most */
  FEW_ROWS = 14             /* a weight gradient of no more rows reads dy so seldom that packing it does not pay */
};

/* -- a list of taps ------------------------------------------------------------------------------------------------------ */

/* Memory for a gather's two offset lists. */
static tx_status open_taps(int64_t taps, int64_t **offsets) {
  *offsets = tx_alloc_array(2 * taps + 1, sizeof(int64_t));
  return *offsets == NULL ? TX_ENOMEM : TX_OK;
}

/* All taps in the order of the weights, as seen from output pixels. */
static tx_conv_gather gather_input(const tx_conv_shape *v, const float *x, int64_t *offsets) {
  const int64_t taps = v->r * v->s;
  for (int64_t t = 0; t < taps; t++) {
    offsets[t] = t / v->s * v->dilation[0] - v->top;
    offsets[taps + t] = t % v->s * v->dilation[1] - v->left;
  }
  return (tx_conv_gather){.x = x,
                          .h = v->h,
                          .w = v->w,
                          .pixel = v->c,
                          .channels = v->c / v->groups,
                          .rows = v->p,
                          .columns = v->q,
                          .step = {v->stride[0], v->stride[1]},
                          .taps = taps,
                          .offset_h = offsets,
                          .offset_w = offsets + taps};
}

/* Columns of packed panels that n columns take. */
static int64_t panel_columns(int64_t n) {
  const int64_t panel = tx_kernels.panel;
  return tx_ceil_div(n, panel) * panel;
}

/* -- packing weights ----------------------------------------------------------------------------------------------------- */

/* The right matrix {taps * rows, columns} of each group, out of weights whose taps, groups, rows and columns stand the given
 * steps apart, into {group}{panel}{taps * rows}{panel columns}. */
typedef struct packing {
  const float *w;
  const int64_t *tap; /* {taps}: which ones, in order; NULL: all */
  int64_t taps, tap_step, groups, group_step, rows, row_step, columns, column_step;
  float *packed;
} packing;

static void pack_panel(void *context, int64_t unit, int worker) {
  (void)worker;
  const packing *p = context;
  const int64_t panel = tx_kernels.panel, panels = tx_ceil_div(p->columns, panel), depth = p->taps * p->rows;
  const int64_t group = unit / panels, column = unit % panels * panel;
  const float *from = p->w + group * p->group_step + column * p->column_step;
  float *to = p->packed + unit * depth * panel;
  for (int64_t t = 0; t < p->taps; t++, to += p->rows * panel) {
    tx_kernels.pack_f32(p->rows, tx_min(panel, p->columns - column),
                        from + (p->tap != NULL ? p->tap[t] : t) * p->tap_step, p->row_step, p->column_step, to);
  }
}

static void pack(packing *p) { tx_parallel(p->groups * tx_ceil_div(p->columns, tx_kernels.panel), pack_panel, p); }

/* -- rows of gathered pixels times packed weights ------------------------------------------------------------------------ */

typedef struct product {
  tx_conv_gather gather; /* of group 0 */
  int64_t groups, k;     /* filters per group */
  const float *b;        /* {group}{panel}{taps * channels}{panel columns} */
  bool direct;           /* the gathered matrix is the source itself: 1x1, stride 1, no padding, one group */
  int64_t points;        /* grid points over all images */
  int64_t block_rows, row_blocks;
  int64_t column_step, column_blocks; /* filters of a group per block */
  int64_t chunk_taps, chunk_channels; /* of the sum, per gathered block */
  tx_scratch scratch; /* a gathered block {block_rows, chunk}; when scattered {block_rows, groups * k} of out */
  int64_t gathered_floats;
  float *out;     /* {points, groups * k} */
  bool scattered; /* rows of out belong to every stride-th pixel of images out_h x out_w, from the phase on */
  int64_t phase_h, phase_w, stride_h, stride_w, out_h, out_w;
  const tx_conv_finish *finish;
} product;

/* One chunk of the sum for one group: gathers it and adds its product to c. */
static void multiply_chunk(const product *p, int64_t group, int64_t point0, int64_t points, int64_t tap0, int64_t tap1,
                           int64_t channel0, int64_t channels, int64_t column0, int64_t columns, float *gathered,
                           float *c) {
  const int64_t depth = p->gather.taps * p->gather.channels, width = panel_columns(p->k);
  const float *a;
  int64_t a_row;
  if (p->direct) {
    a = p->gather.x + point0 * p->gather.pixel + channel0;
    a_row = p->gather.pixel;
  } else {
    tx_conv_gather part = p->gather;
    part.first = group * p->gather.channels + channel0;
    part.channels = channels;
    a_row = (tap1 - tap0) * channels;
    a = gathered;
    tx_conv_gather_rows(&part, point0, points, tap0, tap1, gathered, a_row);
  }
  const int64_t panel = tx_kernels.panel, first = tap0 * p->gather.channels + channel0;
  tx_gemm g = {.m = points,
               .n = columns,
               .k = (tap1 - tap0) * channels,
               .a = a,
               .a_row = a_row,
               .a_step = 1,
               .b = p->b + group * depth * width + column0 * depth + first * panel,
               .b_panel = depth * panel,
               .b_step = panel,
               .c = c,
               .c_row = p->groups * p->k,
               .accumulate = first > 0};
  tx_kernels.gemm_f32(&g);
}

/* Rows of the staging buffer to their pixels of the phase. */
static void scatter_rows(const product *p, const float *staging, int64_t point0, int64_t points) {
  const int64_t row = p->groups * p->k, per_image = p->gather.rows * p->gather.columns;
  for (int64_t point = point0; point < point0 + points; point++, staging += row) {
    const int64_t n = point / per_image, i = point % per_image / p->gather.columns, j = point % p->gather.columns;
    const int64_t h = p->phase_h + i * p->stride_h, w = p->phase_w + j * p->stride_w;
    memcpy(p->out + ((n * p->out_h + h) * p->out_w + w) * row, staging, (size_t)row * sizeof(float));
  }
}

static void product_block(void *context, int64_t block, int worker) {
  const product *p = context;
  const int64_t row_block = block / p->column_blocks, column0 = block % p->column_blocks * p->column_step;
  const int64_t point0 = row_block * p->block_rows, points = tx_min(p->block_rows, p->points - point0);
  const int64_t columns = tx_min(p->column_step, p->k - column0), row = p->groups * p->k;
  float *gathered = tx_scratch_of(&p->scratch, worker);
  float *c = p->scattered ? gathered + p->gathered_floats : p->out + point0 * row;
  for (int64_t group = 0; group < p->groups; group++) {
    for (int64_t tap = 0; tap < p->gather.taps; tap += p->chunk_taps) {
      for (int64_t channel = 0; channel < p->gather.channels; channel += p->chunk_channels) {
        multiply_chunk(p, group, point0, points, tap, tx_min(tap + p->chunk_taps, p->gather.taps), channel,
                       tx_min(p->chunk_channels, p->gather.channels - channel), column0, columns, gathered,
                       c + group * p->k + column0);
      }
    }
    if (p->finish != NULL) {
      tx_conv_finish_rows(p->finish, row_block, p->out, point0, points, group * p->k + column0, columns);
    }
  }
  if (p->scattered) scatter_rows(p, c, point0, points);
}

/* Cuts the product into blocks. A large sum is cut by taps, or by channels when one tap is too large. */
static void plan_product(product *p) {
  const int64_t panel = tx_kernels.panel;
  p->block_rows = tx_min(BLOCK_ROWS, tx_max(1, p->points));
  p->row_blocks = tx_ceil_div(p->points, p->block_rows);
  p->column_step = p->k;
  p->column_blocks = 1;
  if (p->row_blocks < 8 && p->groups == 1 && !p->scattered) { /* few pixels: share out the filters too */
    p->column_step = tx_max(1, tx_ceil_div(p->k, panel) / 8) * panel;
    p->column_blocks = tx_ceil_div(p->k, p->column_step);
  }
  const int64_t most = BLOCK_FLOATS / p->block_rows;
  p->chunk_taps = tx_max(1, tx_min(p->gather.taps, most / p->gather.channels));
  p->chunk_channels = p->chunk_taps > 1 ? p->gather.channels : tx_min(p->gather.channels, most);
  p->gathered_floats = p->direct ? 0 : tx_ceil_div(p->block_rows * p->chunk_taps * p->chunk_channels, 16) * 16;
}

static tx_status run_product(product *p) {
  const int64_t staging = p->scattered ? p->block_rows * p->groups * p->k : 0;
  TX_TRY(tx_scratch_open(&p->scratch, (size_t)(p->gathered_floats + staging) * sizeof(float)));
  tx_parallel(p->row_blocks * p->column_blocks, product_block, p);
  tx_scratch_close(&p->scratch);
  return TX_OK;
}

/* -- forward ------------------------------------------------------------------------------------------------------------- */

static tx_status pack_weights(const tx_conv_shape *v, const float *w, float **packed) {
  const int64_t in = v->c / v->groups, k = v->k / v->groups, taps = v->r * v->s;
  *packed = tx_alloc((size_t)(taps * v->c * panel_columns(k)) * sizeof(float));
  if (*packed == NULL) return TX_ENOMEM;
  packing p = {.w = w,
               .taps = taps,
               .tap_step = in * v->k,
               .groups = v->groups,
               .group_step = k,
               .rows = in,
               .row_step = v->k,
               .columns = k,
               .column_step = 1,
               .packed = *packed};
  pack(&p);
  return TX_OK;
}

static bool reads_rows_directly(const tx_conv_shape *v) {
  return v->r == 1 && v->s == 1 && v->stride[0] == 1 && v->stride[1] == 1 && v->groups == 1 && v->top == 0 &&
         v->left == 0 && v->p == v->h && v->q == v->w;
}

tx_status tx_conv_gemm_forward(const tx_conv_shape *v, const float *x, const float *w, float **kept,
                               const tx_conv_epilogue *epilogue, float *y) {
  int64_t *offsets;
  float *packed = kept != NULL ? *kept : NULL;
  TX_TRY(open_taps(v->r * v->s, &offsets));
  product p = {.gather = gather_input(v, x, offsets),
               .groups = v->groups,
               .k = v->k / v->groups,
               .direct = reads_rows_directly(v),
               .points = v->n * v->p * v->q,
               .out = y};
  plan_product(&p);
  tx_conv_finish finish;
  tx_status status = tx_conv_finish_open(&finish, epilogue, p.row_blocks, v->k);
  if (status == TX_OK) {
    if (packed == NULL) status = pack_weights(v, w, &packed);
    if (status == TX_OK) {
      p.b = packed;
      p.finish = &finish;
      status = run_product(&p);
    }
    tx_conv_finish_close(&finish);
  }
  if (kept != NULL) {
    *kept = packed;
  } else {
    tx_dealloc(packed);
  }
  tx_dealloc(offsets);
  return status;
}

/* -- gradient to the input ----------------------------------------------------------------------------------------------- */

/* Writes the taps along one axis that reach input positions `phase` modulo stride, as kernel position and as offset into
 * the output; descending kernel positions, so that offsets ascend. */
static int64_t phase_taps(int64_t phase, int64_t pad, int64_t stride, int64_t dilation, int64_t size, int64_t *tap,
                          int64_t *offset) {
  int64_t count = 0;
  for (int64_t r = size - 1; r >= 0; r--) {
    const int64_t at = phase + pad - r * dilation;
    if (at % stride != 0) continue;
    tap[count] = r;
    offset[count++] = at / stride;
  }
  return count;
}

typedef struct phase_list {
  int64_t *tap_h, *offset_h, *tap_w, *offset_w; /* along each axis */
  int64_t *offsets;                             /* of the gather: {taps}, {taps} */
  int64_t *tap;                                 /* {taps}: number in the weights */
} phase_list;

static void clear_phase(const tx_conv_shape *v, int64_t phase_h, int64_t phase_w, float *dx) {
  for (int64_t n = 0; n < v->n; n++) {
    for (int64_t h = phase_h; h < v->h; h += v->stride[0]) {
      for (int64_t w = phase_w; w < v->w; w += v->stride[1]) {
        memset(dx + ((n * v->h + h) * v->w + w) * v->c, 0, (size_t)v->c * sizeof(float));
      }
    }
  }
}

static tx_status run_phase(const tx_conv_shape *v, const float *dy, const float *w, int64_t phase_h, int64_t phase_w,
                           const phase_list *l, float *packed, float *dx) {
  const int64_t taps_h = phase_taps(phase_h, v->top, v->stride[0], v->dilation[0], v->r, l->tap_h, l->offset_h);
  const int64_t taps_w = phase_taps(phase_w, v->left, v->stride[1], v->dilation[1], v->s, l->tap_w, l->offset_w);
  const int64_t taps = taps_h * taps_w, in = v->c / v->groups, out = v->k / v->groups;
  if (taps == 0) {
    clear_phase(v, phase_h, phase_w, dx);
    return TX_OK;
  }
  for (int64_t t = 0; t < taps; t++) {
    l->offsets[t] = l->offset_h[t / taps_w];
    l->offsets[taps + t] = l->offset_w[t % taps_w];
    l->tap[t] = l->tap_h[t / taps_w] * v->s + l->tap_w[t % taps_w];
  }
  packing transposed = {.w = w,
                        .tap = l->tap,
                        .taps = taps,
                        .tap_step = in * v->k,
                        .groups = v->groups,
                        .group_step = out,
                        .rows = out,
                        .row_step = 1,
                        .columns = in,
                        .column_step = v->k,
                        .packed = packed};
  pack(&transposed);
  product p = {.gather = {.x = dy,
                          .h = v->p,
                          .w = v->q,
                          .pixel = v->k,
                          .channels = out,
                          .rows = tx_ceil_div(v->h - phase_h, v->stride[0]),
                          .columns = tx_ceil_div(v->w - phase_w, v->stride[1]),
                          .step = {1, 1},
                          .taps = taps,
                          .offset_h = l->offsets,
                          .offset_w = l->offsets + taps},
               .groups = v->groups,
               .k = in,
               .b = packed,
               .direct = reads_rows_directly(v),
               .out = dx,
               .scattered = v->stride[0] > 1 || v->stride[1] > 1,
               .phase_h = phase_h,
               .phase_w = phase_w,
               .stride_h = v->stride[0],
               .stride_w = v->stride[1],
               .out_h = v->h,
               .out_w = v->w};
  p.points = v->n * p.gather.rows * p.gather.columns;
  plan_product(&p);
  return run_product(&p);
}

tx_status tx_conv_gemm_input_gradient(const tx_conv_shape *v, const float *dy, const float *w, float *dx) {
  const int64_t in = v->c / v->groups;
  int64_t *lists = tx_alloc((size_t)(2 * (v->r + v->s) + 3 * v->r * v->s) * sizeof(int64_t));
  float *packed = tx_alloc((size_t)(v->r * v->s * v->k * panel_columns(in)) * sizeof(float));
  tx_status status = lists == NULL || packed == NULL ? TX_ENOMEM : TX_OK;
  const phase_list l = {.tap_h = lists,
                        .offset_h = lists + v->r,
                        .tap_w = lists + 2 * v->r,
                        .offset_w = lists + 2 * v->r + v->s,
                        .offsets = lists + 2 * (v->r + v->s),
                        .tap = lists + 2 * (v->r + v->s + v->r * v->s)};
  for (int64_t i = 0; i < tx_min(v->stride[0], v->h) && status == TX_OK; i++) {
    for (int64_t j = 0; j < tx_min(v->stride[1], v->w) && status == TX_OK; j++) {
      status = run_phase(v, dy, w, i, j, &l, packed, dx);
    }
  }
  tx_dealloc(packed);
  tx_dealloc(lists);
  return status;
}

/* -- gradient to the weights --------------------------------------------------------------------------------------------- */

typedef struct weight_job {
  const tx_conv_shape *shape;
  tx_conv_gather gather;
  const float *dy;
  int64_t points, parts, part_points; /* pixels are cut into parts, each with its own sum */
  int64_t tap_step, tap_blocks;
  int64_t block_rows;
  float *partial;     /* {parts, R*S*C, K} */
  tx_scratch scratch; /* a gathered block, then packed dy */
  int64_t gathered_floats;
  float *dw;
} weight_job;

static void weight_block(void *context, int64_t block, int worker) {
  const weight_job *j = context;
  const tx_conv_shape *v = j->shape;
  const int64_t in = v->c / v->groups, out = v->k / v->groups, panel = tx_kernels.panel;
  const int64_t part = block / j->tap_blocks, tap0 = block % j->tap_blocks * j->tap_step;
  const int64_t tap1 = tx_min(tap0 + j->tap_step, j->gather.taps), depth = (tap1 - tap0) * in;
  const int64_t first = part * j->part_points, last = tx_min(first + j->part_points, j->points);
  float *gathered = tx_scratch_of(&j->scratch, worker), *packed = gathered + j->gathered_floats;
  float *dw = j->partial + part * j->gather.taps * in * v->k + tap0 * in * v->k;
  const bool pack = depth > FEW_ROWS || out % panel != 0;
  for (int64_t point = first; point < last; point += j->block_rows) {
    const int64_t points = tx_min(j->block_rows, last - point);
    for (int64_t g = 0; g < v->groups; g++) {
      tx_conv_gather gather = j->gather;
      gather.first = g * in;
      tx_conv_gather_rows(&gather, point, points, tap0, tap1, gathered, depth);
      const float *dy = j->dy + point * v->k + g * out;
      if (pack) tx_kernels.pack_f32(points, out, dy, v->k, 1, packed);
      tx_gemm m = {.m = depth,
                   .n = out,
                   .k = points,
                   .a = gathered,
                   .a_row = 1,
                   .a_step = depth,
                   .b = pack ? packed : dy,
                   .b_panel = pack ? points * panel : panel,
                   .b_step = pack ? panel : v->k,
                   .c = dw + g * out,
                   .c_row = v->k,
                   .accumulate = point > first};
      tx_kernels.gemm_f32(&m);
    }
  }
}

enum { REDUCE = 4096 }; /* elements that one block of the reduction adds up */

static void reduce_block(void *context, int64_t block, int worker) {
  (void)worker;
  const weight_job *j = context;
  const int64_t size = j->gather.taps * (j->shape->c / j->shape->groups) * j->shape->k;
  const int64_t first = block * REDUCE, last = tx_min(first + REDUCE, size);
  memcpy(j->dw + first, j->partial + first, (size_t)(last - first) * sizeof(float));
  for (int64_t part = 1; part < j->parts; part++) {
    const float *from = j->partial + part * size;
    for (int64_t i = first; i < last; i++) j->dw[i] += from[i];
  }
}

tx_status tx_conv_gemm_weight_gradient(const tx_conv_shape *v, const float *x, const float *dy, float *dw) {
  const int64_t in = v->c / v->groups, taps = v->r * v->s, size = taps * in * v->k;
  int64_t *offsets;
  TX_TRY(open_taps(taps, &offsets));
  weight_job j = {.shape = v, .gather = gather_input(v, x, offsets), .dy = dy, .points = v->n * v->p * v->q, .dw = dw};
  const int64_t most_parts = tx_max(1, tx_min(PARTIALS, PARTIAL_FLOATS / size));
  j.part_points = tx_max(BLOCK_ROWS, tx_ceil_div(j.points, most_parts));
  j.parts = tx_ceil_div(j.points, j.part_points);
  j.tap_blocks = tx_min(taps, tx_ceil_div(PARTIALS, j.parts));
  j.tap_step = tx_max(1, tx_min(tx_ceil_div(taps, j.tap_blocks), BLOCK_FLOATS / 32 / in));
  j.tap_blocks = tx_ceil_div(taps, j.tap_step);
  j.block_rows = tx_min(128, tx_max(32, BLOCK_FLOATS / (j.tap_step * in)));
  j.gathered_floats = tx_ceil_div(j.block_rows * j.tap_step * in, 16) * 16;
  const int64_t packed_floats = j.block_rows * panel_columns(v->k / v->groups);
  const size_t bytes = (size_t)(j.gathered_floats + packed_floats) * sizeof(float);
  j.partial = j.parts == 1 ? dw : tx_alloc_array(j.parts * size, sizeof(float));
  tx_status status = j.partial == NULL ? TX_ENOMEM : tx_scratch_open(&j.scratch, bytes);
  if (status == TX_OK) {
    tx_parallel(j.parts * j.tap_blocks, weight_block, &j);
    tx_scratch_close(&j.scratch);
    if (j.parts > 1) tx_parallel(tx_ceil_div(size, REDUCE), reduce_block, &j);
  }
  if (j.partial != dw) tx_dealloc(j.partial);
  tx_dealloc(offsets);
  return status;
}
