/* conv_winograd_tiles.c - the tiles of Winograd's method: shapes, places of pixels, pixels to elements. */
#include "base/integers.h"
#include "passes/conv_winograd.h"

/* -- shapes -------------------------------------------------------------------------------------------------------------- */

static void set_tiles(tx_wino *g) {
  g->tiles_h = tx_ceil_div(g->p - g->out_h, g->out);
  g->tiles_w = tx_ceil_div(g->q - g->out_w, g->out);
}

tx_wino tx_wino_forward(const tx_conv_shape *v) {
  tx_wino g = {.n = v->n, .h = v->h, .w = v->w, .c = v->c, .p = v->p, .q = v->q, .k = v->k};
  g.in_h = -v->top;
  g.in_w = -v->left;
  g.out = 4;
  if (v->stride[0] == 1) {
    g.side = 6;
    g.in = 6;
    g.in_step = 4;
    g.input = tx_kernels.wino_input_f32;
    g.output = tx_kernels.wino_output_f32;
    g.output_adjoint = tx_kernels.wino_output_adjoint_f32;
    g.weight = tx_kernels.wino_weight_f32;
    g.weight_adjoint = tx_kernels.wino_weight_adjoint_f32;
  } else {
    g.side = 9;
    g.in = 9;
    g.in_step = 8;
    g.input = tx_kernels.wino2_input_f32;
    g.output = tx_kernels.wino2_output_f32;
    g.output_adjoint = tx_kernels.wino2_output_adjoint_f32;
    g.weight = tx_kernels.wino2_weight_f32;
    g.weight_adjoint = tx_kernels.wino2_weight_adjoint_f32;
  }
  set_tiles(&g);
  return g;
}

/* Where the first tile of dx begins with stride 2, along one axis. As x[2p - pad + r] meets w[r] in y[p], pixel h of dx
 * sees one pixel of dy where h + pad is odd, else two:
 *
 *     h + pad        1     2     3     4     5     6     7     8       a tile of dx: 8 pixels, from an odd one on
 *     dy[p] w[r]    0 1   0 2   1 1   1 2   2 1   2 2   3 1   3 2      p and r: 5 pixels of dy
 *                       + 1 0       + 2 0       + 3 0       + 4 0
 *
 * So a tile begins at h = 1 - pad and dy's pixel 0. With pad 0 that leaves out h = 0: begin one tile earlier. */
static void start_backward(int64_t pad, int64_t *out, int64_t *in) {
  const bool before = pad == 0;
  *out = 1 - pad - (before ? 8 : 0);
  *in = before ? -4 : 0;
}

tx_wino tx_wino_backward(const tx_conv_shape *v) {
  tx_wino g = {.n = v->n, .h = v->p, .w = v->q, .c = v->k, .p = v->h, .q = v->w, .k = v->c};
  if (v->stride[0] == 1) {
    g.in_h = v->top - 2;
    g.in_w = v->left - 2;
    g.side = 6;
    g.in = 6;
    g.out = 4;
    g.input = tx_kernels.wino_input_f32;
    g.output = tx_kernels.wino_output_f32;
    g.weight = tx_kernels.wino_weight_f32;
  } else {
    start_backward(v->top, &g.out_h, &g.in_h);
    start_backward(v->left, &g.out_w, &g.in_w);
    g.side = 9;
    g.in = 5;
    g.out = 8;
    g.input = tx_kernels.wino2_back_input_f32;
    g.output = tx_kernels.wino2_back_output_f32;
    g.weight = tx_kernels.wino2_weight_f32;
  }
  g.in_step = 4;
  set_tiles(&g);
  return g;
}

int64_t tx_conv_winograd_tiles(const tx_conv_shape *v, tx_conv_pass pass) {
  const tx_wino g = pass == TX_CONV_INPUT_GRADIENT ? tx_wino_backward(v) : tx_wino_forward(v);
  return tx_wino_rows(&g) * g.tiles_w;
}

