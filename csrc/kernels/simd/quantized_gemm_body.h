/* quantized_gemm_body.h - products of bytes and of 16-bit numbers in register tiles (kernels/quantized.h), for one way to
 * multiply. The source that includes this has defined
 *
 *     TARGET                    the attribute of functions that need more than the instruction set has
 *     ROWS                      the most rows of a tile
 *     pixel, pixels(bytes, p)   what becomes of 4 bytes of a row of a: four numbers, or two of 16 bits unless `bytes`
 *     weight, weights(bytes, p)     and of a vector of b, which has as many for each of VF columns
 *     dot(bytes, sum, x, w)     sum + their products, added up by column
 *     unknown(x)                x, of which the compiler is not to know that it is the same as before
 *     lift(bytes, sum, w)       sum + what `dot` leaves out of every row: nothing, unless pixels() made a difference
 *
 * A tile of rows x 2 vectors of sums stays in registers. A step multiplies 4 bytes of each row with 4 * PANEL bytes of a
 * panel, whatever they hold: one tile does for both kinds.
 */
#include "base/integers.h"
#include "kernels/simd/requantize.h"

enum { PANEL = TX_SIMD_NAME(panel), STEP = 4 * PANEL, AHEAD = 16 * STEP };
_Static_assert(PANEL == 2 * VF, "a tile is two vectors wide");

/* What a tile reads, all offsets in bytes, and where its sums go. */
typedef struct operands {
  const char *a;
  int64_t a_row, taps, depth;
  const int64_t *offset;
  const char *b;
  int32_t *sum;
  int64_t sum_row;
} operands;

/* A step: 4 bytes of each row, which are `at` in the groups, times those of a panel; rows and vectors are constants. */
TX_INLINE TARGET void step(bool bytes, int rows, int vectors, const char *const *group, int64_t row, const char *b,
                           vint sum[ROWS][2], vint *lifted) {
  const weight b0 = weights(bytes, b), b1 = vectors == 2 ? weights(bytes, b + STEP / 2) : b0;
  __builtin_prefetch(b + AHEAD);
  if (vectors == 2) __builtin_prefetch(b + AHEAD + STEP / 2);
  lifted[0] = lift(bytes, lifted[0], b0);
  if (vectors == 2) lifted[1] = lift(bytes, lifted[1], b1);
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++) {
    const pixel x = pixels(bytes, group[i / 3] + i % 3 * row);
    sum[i][0] = dot(bytes, sum[i][0], x, b0);
    if (vectors == 2) sum[i][1] = dot(bytes, sum[i][1], x, b1);
  }
}

/* Rows of a are addressed in threes, as in gemm.c. Few rows take several sums each, or a multiply-add would wait for the
 * one before. */
TX_INLINE TARGET void tile(bool bytes, int rows, int vectors, const operands *o) {
  enum { MOST = 4 };
  const int chains = rows == 1 ? MOST : rows == 2 ? 2 : 1;
  vint sum[MOST][ROWS][2], lifted[2] = {{0}, {0}};
  const int64_t row = o->a_row;
  const char *b = o->b;
#pragma GCC unroll 4
  for (int c = 0; c < chains; c++) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) sum[c][i][0] = sum[c][i][1] = vi_set(0);
  }
  for (int64_t t = 0; t < o->taps; t++) {
    const char *group[(ROWS + 2) / 3];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i += 3) group[i / 3] = o->a + o->offset[t] + i * row;
    int64_t d = 0;
    while (d + 4 * chains <= o->depth) {
#pragma GCC unroll 4
      for (int c = 0; c < chains; c++) {
        step(bytes, rows, vectors, group, row, b, sum[c], lifted);
        b += STEP;
        d += 4;
#pragma GCC unroll 16
        for (int i = 0; i < rows; i += 3) group[i / 3] += 4;
      }
    }
    for (; chains > 1 && d < o->depth; d += 4, b += STEP) {
      step(bytes, rows, vectors, group, row, b, sum[0], lifted);
#pragma GCC unroll 16
      for (int i = 0; i < rows; i += 3) group[i / 3] += 4;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) {
      vint all = sum[0][i][v] + lifted[v];
#pragma GCC unroll 4
      for (int c = 1; c < chains; c++) all += sum[c][i][v];
      vi_store(o->sum + i * o->sum_row + v * VF, all);
    }
  }
}

typedef void tile_fn(const operands *o);

#define TILE_OF(kind, bytes, rows, vectors) \
  TARGET static void kind##_##rows##_##vectors(const operands *o) { tile(bytes, rows, vectors, o); }
#define TILE(rows) \
  TILE_OF(u8, true, rows, 1) TILE_OF(u8, true, rows, 2) TILE_OF(i16, false, rows, 1) TILE_OF(i16, false, rows, 2)
