/* conv_winograd_gradient.c - gradient to the weights of a 3x3 convolution of stride 1 or 2 by Winograd's method: see
 * kernels/winograd.h.
 *
 * The pixels of x and dy are transformed to elements, 36 or 81 per tile. For each element i, V[i] and D[i] are matrices
 * with one row per tile of all images, and the sum over tiles is a matrix product:
 *
 *     V[i] {tiles, C} = B^T x B      D[i] {tiles, K} = A dy A^T      dU[u(i)] {C, K} += V[i]^T D[i]      dw = G^T dU G
 *
 * V and D never stand in memory as a whole: they are made and used chunk by chunk, while dU adds up. The tiles of all
 * images are cut into slices, each with a dU of its own (the "split K" of matrix products), and a slice into chunks:
 *
 *     tiles    | slice 0             | slice 1             | ...
 *              | chunk | chunk | chu | chunk | chunk | chu | ...
 *
 * How many slices there are, and what a thread does, depends on the size of dU, absolute (MOST_DU) and compared with
 * that of V and D (TILES_FOR_DU):
 *
 *     small        8 or 16 slices    A thread takes a slice from pixels to dU. At the end the slices' dU are added in order.
 *     large, and   1 slice           The matrices of dU are cut into as many portions as there are threads. A thread takes
 *     1..3 threads                   a portion through all tiles, and makes only the rows of V and D that it needs.
 *     large, and   1 slice           For each chunk all threads first make V and D together, a block of tiles each, then
 *     more threads                   multiply, a block of dU each.
 *
 * In the first two no core reads elements that another has written, which is slow where cores don't share a cache: for two
 * threads on such a machine (an Intel Xeon), the second is worth 6 to 8 % of a training step of the textile network of width
 * 64. With more than three portions each thread would read all pixels for little arithmetic.
 *
 * The bits don't depend on the number of threads. Slices and chunks follow from the shape and the instruction set;
 * threads choose only between the last two rows of the table, and both add the same products to an element of dU in the
 * same order.
 */
#include "base/integers.h"
#include "base/memory.h"
#include "base/threads.h"
#include "passes/conv_winograd.h"

enum {
  SLICES = 16,               /* the most there are */
  LEAST_SLICES = 8,          /* where fewer would be right, there is one */
  MOST_DU = 36 << 14,        /* floats of all slices' dU: allows 16 slices up to 32x32 channels, 8 up to 32x64 */
  TILES_FOR_DU = 2,          /* V and D of a slice have at least this many times the floats of its dU */
  SLICE_FLOATS = 220 * 1024, /* V and D of a slice's chunk: about a core's second-level cache */
  CHUNK_FOR_DU = 3,          /* they have at least this many times dU's floats: each chunk reads and writes all of dU */
  LEAST_CHUNK = 24,          /* tiles of a chunk: fewer make slow matrix products */
  SHARED_FLOATS = 1 << 20,   /* V and D of a chunk when there is one slice */
  MOST_PORTIONS = 3,         /* for more threads than this, dU is not cut into portions */
  BLOCK_TILES = 8,           /* tiles that a thread transforms at a time, of a chunk that all threads share */
  ROW_PARTS = 2              /* blocks that the rows of each matrix of dU are cut into for such a chunk */
};

typedef struct job {
  tx_wino g;
  const float *x, *dy, *zeros;
  int64_t slices, chunk_tiles; /* a slice's last chunk may have fewer tiles */
  int portions;                /* per slice; 0: all threads share each chunk */
  int64_t d_row;               /* columns of a panel of D: half a gemm panel where K fits into that */
  int64_t v_step, d_step;      /* floats from V[i] to V[i + 1], from D[i] to D[i + 1] */
  tx_scratch scratch;          /* V and D of a thread's chunk */
  float *shared;               /* V and D of a chunk that all threads share */
  float *du;                   /* {slices}{36}{C, K} */
  float *dw;
} job;

