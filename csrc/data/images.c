/* images.c - see images.h. Work is cut into blocks of as many images, whatever the number of threads. */
#include "data/images.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/file.h"
#include "base/integers.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/threads.h"
#include "data/limit.h"
#include "data/npy.h"

enum { GROUP = TX_IMAGES_BLOCK };

/* -- first failure of parallel work ------------------------------------------------------------------------------------ */

static pthread_mutex_t failure_lock = PTHREAD_MUTEX_INITIALIZER;

void tx_failure_init(tx_failure *failure) {
  atomic_init(&failure->index, INT64_MAX);
  failure->status = TX_OK;
}

void tx_failure_note(tx_failure *failure, int64_t index, tx_status status) {
  pthread_mutex_lock(&failure_lock);
  if (index < atomic_load(&failure->index)) {
    atomic_store(&failure->index, index);
    failure->status = status;
    memcpy(failure->message, tx_message(), sizeof failure->message);
  }
  pthread_mutex_unlock(&failure_lock);
}

bool tx_failure_before(tx_failure *failure, int64_t index) { return atomic_load(&failure->index) < index; }

tx_status tx_failure_status(tx_failure *failure) {
  return failure->status == TX_OK ? TX_OK : tx_fail(failure->status, "%s", failure->message);
}

/* -- gather ------------------------------------------------------------------------------------------------------------ */

/* Images [first, first + count) of the list, converted into `to`. */
typedef struct gather {
  tx_source *source;
  const int64_t *index;
  int64_t n;
  float *scratch; /* u8 results only: one image per thread */
  void *to;
  tx_dtype dtype; /* of `to`: f32 or u8 */
  tx_failure failure;
} gather;

/* The integers 0..255 that pixels were before they were multiplied by the scale. */
static void to_bytes(const float *pixels, float scale, int64_t count, uint8_t *to) {
  float inverse = 1.0f / scale;
  for (int64_t i = 0; i < count; i++) {
    float value = pixels[i] * inverse + 0.5f;
    to[i] = value >= 255.0f ? 255 : value > 0.0f ? (uint8_t)value : 0;
  }
}

static void gather_block(void *context, int64_t block, int worker) {
  gather *g = context;
  int64_t values = tx_source_pixels(g->source), last = tx_min((block + 1) * GROUP, g->n);
  for (int64_t i = block * GROUP; i < last && !tx_failure_before(&g->failure, i); i++) {
    float *pixels = g->dtype == TX_U8 ? g->scratch + worker * values : (float *)g->to + i * values;
    tx_status status = tx_source_read(g->source, g->index[i], pixels);
    if (status != TX_OK) {
      tx_failure_note(&g->failure, i, status);
    } else if (g->dtype == TX_U8) {
      to_bytes(pixels, g->source->scale, values, (uint8_t *)g->to + i * values);
    }
  }
}

static tx_status gather_into(tx_source *source, const int64_t *index, int64_t n, tx_dtype dtype, void *to) {
  gather g = {.source = source, .index = index, .n = n, .to = to, .dtype = dtype};
  tx_failure_init(&g.failure);
  if (dtype == TX_U8) {
    g.scratch = tx_alloc_array(tx_source_pixels(source), (size_t)tx_num_threads() * sizeof(float));
    if (g.scratch == NULL) return TX_ENOMEM;
  }
  tx_parallel(tx_ceil_div(n, GROUP), gather_block, &g);
  tx_dealloc(g.scratch);
  return tx_failure_status(&g.failure);
}

static tx_status gather_tensor(tx_source *source, const int64_t *index, int64_t n, tx_dtype dtype, tx_tensor **out) {
  int64_t shape[4] = {n, source->height, source->width, source->channels};
  TX_TRY(tx_empty(dtype, 4, shape, out));
  tx_status status = gather_into(source, index, n, dtype, tx_data(*out));
  if (status != TX_OK) tx_unref(*out);
  return status;
}

tx_status tx_images_read(tx_source *source, const int64_t *index, int64_t n, tx_tensor **out) {
  return gather_tensor(source, index, n, TX_F32, out);
}

/* Bytes of n images in memory, of pixels of `size` bytes; UINT64_MAX where that is too small to say it. */
static uint64_t cached_bytes(const tx_source *source, int64_t n, size_t size) {
  return tx_capped_product((uint64_t)tx_source_pixels(source) * size, (uint64_t)n);
}

