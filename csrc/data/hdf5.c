/* hdf5.c - see hdf5.h. */
#include "data/hdf5.h"

#ifndef TX_HAVE_HDF5

static tx_status fail_absent(const char *path) {
  return tx_fail(
      TX_EWORLD,
      "hdf5: %s: this texres was built without HDF5; install its development files (libhdf5-dev) and run make", path);
}

bool tx_hdf5_available(void) { return false; }

tx_status tx_hdf5_list_datasets(const char *path, tx_hdf5_list *list) {
  *list = (tx_hdf5_list){NULL, 0};
  return fail_absent(path);
}

void tx_hdf5_list_free(tx_hdf5_list *list) { (void)list; }

tx_status tx_hdf5_load(const char *path, const char *dataset, tx_tensor **out) {
  (void)dataset;
  (void)out;
  return fail_absent(path);
}

tx_status tx_hdf5_source(const char *path, const char *dataset, double scale, tx_source **out) {
  (void)dataset;
  (void)scale;
  (void)out;
  return fail_absent(path);
}

#else

#include <hdf5.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/threads.h"
#include "data/scale.h"

/* Unpacked chunks that are kept while single images are read in any order; the slots are a prime about 100 times as many
 * as chunks of 1 MiB fit. */
enum { CHUNK_CACHE = 128 << 20, CHUNK_SLOTS = 12421 };
enum { DEPTH_MAX = 16, DATASETS_MAX = 100000, PATH_MAX_LENGTH = 4096 };

bool tx_hdf5_available(void) { return true; }

/* -- the library's lock and its messages ------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static H5E_auto2_t messages;
static void *messages_data;

/* Between these two the library belongs to this thread and prints nothing. */
static void enter(void) {
  pthread_mutex_lock(&lock);
  H5Eget_auto2(H5E_DEFAULT, &messages, &messages_data);
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

static void leave(void) {
  H5Eset_auto2(H5E_DEFAULT, messages, messages_data);
  pthread_mutex_unlock(&lock);
}

static tx_status open_file(const char *path, hid_t *file) {
  int probe; /* says better than the library why a file can't be opened */
  int64_t bytes;
  TX_TRY(tx_file_open("hdf5", path, &probe, &bytes));
  tx_file_close(probe);
  *file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  return *file >= 0 ? TX_OK : tx_fail(TX_EWORLD, "hdf5: %s: not an HDF5 file, or damaged", path);
}

/* -- describing a dataset ---------------------------------------------------------------------------------------------- */

static bool describe_type(hid_t dataset, tx_hdf5_dataset *d) {
  hid_t type = H5Dget_type(dataset);
  if (type < 0) return false;
  H5T_class_t class = H5Tget_class(type);
  size_t size = H5Tget_size(type);
  bool is_float = class == H5T_FLOAT;
  d->kind = is_float ? 'f' : H5Tget_sign(type) == H5T_SGN_NONE ? 'u' : 'i';
  d->bytes = size > 8 ? 8 : (int)size;
  if (is_float) {
    d->dtype = size > 4 ? TX_F64 : TX_F32;
  } else {
    d->dtype = size == 1 && d->kind == 'u' ? TX_U8 : TX_I64;
  }
  H5Tclose(type);
  return class == H5T_FLOAT || class == H5T_INTEGER;
}

static bool describe_shape(hid_t dataset, tx_hdf5_dataset *d) {
  hid_t space = H5Dget_space(dataset);
  if (space < 0) return false;
  hsize_t shape[H5S_MAX_RANK];
  int dims = H5Sget_simple_extent_ndims(space);
  bool ok = dims >= 0 && dims <= TX_MAX_DIMS && H5Sget_simple_extent_dims(space, shape, NULL) == dims &&
            H5Sget_simple_extent_type(space) != H5S_NULL;
  for (int i = 0; ok && i < dims; i++) {
    ok = shape[i] <= INT64_MAX;
    d->shape[i] = (int64_t)shape[i];
  }
  d->dims = dims;
  H5Sclose(space);
  return ok;
}

static bool describe(hid_t dataset, tx_hdf5_dataset *d) {
  return describe_type(dataset, d) && describe_shape(dataset, d);
}

static hid_t memory_type(tx_dtype dtype) {
  switch (dtype) {
    case TX_U8:
      return H5T_NATIVE_UINT8;
    case TX_I64:
      return H5T_NATIVE_INT64;
    case TX_F32:
      return H5T_NATIVE_FLOAT;
    default:
      return H5T_NATIVE_DOUBLE;
  }
}

/* -- listing ----------------------------------------------------------------------------------------------------------- */

static tx_status add_dataset(tx_hdf5_list *list, hid_t object, const char *path) {
  tx_hdf5_dataset found = {0};
  if (!describe(object, &found)) return TX_OK; /* text, records, too many dimensions: not ours */
  if (list->count == DATASETS_MAX) return tx_fail(TX_EWORLD, "more than %d datasets", DATASETS_MAX);
  if ((list->count & (list->count - 1)) == 0) { /* full at every power of two */
    size_t room = list->count == 0 ? 1 : (size_t)list->count * 2;
    tx_hdf5_dataset *grown = realloc(list->dataset, room * sizeof *grown);
    if (grown == NULL) return tx_fail(TX_ENOMEM, "not enough memory");
    list->dataset = grown;
  }
  found.path = malloc(strlen(path) + 1);
  if (found.path == NULL) return tx_fail(TX_ENOMEM, "not enough memory");
  strcpy(found.path, path);
  list->dataset[list->count++] = found;
  return TX_OK;
}

/* Appends the name of a group's member to the path, which has `length` bytes; false when it becomes too long. */
static bool append_name(hid_t group, hsize_t member, char *path, size_t length) {
  ssize_t size = H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, member, NULL, 0, H5P_DEFAULT);
  if (size <= 0 || length + (size_t)size + 2 > PATH_MAX_LENGTH) return false;
  path[length] = '/';
  return H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, member, path + length + 1, (size_t)size + 1,
                            H5P_DEFAULT) == size;
}

