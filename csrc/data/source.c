/* source.c - reading one image out of memory, a mapped file, or a decoder. */
#define _DEFAULT_SOURCE /* madvise */
#include "data/source.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/scale.h"

/* Pages of a mapping are given back after this many bytes of images were picked from it. */
enum { RESIDENT_LIMIT = 16 << 20 };

tx_status tx_source_new(const tx_source *description, tx_source **out) {
  const tx_source *d = description;
  if (d->count < 0 || d->height < 1 || d->width < 1 || d->channels < 1)
    return tx_fail(TX_EINVAL, "source: %" PRId64 " images of {%" PRId64 ",%" PRId64 ",%" PRId64 "}", d->count,
                   d->height, d->width, d->channels);
  int64_t shape[] = {d->count, d->height, d->width, d->channels}, numel;
  TX_TRY(tx_shape_numel("source", 4, shape, &numel));
  tx_source *source = tx_alloc(sizeof *source);
  if (source == NULL) return TX_ENOMEM;
  *source = *d;
  atomic_init(&source->refs, 1);
  atomic_init(&source->resident, 0);
  *out = source;
  return TX_OK;
}

static void release_tensor(void *owner) { tx_unref(owner); }

/* The factor for the pixels of a tensor, and whether its values told it; kind and bytes as in tx_source_from_tensor. Integers
 * whose values decide are i64. */
static tx_status find_scale(const tx_tensor *images, char kind, int bytes, double *scale, bool *guessed) {
  if (kind == 0) {
    kind = images->dtype == TX_U8 ? 'u' : images->dtype == TX_I64 ? 'i' : 'f';
    bytes = (int)tx_dtype_size(images->dtype);
  }
  if (tx_scale_of_type(kind, bytes, scale)) return TX_OK;
  *guessed = true;
  if (images->dtype != TX_I64) {
    return tx_fail(TX_EINVAL, "source: a tensor %s does not hold pixels stored as %c%d", tx_dtype_name(images->dtype),
                   kind, bytes);
  }
  tx_tensor *alias, *dense;
  TX_TRY(tx_alias(images, &alias));
  tx_status status = tx_contiguous(alias, &dense);
  tx_unref(alias);
  if (status != TX_OK) return status;
  int64_t low = 0, high = 0;
  tx_widen_range(tx_i64(dense), tx_numel(dense), &low, &high);
  tx_unref(dense);
  return tx_scale_of_range(low, high, scale);
}

tx_status tx_image_sizes(tx_status code, int dims, const int64_t *shape, int64_t sizes[4]) {
  char text[TX_SHAPE_TEXT];
  tx_shape_text(dims, shape, text);
  if (dims != 3 && dims != 4) return tx_fail(code, "images {N,H,W} or {N,H,W,C} wanted, got %s", text);
  for (int d = 0; d < 4; d++) sizes[d] = d < dims ? shape[d] : 1;
  if (sizes[1] < 1 || sizes[2] < 1 || sizes[3] < 1) return tx_fail(code, "images of no pixels: %s", text);
  if (sizes[3] > 4 && sizes[1] <= 4) {
    return tx_fail(
        code,
        "images {N,H,W,C} wanted, %s has the channels first: transpose them, with x.transpose(0, 2, 3, 1) in "
        "NumPy or images:permute(1, 3, 4, 2) here",
        text);
  }
  return TX_OK;
}

tx_status tx_source_from_tensor(const tx_tensor *images, char kind, int bytes, double scale, tx_source **out) {
  tx_status code = kind == 0 ? TX_EINVAL : TX_EWORLD; /* the tensor is the caller's, or what a file holds */
  int64_t sizes[4];
  tx_status fits = tx_image_sizes(code, images->dims, images->shape, sizes);
  if (fits != TX_OK) return kind == 0 ? tx_fail_in(fits, "source") : fits;
  bool guessed = false;
  if (scale == 0) TX_TRY(find_scale(images, kind, bytes, &scale, &guessed));
  tx_tensor *kept;
  TX_TRY(tx_alias(images, &kept));
  int64_t size = (int64_t)tx_dtype_size(images->dtype);
  tx_source description = {
      .count = sizes[0],
      .height = sizes[1],
      .width = sizes[2],
      .channels = sizes[3],
      .dtype = images->dtype,
      .scale = (float)scale,
      .guessed = guessed ? (float)scale : 0,
      .base = tx_data(images),
      .storage = images->storage,
      .release = release_tensor,
      .owner = kept,
  };
  for (int d = 0; d < images->dims; d++) description.stride[d] = images->strides[d] * size;
  tx_status status = tx_source_new(&description, out);
  if (status != TX_OK) tx_unref(kept);
  return status;
}

tx_source *tx_source_ref(tx_source *source) {
  atomic_fetch_add(&source->refs, 1);
  return source;
}

void tx_source_unref(tx_source *source) {
  if (source == NULL || atomic_fetch_sub(&source->refs, 1) != 1) return;
  if (source->release != NULL) source->release(source->owner);
  tx_dealloc(source);
}

/* Gives pages of a mapped file back once enough has been read through them. Another thread that reads at that moment
 * only faults its page in again. */
