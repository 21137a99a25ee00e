/* random.c - blocks of elements, each made of the random words of its place.
 *
 * Words come from the kernel random_words (Philox): word number i of a stream depends on seed, stream and i. An element
 * takes one word or two, by its position; the two elements of a Box-Muller pair share theirs.
 */
#include "passes/random.h"

#include <math.h>
#include <string.h>

#include "base/integers.h"
#include "base/rng.h"
#include "passes/passes.h"

enum {
  WORDS = 1024,       /* generated at a time */
  BLOCK_WORDS = 32768 /* for one thread at a time */
};

#define TWO_PI 6.283185307179586476925

/* Turns words into n elements. Where n is no multiple of 64, at the very end, there are more words than needed. */
typedef void draw_fn(const void *parameters, int64_t n, const uint32_t *word, void *elements);

typedef struct fill {
  tx_key key;
  draw_fn *draw;
  const void *parameters;
  int64_t words_per_element, total;
  char *data;
  size_t size;
} fill;

static void fill_block(void *context, int64_t block, int worker) {
  (void)worker;
  const fill *f = context;
  _Alignas(64) uint32_t word[WORDS];
  const int64_t at_once = WORDS / f->words_per_element;
  const int64_t end = tx_min((block + 1) * BLOCK_WORDS / f->words_per_element, f->total);
  for (int64_t i = block * BLOCK_WORDS / f->words_per_element; i < end; i += at_once) {
    const int64_t n = tx_min(end - i, at_once), words = tx_ceil_div(n * f->words_per_element, 64) * 64;
    tx_kernels.random_words(words, i * f->words_per_element, f->key.seed, f->key.stream, word);
    f->draw(f->parameters, n, word, f->data + (size_t)i * f->size);
  }
}

/* 53 bits of two words in [0, 1). */
static double unit_f64(const uint32_t *word) {
  return (double)(((uint64_t)(word[0] >> 5) << 26) | (word[1] >> 6)) * 0x1p-53;
}

typedef struct range {
  double low, high;
} range;

static void uniform_f32(const void *parameters, int64_t n, const uint32_t *word, void *elements) {
  const range *r = parameters;
  const float low = (float)r->low, width = (float)(r->high - r->low), high = (float)r->high;
  float *y = elements;
  for (int64_t i = 0; i < n; i++) {
    float value = low + width * tx_u32_to_unit(word[i]);
    y[i] = value < high ? value : low; /* rounding may reach the upper end, which does not belong to the range */
  }
}

static void uniform_f64(const void *parameters, int64_t n, const uint32_t *word, void *elements) {
  const range *r = parameters;
  double *y = elements;
  for (int64_t i = 0; i < n; i++) {
    double value = r->low + (r->high - r->low) * unit_f64(word + 2 * i);
    y[i] = value < r->high ? value : r->low;
  }
}

typedef struct bell {
  double mean, deviation;
} bell;

static void normal_f32(const void *parameters, int64_t n, const uint32_t *word, void *elements) {
  const bell *p = parameters;
  int64_t whole = n / 64 * 64;
  tx_kernels.normal_f32(whole, word, (float)p->mean, (float)p->deviation, elements);
  if (whole < n) {
    float rest[64];
    tx_kernels.normal_f32(64, word + whole, (float)p->mean, (float)p->deviation, rest);
    memcpy((float *)elements + whole, rest, (size_t)(n - whole) * sizeof(float));
  }
}

static void normal_f64(const void *parameters, int64_t n, const uint32_t *word, void *elements) {
  const bell *p = parameters;
  double *y = elements;
  for (int64_t i = 0; i < n; i += 2) {
    double radius = sqrt(-2 * log(unit_f64(word + 2 * i) + 0x1p-53)), angle = TWO_PI * unit_f64(word + 2 * i + 2);
    y[i] = p->mean + p->deviation * radius * cos(angle);
    if (i + 1 < n) y[i + 1] = p->mean + p->deviation * radius * sin(angle);
  }
}

typedef struct chance {
  uint64_t below; /* words that win */
  double value;
} chance;