static tx_status walk(hid_t group, char *path, int depth, tx_hdf5_list *list) {
  H5G_info_t info;
  if (depth > DEPTH_MAX) return tx_fail(TX_EWORLD, "groups are nested more than %d deep", DEPTH_MAX);
  if (H5Gget_info(group, &info) < 0) return tx_fail(TX_EWORLD, "group %s is damaged", path);
  size_t length = strlen(path);
  tx_status status = TX_OK;
  for (hsize_t i = 0; i < info.nlinks && status == TX_OK; i++) {
    if (!append_name(group, i, path, length)) return tx_fail(TX_EWORLD, "group %.*s is damaged", (int)length, path);
    hid_t object = H5Oopen(group, path + length + 1, H5P_DEFAULT);
    if (object >= 0) { /* else a link to nowhere */
      H5I_type_t type = H5Iget_type(object);
      if (type == H5I_DATASET) status = add_dataset(list, object, path);
      if (type == H5I_GROUP) status = walk(object, path, depth + 1, list);
      H5Oclose(object);
    }
  }
  path[length] = '\0';
  return status;
}

tx_status tx_hdf5_list_datasets(const char *path, tx_hdf5_list *list) {
  char *name = calloc(1, PATH_MAX_LENGTH);
  *list = (tx_hdf5_list){NULL, 0};
  if (name == NULL) return tx_fail(TX_ENOMEM, "hdf5: not enough memory");
  enter();
  hid_t file;
  tx_status status = open_file(path, &file);
  if (status == TX_OK) {
    status = walk(file, name, 0, list);
    H5Fclose(file);
    if (status != TX_OK) tx_fail_at(status, "hdf5", path);
  }
  leave();
  free(name);
  if (status != TX_OK) tx_hdf5_list_free(list);
  return status;
}

void tx_hdf5_list_free(tx_hdf5_list *list) {
  for (int64_t i = 0; i < list->count; i++) free(list->dataset[i].path);
  free(list->dataset);
  *list = (tx_hdf5_list){NULL, 0};
}

/* -- reading ----------------------------------------------------------------------------------------------------------- */

