/* random.c - filling tensors with random numbers.
 *
 * Words come from Philox: word w of counter i is number 4 i + w of the stream. An element takes one word or two, by its
 * row-major position; the two elements of a Box-Muller pair share theirs. Blocks begin at whole counters.
 */
#include "tensor/random.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "base/threads.h"
#include "tensor/math.h"

enum {
  WORDS = 1024,      /* generated at a time */
  BLOCK_WORDS = 32768 /* for one thread at a time */
};

#define TWO_PI 6.283185307179586476925

/* Turns words into n elements (an even number but at the very end, where more words than needed are there). */
typedef void draw_fn(const double *parameters, int64_t n, const uint32_t *word, void *elements);

typedef struct fill {
  tx_key key;
  draw_fn *draw;
  double parameters[2];
  int64_t words_per_element, total;
  char *data;
  size_t size;
} fill;

static void fill_block(void *context, int64_t block, int worker) {
  (void)worker;
  const fill *f = context;
  uint32_t word[WORDS];
  int64_t end = (block + 1) * BLOCK_WORDS / f->words_per_element;
  if (end > f->total) end = f->total;
  int64_t at_once = WORDS / f->words_per_element;
  for (int64_t i = block * BLOCK_WORDS / f->words_per_element; i < end; i += at_once) {
    int64_t n = end - i < at_once ? end - i : at_once;
    int64_t counter = i * f->words_per_element / 4, counters = (n * f->words_per_element + 3) / 4;
    for (int64_t c = 0; c < counters; c++) {
      tx_philox(f->key.seed, f->key.stream, (uint64_t)(counter + c), word + 4 * c);
    }
    f->draw(f->parameters, n, word, f->data + (size_t)i * f->size);
  }
}

/* 53 bits of two words in [0, 1). */
static double unit_f64(const uint32_t *word) {
  return (double)(((uint64_t)(word[0] >> 5) << 26) | (word[1] >> 6)) * 0x1p-53;
}

static void uniform_f32(const double *range, int64_t n, const uint32_t *word, void *elements) {
  const float low = (float)range[0], width = (float)(range[1] - range[0]), high = (float)range[1];
  float *y = elements;
  for (int64_t i = 0; i < n; i++) {
    float value = low + width * tx_u32_to_unit(word[i]);
    y[i] = value < high ? value : low; /* rounding may reach the upper end, which does not belong to the range */
  }
}

static void uniform_f64(const double *range, int64_t n, const uint32_t *word, void *elements) {
  double *y = elements;
  for (int64_t i = 0; i < n; i++) {
    double value = range[0] + (range[1] - range[0]) * unit_f64(word + 2 * i);
    y[i] = value < range[1] ? value : range[0];
  }
}

static void normal_f32(const double *mean_deviation, int64_t n, const uint32_t *word, void *elements) {
  float *y = elements;
  for (int64_t i = 0; i < n; i += 2) {
    double pair[2];
    tx_u32_to_normal(word[i], word[i + 1], pair);
    for (int64_t j = i; j < n && j < i + 2; j++) y[j] = (float)(mean_deviation[0] + mean_deviation[1] * pair[j - i]);
  }
}

static void normal_f64(const double *mean_deviation, int64_t n, const uint32_t *word, void *elements) {
  double *y = elements;
  for (int64_t i = 0; i < n; i += 2) {
    double radius = sqrt(-2 * log(unit_f64(word + 2 * i) + 0x1p-53)), angle = TWO_PI * unit_f64(word + 2 * i + 2);
    double pair[2] = {radius * cos(angle), radius * sin(angle)};
    for (int64_t j = i; j < n && j < i + 2; j++) y[j] = mean_deviation[0] + mean_deviation[1] * pair[j - i];
  }
}

/* parameters: the chance as a number of 2^-32, the value. */
#define BERNOULLI(dtype, type)                                                                                      \
  static void bernoulli_##dtype(const double *chance_value, int64_t n, const uint32_t *word, void *elements) {      \
    const uint64_t chance = (uint64_t)chance_value[0];                                                              \
    const type value = (type)chance_value[1];                                                                       \
    type *y = elements;                                                                                             \
    for (int64_t i = 0; i < n; i++) y[i] = word[i] < chance ? value : 0;                                            \
  }
BERNOULLI(f32, float)
BERNOULLI(f64, double)

/* Lets `draw` write to a contiguous tensor; others are filled by way of a copy. */
static tx_status run(tx_tensor *t, fill *f) {
  tx_tensor *to;
  TX_TRY(tx_is_contiguous(t) ? tx_alias(t, &to) : tx_empty_like(t, &to));
  f->total = tx_numel(t);
  f->data = tx_data(to);
  f->size = tx_dtype_size(t->dtype);
  tx_parallel((f->total * f->words_per_element + BLOCK_WORDS - 1) / BLOCK_WORDS, fill_block, f);
  tx_status status = tx_is_contiguous(t) ? TX_OK : tx_copy(t, to);
  tx_unref(to);
  return status;
}

