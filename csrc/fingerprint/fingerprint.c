/* fingerprint.c - see fingerprint.h. */
#include "fingerprint/fingerprint.h"

#include <math.h>
#include <string.h>

#include "base/integers.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/threads.h"
#include "data/images.h"
#include "kernels/kernels.h"

enum { SIDE = TX_THUMB, CELLS = SIDE * SIDE, WAVES = 8, GROUP = 16 };

/* -- the fingerprint of one image -------------------------------------------------------------------------------------- */

static void hash_pixels(const float *pixels, int64_t count, uint64_t exact[2]) {
  uint64_t a = 1, b = 2;
  int64_t i = 0;
  for (; i + 2 <= count; i += 2) {
    uint64_t word;
    memcpy(&word, pixels + i, sizeof word);
    a = tx_mix(a, word);
    b = (b ^ word) * 0x9E3779B97F4A7C15u;
    b ^= b >> 29;
  }
  if (i < count) {
    uint32_t word;
    memcpy(&word, pixels + i, sizeof word);
    a = tx_mix(a, word);
    b = tx_mix(b, word);
  }
  exact[0] = tx_mix(a, (uint64_t)count);
  exact[1] = tx_mix(b, (uint64_t)count);
}

static void measure(const float *pixels, int64_t count, float white, tx_fingerprint *print) {
  double sum = 0, squares = 0;
  int64_t dark = 0, bright = 0;
  print->low = print->high = pixels[0];
  for (int64_t i = 0; i < count; i++) {
    float value = pixels[i];
    sum += value;
    if (value < print->low) print->low = value;
    if (value > print->high) print->high = value;
    dark += value <= 0;
    bright += value >= white;
  }
  double mean = sum / (double)count;
  for (int64_t i = 0; i < count; i++) squares += (pixels[i] - mean) * (pixels[i] - mean);
  print->mean = (float)mean;
  print->std = (float)sqrt(squares / (double)count);
  print->dark = (float)dark / (float)count;
  print->bright = (float)bright / (float)count;
}

/* Averages `size` values, `step` apart, into SIDE cells of equal width; a value on a border counts for both, by its parts,
 * so that a rotated image has a rotated thumb. */
static void average_cells(int64_t size, const float *from, int64_t step, float *cells, int64_t cell_step) {
  double width = (double)size / SIDE;
  for (int k = 0; k < SIDE; k++) {
    double low = k * width, high = low + width, sum = 0;
    for (int64_t i = (int64_t)low; i < size && (double)i < high; i++) {
      double left = (double)i > low ? (double)i : low, right = (double)i + 1 < high ? (double)i + 1 : high;
      sum += from[i * step] * (right - left);
    }
    cells[k * cell_step] = (float)(sum / width);
  }
}

/* Averages of channels and cells, then mean 0 and length 1 (or all 0). `rows` has room for height x SIDE, `gray` for a row. */
static void make_thumb(const tx_source *source, const float *pixels, float *gray, float *rows, float thumb[CELLS]) {
  double mean = 0, length = 0;
  for (int64_t y = 0; y < source->height; y++) {
    const float *row = pixels + y * source->width * source->channels;
    for (int64_t x = 0; x < source->width; x++) {
      float sum = 0;
      for (int64_t c = 0; c < source->channels; c++) sum += row[x * source->channels + c];
      gray[x] = sum / (float)source->channels;
    }
    average_cells(source->width, gray, 1, rows + y * SIDE, 1);
  }
  for (int x = 0; x < SIDE; x++) average_cells(source->height, rows + x, SIDE, thumb + x, SIDE);
  for (int i = 0; i < CELLS; i++) mean += thumb[i];
  mean /= CELLS;
  for (int i = 0; i < CELLS; i++) {
    thumb[i] -= (float)mean;
    length += (double)thumb[i] * thumb[i];
  }
  float scale = length > 1e-12 ? (float)(1 / sqrt(length)) : 0;
  for (int i = 0; i < CELLS; i++) thumb[i] *= scale;
}

/* A quarter turn counterclockwise. */
static void rotate_thumb(const float from[CELLS], float to[CELLS]) {
  for (int y = 0; y < SIDE; y++) {
    for (int x = 0; x < SIDE; x++) to[y * SIDE + x] = from[x * SIDE + SIDE - 1 - y];
  }
}

/* wave[u][x] = cos(pi (2x + 1) u / 32) */
typedef struct waves {
  float wave[WAVES][SIDE];
} waves;