/* Opens a dataset of numbers; messages without the path of the file. */
static tx_status open_dataset(hid_t file, const char *name, hid_t *dataset, tx_hdf5_dataset *d) {
  hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
  H5Pset_chunk_cache(access, CHUNK_SLOTS, CHUNK_CACHE, 0.75);
  *dataset = H5Dopen2(file, name, access);
  H5Pclose(access);
  if (*dataset < 0) return tx_fail(TX_EWORLD, "there is no dataset '%s'", name);
  if (describe(*dataset, d)) return TX_OK;
  H5Dclose(*dataset);
  return tx_fail(TX_EWORLD, "dataset '%s' does not hold numbers in at most %d dimensions", name, TX_MAX_DIMS);
}

static tx_status load_dataset(hid_t file, const char *name, tx_tensor **out) {
  hid_t dataset;
  tx_hdf5_dataset d = {0};
  TX_TRY(open_dataset(file, name, &dataset, &d));
  tx_status status = TX_OK;
  if (tx_empty(d.dtype, d.dims, d.shape, out) != TX_OK) {
    char shape[TX_SHAPE_TEXT];
    status = tx_fail(TX_EWORLD, "dataset '%s' %s is larger than memory", name, tx_shape_text(d.dims, d.shape, shape));
  } else if (H5Dread(dataset, memory_type(d.dtype), H5S_ALL, H5S_ALL, H5P_DEFAULT, tx_data(*out)) < 0) {
    tx_unref(*out);
    status = tx_fail(TX_EWORLD, "dataset '%s' can't be read: damaged, or packed with an unknown filter", name);
  }
  H5Dclose(dataset);
  return status;
}

tx_status tx_hdf5_load(const char *path, const char *dataset, tx_tensor **out) {
  enter();
  hid_t file;
  tx_status status = open_file(path, &file);
  if (status == TX_OK) {
    status = load_dataset(file, dataset, out);
    H5Fclose(file);
    if (status != TX_OK) tx_fail_at(status, "hdf5", path);
  }
  leave();
  return status;
}

/* -- images one by one ------------------------------------------------------------------------------------------------- */

typedef struct hdf5_images {
  hid_t file, dataset;
  tx_hdf5_dataset d;
  int64_t values;
  float scale;
  const char *name; /* of the dataset, behind the path */
  char path[];
} hdf5_images;

static void release_images(void *owner) {
  hdf5_images *images = owner;
  enter();
  H5Dclose(images->dataset);
  H5Fclose(images->file);
  leave();
  tx_dealloc(images);
}

/* Reads `count` images from image `first` on as what `type` says; called with the lock held. */
static bool read_images(const hdf5_images *images, int64_t first, int64_t count, hid_t type, void *to) {
  const tx_hdf5_dataset *d = &images->d;
  hsize_t start[TX_MAX_DIMS] = {0}, sizes[TX_MAX_DIMS];
  for (int i = 0; i < d->dims; i++) sizes[i] = (hsize_t)d->shape[i];
  if (d->dims > 2) { /* else one image alone */
    start[0] = (hsize_t)first;
    sizes[0] = (hsize_t)count;
  }
  hid_t space = H5Dget_space(images->dataset), memory = H5Screate_simple(d->dims, sizes, NULL);
  bool ok = space >= 0 && memory >= 0 && H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, sizes, NULL) >= 0 &&
            H5Dread(images->dataset, type, memory, space, H5P_DEFAULT, to) >= 0;
  if (space >= 0) H5Sclose(space);
  if (memory >= 0) H5Sclose(memory);
  return ok;
}

static tx_status fail_to_read(const hdf5_images *images) {
  return tx_fail(TX_EWORLD, "an image of dataset '%s' can't be read: damaged, or packed with an unknown filter",
                 images->name);
}

static tx_status read_image(void *owner, int64_t index, float *pixels) {
  const hdf5_images *images = owner;
  bool bytes = images->d.dtype == TX_U8; /* the library's conversion takes 20 times as long as ours */
  uint8_t *last_quarter = (uint8_t *)pixels + 3 * images->values;
  enter();
  bool ok = bytes ? read_images(images, index, 1, H5T_NATIVE_UINT8, last_quarter)
                  : read_images(images, index, 1, H5T_NATIVE_FLOAT, pixels);
  leave();
  if (!ok) return tx_fail_at(fail_to_read(images), "hdf5", images->path);
  for (int64_t i = 0; i < images->values; i++) pixels[i] = (bytes ? last_quarter[i] : pixels[i]) * images->scale;
  return TX_OK;
}

