/* random.c - filling tensors with random numbers.
 *
 * Words come from the kernel random_words (Philox): word number i of a stream depends on seed, stream and i. An element
 * takes one word or two, by its row-major position; the two elements of a Box-Muller pair share theirs.
 */
#include "tensor/random.h"

#include <math.h>
#include <string.h>

#include "base/integers.h"
#include "base/rng.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "tensor/number.h"

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
  int64_t at_once = WORDS / f->words_per_element, end = (block + 1) * BLOCK_WORDS / f->words_per_element;
  if (end > f->total) end = f->total;
  for (int64_t i = block * BLOCK_WORDS / f->words_per_element; i < end; i += at_once) {
    int64_t n = end - i < at_once ? end - i : at_once, words = (n * f->words_per_element + 63) / 64 * 64;
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

/* Lets `draw` write to a contiguous tensor; others are filled by way of a copy. */
static tx_status run(tx_tensor *t, tx_key key, draw_fn *draw, const void *parameters, int64_t words_per_element) {
  tx_tensor *to;
  TX_TRY(tx_elements_apart(t));
  TX_TRY(tx_is_contiguous(t) ? tx_alias(t, &to) : tx_empty_like(t, &to));
  fill f = {key, draw, parameters, words_per_element, tx_numel(t), tx_data(to), tx_dtype_size(t->dtype)};
  tx_parallel(tx_ceil_div(f.total * f.words_per_element, BLOCK_WORDS), fill_block, &f);
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
  TX_TRY(tx_holds(t->dtype, tx_real(low)));
  TX_TRY(tx_holds(t->dtype, tx_real(high)));
  range r = {low, high};
  return t->dtype == TX_F32 ? run(t, key, uniform_f32, &r, 1) : run(t, key, uniform_f64, &r, 2);
}

tx_status tx_fill_normal(tx_tensor *t, tx_key key, double mean, double deviation) {
  TX_TRY(check_float("normal", t));
  if (!isfinite(mean) || !isfinite(deviation) || deviation < 0) {
    return tx_fail(TX_EINVAL, "normal: no distribution has mean %g and deviation %g", mean, deviation);
  }
  TX_TRY(tx_holds(t->dtype, tx_real(mean)));
  TX_TRY(tx_holds(t->dtype, tx_real(deviation)));
  bell p = {mean, deviation};
  return t->dtype == TX_F32 ? run(t, key, normal_f32, &p, 1) : run(t, key, normal_f64, &p, 2);
}

/* Fills a tensor of another dtype by way of one that `draw` writes to. */
static tx_status run_as(tx_dtype dtype, tx_tensor *t, tx_key key, draw_fn *draw, const void *parameters,
                        int64_t words) {
  if (t->dtype == dtype) return run(t, key, draw, parameters, words);
  tx_tensor *drawn;
  TX_TRY(tx_empty(dtype, t->dims, t->shape, &drawn));
  tx_status status = run(drawn, key, draw, parameters, words);
  if (status == TX_OK) status = tx_copy(t, drawn);
  tx_unref(drawn);
  return status;
}

tx_status tx_fill_bernoulli(tx_tensor *t, tx_key key, double p, double value) {
  if (!(p >= 0 && p <= 1)) return tx_fail(TX_EINVAL, "bernoulli: probability %g is not in 0..1", p);
  chance c = {(uint64_t)(p * 0x1p32), value};
  if (t->dtype == TX_F32) return run(t, key, bernoulli_f32, &c, 1);
  return run_as(TX_F64, t, key, bernoulli_f64, &c, 1);
}

tx_status tx_fill_integers(tx_tensor *t, tx_key key, int64_t low, int64_t high) {
  if (low > high) return tx_fail(TX_EINVAL, "randint: no integers from %lld to %lld", (long long)low, (long long)high);
  const int64_t exact =
      t->dtype == TX_F32 ? INT64_C(1) << 24 : INT64_C(1) << 53; /* up to here a float has every integer */
  if (tx_dtype_is_float(t->dtype) && (low < -exact || high > exact)) {
    return tx_fail(TX_EINVAL, "randint: %s does not have every integer from %lld to %lld", tx_dtype_name(t->dtype),
                   (long long)low, (long long)high);
  }
  TX_TRY(tx_holds(t->dtype, tx_integer(low)));
  TX_TRY(tx_holds(t->dtype, tx_integer(high)));
  integers p = {low, (uint64_t)high - (uint64_t)low + 1};
  return run_as(TX_I64, t, key, integers_i64, &p, 2);
}

tx_status tx_randperm(tx_key key, int64_t n, tx_tensor **out) {
  TX_TRY(tx_empty(TX_I64, 1, &n, out));
  for (int64_t i = 0; i < n; i++) tx_i64(*out)[i] = i + 1;
  tx_rng rng = tx_rng_make(key.seed, key.stream);
  tx_rng_shuffle(&rng, tx_i64(*out), n);
  return TX_OK;
}