tx_status tx_images_cache(tx_source *source, const int64_t *index, int64_t n, int64_t max_bytes, tx_source **out) {
  bool bytes = source->dtype == TX_U8;
  tx_tensor *images;
  if (max_bytes > 0 || source->most > 0) {
    const uint64_t most = max_bytes > 0 ? (uint64_t)max_bytes : source->most;
    tx_status fits = tx_check_most(cached_bytes(source, n, bytes ? 1 : sizeof(float)), most);
    if (fits != TX_OK) return tx_fail_by(fits, "cache");
  }
  TX_TRY(gather_tensor(source, index, n, bytes ? TX_U8 : TX_F32, &images));
  tx_status status = tx_source_from_tensor(images, 0, 0, bytes ? source->scale : 1.0, out);
  if (status == TX_OK) (*out)->guessed = source->guessed;
  tx_unref(images);
  return status;
}

tx_status tx_images_save_npy(tx_source *source, const int64_t *index, int64_t n, const char *path) {
  const size_t memory = (size_t)32 << 20;
  tx_dtype dtype = source->dtype == TX_U8 && source->scale == 1.0f / 255.0f ? TX_U8 : TX_F32;
  size_t size = (size_t)tx_source_pixels(source) * tx_dtype_size(dtype);
  int64_t at_once = tx_max((int64_t)(memory / size), 1);
  void *piece = tx_alloc(size * (size_t)at_once);
  if (piece == NULL) return TX_ENOMEM;
  tx_writer *writer = NULL;
  tx_status status = tx_writer_open("save_npy", path, &writer);
  if (status == TX_OK) {
    int64_t shape[4] = {n, source->height, source->width, source->channels};
    tx_npy_put_header(writer, dtype, 4, shape);
    for (int64_t i = 0; i < n && status == TX_OK && !tx_interrupted(); i += at_once) {
      int64_t count = tx_min(n - i, at_once);
      status = gather_into(source, index + i, count, dtype, piece);
      tx_writer_put(writer, piece, size * (size_t)count);
    }
    if (status == TX_OK && !tx_interrupted()) {
      status = tx_writer_commit(writer);
    } else {
      tx_writer_abandon(writer);
    }
  }
  tx_dealloc(piece);
  return status;
}

/* -- statistics -------------------------------------------------------------------------------------------------------- */

/* Joins two sets of values. Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm", 1979. */
static tx_moments join(tx_moments a, tx_moments b) {
  if (a.count == 0) return b;
  double count = a.count + b.count, difference = b.mean - a.mean;
  return (tx_moments){count, a.mean + difference * b.count / count,
                      a.deviations + b.deviations + difference * difference * a.count * b.count / count,
                      fmin(a.low, b.low), fmax(a.high, b.high)};
}

typedef struct measuring {
  tx_source *source;
  const int64_t *index;
  int64_t n;
  int64_t first;       /* block that is measured */
  float *scratch;      /* one image per thread */
  tx_moments *partial; /* [blocks][channels] */
  tx_failure failure;
} measuring;

static tx_moments measure_channel(const float *pixels, int64_t count, int64_t step) {
  tx_moments m = {.count = (double)count, .low = pixels[0], .high = pixels[0]};
  for (int64_t i = 0; i < count; i++) {
    double value = pixels[i * step];
    m.mean += value;
    m.low = value < m.low ? value : m.low;
    m.high = value > m.high ? value : m.high;
  }
  m.mean /= m.count;
  for (int64_t i = 0; i < count; i++) {
    double deviation = pixels[i * step] - m.mean;
    m.deviations += deviation * deviation;
  }
  return m;
}

/* A sum of f32 in f64 is finite unless one of them is not. */
static tx_status fail_not_finite(double mean, int64_t image, int64_t channel) {
  return tx_fail(TX_EWORLD, "statistics: image %" PRId64 ": a pixel of channel %" PRId64 " is %s", image + 1,
                 channel + 1, isnan(mean) ? "NaN" : "infinite");
}

static void measure_block(void *context, int64_t block, int worker) {
  measuring *m = context;
  int64_t values = tx_source_pixels(m->source), channels = m->source->channels;
  float *pixels = m->scratch + worker * values;
  const int64_t begin = (m->first + block) * GROUP, last = tx_min(begin + GROUP, m->n);
  for (int64_t i = begin; i < last && !tx_failure_before(&m->failure, i); i++) {
    tx_status status = tx_source_read(m->source, m->index[i], pixels);
    for (int64_t c = 0; c < channels && status == TX_OK; c++) {
      tx_moments *partial = &m->partial[block * channels + c],
                 here = measure_channel(pixels + c, values / channels, channels);
      if (!isfinite(here.mean)) status = fail_not_finite(here.mean, i, c);
      *partial = join(*partial, here);
    }
    if (status != TX_OK) tx_failure_note(&m->failure, i, status);
  }
}