static void make_waves(waves *w) {
  for (int u = 0; u < WAVES; u++) {
    for (int x = 0; x < SIDE; x++) w->wave[u][x] = (float)cos(3.14159265358979323846 * (2 * x + 1) * u / (2 * SIDE));
  }
}

static uint64_t wave_signs(const waves *w, const float thumb[CELLS]) {
  float rows[SIDE][WAVES];
  for (int y = 0; y < SIDE; y++) {
    for (int u = 0; u < WAVES; u++) {
      float sum = 0;
      for (int x = 0; x < SIDE; x++) sum += thumb[y * SIDE + x] * w->wave[u][x];
      rows[y][u] = sum;
    }
  }
  uint64_t signs = 0;
  for (int v = 0; v < WAVES; v++) {
    for (int u = 0; u < WAVES; u++) {
      float sum = 0;
      for (int y = 0; y < SIDE; y++) sum += rows[y][u] * w->wave[v][y];
      if (sum > 0 && u + v > 0) signs |= UINT64_C(1) << (v * WAVES + u);
    }
  }
  return signs;
}

/* -- all images -------------------------------------------------------------------------------------------------------- */

typedef struct job {
  tx_source *source;
  const int64_t *index;
  int64_t n;
  tx_fingerprint *fingerprints;
  float white;
  float *scratch; /* per thread: an image, a row of it, and a row of cells for each of its rows */
  int64_t room;   /* per thread */
  waves waves;
  tx_failure failure;
} job;

static void fingerprint_block(void *context, int64_t block, int worker) {
  job *l = context;
  int64_t values = tx_source_pixels(l->source), last = tx_min((block + 1) * GROUP, l->n);
  float *pixels = l->scratch + worker * l->room, *gray = pixels + values, rotated[4][CELLS];
  for (int64_t i = block * GROUP; i < last && !tx_failure_before(&l->failure, i); i++) {
    tx_fingerprint *print = &l->fingerprints[i];
    tx_status status = tx_source_read(l->source, l->index[i], pixels);
    if (status != TX_OK) {
      tx_failure_note(&l->failure, i, status);
      continue;
    }
    hash_pixels(pixels, values, print->exact);
    measure(pixels, values, l->white, print);
    make_thumb(l->source, pixels, gray, gray + l->source->width, print->thumb);
    memcpy(rotated[0], print->thumb, sizeof rotated[0]);
    for (int t = 0; t < 4; t++) {
      if (t > 0) rotate_thumb(rotated[t - 1], rotated[t]);
      print->sign[t] = wave_signs(&l->waves, rotated[t]);
    }
  }
}

tx_status tx_fingerprint_images(tx_source *source, const int64_t *index, int64_t n, float white,
                                tx_fingerprint *fingerprints) {
  job l = {.source = source, .index = index, .n = n, .fingerprints = fingerprints, .white = white};
  tx_failure_init(&l.failure);
  make_waves(&l.waves);
  l.room = tx_source_pixels(source) + source->width + source->height * SIDE;
  l.scratch = tx_alloc((size_t)tx_num_threads() * (size_t)l.room * sizeof(float));
  if (l.scratch == NULL) return TX_ENOMEM;
  tx_parallel(tx_ceil_div(n, GROUP), fingerprint_block, &l);
  tx_dealloc(l.scratch);
  return tx_failure_status(&l.failure);
}

/* -- near duplicates --------------------------------------------------------------------------------------------------- */

/* What the blocks of a search share. Block b searches for partners of GROUP images among those before them. */
typedef struct search {
  const tx_fingerprint *fingerprints;
  int64_t n;
  const tx_near_rule *rule;
  uint64_t *words; /* sign[0] of all */
  int32_t *found;  /* [threads * n] */
  tx_near *pairs;  /* [n * parts * TX_NEAR_MAX] of each second image, by the part of the first */
  int32_t *counts; /* [n * parts] */
} search;

static float correlation(const float a[CELLS], const float b[CELLS]) {
  float sum = 0;
  for (int i = 0; i < CELLS; i++) sum += a[i] * b[i];
  return sum;
}

/* Keeps a pair if its first image is new and it is among the most similar ones. */
static void keep(tx_near *pairs, int32_t *count, tx_near pair) {
  int32_t at = 0;
  while (at < *count && pairs[at].first != pair.first) at++;
  if (at == *count && *count < TX_NEAR_MAX) {
    pairs[(*count)++] = pair;
    return;
  }
  if (at == *count) { /* full: the least similar makes room */
    at = 0;
    for (int32_t i = 1; i < *count; i++) {
      if (pairs[i].similarity < pairs[at].similarity) at = i;
    }
  }
  if (pair.similarity > pairs[at].similarity) pairs[at] = pair;
}