static void account_mapped(tx_source *source, size_t bytes) {
  if (atomic_fetch_add(&source->resident, bytes) + bytes < RESIDENT_LIMIT) return;
  atomic_store(&source->resident, 0);
  madvise(source->file->data, source->file->bytes, MADV_DONTNEED);
}

/* One row of `width` pixels of C channels; the compiler turns the dense case into vector code. */
#define READ_ROW(type)                                                                                \
  static void read_row_##type(const char *from, const tx_source *s, float *to) {                      \
    const float scale = s->scale;                                                                     \
    const int64_t values = s->width * s->channels, dense = s->channels * (int64_t)sizeof(type);       \
    if ((s->channels == 1 || s->stride[3] == (int64_t)sizeof(type)) && s->stride[2] == dense) {       \
      for (int64_t i = 0; i < values; i++) {                                                          \
        type value;                                                                                   \
        memcpy(&value, from + i * (int64_t)sizeof(type), sizeof value); /* a file may be unaligned */ \
        to[i] = (float)value * scale;                                                                 \
      }                                                                                               \
      return;                                                                                         \
    }                                                                                                 \
    for (int64_t x = 0; x < s->width; x++)                                                            \
      for (int64_t c = 0; c < s->channels; c++) {                                                     \
        type value;                                                                                   \
        memcpy(&value, from + x * s->stride[2] + c * s->stride[3], sizeof value);                     \
        *to++ = (float)value * scale;                                                                 \
      }                                                                                               \
  }

READ_ROW(uint8_t)
READ_ROW(int64_t)
READ_ROW(float)
READ_ROW(double)

typedef void read_row_fn(const char *from, const tx_source *source, float *to);

static read_row_fn *const read_row[TX_DTYPE_COUNT] = {
    [TX_U8] = read_row_uint8_t, [TX_I64] = read_row_int64_t, [TX_F32] = read_row_float, [TX_F64] = read_row_double};

/* Refuses a pixel that is a finite number in the source, but none in f32. */
static tx_status check_row(const char *from, const tx_source *s, const float *pixels) {
  for (int64_t i = 0; i < s->width * s->channels; i++) {
    if (!isinf(pixels[i])) continue;
    double value;
    memcpy(&value, from + i / s->channels * s->stride[2] + i % s->channels * s->stride[3], sizeof value);
    if (isfinite(value)) return tx_fail(TX_EWORLD, "a pixel is %g, which is beyond f32", value);
  }
  return TX_OK;
}

/* Picks an image from memory that starts at `image`. */
static tx_status read_rows(const tx_source *source, const char *image, float *pixels) {
  for (int64_t y = 0; y < source->height; y++) {
    const char *from = image + y * source->stride[1];
    float *row = pixels + y * source->width * source->channels;
    read_row[source->dtype](from, source, row);
    if (source->dtype == TX_F64) TX_TRY(check_row(from, source, row));
  }
  return TX_OK;
}

/* Whether an image is one run of bytes, in order. */
static bool is_dense(const tx_source *source) {
  int64_t size = (int64_t)tx_dtype_size(source->dtype);
  return source->stride[3] == size && source->stride[2] == size * source->channels &&
         source->stride[1] == size * source->channels * source->width;
}

/* Reads a dense image from the mapped file: floats straight to where they are wanted, others through a buffer. */
static tx_status read_from_file(const tx_source *source, int64_t offset, float *pixels) {
  const tx_mapped_file *file = source->file;
  char small[1 << 14];
  size_t bytes = (size_t)tx_source_pixels(source) * tx_dtype_size(source->dtype);
  if (source->dtype == TX_F32 && source->scale == 1.0f) {
    return tx_file_read_at(file->descriptor, offset, pixels, bytes);
  }
  char *raw = bytes <= sizeof small ? small : tx_alloc(bytes);
  if (raw == NULL) return TX_ENOMEM;
  tx_status status = tx_file_read_at(file->descriptor, offset, raw, bytes);
  if (status == TX_OK) status = read_rows(source, raw, pixels);
  if (raw != small) tx_dealloc(raw);
  return status;
}

tx_status tx_source_read(tx_source *source, int64_t index, float *pixels) {
  if (index < 0 || index >= source->count)
    return tx_fail(TX_EINVAL, "source: image %" PRId64 " of %" PRId64, index + 1, source->count);
  if (source->base == NULL) return source->read(source->owner, index, pixels);
  const char *image = (const char *)source->base + index * source->stride[0];
  if (source->file == NULL) {
    const tx_storage *storage = source->storage; /* see tx_readable */
    if (storage != NULL && storage->check != NULL) TX_TRY(storage->check(storage->owner));
    tx_status status = read_rows(source, image, pixels);
    return status == TX_OK ? TX_OK : tx_fail_by(status, "data");
  }
  if (is_dense(source)) {
    tx_status status = read_from_file(source, image - (const char *)source->file->data, pixels);
    return status == TX_OK ? TX_OK : tx_fail_at(status, "data.npy", source->file->path);
  }
  tx_status status = tx_file_check(source->file);
  if (status == TX_OK) status = read_rows(source, image, pixels);
  if (status != TX_OK) return tx_fail_at(status, "data.npy", source->file->path);
  account_mapped(source, (size_t)tx_source_pixels(source) * tx_dtype_size(source->dtype));
  return TX_OK;
}
