/* image.c - decoding, converting and writing images; sources of image files. */
#include "data/image.h"

#include <inttypes.h>
#include <math.h>
#include <stb/stb_image.h>
#include <stb/stb_image_resize.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/threads.h"
#include "data/bitmap.h"
#include "data/images.h"
#include "data/jpeg.h"
#include "data/png.h"
#include "data/stb.h"

/* An image that takes more than 1 GiB, and 16 times as much as its file, is not read unless the user says so. */
enum { UNPACKED_MAX = 1 << 30, UNPACKED_RATIO = 16 };

/* -- PGM and PPM ------------------------------------------------------------------------------------------------------- */

/*     P5 <width> <height> <maximum><one white space><samples>        # a comment may stand before any number
 * P2, P3: gray, RGB as text; P5, P6: binary, two bytes, high one first, when the maximum is above 255. */
typedef struct pnm {
  const uint8_t *at, *end;
  bool text;
  int64_t height, width, channels, maximum;
} pnm;

static bool is_pnm(const uint8_t *bytes, size_t size) {
  return size > 2 && bytes[0] == 'P' && (bytes[1] == '2' || bytes[1] == '3' || bytes[1] == '5' || bytes[1] == '6');
}

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* The next number, 0..65535 x 65536; -1 when there is none. */
static int64_t pnm_number(pnm *p) {
  while (p->at < p->end && (is_space(*p->at) || *p->at == '#')) {
    if (*p->at == '#') {
      while (p->at < p->end && *p->at != '\n') p->at++;
    } else {
      p->at++;
    }
  }
  if (p->at == p->end || *p->at < '0' || *p->at > '9') return -1;
  int64_t value = 0;
  for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
    value = value * 10 + (*p->at - '0');
    if (value > UINT32_MAX) return -1;
  }
  return value;
}

static tx_status pnm_header(const uint8_t *bytes, size_t size, pnm *p) {
  *p = (pnm){.at = bytes + 2, .end = bytes + size, .text = bytes[1] < '5'};
  p->channels = bytes[1] == '3' || bytes[1] == '6' ? 3 : 1;
  p->width = pnm_number(p);
  p->height = pnm_number(p);
  p->maximum = pnm_number(p);
  if (p->width < 1 || p->height < 1 || p->maximum < 1 || p->maximum > 65535) {
    return tx_fail(TX_EWORLD, "the header of the PNM image is damaged");
  }
  if (p->at < p->end) p->at++; /* the one white space */
  return TX_OK;
}

static int64_t pnm_sample(pnm *p, int bytes) {
  if (p->text) return pnm_number(p);
  int64_t value = p->at[0];
  if (bytes == 2) value = value << 8 | p->at[1];
  p->at += bytes;
  return value;
}

static tx_status pnm_decode(pnm *p, tx_tensor **out) {
  int bytes = p->maximum > 255 ? 2 : 1;
  int64_t samples = p->height * p->width * p->channels;
  if ((int64_t)(p->end - p->at) < (p->text ? samples : samples * bytes)) return tx_fail(TX_EWORLD, "truncated");
  int64_t shape[3] = {p->height, p->width, p->channels};
  TX_TRY(tx_empty(bytes == 2 ? TX_F32 : TX_U8, 3, shape, out));
  for (int64_t i = 0; i < samples; i++) {
    int64_t value = pnm_sample(p, bytes);
    if (value < 0 || value > p->maximum) {
      tx_unref(*out);
      return tx_fail(TX_EWORLD, value < 0 ? "truncated" : "a sample is above the maximum");
    }
    if (bytes == 2) {
      tx_f32(*out)[i] = (float)value / (float)p->maximum;
    } else {
      tx_u8(*out)[i] = (uint8_t)((value * 255 + p->maximum / 2) / p->maximum);
    }
  }
  return TX_OK;
}

/* -- decoding ---------------------------------------------------------------------------------------------------------- */