tx_status tx_images_moments(tx_source *source, const int64_t *index, int64_t n, int64_t first, int64_t end,
                            tx_moments *out) {
  measuring m = {.source = source, .index = index, .n = n, .first = first, .partial = out};
  tx_failure_init(&m.failure);
  memset(out, 0, (size_t)((end - first) * source->channels) * sizeof *out);
  m.scratch = tx_alloc_array(tx_source_pixels(source), (size_t)tx_num_threads() * sizeof(float));
  if (m.scratch == NULL) return TX_ENOMEM;
  tx_parallel(end - first, measure_block, &m);
  tx_dealloc(m.scratch);
  return tx_failure_status(&m.failure);
}

void tx_images_join(const tx_moments *moments, int64_t blocks, int64_t channels, const tx_statistics *out) {
  for (int64_t c = 0; c < channels; c++) {
    tx_moments all = {0};
    for (int64_t b = 0; b < blocks; b++) all = join(all, moments[b * channels + c]);
    out->mean[c] = all.mean;
    out->std[c] = all.count > 0 ? sqrt(all.deviations / all.count) : 0;
    out->low[c] = all.low;
    out->high[c] = all.high;
  }
}

tx_status tx_images_statistics(tx_source *source, const int64_t *index, int64_t n, const tx_statistics *out) {
  const int64_t blocks = tx_ceil_div(n, GROUP), channels = source->channels;
  tx_moments *moments = tx_alloc_array(blocks * channels, sizeof *moments);
  if (moments == NULL) return TX_ENOMEM;
  tx_status status = tx_images_moments(source, index, n, 0, blocks, moments);
  if (status == TX_OK) tx_images_join(moments, blocks, channels, out);
  tx_dealloc(moments);
  return status;
}

/* -- several sources as one -------------------------------------------------------------------------------------------- */

typedef struct row_of_sources {
  int64_t count;
  tx_source *part[];
} row_of_sources;

static tx_status read_part(void *owner, int64_t index, float *pixels) {
  const row_of_sources *row = owner;
  int64_t p = 0;
  while (index >= row->part[p]->count) index -= row->part[p++]->count;
  return tx_source_read(row->part[p], index, pixels);
}

static void release_parts(void *owner) {
  row_of_sources *row = owner;
  for (int64_t p = 0; p < row->count; p++) tx_source_unref(row->part[p]);
  tx_dealloc(row);
}

tx_status tx_source_concat(tx_source *const *parts, int64_t count, tx_source **out) {
  const tx_source *first = parts[0];
  tx_source joined = {.height = first->height, .width = first->width, .channels = first->channels};
  joined.dtype = TX_U8;
  joined.scale = first->scale;
  bool packed = false;
  uint64_t most = 0;
  for (int64_t p = 0; p < count; p++) {
    const tx_source *part = parts[p];
    if (part->height != first->height || part->width != first->width || part->channels != first->channels) {
      return tx_fail(TX_EINVAL,
                     "concat: images are {%" PRId64 ",%" PRId64 ",%" PRId64 "} in set 1, {%" PRId64 ",%" PRId64
                     ",%" PRId64 "} in set %" PRId64,
                     first->height, first->width, first->channels, part->height, part->width, part->channels, p + 1);
    }
    if (part->guessed != 0 && joined.guessed != 0 && part->guessed != joined.guessed) {
      return tx_fail(
          TX_EINVAL,
          "concat: the integers of set %" PRId64
          " were divided by %.0f and those of a set before it by %.0f, as their largest values tell: open all with "
          "one `scale`",
          p + 1, 1 / (double)part->guessed, 1 / (double)joined.guessed);
    }
    if (part->guessed != 0) joined.guessed = part->guessed;
    joined.count += part->count;
    packed = packed || part->most > 0;
    most = tx_capped_sum(most, part->most > 0 ? part->most : cached_bytes(part, part->count, sizeof(float)));
    if (part->dtype != TX_U8 || part->scale != first->scale) joined.dtype = TX_F32;
  }
  if (joined.dtype == TX_F32) joined.scale = 1;
  joined.most = packed ? most : 0;
  row_of_sources *row = tx_alloc(sizeof *row + (size_t)count * sizeof *row->part);
  if (row == NULL) return TX_ENOMEM;
  row->count = count;
  for (int64_t p = 0; p < count; p++) row->part[p] = parts[p];
  joined.read = read_part;
  joined.release = release_parts;
  joined.owner = row;
  tx_status status = tx_source_new(&joined, out);
  if (status != TX_OK) {
    tx_dealloc(row);
    return status;
  }
  for (int64_t p = 0; p < count; p++) tx_source_ref(parts[p]);
  return TX_OK;
}