#define BERNOULLI(dtype, type)                                                                             \
  static void bernoulli_##dtype(const void *parameters, int64_t n, const uint32_t *word, void *elements) { \
    const chance *p = parameters;                                                                          \
    const type value = (type)p->value;                                                                     \
    type *y = elements;                                                                                    \
    if (p->below > UINT32_MAX) { /* always */                                                              \
      for (int64_t i = 0; i < n; i++) y[i] = value;                                                        \
      return;                                                                                              \
    }                                                                                                      \
    const uint32_t below = (uint32_t)p->below;                                                             \
    for (int64_t i = 0; i < n; i++) y[i] = word[i] < below ? value : 0;                                    \
  }
BERNOULLI(f32, float)
BERNOULLI(f64, double)

typedef struct integers {
  int64_t low;
  uint64_t count; /* 0 stands for 2^64 */
} integers;

/* The upper 64 bits of a * b: maps a random a to 0..b-1, each with the same chance up to b / 2^64. */
static uint64_t multiply_high(uint64_t a, uint64_t b) {
  uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
  uint64_t middle = a1 * b0 + ((a0 * b0) >> 32), other = a0 * b1 + (uint32_t)middle;
  return a1 * b1 + (middle >> 32) + (other >> 32);
}

static void integers_i64(const void *parameters, int64_t n, const uint32_t *word, void *elements) {
  const integers *p = parameters;
  int64_t *y = elements;
  for (int64_t i = 0; i < n; i++) {
    uint64_t bits = ((uint64_t)word[2 * i] << 32) | word[2 * i + 1];
    y[i] = (int64_t)((uint64_t)p->low + (p->count == 0 ? bits : multiply_high(bits, p->count)));
  }
}

static void run(draw_fn *draw, const void *parameters, int64_t words_per_element, tx_dtype dtype, tx_key key, int64_t n,
                void *out) {
  fill f = {key, draw, parameters, words_per_element, n, out, tx_dtype_size(dtype)};
  tx_parallel(tx_ceil_div(n * words_per_element, BLOCK_WORDS), fill_block, &f);
}

void tx_draw_uniform(tx_dtype dtype, tx_key key, double low, double high, int64_t n, void *out) {
  const bool single = dtype == TX_F32;
  run(single ? uniform_f32 : uniform_f64, &(range){low, high}, single ? 1 : 2, dtype, key, n, out);
}

void tx_draw_normal(tx_dtype dtype, tx_key key, double mean, double deviation, int64_t n, void *out) {
  const bool single = dtype == TX_F32;
  run(single ? normal_f32 : normal_f64, &(bell){mean, deviation}, single ? 1 : 2, dtype, key, n, out);
}

void tx_draw_bernoulli(tx_dtype dtype, tx_key key, double p, double value, int64_t n, void *out) {
  const chance c = {(uint64_t)(p * 0x1p32), value};
  run(dtype == TX_F32 ? bernoulli_f32 : bernoulli_f64, &c, 1, dtype, key, n, out);
}

void tx_draw_integers(tx_key key, int64_t low, int64_t high, int64_t n, int64_t *out) {
  const integers p = {low, (uint64_t)high - (uint64_t)low + 1};
  run(integers_i64, &p, 2, TX_I64, key, n, out);
}

typedef struct resamples {
  tx_key key;
  int64_t n, rows;
  const int64_t *unit;
  double *counts;
} resamples;

static void resample_block(void *context, int64_t sample, int worker) {
  (void)worker;
  const resamples *r = context;
  tx_rng rng = tx_rng_make(r->key.seed, tx_mix(r->key.stream, (uint64_t)sample));
  double *counts = r->counts + sample * r->rows;
  for (int64_t row = 0; row < r->rows; row++) counts[row] = 0;
  for (int64_t i = 0; i < r->n; i++) counts[r->unit[tx_rng_below(&rng, r->n)]]++;
}

void tx_draw_resamples(tx_key key, int64_t n, const int64_t *unit, int64_t samples, int64_t rows, double *counts) {
  resamples r = {key, n, rows, unit, counts};
  tx_parallel(samples, resample_block, &r);
}