/* The kind of image by its first bytes; NULL for TGA, which has no magic word. */
static const char *kind_of(const uint8_t *bytes, size_t size) {
  if (size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) return "JPEG";
  if (size >= 2 && memcmp(bytes, "BM", 2) == 0) return "BMP";
  return NULL;
}

static tx_status fail_stb(const uint8_t *bytes, size_t size, const char *reason) {
  const char *kind = kind_of(bytes, size);
  if (tx_stb_ran_out) return tx_fail(TX_ENOMEM, "not enough memory");
  if (kind == NULL) return tx_fail(TX_EWORLD, "not a PNG, JPEG, BMP, TGA, PGM or PPM image, or damaged");
  return tx_fail(TX_EWORLD, "the %s image is %s", kind, reason);
}

/* What stb_image reads in the header. */
static tx_status stb_info(const uint8_t *bytes, size_t size, tx_image_info *info) {
  enum { PIXELS_PER_BYTE = 512 }; /* of a JPEG: 8 x 8 pixels take a bit at least */
  int width, height, channels;
  if (bytes[0] == 0xFF) TX_TRY(tx_jpeg_check(bytes, size)); /* whatever stb_image may take for a JPEG */
  tx_stb_ran_out = false;
  if (!stbi_info_from_memory(bytes, (int)size, &width, &height, &channels)) {
    return fail_stb(bytes, size, "damaged in its header, or too large");
  }
  const char *kind = kind_of(bytes, size);
  if (kind == NULL && !tx_tga_is_whole(bytes, size)) return tx_fail(TX_EWORLD, "the TGA image is truncated");
  if (kind != NULL && kind[0] == 'B' && !tx_bmp_is_whole(bytes, size)) {
    return tx_fail(TX_EWORLD, "the BMP image is truncated");
  }
  if (kind != NULL && kind[0] == 'J' && (int64_t)width * height / PIXELS_PER_BYTE > (int64_t)size) {
    return tx_fail(TX_EWORLD, "the JPEG image declares %d x %d pixels, more than its data can hold", height, width);
  }
  *info = (tx_image_info){height, width, channels < 3 ? 1 : 3, 8};
  return TX_OK;
}

static tx_status stb_decode(const uint8_t *bytes, size_t size, int channels, tx_tensor **out) {
  int width, height, found;
  tx_stb_ran_out = false;
  stbi_uc *pixels = stbi_load_from_memory(bytes, (int)size, &width, &height, &found, channels);
  if (pixels == NULL) return fail_stb(bytes, size, "damaged or truncated");
  int64_t shape[3] = {height, width, channels};
  tx_status status = tx_empty(TX_U8, 3, shape, out);
  if (status == TX_OK) memcpy(tx_u8(*out), pixels, (size_t)tx_numel(*out));
  stbi_image_free(pixels);
  return status;
}

