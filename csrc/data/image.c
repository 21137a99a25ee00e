/* image.c - decoding by the codec of a file, converting and writing images. */
#include "data/image.h"

#include <inttypes.h>
#include <math.h>
#include <stb/stb_image_resize.h>
#include <string.h>

#include "base/file.h"
#include "data/codec.h"
#include "data/png.h"

/* An image that takes more than 1 GiB, and 16 times as much as its file, is not read unless the user says so. */
enum { UNPACKED_MAX = 1 << 30, UNPACKED_RATIO = 16 };

/* -- decoding ---------------------------------------------------------------------------------------------------------- */

static const tx_codec *const codecs[] = {
#define TX_CODEC_ROW(name) &tx_codec_##name,
    TX_CODECS(TX_CODEC_ROW)
#undef TX_CODEC_ROW
};

/* The last one takes what none of the others knows. */
static const tx_codec *codec_of(const uint8_t *bytes, size_t size) {
  size_t i = 0, last = sizeof codecs / sizeof *codecs - 1;
  while (i < last && !codecs[i]->is(bytes, size)) i++;
  return codecs[i];
}

tx_status tx_image_read_info(const uint8_t *bytes, size_t size, const tx_image_options *options, tx_image_info *info) {
  int64_t most = options->max_pixels > 0 ? options->max_pixels : TX_MAX_PIXELS;
  if (size == 0) return tx_fail(TX_EWORLD, "the file is empty");
  if (size > INT32_MAX) return tx_fail(TX_EWORLD, "larger than 2 GiB");
  TX_TRY(codec_of(bytes, size)->read_info(bytes, size, info));
  if (info->width < 1 || info->height < 1) return tx_fail(TX_EWORLD, "an image of no pixels");
  if (info->width > most / info->height) {
    return tx_fail(TX_EWORLD,
                   "an image of %" PRId64 " x %" PRId64 " pixels: at most %" PRId64 " are read; max_pixels raises that",
                   info->height, info->width, most);
  }
  size_t unpacked = (size_t)(info->height * info->width * info->channels) * (info->bits == 16 ? sizeof(float) : 1);
  if (options->max_pixels == 0 && unpacked > UNPACKED_MAX && unpacked / UNPACKED_RATIO > size) {
    return tx_fail(TX_EWORLD,
                   "an image of %" PRId64 " x %" PRId64 " pixels in %zu bytes: max_pixels says that it is meant so",
                   info->height, info->width, size);
  }
  return TX_OK;
}

/* -- converting -------------------------------------------------------------------------------------------------------- */

static bool has_alpha(int64_t channels) { return channels == 2 || channels == 4; }

