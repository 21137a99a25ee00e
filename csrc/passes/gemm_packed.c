/* gemm_packed.c - f32 matrix products by the kernels of csrc/kernels (kernels/gemm.h).
 *
 * op(B) is first packed into panels, in chunks of the sum that fit into the second-level cache:
 *
 *     chunk 0: panel 0 [CHUNK][P], panel 1 [CHUNK][P], ...   chunk 1: ...     P = tx_kernels.panel columns
 *
 * Then tiles of C are computed, each over all chunks in order. A is read where it lies, by its strides.
 */
#include "base/integers.h"
#include "base/memory.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "passes/gemm.h"

enum {
  CHUNK = 256,       /* steps of the sum */
  TILE_ROWS = 112,   /* of A: 112 KiB of a chunk */
  TILE_PANELS = 8,   /* of B: up to 256 KiB of a chunk */
  FEW_TILES = 8,     /* smaller tiles when there are fewer */
  STEPS_AT_ONCE = 32 /* multiplications per elementary operation, for the size of blocks */
};

typedef struct job {
  const tx_product *products;
  int64_t panel, panels, chunks;
  int64_t tile_rows, tile_panels, row_tiles, column_tiles, tiles_per_block, tiles;
  int64_t packs, packs_per_block; /* one chunk of one product's B each */
  bool one_b;                     /* all products read the same B */
  int64_t packed_size;            /* of one B, in floats */
  float *packed;
} job;

static void pack_block(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  int64_t end = tx_min((block + 1) * j->packs_per_block, j->packs);
  for (int64_t i = block * j->packs_per_block; i < end; i++) {
    const tx_product *p = &j->products[i / j->chunks];
    int64_t step = i % j->chunks * CHUNK, row = p->tb ? 1 : p->ldb, column = p->tb ? p->ldb : 1;
    float *to = j->packed + i / j->chunks * j->packed_size + step * j->panels * j->panel;
    tx_kernels.pack_f32(tx_min(CHUNK, p->k - step), p->n, (const float *)p->b + step * row, row, column, to);
  }
}

static void compute_tile(const job *j, int64_t number) {
  int64_t which = number / (j->row_tiles * j->column_tiles);
  const tx_product *p = &j->products[which];
  int64_t row = number / j->column_tiles % j->row_tiles * j->tile_rows;
  int64_t first = number % j->column_tiles * j->tile_panels, column = first * j->panel;
  const float *b = j->packed + (j->one_b ? 0 : which) * j->packed_size;
  tx_gemm g = {.m = tx_min(j->tile_rows, p->m - row), .n = tx_min(j->tile_panels * j->panel, p->n - column)};
  g.a_row = p->ta ? 1 : p->lda;
  g.a_step = p->ta ? p->lda : 1;
  g.b_step = j->panel;
  g.c = (float *)p->c + row * p->n + column;
  g.c_row = p->n;
  for (int64_t step = 0; step < p->k; step += CHUNK) {
    g.k = tx_min(CHUNK, p->k - step);
    g.a = (const float *)p->a + row * g.a_row + step * g.a_step;
    g.b_panel = g.k * j->panel;
    g.b = b + step * j->panels * j->panel + first * g.b_panel;
    g.accumulate = step > 0 || p->accumulate;
    tx_kernels.gemm_f32(&g);
  }
}

static void compute_block(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  int64_t end = tx_min((block + 1) * j->tiles_per_block, j->tiles);
  for (int64_t i = block * j->tiles_per_block; i < end; i++) compute_tile(j, i);
}

/* Tiles of full size, or smaller ones so that several threads find work. */
static void choose_tiles(job *j, int64_t count) {
  const tx_product *p = j->products;
  j->tile_rows = tx_min(TILE_ROWS, p->m);
  j->tile_panels = tx_min(TILE_PANELS, j->panels);
  for (;;) {
    j->row_tiles = tx_ceil_div(p->m, j->tile_rows);
    j->column_tiles = tx_ceil_div(j->panels, j->tile_panels);
    j->tiles = count * j->row_tiles * j->column_tiles;
    if (j->tiles >= FEW_TILES || (j->tile_panels == 1 && j->tile_rows <= TILE_ROWS / 4)) break;
    if (j->tile_panels > 1) {
      j->tile_panels = tx_ceil_div(j->tile_panels, 2);
    } else {
      j->tile_rows = tx_ceil_div(j->tile_rows, 2);
    }
  }
  j->tiles_per_block = tx_block_size(j->tiles, j->tile_rows * j->tile_panels * j->panel * (p->k / STEPS_AT_ONCE + 1));
}

bool tx_multiply_packed(int64_t count, const tx_product *products) {
  const tx_product *p = products;
  job j = {.products = products, .panel = tx_kernels.panel, .one_b = true};
  for (int64_t i = 1; i < count && j.one_b; i++) j.one_b = products[i].b == p->b;
  j.panels = tx_ceil_div(p->n, j.panel);
  j.chunks = tx_ceil_div(p->k, CHUNK);
  j.packed_size = p->k * j.panels * j.panel;
  j.packs = (j.one_b ? 1 : count) * j.chunks;
  j.packs_per_block = tx_block_size(j.packs, tx_min(CHUNK, p->k) * p->n);
  int64_t floats;
  if (!tx_product_fits(j.one_b ? 1 : count, j.packed_size, &floats)) return false;
  j.packed = tx_alloc_array(floats, sizeof(float));
  if (j.packed == NULL) return false;
  tx_parallel(tx_ceil_div(j.packs, j.packs_per_block), pack_block, &j);
  choose_tiles(&j, count);
  tx_parallel(tx_ceil_div(j.tiles, j.tiles_per_block), compute_block, &j);
  tx_dealloc(j.packed);
  return true;
}