tx_status tx_image_read_info(const uint8_t *bytes, size_t size, const tx_image_options *options, tx_image_info *info) {
  int64_t most = options->max_pixels > 0 ? options->max_pixels : TX_MAX_PIXELS;
  if (size == 0) return tx_fail(TX_EWORLD, "the file is empty");
  if (size > INT32_MAX) return tx_fail(TX_EWORLD, "larger than 2 GiB");
  if (is_pnm(bytes, size)) {
    pnm p;
    TX_TRY(pnm_header(bytes, size, &p));
    *info = (tx_image_info){p.height, p.width, p.channels, p.maximum > 255 ? 16 : 8};
  } else if (tx_is_png(bytes, size)) {
    tx_png png;
    TX_TRY(tx_png_parse(bytes, size, &png));
    *info = (tx_image_info){png.height, png.width, png.channels < 3 ? 1 : 3, png.depth == 16 ? 16 : 8};
  } else {
    TX_TRY(stb_info(bytes, size, info));
  }
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

/* The pixels as the file has them; with_alpha: also that which JPEG, BMP and TGA may have. */
static tx_status decode(const uint8_t *bytes, size_t size, const tx_image_info *info, bool with_alpha,
                        tx_tensor **out) {
  if (is_pnm(bytes, size)) {
    pnm p;
    TX_TRY(pnm_header(bytes, size, &p));
    return pnm_decode(&p, out);
  }
  if (tx_is_png(bytes, size)) {
    tx_png png;
    TX_TRY(tx_png_parse(bytes, size, &png));
    return tx_png_decode(&png, out);
  }
  return stb_decode(bytes, size, (int)info->channels + with_alpha, out);
}

tx_status tx_image_decode(const uint8_t *bytes, size_t size, const tx_image_options *options, tx_tensor **out) {
  tx_image_info info;
  TX_TRY(tx_image_read_info(bytes, size, options, &info));
  int64_t channels = options->channels != 0 ? options->channels : info.channels;
  TX_TRY(decode(bytes, size, &info, has_alpha(channels), out));
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

/* -- sources ----------------------------------------------------------------------------------------------------------- */

/* What a source of image files keeps; the paths' text follows. */
typedef struct image_files {
  int64_t count, values; /* values: of an image */
  tx_image_options options;
  tx_image_info *info; /* while the source is being made */
  tx_failure failure;
  char **path;
  char **trouble; /* with skip_bad: the message of each that can't be read, else NULL */
} image_files;

static void release_files(void *owner) {
  image_files *files = owner;
  for (int64_t i = 0; i < files->count; i++) {
    if (files->path != NULL) free(files->path[i]);
    if (files->trouble != NULL) free(files->trouble[i]);
  }
  free(files->path);
  free(files->trouble);
  free(files->info);
  tx_dealloc(files);
}

static tx_status read_file(void *owner, int64_t index, float *pixels) {
  const image_files *files = owner;
  tx_tensor *image;
  if (files->trouble[index] != NULL) return tx_fail(TX_EWORLD, "%s", files->trouble[index]);
  TX_TRY(tx_load_image("data.folder", files->path[index], &files->options, &image));
  tx_status status = TX_OK;
  if (tx_numel(image) != files->values) {
    status = tx_fail(TX_EWORLD, "data.folder: %s: the file has changed: the image is %s now", files->path[index],
                     tx_shape_of(image));
  } else if (image->dtype == TX_U8) {
    for (int64_t i = 0; i < files->values; i++) pixels[i] = (float)tx_u8(image)[i] * (1.0f / 255.0f);
  } else {
    memcpy(pixels, tx_f32(image), (size_t)files->values * sizeof *pixels);
  }
  tx_unref(image);
  return status;
}

/* Reads the header of an image; with skip_bad also decodes it. */
static tx_status probe_image(const image_files *files, const uint8_t *bytes, size_t size, tx_image_info *info) {
  TX_TRY(tx_image_read_info(bytes, size, &files->options, info));
  if (!files->options.skip_bad) return TX_OK;
  tx_tensor *image;
  const tx_image_options as_it_is = {.max_pixels = files->options.max_pixels};
  TX_TRY(tx_image_decode(bytes, size, &as_it_is, &image));
  tx_unref(image);
  return TX_OK;
}

/* Keeps this thread's message as that of file i. */
static tx_status keep_trouble(image_files *files, int64_t i) {
  files->trouble[i] = malloc(strlen(tx_message()) + 1);
  if (files->trouble[i] == NULL) return tx_fail(TX_ENOMEM, "data.folder: not enough memory");
  strcpy(files->trouble[i], tx_message());
  return TX_OK;
}

static void probe_block(void *context, int64_t i, int worker) {
  (void)worker;
  image_files *files = context;
  tx_mapped_file file; /* of which the first bytes are needed */
  tx_status status = tx_file_map("data.folder", files->path[i], TX_FILE_READ, &file);
  if (status == TX_OK) {
    status = probe_image(files, file.data, file.bytes, &files->info[i]);
    tx_file_unmap(&file);
    if (status != TX_OK) tx_fail_at(status, "data.folder", files->path[i]);
  }
  if (status == TX_EWORLD && files->options.skip_bad) status = keep_trouble(files, i);
  if (status != TX_OK) tx_failure_note(&files->failure, i, status);
}

/* The first image that can be read. */
static tx_status find_sound(const image_files *files, int64_t *sound) {
  for (*sound = 0; *sound < files->count; ++*sound) {
    if (files->trouble[*sound] == NULL) return TX_OK;
  }
  return tx_fail(TX_EWORLD, "no picture can be read; the first: %s", files->trouble[0]);
}

/* Size, channels and type that all images will have. */
static tx_status agree(image_files *files, tx_source *source) {
  tx_image_options *o = &files->options;
  int64_t richest = 1, sound = 0;
  TX_TRY(find_sound(files, &sound));
  source->dtype = TX_U8;
  source->scale = 1.0f / 255.0f;
  for (int64_t i = 0; i < files->count; i++) {
    const tx_image_info *info = &files->info[i], *first = &files->info[sound];
    if (files->trouble[i] != NULL) continue;
    if (o->height == 0 && (info->height != first->height || info->width != first->width)) {
      return tx_fail(TX_EWORLD,
                     "data.folder: %s is %" PRId64 "x%" PRId64 ", %s is %" PRId64 "x%" PRId64
                     ": give size = {height, width} to resize them",
                     files->path[i], info->height, info->width, files->path[sound], first->height, first->width);
    }
    if (info->channels > richest) richest = info->channels;
    if (info->bits == 16) source->dtype = TX_F32;
  }
  if (o->channels == 0) o->channels = richest;
  source->channels = o->channels;
  source->height = o->height != 0 ? o->height : files->info[sound].height;
  source->width = o->height != 0 ? o->width : files->info[sound].width;
  files->values = source->height * source->width * source->channels;
  return TX_OK;
}

static tx_status copy_paths(image_files *files, const char *const *paths) {
  files->path = calloc((size_t)files->count, sizeof *files->path);
  files->info = calloc((size_t)files->count, sizeof *files->info);
  files->trouble = calloc((size_t)files->count, sizeof *files->trouble);
  if (files->path == NULL || files->info == NULL || files->trouble == NULL)
    return tx_fail(TX_ENOMEM, "data.folder: not enough memory");
  for (int64_t i = 0; i < files->count; i++) {
    size_t bytes = strlen(paths[i]) + 1;
    files->path[i] = malloc(bytes);
    if (files->path[i] == NULL) return tx_fail(TX_ENOMEM, "data.folder: not enough memory");
    memcpy(files->path[i], paths[i], bytes);
  }
  return TX_OK;
}

tx_status tx_image_source(const char *const *paths, int64_t count, const tx_image_options *options, tx_source **out) {
  if (count == 0) return tx_fail(TX_EWORLD, "data.folder: no images");
  image_files *files = tx_alloc_zero(sizeof *files);
  if (files == NULL) return TX_ENOMEM;
  files->count = count;
  files->options = *options;
  tx_failure_init(&files->failure);
  tx_source source = {.count = count, .read = read_file, .release = release_files, .owner = files};
  tx_status status = copy_paths(files, paths);
  if (status == TX_OK) {
    tx_parallel(count, probe_block, files);
    status = tx_failure_status(&files->failure);
  }
  if (status == TX_OK && !tx_interrupted()) status = agree(files, &source);
  free(files->info);
  files->info = NULL;
  if (status == TX_OK) status = tx_source_new(&source, out);
  if (status != TX_OK) release_files(files);
  return status;
}

const char *tx_image_source_trouble(const tx_source *source, int64_t index) {
  const image_files *files = source->owner;
  return files->trouble[index];
}