#define ENTRY(kind, rows) \
  { kind##_##rows##_1, kind##_##rows##_2 }

/* clang-format off */
#if ROWS == 14
#define ALL(DO) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14)
#elif ROWS == 10
#define ALL(DO) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10)
#elif ROWS == 8
#define ALL(DO) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8)
#elif ROWS == 6
#define ALL(DO) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6)
#else
#define ALL(DO) DO(1) DO(2) DO(3) DO(4)
#endif
#define U8(rows) {u8_##rows##_1, u8_##rows##_2},
#define I16(rows) {i16_##rows##_1, i16_##rows##_2},

ALL(TILE)

static tile_fn *const u8_tiles[ROWS][2] = {ALL(U8)};
static tile_fn *const i16_tiles[ROWS][2] = {ALL(I16)};
/* clang-format on */

/* What comes after the sums of `rows` rows, from row i on, and of n columns, at most a vector, from column j on. */
TX_INLINE void finish(const tx_gemm_u8 *g, bool zeros, int64_t i, int64_t rows, int64_t j, int64_t n,
                      const int32_t *sum) {
  const tx_requantize after = *g->after; /* a copy, which no store of bytes can change */
  const vint start = vi_load_part(g->start + j, n);
  const vfloat factor = vf_load_part(after.factor + j, n), shift = vf_load_part(after.shift + j, n);
  uint8_t *const y = g->y;
  float *const floats = g->floats;
  const int64_t y_row = g->y_row;
  int64_t at = i * y_row + j;
  for (int64_t r = 0; r < rows; r++, at += y_row, sum += PANEL) {
    const vfloat t = vi_to_float(vi_load(sum) + start) * factor + shift;
    const vfloat value = requantized(&after, zeros, t, after.residual + at, n);
    if (y != NULL) {
      store_requantized(&after, zeros, y + at, value, n);
    } else {
      vf_store_part(floats + at, value, n);
    }
  }
}

static void finish_panel(const tx_gemm_u8 *g, int64_t i, int64_t rows, int64_t j, int64_t columns, const int32_t *sum) {
  for (int64_t c = 0; c < columns; c += VF) {
    if (columns - c < VF) {
      finish(g, false, i, rows, j + c, columns - c, sum + c);
    } else if (zeros_are_0(g->after)) {
      finish(g, true, i, rows, j + c, VF, sum + c);
    } else {
      finish(g, false, i, rows, j + c, VF, sum + c);
    }
  }
}

void GEMM_U8(const tx_gemm_u8 *g) {
  int32_t sum[ROWS * PANEL] __attribute__((aligned(64)));
  const int64_t tile_count = tx_ceil_div(g->m, ROWS), b_panel = g->taps * g->depth * PANEL;
  for (int64_t j = 0; j < g->n; j += PANEL) {
    const int64_t columns = tx_min(g->n - j, PANEL);
    operands o = {
        .a_row = g->a_row, .taps = g->taps, .depth = g->depth, .offset = g->offset, .sum = sum, .sum_row = PANEL};
    o.b = (const char *)g->b + j / PANEL * b_panel;
    int64_t i = 0;
    for (int64_t t = 0; t < tile_count; t++) {
      const int64_t rows = (g->m - i) / (tile_count - t);
      o.a = (const char *)g->a + i * g->a_row;
      u8_tiles[rows - 1][columns > VF](&o);
      finish_panel(g, i, rows, j, columns, sum);
      i += rows;
    }
  }
}

void GEMM_I16(const tx_gemm_i16 *g) {
  int32_t sum[ROWS * PANEL] __attribute__((aligned(64)));
  const int64_t tile_count = tx_ceil_div(g->m, ROWS), b_panel = g->depth * 2 * PANEL, none = 0;
  for (int64_t j = 0; j < g->n; j += PANEL) {
    const int64_t columns = tx_min(g->n - j, PANEL);
    const bool whole = columns % VF == 0; /* then straight into c */
    operands o = {.a_row = 2 * g->a_row, .taps = 1, .depth = 2 * g->depth, .offset = &none};
    o.b = (const char *)g->b + j / PANEL * b_panel;
    o.sum_row = whole ? g->c_row : PANEL;
    int64_t i = 0;
    for (int64_t t = 0; t < tile_count; t++) {
      const int64_t rows = (g->m - i) / (tile_count - t);
      int32_t *c = g->c + i * g->c_row + j;
      o.a = (const char *)(g->a + i * g->a_row);
      o.sum = whole ? c : sum;
      i16_tiles[rows - 1][columns > VF](&o);
      for (int64_t r = 0; !whole && r < rows; r++) {
        memcpy(c + r * g->c_row, sum + r * PANEL, (size_t)columns * sizeof *c);
      }
      i += rows;
    }
  }
}

/* Chains of dependent sums, enough of them for the latency of two units, with operands that stay in registers. */
TX_INLINE TARGET double peak(bool bytes, int64_t rounds) {
  enum { CHAINS = 12 };
  char operand[4 * VF];
  memset(operand, 3, sizeof operand);
  pixel x = pixels(bytes, operand);
  const weight w = weights(bytes, operand);
  vint sum[CHAINS];
#pragma GCC unroll 12
  for (int i = 0; i < CHAINS; i++) sum[i] = vi_set(i);
  for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) {
      x = unknown(x); /* or one product would do for all sums */
      sum[i] = dot(bytes, sum[i], x, w);
    }
  }
  vint all = sum[0];
#pragma GCC unroll 12
  for (int i = 1; i < CHAINS; i++) all ^= sum[i];
  volatile int32_t sink = all[0];
  (void)sink;
  return (double)rounds * CHAINS * VF * (bytes ? 4 : 2);
}

TARGET double PEAK_U8(int64_t rounds) { return peak(true, rounds); }
TARGET double PEAK_I16(int64_t rounds) { return peak(false, rounds); }