static int by_first(const tx_near *a, const tx_near *b) { return (a->first > b->first) - (a->first < b->first); }

static void sort_pairs(tx_near *pairs, int32_t count) { /* a handful */
  for (int32_t i = 1; i < count; i++) {
    tx_near pair = pairs[i];
    int32_t at = i;
    for (; at > 0 && by_first(&pairs[at - 1], &pair) > 0; at--) pairs[at] = pairs[at - 1];
    pairs[at] = pair;
  }
}

static bool is_equal(const tx_fingerprint *a, const tx_fingerprint *b) {
  return memcmp(a->exact, b->exact, sizeof a->exact) == 0;
}

static void search_image(search *s, int64_t second, int32_t *found) {
  const tx_fingerprint *print = &s->fingerprints[second];
  int32_t parts = s->rule->parts, *counts = s->counts + second * parts;
  tx_near *pairs = s->pairs + second * parts * TX_NEAR_MAX;
  float rotated[2][CELLS];
  memcpy(rotated[0], print->thumb, sizeof rotated[0]);
  for (int t = 0; t < 4; t++) {
    const float *thumb = rotated[t % 2];
    int64_t count = tx_kernels.near_u64(second, s->words, print->sign[t], s->rule->bits, found);
    for (int64_t k = 0; k < count; k++) {
      int32_t first = found[k], part = s->rule->part[first];
      float similarity = correlation(thumb, s->fingerprints[first].thumb);
      if (!(similarity >= (float)s->rule->similarity) || is_equal(print, &s->fingerprints[first])) continue;
      keep(pairs + part * TX_NEAR_MAX, &counts[part],
           (tx_near){first, second, similarity, (4 - t) % 4}); /* rotated back */
    }
    if (t < 3) rotate_thumb(thumb, rotated[(t + 1) % 2]);
  }
  for (int32_t part = 0; part < parts; part++) sort_pairs(pairs + part * TX_NEAR_MAX, counts[part]);
}

static void search_block(void *context, int64_t block, int worker) {
  search *s = context;
  int64_t last = tx_min((block + 1) * GROUP, s->n);
  for (int64_t i = block * GROUP; i < last; i++) {
    if (s->fingerprints[i].std > 0) search_image(s, i, s->found + worker * s->n);
  }
}

/* Puts the pairs of all images into one row. */
static tx_status collect(const search *s, tx_near **pairs, int64_t *count) {
  int64_t rows = s->n * s->rule->parts, at = 0;
  *count = 0;
  for (int64_t i = 0; i < rows; i++) *count += s->counts[i];
  *pairs = tx_alloc((size_t)*count * sizeof **pairs);
  if (*pairs == NULL) return TX_ENOMEM;
  for (int64_t i = 0; i < rows; i++) {
    memcpy(*pairs + at, s->pairs + i * TX_NEAR_MAX, (size_t)s->counts[i] * sizeof **pairs);
    at += s->counts[i];
  }
  return TX_OK;
}

tx_status tx_find_near(const tx_fingerprint *fingerprints, int64_t n, const tx_near_rule *rule, tx_near **pairs,
                       int64_t *count) {
  search s = {.fingerprints = fingerprints, .n = n, .rule = rule};
  s.words = tx_alloc_array(n, sizeof *s.words);
  s.found = tx_alloc((size_t)tx_num_threads() * (size_t)n * sizeof *s.found);
  s.pairs = tx_alloc_array(n * rule->parts, TX_NEAR_MAX * sizeof *s.pairs);
  s.counts = tx_alloc_zero((size_t)n * (size_t)rule->parts * sizeof *s.counts);
  tx_status status = s.words && s.found && s.pairs && s.counts ? TX_OK : TX_ENOMEM;
  if (status == TX_OK) {
    for (int64_t i = 0; i < n; i++) s.words[i] = fingerprints[i].sign[0];
    tx_parallel(tx_ceil_div(n, GROUP), search_block, &s);
    status = collect(&s, pairs, count);
  }
  tx_dealloc(s.words);
  tx_dealloc(s.found);
  tx_dealloc(s.pairs);
  tx_dealloc(s.counts);
  return status;
}
