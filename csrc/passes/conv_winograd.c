/* conv_winograd.c - 3x3 convolution of stride 1 or 2 by Winograd's method, forward and gradient to the input: see
 * kernels/winograd.h.
 *
 * Three steps, for each element i of a tile (36 or 81 of them). U, the transformed weights, is made and packed before:
 *
 *     x  -- 1: B^T x B -->  V[i] {tiles, C}  -- 2: times U[u(i)] {C, K} -->  M[i] {tiles, K}  -- 3: A^T M A, epilogue -->  y
 *
 * V and M never stand in memory as a whole. Tiles are worked on in blocks, each some rows of tiles of one image or
 * several:
 *
 *     image   +----+----+----+----+
 *             |    |    |    |    |  row of tiles: 4 rows of y (8 of dx with stride 2), fewer at the edges of the image.
 *             +----+----+----+----+  So a block of them is a run of adjacent pixels in y.
 *             |    |    |    |    |
 *
 * As a rule a thread takes a block through all three steps (whole_block). V of the block stays in the core's
 * second-level cache; steps 2 and 3 are done for some filters at a time, so that M stays small. During step 2 the input of
 * the next block and the place of this one's output are prefetched. For example 64 to 64 channels at 56x56: a block is
 * 2 rows of 14 tiles, with 252 KiB of V and of M; U has 576 KiB, which each block reads once.
 *
 * Where there are few tiles, or so many weights that each block would read U from memory, blocks are grouped into
 * chunks: all threads do step 1 of a chunk, then step 2, then step 3. Without chunks one image through the textile network
 * of width 64 takes 1.31 ms for 0.91 on two cores; batches gain nothing. Which way it is, and the sizes, follow from the
 * shape.
 */
#include <string.h>

#include "base/integers.h"
#include "base/memory.h"
#include "base/threads.h"
#include "passes/conv_winograd.h"

enum {
  V_FLOATS = 76 * 1024,  /* V of a block: stays in a core's second-level cache while U is read */
  MOST_V = 168 * 1024,   /* V of a block that needs more than V_FLOATS to have GOOD_TILES */
  M_FLOATS = 256 * 1024, /* M of a block: as many filters at a time as fit */
  GOOD_TILES = 24,       /* tiles of a block: with fewer, U is read too often */
  LEAST_TILES = 6,       /* tiles of a block: with fewer, matrix products are slow, and chunks are better */
  LEAST_BLOCKS = 8,      /* with fewer blocks than this, threads would be idle, and chunks are better */
  MOST_U = 4 << 20,      /* U, which every block reads: stays in the third-level cache; with more, chunks are better */
  CHUNK_BLOCKS = 16,     /* blocks of a chunk, about: what threads share in steps 1 and 3 */
  CHUNK_FLOATS = 1 << 19 /* V and M of a chunk, at least */
};

/* Step 3: the filters [k0, k0 + columns) of y, for `tiles` tiles from `tile` on; m has m_row floats per tile. */
static void transform_output(const tx_wino *g, const float *m, int64_t m_step, int64_t m_row, int64_t tile,
                             int64_t tiles, int64_t k0, int64_t columns, float *y) {
  tx_wino_position at = tx_wino_tile(g, tile);
  for (int64_t t = 0; t < tiles; t++, tx_wino_next(g, &at)) {
    const float *pixel[TX_WINO_PIXELS];
    tx_wino_pixels(y + at.image * g->p * g->q * g->k + k0, g->p, g->q, g->k, at.row * g->out + g->out_h,
                   at.column * g->out + g->out_w, g->out, NULL, pixel);
    g->output(columns, m + t * m_row, m_step, (float *const *)pixel);
  }
}

/* -- weights ------------------------------------------------------------------------------------------------------------- */

typedef struct weight_transform {
  const tx_wino *g;
  const float *w; /* {3,3,C,K} of the geometry */
  float *u;       /* {36}{panels}{C}{panel columns} */
} weight_transform;

static void transform_weight_rows(void *context, int64_t c, int worker) {
  (void)worker;
  const weight_transform *t = context;
  const tx_wino *g = t->g;
  const int64_t panel = tx_kernels.panel, panels = tx_wino_panels(g->k), u_step = panels * g->c * panel;
  for (int64_t p = 0; p < panels; p++) {
    float *u = t->u + (p * g->c + c) * panel;
    const int64_t columns = tx_min(panel, g->k - p * panel);
    g->weight(columns, t->w + c * g->k + p * panel, g->c * g->k, u, u_step);
    for (int i = 0; i < TX_WINO_WEIGHTS && columns < panel; i++) {
      memset(u + i * u_step + columns, 0, (size_t)(panel - columns) * sizeof(float));
    }
  }
}