/* A run of tiles of one slice, whose V and D are in memory. */
typedef struct chunk {
  int64_t tile, tiles; /* the first one, counted over all images, and their number */
  float *v, *d;        /* {elements}{tiles, C}, {elements}{panels}{tiles}{panel columns} */
  float *du;           /* of its slice */
  bool first;          /* of its slice: dU is set, not added to */
} chunk;

static int64_t du_floats(const job *j) { return TX_WINO_WEIGHTS * j->g.c * j->g.k; }

/* First tile of a slice, which is whole rows of tiles; for slice number `slices`, the number of tiles. */
static int64_t slice_tile(const job *j, int64_t slice) {
  return tx_wino_rows(&j->g) * slice / j->slices * j->g.tiles_w;
}

/* First matrix of dU of a portion; for portion number `portions`, 36. With stride 2 several elements add to one matrix
 * of dU: portions are cut so that each has about as many elements. */
static int64_t portion_matrix(const job *j, int64_t portion) {
  int64_t u = 0;
  for (int64_t before = 0; before * j->portions < tx_wino_elements(&j->g) * portion; u++) {
    const tx_wino_rect s = tx_wino_elements_of(&j->g, u);
    before += (s.i1 - s.i0) * (s.j1 - s.j0);
  }
  return u;
}

/* The chunk of a slice that begins with `tile`, with V and D in `scratch`. */
static chunk chunk_at(const job *j, int64_t slice, int64_t tile, float *scratch) {
  chunk c = {.tile = tile, .first = tile == slice_tile(j, slice), .v = scratch, .du = j->du + slice * du_floats(j)};
  c.tiles = tx_min(j->chunk_tiles, slice_tile(j, slice + 1) - tile);
  c.d = c.v + tx_wino_elements(&j->g) * j->v_step;
  return c;
}

/* Makes D of the tiles [first, last) of a chunk: of each tile's square of elements, the rows [row0, row1). */
static void transform_gradient(const job *j, const chunk *c, int64_t first, int64_t last, int row0, int row1) {
  const tx_wino *g = &j->g;
  const int64_t panel = tx_kernels.panel;
  tx_wino_position at = tx_wino_tile(g, c->tile + first);
  for (int64_t t = first; t < last; t++, tx_wino_next(g, &at)) {
    const float *pixel[TX_WINO_PIXELS];
    tx_wino_pixels(j->dy + at.image * g->p * g->q * g->k, g->p, g->q, g->k, at.row * g->out, at.column * g->out, g->out,
                   j->zeros, pixel);
    for (int64_t k = 0; k < g->k; k += panel) {
      g->output_adjoint(tx_min(panel, g->k - k), pixel, row0, row1, c->d + k * j->chunk_tiles + t * j->d_row,
                        j->d_step);
      for (int i = 0; i < g->out * g->out; i++) pixel[i] += panel;
    }
  }
}

/* The same for V and D. */
static void transform_tiles(const job *j, const chunk *c, int64_t first, int64_t last, int row0, int row1) {
  tx_wino_input(&j->g, j->x, j->zeros, c->tile + first, last - first, row0, row1, c->v + first * j->g.c, j->v_step);
  transform_gradient(j, c, first, last, row0, row1);
}

/* Memory to prefetch in step `part` of `parts`: pixels that the next chunk reads, of x in even steps, of dy in odd
 * ones. */
static tx_memory_range next_pixels(const job *j, const chunk *c, int64_t part, int64_t parts) {
  const tx_wino *g = &j->g;
  const int64_t next = c->tile + c->tiles, first = next / g->tiles_w, last = (next + j->chunk_tiles) / g->tiles_w;
  const tx_memory_range x = tx_wino_memory_range(j->x, g->n * g->h * g->w * g->c, g, first, last);
  const tx_memory_range dy = tx_wino_memory_range(j->dy, g->n * g->p * g->q * g->k, g, first, last);
  return tx_memory_range_part(part % 2 == 0 ? x : dy, part / 2, tx_ceil_div(parts, 2));
}