/* The factor for integers whose type doesn't tell it: all are read once. */
static tx_status search_scale(const hdf5_images *images, int64_t count, double *scale) {
  int64_t low = 0, high = 0;
  int64_t *some = tx_alloc((size_t)images->values * sizeof *some);
  tx_status status = some == NULL ? TX_ENOMEM : TX_OK;
  for (int64_t n = 0; n < count && status == TX_OK && !tx_interrupted(); n++) {
    if (!read_images(images, n, 1, H5T_NATIVE_INT64, some)) status = fail_to_read(images);
    for (int64_t i = 0; i < images->values && status == TX_OK; i++) {
      low = some[i] < low ? some[i] : low;
      high = some[i] > high ? some[i] : high;
    }
  }
  tx_dealloc(some);
  return status == TX_OK ? tx_scale_of_range(low, high, scale) : status;
}

/* The sizes {N,H,W,C} of a dataset of images. */
static tx_status image_sizes(const tx_hdf5_dataset *d, const char *name, int64_t sizes[4]) {
  int64_t numel;
  char shape[TX_SHAPE_TEXT];
  if (d->dims < 2 || d->dims > 4) {
    return tx_fail(TX_EWORLD, "images {N,H,W} or {N,H,W,C} wanted, dataset '%s' is %s", name,
                   tx_shape_text(d->dims, d->shape, shape));
  }
  const int64_t *size = d->shape;
  sizes[0] = d->dims > 2 ? *size++ : 1;
  sizes[1] = size[0];
  sizes[2] = size[1];
  sizes[3] = d->dims == 4 ? size[2] : 1;
  if (sizes[1] < 1 || sizes[2] < 1 || sizes[3] < 1) return tx_fail(TX_EWORLD, "images of no pixels");
  if (tx_shape_numel("shape", 4, sizes, &numel) != TX_OK) {
    return tx_fail(TX_EWORLD, "dataset '%s' %s is larger than memory can address", name,
                   tx_shape_text(d->dims, d->shape, shape));
  }
  return TX_OK;
}

/* Describes the source over an open dataset. */
static tx_status describe_images(hdf5_images *images, double scale, tx_source *source) {
  const tx_hdf5_dataset *d = &images->d;
  int64_t sizes[4];
  TX_TRY(image_sizes(d, images->name, sizes));
  images->values = sizes[1] * sizes[2] * sizes[3];
  if (scale == 0 && !tx_scale_of_type(d->kind, d->bytes, &scale)) TX_TRY(search_scale(images, sizes[0], &scale));
  images->scale = (float)scale;
  *source = (tx_source){.count = sizes[0], .height = sizes[1], .width = sizes[2], .channels = sizes[3]};
  source->dtype = d->dtype == TX_U8 ? TX_U8 : TX_F32;
  source->scale = images->scale;
  source->read = read_image;
  source->release = release_images;
  source->owner = images;
  return TX_OK;
}

/* Opens what the source keeps and describes it. */
static tx_status open_images(hdf5_images *images, double scale, tx_source *source) {
  TX_TRY(open_file(images->path, &images->file));
  tx_status status = open_dataset(images->file, images->name, &images->dataset, &images->d);
  if (status == TX_OK) {
    status = describe_images(images, scale, source);
    if (status != TX_OK) H5Dclose(images->dataset);
  }
  if (status != TX_OK) {
    H5Fclose(images->file);
    return tx_fail_at(status, "hdf5", images->path);
  }
  return TX_OK;
}

tx_status tx_hdf5_source(const char *path, const char *dataset, double scale, tx_source **out) {
  size_t length = strlen(path) + 1, name = strlen(dataset) + 1;
  hdf5_images *images = tx_alloc_zero(sizeof *images + length + name);
  if (images == NULL) return TX_ENOMEM;
  memcpy(images->path, path, length);
  images->name = memcpy(images->path + length, dataset, name);
  tx_source source;
  enter();
  tx_status status = open_images(images, scale, &source);
  leave();
  if (status != TX_OK) {
    tx_dealloc(images);
    return status;
  }
  status = tx_source_new(&source, out);
  if (status != TX_OK) release_images(images);
  return status;
}

#endif
