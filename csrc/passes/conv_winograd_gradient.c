/* conv_winograd_gradient.c - gradient to the weights of a 3x3 convolution of stride 1 or 2 by Winograd's method: see
 * kernels/winograd.h.
 *
 * For a chunk of tiles, per element i of a tile:
 *
 *     V[i] {tiles, C} input      D[i] {panels}{tiles}{panel columns} = A dy A^T      dU[u] {C, K} += V[i]^T D[i], i meets u
 *
 * Elements that go from core to core take long where the cores don't share a cache. So the tiles are cut into slices, each with
 * a dU of its own, and each is done on one core from pixels to products, in chunks that stay near its second-level cache; at
 * the end the slices' dU are added up in their order. Where dU is so large that this would cost more than it gains there is
 * one slice. Two or three cores then share out its elements: each makes those rows of V and D that meet its part of dU, of all
 * tiles. More of them would load all pixels for little: they do one step together for a chunk of tiles, then the other.
 *
 * The shape alone says how many slices and chunks there are: the rest does not change a sum.
 */
#include "base/integers.h"
#include "base/memory.h"
#include "base/threads.h"
#include "passes/conv_winograd.h"

enum {
  SLICES = 16,               /* each done on one core; or */
  LEAST_SLICES = 8,          /* else one */
  MOST_DU = 36 << 14,        /* floats of all slices' dU */
  TILES_FOR_DU = 2,          /* in a slice at least: times the tiles whose V and D are as large as dU */
  SLICE_FLOATS = 220 * 1024, /* of V and D of a chunk in a core's second-level cache, but */
  CHUNK_FOR_DU = 3,          /* times dU at least, which is read and written once per chunk */
  LEAST_CHUNK = 24,          /* tiles: fewer make slow matrix products */
  SHARED_FLOATS = 1 << 20,   /* of V and D of a chunk when there is one slice */
  MOST_PORTIONS = 3,         /* of the elements, each done on one core; or */
  TILE_GROUP = 8,            /* tiles of a chunk, and */
  ROW_PARTS = 2              /* parts of a matrix of dU, that a core does at a time */
};

typedef struct job {
  tx_wino g;
  const float *x, *dy, *zeros;
  int64_t slices, chunk_tiles; /* chunk_tiles: at most */
  int portions;                /* of the elements; 0: each chunk is done by all cores */
  int64_t d_row;               /* columns of a panel */
  int64_t v_step, d_step;      /* floats from element to element */
  tx_scratch scratch;          /* V and D of the chunk that a core has in work */
  float *shared;               /* of the one that all cores have in work */
  float *du;                   /* {slices}{36}{C, K} */
  float *dw;
} job;

/* Some tiles in work. */
typedef struct chunk {
  int64_t tile, tiles;
  float *v, *d, *du;
  bool first; /* of its slice */
} chunk;

static int64_t du_floats(const job *j) { return TX_WINO_WEIGHTS * j->g.c * j->g.k; }

/* First tile of a slice: slices are whole rows of tiles. */
static int64_t slice_tile(const job *j, int64_t slice) {
  return tx_wino_rows(&j->g) * slice / j->slices * j->g.tiles_w;
}

