/* conv_winograd.c - 3x3 convolution of stride 1 or 2 by Winograd's method: see kernels/winograd.h.
 *
 * Transformed tiles, per number i of a tile (36 or 81 of them):
 *
 *     V[i] {tiles, C}   input        U[u(i)] {C, K}   weights, packed in panels       M[i] = V[i] U[u(i)] {tiles, K}   products
 *
 * V and M never stand in memory as a whole. A block of tiles goes through all three steps on one core: V of the block is made
 * and stays in the core's second-level cache, then for some filters at a time M is made and turned into output. While the
 * matrix products run, the next block's input and the place of this one's output are brought into the cache. When there are few tiles, or so many weights that
 * they would have to be read from memory for every block, each step is done by all cores for a larger chunk of tiles
 * instead. Which of the two, and the size of blocks, follows from the shape.
 *
 * A row of tiles makes some rows of pixels of one image (fewer at its edges), so a run of them is a run of pixels.
 */
#include <string.h>

#include "base/memory.h"
#include "base/threads.h"
#include "kernels/conv_internal.h"
#include "kernels/kernels.h"
#include "kernels/winograd.h"

enum {
  MOST_PIXELS = 81,      /* of a tile, on either side */
  PAD = 16,              /* floats between the matrices of two numbers: keeps them off the same cache sets */
  V_FLOATS = 76 * 1024,  /* of a block, unless it has too few tiles; */
  M_FLOATS = 72 * 1024,  /* of its filters in work: with a stream of U both stay in a core's second-level cache */
  MOST_V = 144 * 1024,   /* of a block of few tiles */
  GOOD_TILES = 12,       /* in a block: fewer make slow matrix products, */
  LEAST_TILES = 6,       /* and still fewer very slow ones */
  LEAST_BLOCKS = 8,      /* fewer are not worth sharing out */
  MOST_U = 4 << 20,      /* floats of U that stay in the third-level cache */
  CHUNK_FLOATS = 1 << 19 /* of V and M of a chunk, at least */
};

/* -- shapes -------------------------------------------------------------------------------------------------------------- */

/* One of the transforms, from a source with C channels to a result with K. */
typedef struct geometry {
  int64_t n, h, w, c;       /* source */
  int64_t p, q, k;          /* result */
  int side;                 /* numbers per axis of a tile: 6 or 9 */
  int in, out;              /* source and result pixels per axis of a tile */
  int in_step;              /* source pixels from tile to tile; result: out */
  int64_t in_h, in_w;       /* first source pixel of the first tile */
  int64_t out_h, out_w;     /* its first result pixel */
  int64_t tiles_h, tiles_w; /* per image */
  void (*input)(int64_t, const float *const *, float *, int64_t);
  void (*output)(int64_t, const float *, int64_t, float *const *);
  void (*output_adjoint)(int64_t, const float *const *, float *, int64_t); /* forward only */
  void (*weight)(int64_t, const float *, int64_t, float *, int64_t);
  void (*weight_adjoint)(int64_t, const float *, int64_t, float *, int64_t);
} geometry;

static void set_tiles(geometry *g) {
  g->tiles_h = tx_ceil_div(g->p - g->out_h, g->out);
  g->tiles_w = tx_ceil_div(g->q - g->out_w, g->out);
}

