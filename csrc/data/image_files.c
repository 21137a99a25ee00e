/* image_files.c - sources of image files: tx_image_source of image.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/threads.h"
#include "data/image.h"
#include "data/images.h"

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