static tx_status check_float(const char *operation, const tx_tensor *t) {
  if (tx_dtype_is_float(t->dtype)) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: a tensor of %s; f32 or f64 is wanted", operation, tx_dtype_name(t->dtype));
}

tx_key tx_next_key(void) {
  tx_generator *g = tx_default_generator();
  return (tx_key){g->seed, g->next_stream++};
}

tx_status tx_fill_uniform(tx_tensor *t, tx_key key, double low, double high) {
  TX_TRY(check_float("uniform", t));
  if (!(low <= high) || !isfinite(high - low)) return tx_fail(TX_EINVAL, "uniform: no range from %g to %g", low, high);
  bool single = t->dtype == TX_F32;
  fill f = {key, single ? uniform_f32 : uniform_f64, {low, high}, single ? 1 : 2, 0, NULL, 0};
  return run(t, &f);
}

tx_status tx_fill_normal(tx_tensor *t, tx_key key, double mean, double deviation) {
  TX_TRY(check_float("normal", t));
  bool single = t->dtype == TX_F32;
  fill f = {key, single ? normal_f32 : normal_f64, {mean, deviation}, single ? 1 : 2, 0, NULL, 0};
  return run(t, &f);
}

tx_status tx_fill_bernoulli(tx_tensor *t, tx_key key, double p, double value) {
  if (!(p >= 0 && p <= 1)) return tx_fail(TX_EINVAL, "bernoulli: probability %g is not in 0..1", p);
  if (tx_dtype_is_float(t->dtype)) {
    fill f = {key, t->dtype == TX_F32 ? bernoulli_f32 : bernoulli_f64, {p * 0x1p32, value}, 1, 0, NULL, 0};
    return run(t, &f);
  }
  tx_tensor *drawn;
  TX_TRY(tx_empty(TX_F64, t->dims, t->shape, &drawn));
  tx_status status = tx_fill_bernoulli(drawn, key, p, value);
  if (status == TX_OK) status = tx_copy(t, drawn);
  tx_unref(drawn);
  return status;
}

/* -- integers ---------------------------------------------------------------------------------------------------------- */

typedef struct integers {
  tx_key key;
  int64_t low, total;
  uint64_t range; /* 0 stands for 2^64 */
  int64_t *value;
} integers;

/* The upper 64 bits of a * b: maps a random a to 0..b-1, each with the same chance up to b / 2^64. */
static uint64_t multiply_high(uint64_t a, uint64_t b) {
  uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
  uint64_t middle = a1 * b0 + ((a0 * b0) >> 32), other = a0 * b1 + (uint32_t)middle;
  return a1 * b1 + (middle >> 32) + (other >> 32);
}

static void integers_block(void *context, int64_t block, int worker) {
  (void)worker;
  const integers *d = context;
  int64_t first = block * BLOCK_WORDS / 2, end = first + BLOCK_WORDS / 2 < d->total ? first + BLOCK_WORDS / 2 : d->total;
  for (int64_t i = first; i < end; i++) {
    uint32_t word[4];
    tx_philox(d->key.seed, d->key.stream, (uint64_t)i, word);
    uint64_t bits = ((uint64_t)word[0] << 32) | word[1];
    d->value[i] = (int64_t)((uint64_t)d->low + (d->range == 0 ? bits : multiply_high(bits, d->range)));
  }
}

tx_status tx_fill_integers(tx_tensor *t, tx_key key, int64_t low, int64_t high) {
  if (low > high) return tx_fail(TX_EINVAL, "randint: no integers from %lld to %lld", (long long)low, (long long)high);
  tx_tensor *drawn;
  TX_TRY(tx_empty(TX_I64, t->dims, t->shape, &drawn));
  integers d = {key, low, tx_numel(t), (uint64_t)high - (uint64_t)low + 1, tx_i64(drawn)};
  tx_parallel((d.total + BLOCK_WORDS / 2 - 1) / (BLOCK_WORDS / 2), integers_block, &d);
  tx_status status = tx_copy(t, drawn);
  tx_unref(drawn);
  return status;
}

tx_status tx_randperm(tx_key key, int64_t n, tx_tensor **out) {
  TX_TRY(tx_empty(TX_I64, 1, &n, out));
  for (int64_t i = 0; i < n; i++) tx_i64(*out)[i] = i + 1;
  tx_rng rng = tx_rng_make(key.seed, key.stream);
  tx_rng_shuffle(&rng, tx_i64(*out), n);
  return TX_OK;
}