/* First matrix of dU of a portion of the elements, such that all meet about as many elements; of the one after the last: 36. */
static int64_t portion_matrix(const job *j, int64_t index) {
  int64_t u = 0;
  for (int64_t met = 0; met * j->portions < tx_wino_elements(&j->g) * index; u++) {
    const tx_wino_rect s = tx_wino_elements_of(&j->g, u);
    met += (s.i1 - s.i0) * (s.j1 - s.j0);
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

/* Rows [row0, row1) of D of tiles [first, last) of a chunk. */
static void transform_gradient(const job *j, const chunk *c, int64_t first, int64_t last, int row0, int row1) {
  const tx_wino *g = &j->g;
  const int64_t panel = tx_kernels.gemm_panel();
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

/* Rows [row0, row1) of V and D of tiles [first, last) of a chunk. */
static void transform_tiles(const job *j, const chunk *c, int64_t first, int64_t last, int row0, int row1) {
  tx_wino_input(&j->g, j->x, j->zeros, c->tile + first, last - first, row0, row1, c->v + first * j->g.c, j->v_step);
  transform_gradient(j, c, first, last, row0, row1);
}

/* Part `part` of `parts` of what the chunk after this one reads: even ones of x, odd ones of dy. */
static tx_memory_range next_pixels(const job *j, const chunk *c, int64_t part, int64_t parts) {
  const tx_wino *g = &j->g;
  const int64_t next = c->tile + c->tiles, first = next / g->tiles_w, last = (next + j->chunk_tiles) / g->tiles_w;
  const tx_memory_range x = tx_wino_memory_range(j->x, g->n * g->h * g->w * g->c, g, first, last);
  const tx_memory_range dy = tx_wino_memory_range(j->dy, g->n * g->p * g->q * g->k, g, first, last);
  return tx_memory_range_part(part % 2 == 0 ? x : dy, part / 2, parts / 2);
}

/* Rows [c0, c1) of dU[u] of a chunk. */
static void multiply(const job *j, const chunk *c, int64_t u, int64_t c0, int64_t c1, tx_memory_range prefetch) {
  const tx_wino *g = &j->g;
  const tx_wino_rect s = tx_wino_elements_of(g, u);
  tx_gemm m = {.m = c1 - c0,
               .n = g->k,
               .k = c->tiles,
               .a_row = 1,
               .a_step = g->c,
               .b_panel = j->chunk_tiles * tx_kernels.gemm_panel(),
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

/* -- a portion of a slice on one core ----------------------------------------------------------------------------------------- */

static void portion_of_slice(void *context, int64_t unit, int worker) {
  const job *j = context;
  const int64_t slice = unit / j->portions, portion = unit % j->portions;
  const int64_t u0 = portion_matrix(j, portion), u1 = portion_matrix(j, portion + 1);
  const int row0 = tx_wino_elements_of(&j->g, u0).i0, row1 = tx_wino_elements_of(&j->g, u1 - 1).i1;
  for (int64_t tile = slice_tile(j, slice); tile < slice_tile(j, slice + 1); tile += j->chunk_tiles) {
    const chunk c = chunk_at(j, slice, tile, tx_scratch_of(&j->scratch, worker));
    transform_tiles(j, &c, 0, c.tiles, row0, row1);
    for (int64_t u = u0; u < u1; u++) multiply(j, &c, u, 0, j->g.c, next_pixels(j, &c, u - u0, u1 - u0));
  }
}

/* -- a chunk on all cores -------------------------------------------------------------------------------------------------- */

typedef struct shared_chunk {
  const job *j;
  chunk c;
} shared_chunk;

static void shared_transform(void *context, int64_t group, int worker) {
  (void)worker;
  const shared_chunk *s = context;
  const int64_t first = group * TILE_GROUP;
  transform_tiles(s->j, &s->c, first, tx_min(first + TILE_GROUP, s->c.tiles), 0, s->j->g.side);
}

static void shared_multiply(void *context, int64_t unit, int worker) {
  (void)worker;
  const shared_chunk *s = context;
  const int64_t channels = s->j->g.c, part = tx_ceil_div(channels, ROW_PARTS);
  const int64_t c0 = unit % ROW_PARTS * part, c1 = tx_min(c0 + part, channels);
  const int64_t u = TX_WINO_WEIGHTS - 1 - unit / ROW_PARTS; /* with stride 2 the last one meets most elements */
  if (c0 < c1) multiply(s->j, &s->c, u, c0, c1, next_pixels(s->j, &s->c, unit, TX_WINO_WEIGHTS * ROW_PARTS));
}

static void shared_slice(const job *j) {
  for (int64_t tile = 0; tile < slice_tile(j, 1); tile += j->chunk_tiles) {
    shared_chunk s = {j, chunk_at(j, 0, tile, j->shared)};
    tx_parallel(tx_ceil_div(s.c.tiles, TILE_GROUP), shared_transform, &s);
    tx_parallel(TX_WINO_WEIGHTS * ROW_PARTS, shared_multiply, &s);
  }
}

/* -- both ------------------------------------------------------------------------------------------------------------------ */

/* Row c of dw, from the sum over slices, which is left in the first one. */
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

/* Slices that are worth while for a dU and tiles of so many floats. */
static int64_t worthwhile_slices(const tx_wino *g, int64_t du, int64_t tile) {
  int64_t slices = SLICES;
  while (slices * du > MOST_DU || tx_wino_rows(g) / slices * g->tiles_w * tile < TILES_FOR_DU * du) {
    slices /= 2;
    if (slices < LEAST_SLICES) return 1;
  }
  return slices;
}

static void plan(job *j) {
  const tx_wino *g = &j->g;
  const int64_t panel = tx_kernels.gemm_panel(), du = du_floats(j);
  j->d_row = g->k <= panel / 2 ? panel / 2 : panel;
  const int64_t width = tx_wino_panels(g->k) * j->d_row, tile = tx_wino_elements(g) * (g->c + width);
  j->slices = worthwhile_slices(g, du, tile);
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
  const int64_t widest = tx_max(j.g.c, tx_wino_panels(j.g.k) * tx_kernels.gemm_panel());
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