static tx_status transform_weights(const tx_wino *g, const float *w, float **u) {
  *u = tx_alloc((size_t)(TX_WINO_WEIGHTS * tx_wino_panels(g->k) * g->c * tx_kernels.panel) * sizeof(float));
  if (*u == NULL) return TX_ENOMEM;
  weight_transform t = {g, w, *u};
  tx_parallel(g->c, transform_weight_rows, &t);
  return TX_OK;
}

typedef struct rotate_job {
  const float *w;
  int64_t c, k;
  float *rotated;
} rotate_job;

/* Rotates the filters by 180 degrees and exchanges C and K: rotated[8 - tap] {K,C} is the transpose of w[tap] {C,K},
 * made in squares of 16x16, which the first-level cache holds. */
static void rotate_tap(void *context, int64_t tap, int worker) {
  (void)worker;
  enum { SQUARE = 16 };
  const rotate_job *j = context;
  const float *from = j->w + tap * j->c * j->k;
  float *to = j->rotated + (8 - tap) * j->c * j->k;
  for (int64_t c0 = 0; c0 < j->c; c0 += SQUARE) {
    for (int64_t k0 = 0; k0 < j->k; k0 += SQUARE) {
      const int64_t c1 = tx_min(c0 + SQUARE, j->c), k1 = tx_min(k0 + SQUARE, j->k);
      for (int64_t k = k0; k < k1; k++) {
        for (int64_t c = c0; c < c1; c++) to[k * j->c + c] = from[c * j->k + k];
      }
    }
  }
}

/* -- the three steps ------------------------------------------------------------------------------------------------------- */

typedef struct job {
  tx_wino g;
  const float *x, *u, *zeros;
  float *y;
  const tx_conv_finish *finish;
  int64_t block_rows, blocks;        /* rows of tiles per block; number of blocks */
  int64_t columns;                   /* filters at a time: whole panels, or K */
  int64_t v_step, m_step;            /* floats from V[i] to V[i + 1], from M[i] to M[i + 1] */
  tx_scratch scratch;                /* V and M of a thread's block */
  int64_t per_chunk;                 /* blocks per chunk; 0: no chunks */
  float *v, *m;                      /* of the current chunk */
  int64_t chunk_block, chunk_blocks; /* of the current chunk: its first block, their number */
} job;

/* First tile of a block; for block number `blocks`, the number of tiles. */
static int64_t block_tile(const job *j, int64_t block) {
  return tx_min(block * j->block_rows, tx_wino_rows(&j->g)) * j->g.tiles_w;
}

/* First pixel of a block in y, counted over all images. */
static int64_t block_pixel(const job *j, int64_t block) {
  const tx_wino *g = &j->g;
  const int64_t row = tx_min(block * j->block_rows, tx_wino_rows(g));
  return (row / g->tiles_h * g->p + tx_max(0, row % g->tiles_h * g->out + g->out_h)) * g->q;
}

/* Step 2: M[i] = V[i] U[u] of `tiles` tiles, for all elements i with u(i) = u and the filters [k0, k0 + columns). */
static void multiply(const job *j, int64_t u, int64_t k0, int64_t columns, int64_t tiles, const float *v, float *m,
                     int64_t m_row, tx_memory_range prefetch) {
  const int64_t panel = tx_kernels.panel, c = j->g.c;
  const tx_wino_rect s = tx_wino_elements_of(&j->g, u);
  tx_gemm g = {.m = tiles,
               .n = columns,
               .k = c,
               .a_row = c,
               .a_step = 1,
               .b = j->u + u * tx_wino_panels(j->g.k) * c * panel + k0 * c,
               .b_panel = c * panel,
               .b_step = panel,
               .c_row = m_row,
               .prefetch = prefetch.at,
               .prefetch_bytes = prefetch.bytes};
  for (int row = s.i0; row < s.i1; row++) {
    for (int column = s.j0; column < s.j1; column++) {
      const int64_t i = row * j->g.side + column;
      g.a = v + i * j->v_step;
      g.c = m + i * j->m_step;
      tx_kernels.gemm_f32(&g);
      g.prefetch = NULL;
    }
  }
}