tx_wino_rect tx_wino_elements_of(const tx_wino *g, int64_t u) {
  const int i = (int)u / 6, j = (int)u % 6;
  return (tx_wino_rect){i, i < 5 ? i + 1 : g->side, j, j < 5 ? j + 1 : g->side};
}

/* -- tiles --------------------------------------------------------------------------------------------------------------- */

tx_wino_position tx_wino_tile(const tx_wino *g, int64_t tile) {
  const int64_t tile_row = tile / g->tiles_w;
  return (tx_wino_position){tile_row / g->tiles_h, tile_row % g->tiles_h, tile % g->tiles_w};
}

void tx_wino_next(const tx_wino *g, tx_wino_position *at) {
  if (++at->column < g->tiles_w) return;
  at->column = 0;
  if (++at->row < g->tiles_h) return;
  at->row = 0;
  at->image++;
}

void tx_wino_pixels(const float *image, int64_t h, int64_t w, int64_t channels, int64_t row, int64_t column, int size,
                    const float *outside, const float **pixel) {
  const bool whole = column >= 0 && column + size <= w;
  for (int i = 0; i < size; i++, pixel += size) {
    const bool inside = row + i >= 0 && row + i < h;
    const float *first = inside ? image + (row + i) * w * channels : outside;
    for (int j = 0; j < size; j++) {
      const bool in = inside && (whole || (column + j >= 0 && column + j < w));
      pixel[j] = in ? first + (column + j) * channels : outside;
    }
  }
}

/* The source pixels of a tile. */
static void source_pixels(const tx_wino *g, const float *x, const float *zeros, tx_wino_position at,
                          const float **pixel) {
  tx_wino_pixels(x + at.image * g->h * g->w * g->c, g->h, g->w, g->c, at.row * g->in_step + g->in_h,
                 at.column * g->in_step + g->in_w, g->in, zeros, pixel);
}

/* Prefetches `count` pixels, all channels: the transforms jump from pixel to pixel, which the CPU does not foresee. */
static void prefetch_pixels(const float *const *pixel, int count, int64_t channels) {
  for (int i = 0; i < count; i++) {
    for (int64_t c = 0; c < channels; c += 16) __builtin_prefetch(pixel[i] + c);
  }
}

void tx_wino_input(const tx_wino *g, const float *x, const float *zeros, int64_t tile, int64_t tiles, int row0,
                   int row1, float *v, int64_t v_step) {
  const float *pixels[2][TX_WINO_PIXELS];
  tx_wino_position at = tx_wino_tile(g, tile);
  source_pixels(g, x, zeros, at, pixels[0]);
  for (int64_t t = 0; t < tiles; t++) {
    if (t + 1 < tiles) {
      tx_wino_next(g, &at);
      source_pixels(g, x, zeros, at, pixels[(t + 1) % 2]);
      prefetch_pixels(pixels[(t + 1) % 2], g->in * g->in, g->c);
    }
    g->input(g->c, pixels[t % 2], row0, row1, v + t * g->c, v_step);
  }
}

/* -- memory to prefetch ---------------------------------------------------------------------------------------------- */

tx_memory_range tx_wino_memory_range(const float *array, int64_t floats, const tx_wino *g, int64_t first,
                                     int64_t last) {
  const double per_row = (double)floats * sizeof(float) / (double)tx_wino_rows(g);
  const int64_t from = (int64_t)(per_row * (double)tx_min(first, tx_wino_rows(g)));
  return (tx_memory_range){(const char *)array + from,
                           (int64_t)(per_row * (double)tx_min(last, tx_wino_rows(g))) - from};
}

tx_memory_range tx_memory_range_part(tx_memory_range s, int64_t i, int64_t parts) {
  const int64_t first = s.bytes * i / parts, last = s.bytes * (i + 1) / parts;
  return (tx_memory_range){s.at + first, last - first};
}