static uint8_t gray_u8(const uint8_t *rgb) {
  return (uint8_t)((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
}
static float gray_f32(const float *rgb) { return 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2]; }

/* Pixels of c channels into pixels of k: gray to all colours, colours to gray, without alpha to opaque. */
#define CONVERT_PIXELS(name, type, gray, opaque)                                                      \
  static void name(const type *from, int64_t c, type *to, int64_t k, int64_t pixels) {                \
    for (int64_t i = 0; i < pixels; i++, from += c, to += k) {                                        \
      if (k < 3) to[0] = c < 3 ? from[0] : gray(from);                                                \
      for (int64_t colour = 0; colour < 3 && k >= 3; colour++) to[colour] = from[c < 3 ? 0 : colour]; \
      if (has_alpha(k)) to[k - 1] = has_alpha(c) ? from[c - 1] : (opaque);                            \
    }                                                                                                 \
  }

CONVERT_PIXELS(convert_u8, uint8_t, gray_u8, 255)
CONVERT_PIXELS(convert_f32, float, gray_f32, 1.0f)

/* Replaces *image by one with the wanted channels. */
static tx_status set_channels(tx_tensor **image, int64_t channels) {
  tx_tensor *from = *image, *to;
  int64_t shape[3] = {from->shape[0], from->shape[1], channels}, pixels = shape[0] * shape[1], had = from->shape[2];
  if (had == channels) return TX_OK;
  TX_TRY(tx_empty(from->dtype, 3, shape, &to));
  if (from->dtype == TX_U8) {
    convert_u8(tx_u8(from), had, tx_u8(to), channels, pixels);
  } else {
    convert_f32(tx_f32(from), had, tx_f32(to), channels, pixels);
  }
  tx_unref(from);
  *image = to;
  return TX_OK;
}

/* Replaces *image by one of the wanted size. */
static tx_status set_size(tx_tensor **image, int64_t height, int64_t width) {
  tx_tensor *from = *image, *to;
  if (height == 0 || (from->shape[0] == height && from->shape[1] == width)) return TX_OK;
  int64_t shape[3] = {height, width, from->shape[2]};
  TX_TRY(tx_empty(from->dtype, 3, shape, &to));
  int h = (int)from->shape[0], w = (int)from->shape[1], c = (int)from->shape[2], done;
  if (from->dtype == TX_U8) {
    done = stbir_resize_uint8(tx_u8(from), w, h, 0, tx_u8(to), (int)width, (int)height, 0, c);
  } else {
    done = stbir_resize_float(tx_f32(from), w, h, 0, tx_f32(to), (int)width, (int)height, 0, c);
  }
  if (!done) {
    tx_unref(to);
    return tx_fail(TX_ENOMEM, "not enough memory to resize an image");
  }
  tx_unref(from);
  *image = to;
  return TX_OK;
}

tx_status tx_image_decode(const uint8_t *bytes, size_t size, const tx_image_options *options, tx_tensor **out) {
  tx_image_info info;
  TX_TRY(tx_image_read_info(bytes, size, options, &info));
  int64_t channels = options->channels != 0 ? options->channels : info.channels;
  TX_TRY(codec_of(bytes, size)->decode(bytes, size, has_alpha(channels), out));
  tx_status status = set_channels(out, channels);
  if (status == TX_OK) status = set_size(out, options->height, options->width);
  if (status != TX_OK) tx_unref(*out);
  return status;
}

/* -- files ------------------------------------------------------------------------------------------------------------- */

tx_status tx_load_image(const char *operation, const char *path, const tx_image_options *options, tx_tensor **out) {
  tx_file file;
  TX_TRY(tx_file_read(operation, path, &file));
  tx_status status = tx_image_decode(file.data, file.bytes, options, out);
  tx_file_release(&file);
  return status == TX_OK ? TX_OK : tx_fail_at(status, operation, path);
}

static uint8_t to_byte(double value) { return value >= 1 ? 255 : value > 0 ? (uint8_t)(value * 255 + 0.5) : 0; }

/* A contiguous u8 copy; floats are clamped to 0..1 and scaled. */
static tx_status to_bytes(const tx_tensor *image, tx_tensor **out) {
  tx_tensor *alias, *dense;
  TX_TRY(tx_alias(image, &alias));
  tx_status status = tx_contiguous(alias, &dense);
  tx_unref(alias);
  if (status != TX_OK) return status;
  if (dense->dtype == TX_U8) {
    *out = dense;
    return TX_OK;
  }
  status = tx_empty(TX_U8, dense->dims, dense->shape, out);
  int64_t n = status == TX_OK ? tx_numel(dense) : 0;
  for (int64_t i = 0; i < n && status == TX_OK; i++) {
    double value = dense->dtype == TX_F32 ? (double)tx_f32(dense)[i] : tx_f64(dense)[i];
    if (isnan(value)) status = tx_fail(TX_EINVAL, "write_png: a value is NaN");
    tx_u8(*out)[i] = to_byte(value);
  }
  if (n > 0 && status != TX_OK) tx_unref(*out);
  tx_unref(dense);
  return status;
}

tx_status tx_write_png(const char *path, const tx_tensor *image) {
  int64_t channels = image->dims == 3 ? image->shape[2] : 1;
  bool fits = (image->dims == 2 || image->dims == 3) && channels >= 1 && channels <= 4 && image->shape[0] > 0 &&
              image->shape[1] > 0 && image->shape[0] <= INT32_MAX && image->shape[1] <= INT32_MAX / 8;
  if (!fits || image->dtype == TX_I64) {
    return tx_fail(TX_EINVAL, "write_png: an image u8 or float {H,W} or {H,W,C} with 1 to 4 channels wanted, got %s %s",
                   tx_dtype_name(image->dtype), tx_shape_of(image));
  }
  tx_tensor *bytes;
  TX_TRY(to_bytes(image, &bytes));
  tx_writer *writer;
  tx_status status = tx_writer_open("write_png", path, &writer);
  if (status == TX_OK) {
    status = tx_png_write(writer, tx_u8(bytes), image->shape[0], image->shape[1], channels);
    if (status == TX_OK) {
      status = tx_writer_commit(writer);
    } else {
      tx_writer_abandon(writer);
    }
  }
  tx_unref(bytes);
  return status;
}