/* From x to y. */
static geometry forward_geometry(const tx_conv_shape *v) {
  geometry g = {.n = v->n, .h = v->h, .w = v->w, .c = v->c, .p = v->p, .q = v->q, .k = v->k};
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

/* With stride 2 a tile of dx begins at a pixel h with h + pad odd; pixel 1 - pad is one, and belongs to dy's pixel 0. */
static void start_backward(int64_t pad, int64_t *out, int64_t *in) {
  const bool before = pad == 0; /* pixel 0 stands before it */
  *out = 1 - pad - (before ? 8 : 0);
  *in = before ? -4 : 0;
}

/* From dy to dx; weights turned by 180 degrees and transposed. */
static geometry backward_geometry(const tx_conv_shape *v) {
  geometry g = {.n = v->n, .h = v->p, .w = v->q, .c = v->k, .p = v->h, .q = v->w, .k = v->c};
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

static int64_t numbers(const geometry *g) { return (int64_t)g->side * g->side; }
static int64_t tile_rows(const geometry *g) { return g->n * g->tiles_h; }

int64_t tx_conv_winograd_tiles(const tx_conv_shape *v, tx_conv_pass pass) {
  const geometry g = pass == TX_CONV_INPUT_GRADIENT ? backward_geometry(v) : forward_geometry(v);
  return tile_rows(&g) * g.tiles_w;
}

/* The numbers that meet matrix u of U: rows [i0, i1) by columns [j0, j1) of a tile's square of numbers. */
typedef struct square {
  int i0, i1, j0, j1;
} square;

static square numbers_of(const geometry *g, int64_t u) {
  const int i = (int)u / 6, j = (int)u % 6;
  return (square){i, i < 5 ? i + 1 : g->side, j, j < 5 ? j + 1 : g->side};
}

/* -- tiles --------------------------------------------------------------------------------------------------------------- */

/* A tile, counted over all images: its image, its row and column of tiles. */
typedef struct position {
  int64_t image, row, column;
} position;

static position tile_position(const geometry *g, int64_t tile) {
  const int64_t tile_row = tile / g->tiles_w;
  return (position){tile_row / g->tiles_h, tile_row % g->tiles_h, tile % g->tiles_w};
}

/* Where the size x size pixels from (row, column) of an image {h, w, channels} stand; `outside` for those that don't. */
static void pixels_of(const float *image, int64_t h, int64_t w, int64_t channels, int64_t row, int64_t column, int size,
                      const float *outside, const float **pixel) {
  for (int i = 0; i < size; i++) {
    const bool inside = row + i >= 0 && row + i < h;
    for (int j = 0; j < size; j++, pixel++) {
      *pixel = inside && column + j >= 0 && column + j < w ? image + ((row + i) * w + column + j) * channels : outside;
    }
  }
}

/* The source pixels of a tile. */
static void source_pixels(const geometry *g, const float *x, const float *zeros, int64_t tile, const float **pixel) {
  const position at = tile_position(g, tile);
  pixels_of(x + at.image * g->h * g->w * g->c, g->h, g->w, g->c, at.row * g->in_step + g->in_h,
            at.column * g->in_step + g->in_w, g->in, zeros, pixel);
}

/* Asks for `count` pixels, all channels, to be brought into the cache: the transforms jump from pixel to pixel, which the
 * CPU does not foresee. */
static void prefetch_pixels(const float *const *pixel, int count, int64_t channels) {
  for (int i = 0; i < count; i++) {
    for (int64_t c = 0; c < channels; c += 16) __builtin_prefetch(pixel[i] + c);
  }
}

/* V of `tiles` tiles from `tile` on. */
static void transform_input(const geometry *g, const float *x, const float *zeros, int64_t tile, int64_t tiles,
                            float *v, int64_t v_step) {
  const float *pixels[2][MOST_PIXELS];
  source_pixels(g, x, zeros, tile, pixels[0]);
  for (int64_t t = 0; t < tiles; t++) {
    if (t + 1 < tiles) {
      source_pixels(g, x, zeros, tile + t + 1, pixels[(t + 1) % 2]);
      prefetch_pixels(pixels[(t + 1) % 2], g->in * g->in, g->c);
    }
    g->input(g->c, pixels[t % 2], v + t * g->c, v_step);
  }
}

/* Filters [k0, k0 + columns) of y of `tiles` tiles from `tile` on; m has m_row floats per tile. */
static void transform_output(const geometry *g, const float *m, int64_t m_step, int64_t m_row, int64_t tile,
                             int64_t tiles, int64_t k0, int64_t columns, float *y) {
  for (int64_t t = 0; t < tiles; t++) {
    const position at = tile_position(g, tile + t);
    float *pixel[MOST_PIXELS];
    for (int i = 0; i < g->out * g->out; i++) {
      const int64_t row = at.row * g->out + g->out_h + i / g->out, column = at.column * g->out + g->out_w + i % g->out;
      const bool inside = row >= 0 && row < g->p && column >= 0 && column < g->q;
      pixel[i] = inside ? y + ((at.image * g->p + row) * g->q + column) * g->k + k0 : NULL;
    }
    g->output(columns, m + t * m_row, m_step, pixel);
  }
}

/* -- weights ------------------------------------------------------------------------------------------------------------- */

static int64_t panels_of(int64_t k) { return tx_ceil_div(k, tx_kernels.gemm_panel()); }

typedef struct weight_transform {
  const geometry *g;
  const float *w; /* {3,3,C,K} of the geometry */
  float *u;       /* {36}{panels}{C}{panel columns} */
} weight_transform;

static void transform_weight_rows(void *context, int64_t c, int worker) {
  (void)worker;
  const weight_transform *t = context;
  const geometry *g = t->g;
  const int64_t panel = tx_kernels.gemm_panel(), panels = panels_of(g->k), u_step = panels * g->c * panel;
  for (int64_t p = 0; p < panels; p++) {
    float *u = t->u + (p * g->c + c) * panel;
    const int64_t columns = tx_min_i64(panel, g->k - p * panel);
    g->weight(columns, t->w + c * g->k + p * panel, g->c * g->k, u, u_step);
    for (int i = 0; i < TX_WINO_WEIGHTS && columns < panel; i++) {
      memset(u + i * u_step + columns, 0, (size_t)(panel - columns) * sizeof(float));
    }
  }
}

static tx_status transform_weights(const geometry *g, const float *w, float **u) {
  *u = tx_alloc((size_t)(TX_WINO_WEIGHTS * panels_of(g->k) * g->c * tx_kernels.gemm_panel()) * sizeof(float));
  if (*u == NULL) return TX_ENOMEM;
  weight_transform t = {g, w, *u};
  tx_parallel(g->c, transform_weight_rows, &t);
  return TX_OK;
}

typedef struct turn_job {
  const float *w;
  int64_t c, k;
  float *turned;
} turn_job;

/* turned[8 - tap] {K,C} = transpose of w[tap] {C,K}, in squares of 16. */
static void turn_tap(void *context, int64_t tap, int worker) {
  (void)worker;
  enum { SQUARE = 16 };
  const turn_job *j = context;
  const float *from = j->w + tap * j->c * j->k;
  float *to = j->turned + (8 - tap) * j->c * j->k;
  for (int64_t c0 = 0; c0 < j->c; c0 += SQUARE) {
    for (int64_t k0 = 0; k0 < j->k; k0 += SQUARE) {
      const int64_t c1 = tx_min_i64(c0 + SQUARE, j->c), k1 = tx_min_i64(k0 + SQUARE, j->k);
      for (int64_t k = k0; k < k1; k++) {
        for (int64_t c = c0; c < c1; c++) to[k * j->c + c] = from[c * j->k + k];
      }
    }
  }
}

/* -- forward and gradient to the input ------------------------------------------------------------------------------------- */

typedef struct job {
  geometry g;
  const float *x, *u, *zeros;
  float *y;
  const tx_conv_finish *finish;
  int64_t block_rows, blocks; /* rows of tiles per block; blocks of all images */
  int64_t columns;            /* filters in work at a time: whole panels, or K */
  int64_t v_step, m_step;     /* floats from number to number */
  float *v, *m;
  int64_t per_chunk;                 /* blocks per chunk; 0: each block is done on one core */
  int64_t chunk_block, chunk_blocks; /* the chunk in work: its first block and their number */
} job;

/* First tile of a block; of the block after the last: the number of tiles. */
static int64_t block_tile(const job *j, int64_t block) {
  return tx_min_i64(block * j->block_rows, tile_rows(&j->g)) * j->g.tiles_w;
}

/* First result pixel of a block. */
static int64_t block_pixel(const job *j, int64_t block) {
  const geometry *g = &j->g;
  const int64_t row = tx_min_i64(block * j->block_rows, tile_rows(g));
  return (row / g->tiles_h * g->p + tx_max_i64(0, row % g->tiles_h * g->out + g->out_h)) * g->q;
}

/* A stretch of memory. */
typedef struct stretch {
  const char *at;
  int64_t bytes;
} stretch;

/* The part of a whole array that belongs to rows of tiles [first, last) of all: about, as rows at the edges are shared. */
static stretch stretch_of(const float *array, int64_t floats, const geometry *g, int64_t first, int64_t last) {
  const double per_row = (double)floats * sizeof(float) / (double)tile_rows(g);
  const int64_t from = (int64_t)(per_row * (double)tx_min_i64(first, tile_rows(g)));
  return (stretch){(const char *)array + from, (int64_t)(per_row * (double)tx_min_i64(last, tile_rows(g))) - from};
}

/* Part `i` of `parts` of a stretch. */
static stretch part_of(stretch s, int64_t i, int64_t parts) {
  const int64_t first = s.bytes * i / parts, last = s.bytes * (i + 1) / parts;
  return (stretch){s.at + first, last - first};
}

/* M of `tiles` tiles for the numbers that meet matrix u of U and the filters [k0, k0 + columns). */
static void multiply(const job *j, int64_t u, int64_t k0, int64_t columns, int64_t tiles, const float *v, float *m,
                     int64_t m_row, stretch soon) {
  const int64_t panel = tx_kernels.gemm_panel(), c = j->g.c;
  const square s = numbers_of(&j->g, u);
  tx_gemm g = {.m = tiles,
               .n = columns,
               .k = c,
               .a_row = c,
               .a_step = 1,
               .b = j->u + u * panels_of(j->g.k) * c * panel + k0 * c,
               .b_panel = c * panel,
               .b_step = panel,
               .c_row = m_row,
               .soon = soon.at,
               .soon_bytes = soon.bytes};
  for (int row = s.i0; row < s.i1; row++) {
    for (int column = s.j0; column < s.j1; column++) {
      const int64_t i = row * j->g.side + column;
      g.a = v + i * j->v_step;
      g.c = m + i * j->m_step;
      tx_kernels.gemm_f32(&g);
      g.soon = NULL;
    }
  }
}

static void finish_block(const job *j, int64_t block, int64_t k0, int64_t columns) {
  const int64_t first = block_pixel(j, block);
  tx_conv_finish_rows(j->finish, block, j->y, first, block_pixel(j, block + 1) - first, k0, columns);
}

/* All three steps of one block on one core. */
static void whole_block(void *context, int64_t block, int worker) {
  const job *j = context;
  const geometry *g = &j->g;
  const int64_t tile = block_tile(j, block), tiles = block_tile(j, block + 1) - tile;
  const int64_t row0 = block * j->block_rows, ahead = row0 + tx_num_threads() * j->block_rows;
  const stretch next = stretch_of(j->x, g->n * g->h * g->w * g->c, g, ahead, ahead + j->block_rows);
  const stretch here = stretch_of(j->y, g->n * g->p * g->q * g->k, g, row0, row0 + j->block_rows);
  float *v = j->v + worker * numbers(g) * (j->v_step + j->m_step), *m = v + numbers(g) * j->v_step;
  transform_input(g, j->x, j->zeros, tile, tiles, v, j->v_step);
  for (int64_t k0 = 0; k0 < g->k; k0 += j->columns) {
    const int64_t columns = tx_min_i64(j->columns, g->k - k0);
    for (int64_t u = 0; u < TX_WINO_WEIGHTS;
         u++) { /* meanwhile: room for y before the first output, then the next input */
      const int64_t i = u / 2, half = TX_WINO_WEIGHTS / 2;
      const stretch soon = k0 > 0 ? (stretch){NULL, 0} : part_of(u % 2 == 0 ? here : next, i, half);
      multiply(j, u, k0, columns, tiles, v, m, j->columns, soon);
    }
    transform_output(g, m, j->m_step, j->columns, tile, tiles, k0, columns, j->y);
    finish_block(j, block, k0, columns);
  }
}

static void chunk_input(void *context, int64_t b, int worker) {
  (void)worker;
  const job *j = context;
  const int64_t tile0 = block_tile(j, j->chunk_block), tile = block_tile(j, j->chunk_block + b);
  const int64_t tiles = block_tile(j, j->chunk_block + b + 1) - tile;
  transform_input(&j->g, j->x, j->zeros, tile, tiles, j->v + (tile - tile0) * j->g.c, j->v_step);
}

/* Unit = (matrix of U, half of its panels). */
static void chunk_multiply(void *context, int64_t unit, int worker) {
  (void)worker;
  const job *j = context;
  const int64_t panel = tx_kernels.gemm_panel(), half = tx_ceil_div(panels_of(j->g.k), 2) * panel;
  const int64_t k0 = unit % 2 * half, columns = tx_min_i64(half, j->g.k - k0);
  const int64_t tiles = block_tile(j, j->chunk_block + j->chunk_blocks) - block_tile(j, j->chunk_block);
  const int64_t u = TX_WINO_WEIGHTS - 1 - unit / 2; /* with stride 2 the last one meets most numbers */
  if (columns > 0) multiply(j, u, k0, columns, tiles, j->v, j->m + k0, j->g.k, (stretch){NULL, 0});
}

static void chunk_output(void *context, int64_t b, int worker) {
  (void)worker;
  const job *j = context;
  const int64_t block = j->chunk_block + b;
  const int64_t tile0 = block_tile(j, j->chunk_block), tile = block_tile(j, block);
  transform_output(&j->g, j->m + (tile - tile0) * j->g.k, j->m_step, j->g.k, tile, block_tile(j, block + 1) - tile, 0,
                   j->g.k, j->y);
  finish_block(j, block, 0, j->g.k);
}

/* Rows of tiles of which each takes `floats` per tile, within a budget; at least one. */
static int64_t rows_within(const geometry *g, int64_t floats, int64_t budget) {
  return tx_max_i64(1, tx_min_i64(budget / (floats * g->tiles_w), tile_rows(g)));
}

/* Chooses blocks and the way they are done. */
static void plan_blocks(job *j) {
  const geometry *g = &j->g;
  const int64_t panel = tx_kernels.gemm_panel(), u_floats = TX_WINO_WEIGHTS * g->c * g->k;
  j->block_rows = rows_within(g, numbers(g) * g->c, V_FLOATS);
  if (j->block_rows * g->tiles_w < GOOD_TILES) j->block_rows = rows_within(g, numbers(g) * g->c, MOST_V);
  j->blocks = tx_ceil_div(tile_rows(g), j->block_rows);
  int64_t tiles = j->block_rows * g->tiles_w;
  if (j->blocks >= LEAST_BLOCKS && u_floats <= MOST_U && tiles >= LEAST_TILES) {
    const int64_t panels = tx_max_i64(1, M_FLOATS / (numbers(g) * tiles * panel));
    j->columns = tx_min_i64(panels * panel, g->k);
  } else {
    const int64_t budget = tx_max_i64(CHUNK_FLOATS, tx_min_i64(u_floats, MOST_U));
    const int64_t chunk_rows = rows_within(g, numbers(g) * (g->c + g->k), budget);
    j->block_rows = tx_max_i64(1, chunk_rows / 16);
    j->blocks = tx_ceil_div(tile_rows(g), j->block_rows);
    j->per_chunk = tx_ceil_div(chunk_rows, j->block_rows);
    j->columns = g->k;
    tiles = j->per_chunk * j->block_rows * g->tiles_w;
  }
  j->v_step = tiles * g->c + PAD;
  j->m_step = tiles * j->columns + PAD;
}

static void run_chunks(job *j) {
  for (j->chunk_block = 0; j->chunk_block < j->blocks; j->chunk_block += j->per_chunk) {
    j->chunk_blocks = tx_min_i64(j->per_chunk, j->blocks - j->chunk_block);
    tx_parallel(j->chunk_blocks, chunk_input, j);
    tx_parallel(TX_WINO_WEIGHTS * 2, chunk_multiply, j);
    tx_parallel(j->chunk_blocks, chunk_output, j);
  }
}

/* y = conv(x, w) with w {3,3,C,K} in the sense of the geometry; `kept`: where U is kept, or NULL. */
static tx_status convolve(const geometry *g, const float *x, const float *w, float **kept,
                          const tx_conv_epilogue *epilogue, float *y) {
  float *u = kept != NULL ? *kept : NULL;
  tx_conv_finish finish;
  job j = {.g = *g, .x = x, .y = y, .finish = &finish};
  plan_blocks(&j);
  const int64_t workers = j.per_chunk == 0 ? tx_num_threads() : 1;
  if (u == NULL) TX_TRY(transform_weights(g, w, &u));
  if (kept != NULL) *kept = u;
  const int64_t scratch = workers * numbers(g) * (j.v_step + j.m_step);
  j.v = tx_alloc((size_t)(scratch + g->c) * sizeof(float));
  tx_status status = j.v == NULL ? TX_ENOMEM : tx_conv_finish_open(&finish, epilogue, j.blocks, g->k);
  if (status == TX_OK) {
    float *zeros = j.v + scratch;
    memset(zeros, 0, (size_t)g->c * sizeof(float));
    j.zeros = zeros;
    j.m = j.v + numbers(g) * j.v_step;
    j.u = u;
    if (j.per_chunk == 0) {
      tx_parallel(j.blocks, whole_block, &j);
    } else {
      run_chunks(&j);
    }
    tx_conv_finish_close(&finish);
  }
  tx_dealloc(j.v);
  if (kept == NULL) tx_dealloc(u);
  return status;
}

tx_status tx_conv_winograd_forward(const tx_conv_shape *v, const float *x, const float *w, float **kept,
                                   const tx_conv_epilogue *epilogue, float *y) {
  const geometry g = forward_geometry(v);
  return convolve(&g, x, w, kept, epilogue, y);
}

tx_status tx_conv_winograd_input_gradient(const tx_conv_shape *v, const float *dy, const float *w, float *dx) {
  const geometry g = backward_geometry(v);
  float *turned = tx_alloc((size_t)(9 * v->c * v->k) * sizeof(float));
  if (turned == NULL) return TX_ENOMEM;
  turn_job t = {w, v->c, v->k, turned};
  tx_parallel(9, turn_tap, &t);
  const tx_status status = convolve(&g, dy, turned, NULL, NULL, dx);
  tx_dealloc(turned);
  return status;
}

/* -- gradient to the weights ------------------------------------------------------------------------------------------------ */

/* For a chunk of tiles: V {tiles, C} and D = A dy A^T in panels {panels}{tiles}{panel columns}, per number; then
 * dU[u] {C, K} += V[i]^T D[i] for the numbers i that meet u, each u on its own core. */
typedef struct gradient_job {
  geometry g;
  const float *x, *dy, *zeros;
  int64_t tile, tiles, chunk_tiles; /* the chunk in work, and the largest */
  int64_t v_step, d_step;
  float *v, *d, *du, *dw;
} gradient_job;

enum { TILE_GROUP = 8, ROW_PARTS = 2 };

static void transform_gradient(const gradient_job *j, int64_t t) {
  const geometry *g = &j->g;
  const int64_t panel = tx_kernels.gemm_panel();
  const position at = tile_position(g, j->tile + t);
  const float *pixel[MOST_PIXELS];
  pixels_of(j->dy + at.image * g->p * g->q * g->k, g->p, g->q, g->k, at.row * g->out, at.column * g->out, g->out,
            j->zeros, pixel);
  for (int64_t k = 0; k < g->k; k += panel) {
    g->output_adjoint(tx_min_i64(panel, g->k - k), pixel, j->d + k * j->chunk_tiles + t * panel, j->d_step);
    for (int i = 0; i < g->out * g->out; i++) pixel[i] += panel;
  }
}

static void gradient_tiles(void *context, int64_t group, int worker) {
  (void)worker;
  const gradient_job *j = context;
  const int64_t first = group * TILE_GROUP, last = tx_min_i64(first + TILE_GROUP, j->tiles);
  transform_input(&j->g, j->x, j->zeros, j->tile + first, last - first, j->v + first * j->g.c, j->v_step);
  for (int64_t t = first; t < last; t++) transform_gradient(j, t);
}

/* What one unit of the products brings into the cache for the next chunk: even ones x, odd ones dy. */
static stretch gradient_source(const gradient_job *j, int64_t unit) {
  const geometry *g = &j->g;
  const int64_t first = (j->tile + j->tiles) / g->tiles_w, last = (j->tile + j->tiles + j->chunk_tiles) / g->tiles_w;
  const stretch x = stretch_of(j->x, g->n * g->h * g->w * g->c, g, first, last);
  const stretch dy = stretch_of(j->dy, g->n * g->p * g->q * g->k, g, first, last);
  return part_of(unit % 2 == 0 ? x : dy, unit / 2, TX_WINO_WEIGHTS * ROW_PARTS / 2);
}

static void gradient_multiply(void *context, int64_t unit, int worker) {
  (void)worker;
  const gradient_job *j = context;
  const geometry *g = &j->g;
  const int64_t u = TX_WINO_WEIGHTS - 1 - unit / ROW_PARTS, part = tx_ceil_div(g->c, ROW_PARTS);
  const int64_t c0 = unit % ROW_PARTS * part, c1 = tx_min_i64(c0 + part, g->c), panel = tx_kernels.gemm_panel();
  if (c0 >= c1) return;
  const square s = numbers_of(g, u);
  tx_gemm m = {.m = c1 - c0,
               .n = g->k,
               .k = j->tiles,
               .a_row = 1,
               .a_step = g->c,
               .b_panel = j->chunk_tiles * panel,
               .b_step = panel,
               .c = j->du + (u * g->c + c0) * g->k,
               .c_row = g->k,
               .accumulate = j->tile > 0};
  const stretch next = gradient_source(j, unit);
  m.soon = next.at;
  m.soon_bytes = next.bytes;
  for (int row = s.i0; row < s.i1; row++) {
    for (int column = s.j0; column < s.j1; column++) {
      const int64_t i = row * g->side + column;
      m.a = j->v + i * j->v_step + c0;
      m.b = j->d + i * j->d_step;
      tx_kernels.gemm_f32(&m);
      m.accumulate = true;
      m.soon = NULL;
    }
  }
}

static void gradient_weights(void *context, int64_t c, int worker) {
  (void)worker;
  const gradient_job *j = context;
  const int64_t size = j->g.c * j->g.k;
  j->g.weight_adjoint(j->g.k, j->du + c * j->g.k, size, j->dw + c * j->g.k, size);
}

tx_status tx_conv_winograd_weight_gradient(const tx_conv_shape *v, const float *x, const float *dy, float *dw) {
  gradient_job j = {.g = forward_geometry(v), .x = x, .dy = dy, .dw = dw};
  const geometry *g = &j.g;
  const int64_t tiles = tile_rows(g) * g->tiles_w, width = panels_of(g->k) * tx_kernels.gemm_panel();
  const int64_t du_floats = TX_WINO_WEIGHTS * g->c * g->k; /* read and written once per chunk */
  const int64_t budget = tx_max_i64(2 * CHUNK_FLOATS, tx_min_i64(2 * du_floats, MOST_U));
  j.chunk_tiles = tx_min_i64(tiles, tx_max_i64(64, budget / (numbers(g) * (g->c + width))));
  j.v_step = j.chunk_tiles * g->c + PAD;
  j.d_step = j.chunk_tiles * width + PAD;
  const int64_t widest = tx_max_i64(g->c, width);
  j.v = tx_alloc((size_t)(numbers(g) * (j.v_step + j.d_step) + widest) * sizeof(float));
  j.du = tx_alloc((size_t)du_floats * sizeof(float));
  const bool ready = j.v != NULL && j.du != NULL;
  if (ready) {
    j.d = j.v + numbers(g) * j.v_step;
    float *zeros = j.d + numbers(g) * j.d_step;
    memset(zeros, 0, (size_t)widest * sizeof(float));
    j.zeros = zeros;
    for (j.tile = 0; j.tile < tiles; j.tile += j.chunk_tiles) {
      j.tiles = tx_min_i64(j.chunk_tiles, tiles - j.tile);
      tx_parallel(tx_ceil_div(j.tiles, TILE_GROUP), gradient_tiles, &j);
      tx_parallel(TX_WINO_WEIGHTS * ROW_PARTS, gradient_multiply, &j);
    }
    tx_parallel(g->c, gradient_weights, &j);
  }
  tx_dealloc(j.v);
  tx_dealloc(j.du);
  return ready ? TX_OK : TX_ENOMEM;
}