/* dU[u] += V[i]^T D[i] over the tiles of a chunk, for all elements i with u(i) = u; of dU[u], the rows [c0, c1). */
static void multiply(const job *j, const chunk *c, int64_t u, int64_t c0, int64_t c1, tx_memory_range prefetch) {
  const tx_wino *g = &j->g;
  const tx_wino_rect s = tx_wino_elements_of(g, u);
  tx_gemm m = {.m = c1 - c0,
               .n = g->k,
               .k = c->tiles,
               .a_row = 1,
               .a_step = g->c,
               .b_panel = j->chunk_tiles * tx_kernels.panel,
               .b_step = j->d_row,
               .c = c->du + (u * g->c + c0) * g->k,
               .c_row = g->k,
               .accumulate = !c->first,
               .prefetch = prefetch.at,
               .prefetch_bytes = prefetch.bytes};
  for (int row = s.i0; row < s.i1; row++) {
    for (int column = s.j0; column < s.j1; column++) {
      const int64_t i = row * g->side + column;
      m.a = c->v + i * j->v_step + c0;
      m.b = c->d + i * j->d_step;
      tx_kernels.gemm_f32(&m);
      m.accumulate = true;
      m.prefetch = NULL;
    }
  }
}

/* -- a portion of a slice on one thread --------------------------------------------------------------------------------------- */

/* Block = (slice, portion). */
static void portion_of_slice(void *context, int64_t block, int worker) {
  const job *j = context;
  const int64_t slice = block / j->portions, portion = block % j->portions;
  const int64_t u0 = portion_matrix(j, portion), u1 = portion_matrix(j, portion + 1);
  const int row0 = tx_wino_elements_of(&j->g, u0).i0, row1 = tx_wino_elements_of(&j->g, u1 - 1).i1;
  for (int64_t tile = slice_tile(j, slice); tile < slice_tile(j, slice + 1); tile += j->chunk_tiles) {
    const chunk c = chunk_at(j, slice, tile, tx_scratch_of(&j->scratch, worker));
    transform_tiles(j, &c, 0, c.tiles, row0, row1);
    for (int64_t u = u0; u < u1; u++) multiply(j, &c, u, 0, j->g.c, next_pixels(j, &c, u - u0, u1 - u0));
  }
}

/* -- a chunk on all threads ------------------------------------------------------------------------------------------------ */

typedef struct shared_chunk {
  const job *j;
  chunk c;
} shared_chunk;

static void shared_transform(void *context, int64_t block, int worker) {
  (void)worker;
  const shared_chunk *s = context;
  const int64_t first = block * BLOCK_TILES;
  transform_tiles(s->j, &s->c, first, tx_min(first + BLOCK_TILES, s->c.tiles), 0, s->j->g.side);
}

/* Block = (matrix of dU, part of its rows). */
static void shared_multiply(void *context, int64_t block, int worker) {
  (void)worker;
  const shared_chunk *s = context;
  const int64_t channels = s->j->g.c, part = tx_ceil_div(channels, ROW_PARTS);
  const int64_t c0 = block % ROW_PARTS * part, c1 = tx_min(c0 + part, channels);
  const int64_t u = TX_WINO_WEIGHTS - 1 - block / ROW_PARTS; /* from the last on: with stride 2 it takes longest */
  if (c0 < c1) multiply(s->j, &s->c, u, c0, c1, next_pixels(s->j, &s->c, block, TX_WINO_WEIGHTS * ROW_PARTS));
}

static void shared_slice(const job *j) {
  for (int64_t tile = 0; tile < slice_tile(j, 1); tile += j->chunk_tiles) {
    shared_chunk s = {j, chunk_at(j, 0, tile, j->shared)};
    tx_parallel(tx_ceil_div(s.c.tiles, BLOCK_TILES), shared_transform, &s);
    tx_parallel(TX_WINO_WEIGHTS * ROW_PARTS, shared_multiply, &s);
  }
}