static void finish_block(const job *j, int64_t block, int64_t k0, int64_t columns) {
  const int64_t first = block_pixel(j, block);
  tx_conv_finish_rows(j->finish, block, j->y, first, block_pixel(j, block + 1) - first, k0, columns);
}

/* All three steps of one block on one thread. */
static void whole_block(void *context, int64_t block, int worker) {
  const job *j = context;
  const tx_wino *g = &j->g;
  const int64_t tile = block_tile(j, block), tiles = block_tile(j, block + 1) - tile;
  const int64_t row0 = block * j->block_rows, ahead = row0 + j->block_rows; /* of the next block: likely ours, too */
  const tx_memory_range next = tx_wino_memory_range(j->x, g->n * g->h * g->w * g->c, g, ahead, ahead + j->block_rows);
  const tx_memory_range here = tx_wino_memory_range(j->y, g->n * g->p * g->q * g->k, g, row0, row0 + j->block_rows);
  float *v = tx_scratch_of(&j->scratch, worker), *m = v + tx_wino_elements(g) * j->v_step;
  tx_wino_input(g, j->x, j->zeros, tile, tiles, 0, g->side, v, j->v_step);
  for (int64_t k0 = 0; k0 < g->k; k0 += j->columns) {
    const int64_t columns = tx_min(j->columns, g->k - k0);
    for (int64_t u = 0; u < TX_WINO_WEIGHTS; u++) { /* prefetch in turn: the place of y, the next block's x */
      const int64_t i = u / 2, half = TX_WINO_WEIGHTS / 2;
      const tx_memory_range prefetch =
          k0 > 0 ? (tx_memory_range){NULL, 0} : tx_memory_range_part(u % 2 == 0 ? here : next, i, half);
      multiply(j, u, k0, columns, tiles, v, m, j->columns, prefetch);
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
  tx_wino_input(&j->g, j->x, j->zeros, tile, tiles, 0, j->g.side, j->v + (tile - tile0) * j->g.c, j->v_step);
}

/* Block = (matrix of U, half of its panels). */
static void chunk_multiply(void *context, int64_t b, int worker) {
  (void)worker;
  const job *j = context;
  const int64_t panel = tx_kernels.panel, half = tx_ceil_div(tx_wino_panels(j->g.k), 2) * panel;
  const int64_t k0 = b % 2 * half, columns = tx_min(half, j->g.k - k0);
  const int64_t tiles = block_tile(j, j->chunk_block + j->chunk_blocks) - block_tile(j, j->chunk_block);
  const int64_t u = TX_WINO_WEIGHTS - 1 - b / 2; /* from the last on: with stride 2 it takes longest */
  if (columns > 0) multiply(j, u, k0, columns, tiles, j->v, j->m + k0, j->g.k, (tx_memory_range){NULL, 0});
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

/* How many rows of tiles fit into a budget of floats, with `floats` per tile; at least one. */
static int64_t rows_within(const tx_wino *g, int64_t floats, int64_t budget) {
  return tx_max(1, tx_min(budget / (floats * g->tiles_w), tx_wino_rows(g)));
}

/* Chooses the size of blocks, and whether they are grouped into chunks. */
static void plan_blocks(job *j) {
  const tx_wino *g = &j->g;
  const int64_t panel = tx_kernels.panel, u_floats = TX_WINO_WEIGHTS * g->c * g->k;
  j->block_rows = rows_within(g, tx_wino_elements(g) * g->c, V_FLOATS);
  if (j->block_rows * g->tiles_w < GOOD_TILES) {
    const int64_t good = tx_ceil_div(GOOD_TILES, g->tiles_w);
    j->block_rows = tx_min(good, rows_within(g, tx_wino_elements(g) * g->c, MOST_V));
  }
  j->blocks = tx_ceil_div(tx_wino_rows(g), j->block_rows);
  int64_t tiles = j->block_rows * g->tiles_w;
  if (j->blocks >= LEAST_BLOCKS && u_floats <= MOST_U && tiles >= LEAST_TILES) {
    const int64_t panels = tx_max(1, M_FLOATS / (tx_wino_elements(g) * tiles * panel));
    j->columns = tx_min(panels * panel, g->k);
  } else {
    const int64_t budget = tx_max(CHUNK_FLOATS, tx_min(u_floats, MOST_U));
    const int64_t chunk_rows = rows_within(g, tx_wino_elements(g) * (g->c + g->k), budget);
    j->block_rows = tx_max(1, chunk_rows / CHUNK_BLOCKS);
    j->blocks = tx_ceil_div(tx_wino_rows(g), j->block_rows);
    j->per_chunk = tx_ceil_div(chunk_rows, j->block_rows);
    j->columns = g->k;
    tiles = j->per_chunk * j->block_rows * g->tiles_w;
  }
  j->v_step = tiles * g->c + TX_WINO_PAD;
  j->m_step = tiles * j->columns + TX_WINO_PAD;
}

static tx_status run_blocks(job *j, size_t bytes) {
  TX_TRY(tx_scratch_open(&j->scratch, bytes));
  tx_parallel(j->blocks, whole_block, j);
  tx_scratch_close(&j->scratch);
  return TX_OK;
}

static tx_status run_chunks(job *j, size_t bytes) {
  j->v = tx_alloc(bytes);
  if (j->v == NULL) return TX_ENOMEM;
  j->m = j->v + tx_wino_elements(&j->g) * j->v_step;
  for (j->chunk_block = 0; j->chunk_block < j->blocks; j->chunk_block += j->per_chunk) {
    j->chunk_blocks = tx_min(j->per_chunk, j->blocks - j->chunk_block);
    tx_parallel(j->chunk_blocks, chunk_input, j);
    tx_parallel(TX_WINO_WEIGHTS * 2, chunk_multiply, j);
    tx_parallel(j->chunk_blocks, chunk_output, j);
  }
  tx_dealloc(j->v);
  return TX_OK;
}

/* The convolution, when U is made and the blocks are chosen. */
static tx_status convolve_with(job *j, const tx_conv_epilogue *epilogue) {
  const size_t bytes = (size_t)(tx_wino_elements(&j->g) * (j->v_step + j->m_step)) * sizeof(float);
  tx_conv_finish finish;
  float *zeros = tx_alloc_zero((size_t)j->g.c * sizeof(float));
  tx_status status = zeros == NULL ? TX_ENOMEM : tx_conv_finish_open(&finish, epilogue, j->blocks, j->g.k);
  if (status == TX_OK) {
    j->zeros = zeros;
    j->finish = &finish;
    status = j->per_chunk == 0 ? run_blocks(j, bytes) : run_chunks(j, bytes);
    tx_conv_finish_close(&finish);
  }
  tx_dealloc(zeros);
  return status;
}

/* y = conv(x, w) where x, y and w {3,3,C,K} are those of the geometry (for the gradient to the input: dy, dx and
 * rotated weights). *kept is U from an earlier call, or NULL and set here; with kept NULL, U is not kept. */
static tx_status convolve(const tx_wino *g, const float *x, const float *w, float **kept,
                          const tx_conv_epilogue *epilogue, float *y) {
  float *u = kept != NULL ? *kept : NULL;
  if (u == NULL) TX_TRY(transform_weights(g, w, &u));
  if (kept != NULL) *kept = u;
  job j = {.g = *g, .x = x, .u = u, .y = y};
  plan_blocks(&j);
  const tx_status status = convolve_with(&j, epilogue);
  if (kept == NULL) tx_dealloc(u);
  return status;
}

tx_status tx_conv_winograd_forward(const tx_conv_shape *v, const float *x, const float *w, float **kept,
                                   const tx_conv_epilogue *epilogue, float *y) {
  const tx_wino g = tx_wino_forward(v);
  return convolve(&g, x, w, kept, epilogue, y);
}

tx_status tx_conv_winograd_input_gradient(const tx_conv_shape *v, const float *dy, const float *w,
                                          const float *accumulated, float *dx) {
  const tx_wino g = tx_wino_backward(v);
  float *rotated = tx_alloc_array(9 * v->c * v->k, sizeof(float));
  if (rotated == NULL) return TX_ENOMEM;
  rotate_job t = {w, v->c, v->k, rotated};
  tx_parallel(9, rotate_tap, &t);
  const tx_conv_epilogue epilogue = {.residual = accumulated};
  const tx_status status = convolve(&g, dy, rotated, NULL, &epilogue, dx);
  tx_dealloc(rotated);
  return status;
}