/* -- the whole ------------------------------------------------------------------------------------------------------------- */

/* Row c of dw: adds the slices' dU into the first one's, in order, and transforms the sum. */
static void finish_row(void *context, int64_t c, int worker) {
  (void)worker;
  const job *j = context;
  const int64_t size = j->g.c * j->g.k;
  for (int64_t u = 0; u < TX_WINO_WEIGHTS && j->slices > 1; u++) {
    float *sum = j->du + u * size + c * j->g.k;
    for (int64_t s = 1; s < j->slices; s++) tx_kernels.axpy_f32(j->g.k, 1, sum + s * du_floats(j), sum);
  }
  j->g.weight_adjoint(j->g.k, j->du + c * j->g.k, size, j->dw + c * j->g.k, size);
}

/* The number of slices: `du` floats in each one's dU, `tile` floats of V and D per tile. */
static int64_t choose_slices(const tx_wino *g, int64_t du, int64_t tile) {
  int64_t slices = SLICES;
  while (slices * du > MOST_DU || tx_wino_rows(g) / slices * g->tiles_w * tile < TILES_FOR_DU * du) {
    slices /= 2;
    if (slices < LEAST_SLICES) return 1;
  }
  return slices;
}

static void plan(job *j) {
  const tx_wino *g = &j->g;
  const int64_t panel = tx_kernels.panel, du = du_floats(j);
  j->d_row = g->k <= panel / 2 ? panel / 2 : panel;
  const int64_t width = tx_wino_panels(g->k) * j->d_row, tile = tx_wino_elements(g) * (g->c + width);
  j->slices = choose_slices(g, du, tile);
  j->portions = j->slices > 1 ? 1 : tx_num_threads() <= MOST_PORTIONS ? tx_num_threads() : 0;
  const int64_t floats = j->slices > 1 ? tx_max(SLICE_FLOATS, CHUNK_FOR_DU * du) : SHARED_FLOATS;
  j->chunk_tiles = tx_max(LEAST_CHUNK, floats / tile) | 1; /* odd: keeps panels off the same cache sets */
  j->chunk_tiles = tx_min(j->chunk_tiles, slice_tile(j, j->slices));
  j->v_step = j->chunk_tiles * g->c + TX_WINO_PAD;
  j->d_step = j->chunk_tiles * width + TX_WINO_PAD;
}

static tx_status run_portions(job *j, size_t bytes) {
  TX_TRY(tx_scratch_open(&j->scratch, bytes));
  tx_parallel(j->slices * j->portions, portion_of_slice, j);
  tx_scratch_close(&j->scratch);
  return TX_OK;
}

static tx_status run_shared(job *j, size_t bytes) {
  j->shared = tx_alloc(bytes);
  if (j->shared == NULL) return TX_ENOMEM;
  shared_slice(j);
  tx_dealloc(j->shared);
  return TX_OK;
}

tx_status tx_conv_winograd_weight_gradient(const tx_conv_shape *v, const float *x, const float *dy, float *dw) {
  job j = {.g = tx_wino_forward(v), .x = x, .dy = dy, .dw = dw};
  plan(&j);
  const int64_t widest = tx_max(j.g.c, tx_wino_panels(j.g.k) * tx_kernels.panel);
  const size_t bytes = (size_t)(tx_wino_elements(&j.g) * (j.v_step + j.d_step)) * sizeof(float);
  float *zeros = tx_alloc_zero((size_t)widest * sizeof(float));
  j.zeros = zeros;
  j.du = tx_alloc((size_t)(j.slices * du_floats(&j)) * sizeof(float));
  tx_status status = TX_ENOMEM;
  if (zeros != NULL && j.du != NULL) status = j.portions > 0 ? run_portions(&j, bytes) : run_shared(&j, bytes);
  if (status == TX_OK) tx_parallel(j.g.c, finish_row, &j);
  tx_dealloc(zeros);
  tx_dealloc(j.du);
  return status;
}
