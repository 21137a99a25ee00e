/* hdf5.c - see hdf5.h. */
#include "data/hdf5.h"

#ifndef TX_HAVE_HDF5

static tx_status fail_absent(const char *path) {
  return tx_fail(
      TX_EWORLD,
      "hdf5: %s: this texres was built without HDF5; install its development files (libhdf5-dev) and run make", path);
}

const char *tx_hdf5_version(char text[TX_HDF5_VERSION_SIZE]) {
  (void)text;
  return NULL;
}

tx_status tx_hdf5_list_datasets(const char *path, tx_hdf5_list *list) {
  *list = (tx_hdf5_list){NULL, 0};
  return fail_absent(path);
}

void tx_hdf5_list_free(tx_hdf5_list *list) { (void)list; }

tx_status tx_hdf5_load(const char *path, const char *dataset, int64_t max_bytes, tx_tensor **out) {
  (void)dataset, (void)max_bytes, (void)out;
  return fail_absent(path);
}

tx_status tx_hdf5_source(const char *path, const char *dataset, double scale, int64_t max_bytes, tx_source **out) {
  (void)dataset, (void)max_bytes, (void)scale, (void)out;
  return fail_absent(path);
}

#else

#include <hdf5.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/integers.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "data/limit.h"
#include "data/scale.h"

/* Unpacked chunks that are kept while single images are read in any order; the slots are a prime about 100 times as many
 * as chunks of 1 MiB fit. */
enum { CHUNK_CACHE = 128 << 20, CHUNK_SLOTS = 12421 };
enum { DEPTH_MAX = 16, DATASETS_MAX = 100000, GROUPS_MAX = 10000, PATH_MAX_LENGTH = 4096 };

/* -- the library's lock and its messages ------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static H5E_auto2_t messages;
static void *messages_data;

/* A fork waits until no thread of a loader reads: its child gets the library whole, and unlocked. */
static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }
static void begin_child(void) { pthread_mutex_init(&lock, NULL); }
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(before_fork, after_fork, begin_child); }

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

const char *tx_hdf5_version(char text[TX_HDF5_VERSION_SIZE]) {
  unsigned major = 0, minor = 0, release = 0;
  enter();
  H5get_libversion(&major, &minor, &release);
  leave();
  snprintf(text, TX_HDF5_VERSION_SIZE, "%u.%u.%u", major, minor, release);
  return text;
}

/* What the library's own record of its last failure tells. */
typedef struct trouble {
  bool memory, locked, marked;
} trouble;

static herr_t note_trouble(unsigned n, const H5E_error2_t *error, void *context) {
  (void)n;
  trouble *t = context;
  if (error->min_num == H5E_NOSPACE && error->maj_num == H5E_RESOURCE) t->memory = true;
  if (error->desc == NULL) return 0;
  if (strstr(error->desc, "unable to lock file") != NULL) t->locked = true;
  if (strstr(error->desc, "already open for write") != NULL) t->marked = true;
  return 0;
}

/* A failure of the library, told as `reason` where it was not for want of memory. */
static tx_status fail_library(const char *reason) {
  trouble t = {0};
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, note_trouble, &t);
  if (t.memory) return tx_fail(TX_ENOMEM, "not enough memory");
  if (t.locked) return tx_fail(TX_EWORLD, "another process has it open for writing: read it when that is done");
  if (t.marked) {
    return tx_fail(TX_EWORLD,
                   "it is marked as open for writing: a process writes it, or died while it did (h5clear -s takes the "
                   "mark away)");
  }
  return tx_fail(TX_EWORLD, "%s", reason);
}

/* Fails when memory is short: the library does not bear that everywhere, so it is asked for before, and given back. */
static tx_status need_memory(void) {
  enum { NEEDED = 16 << 20 }; /* what the library takes for itself */
  void *block = tx_alloc(NEEDED);
  tx_dealloc(block);
  return block != NULL ? TX_OK : TX_ENOMEM;
}

/* Opens a file; `bytes` is its size. */
static tx_status open_file(const char *path, hid_t *file, int64_t *bytes) {
  int probe; /* says better than the library why a file can't be opened */
  TX_TRY(tx_file_open("hdf5", path, &probe, bytes));
  tx_file_close(probe);
  TX_TRY(need_memory());
  *file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  return *file >= 0 ? TX_OK : tx_fail_at(fail_library("not an HDF5 file, or damaged"), "hdf5", path);
}

/* -- other files -------------------------------------------------------------------------------------------------------
 *
 * An HDF5 file can name others whose bytes are then its pixels: in external links, external storage, virtual datasets.
 * None is followed: a file from elsewhere would read any file of this machine.
 */

static herr_t refuse_link(const char *parent, const char *group, const char *target, const char *object,
                          unsigned *access, hid_t plist, void *context) {
  (void)parent, (void)group, (void)target, (void)object, (void)access, (void)plist, (void)context;
  return -1;
}

/* Opens an object behind `name`; negative where there is none, or in another file only. */
static hid_t open_object(hid_t from, const char *name) {
  hid_t access = H5Pcreate(H5P_LINK_ACCESS), object = -1;
  if (access >= 0 && H5Pset_elink_cb(access, refuse_link, NULL) >= 0) object = H5Oopen(from, name, access);
  if (access >= 0) H5Pclose(access);
  return object;
}

/* Whether a dataset's elements lie in its own file, in chunks that may be unpacked. */
static tx_status check_layout(hid_t dataset, const char *name, int bytes_each, int64_t file_bytes, int64_t max_bytes) {
  hid_t plist = H5Dget_create_plist(dataset);
  if (plist < 0) return fail_library("a dataset can't be read: damaged");
  H5D_layout_t layout = H5Pget_layout(plist);
  tx_status status = TX_OK;
  if (layout == H5D_VIRTUAL || H5Pget_external_count(plist) != 0) {
    status = tx_fail(TX_EWORLD, "dataset '%s' lies in other files, which are not read", name);
  } else if (layout == H5D_CHUNKED) {
    hsize_t sizes[H5S_MAX_RANK];
    int dims = H5Pget_chunk(plist, H5S_MAX_RANK, sizes);
    uint64_t bytes = (uint64_t)bytes_each;
    for (int i = 0; i < dims; i++) bytes = tx_capped_product(bytes, sizes[i]);
    status = tx_check_unpacked(bytes, (uint64_t)file_bytes, max_bytes);
  }
  H5Pclose(plist);
  return status;
}

/* -- describing a dataset ---------------------------------------------------------------------------------------------- */

/* NumPy's bool is stored as an enumeration of two bytes' values, FALSE and TRUE. */
static bool describe_type(hid_t dataset, tx_hdf5_dataset *d) {
  hid_t type = H5Dget_type(dataset);
  if (type < 0) return false;
  H5T_class_t class = H5Tget_class(type);
  size_t size = H5Tget_size(type);
  bool is_float = class == H5T_FLOAT, is_bool = class == H5T_ENUM && size == 1 && H5Tget_nmembers(type) == 2;
  d->kind = is_float ? 'f' : is_bool ? 'b' : H5Tget_sign(type) == H5T_SGN_NONE ? 'u' : 'i';
  d->bytes = (int)tx_min((int64_t)size, 8);
  if (is_float) {
    d->dtype = size > 4 ? TX_F64 : TX_F32;
  } else {
    d->dtype = size == 1 && d->kind != 'i' ? TX_U8 : TX_I64;
  }
  H5Tclose(type);
  return is_float || is_bool || class == H5T_INTEGER;
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
  found.foreign = !describe(object, &found); /* text, records, too many dimensions */
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

/* What identifies an object of a file. */
#if H5_VERSION_GE(1, 12, 0)
typedef H5O_token_t object_id;

static bool identify(hid_t object, object_id *id) {
  H5O_info2_t info;
  if (H5Oget_info3(object, &info, H5O_INFO_BASIC) < 0) return false;
  *id = info.token;
  return true;
}
#else
#define H5L_info2_t H5L_info_t
#define H5Lget_info2 H5Lget_info
typedef haddr_t object_id;

static bool identify(hid_t object, object_id *id) {
  H5O_info_t info;
  if (H5Oget_info(object, &info) < 0) return false;
  *id = info.addr;
  return true;
}
#endif

/* A walk through all groups of a file. */
typedef struct listing {
  tx_hdf5_list *list;
  int groups;
  object_id group[GROUPS_MAX]; /* those that were entered: links may lead back, or many ways to one */
} listing;

/* Notes a group; *known when it was entered before. */
static tx_status enter_group(listing *l, hid_t group, const char *path, bool *known) {
  object_id id;
  *known = false;
  if (!identify(group, &id)) return fail_library("a group is damaged");
  for (int i = 0; i < l->groups && !*known; i++) *known = memcmp(&l->group[i], &id, sizeof id) == 0;
  if (*known) return TX_OK;
  if (l->groups == GROUPS_MAX) return tx_fail(TX_EWORLD, "more than %d groups, at %s", GROUPS_MAX, path);
  l->group[l->groups++] = id;
  return TX_OK;
}

/* Whether a name of a group stands for an object of this file; else it is a link to nowhere, or to another file. */
static bool is_own(hid_t group, const char *name) {
  H5L_info2_t info;
  return H5Lget_info2(group, name, &info, H5P_DEFAULT) < 0 || info.type == H5L_TYPE_HARD;
}

static tx_status walk(hid_t group, char *path, int depth, listing *l) {
  H5G_info_t info;
  bool known;
  TX_TRY(enter_group(l, group, path, &known));
  if (known) return TX_OK;
  if (depth > DEPTH_MAX) return tx_fail(TX_EWORLD, "groups are nested more than %d deep", DEPTH_MAX);
  if (H5Gget_info(group, &info) < 0) return tx_fail(TX_EWORLD, "group %s is damaged", path);
  size_t length = strlen(path);
  tx_status status = TX_OK;
  for (hsize_t i = 0; i < info.nlinks && status == TX_OK; i++) {
    if (!append_name(group, i, path, length)) return tx_fail(TX_EWORLD, "group %.*s is damaged", (int)length, path);
    hid_t object = open_object(group, path + length + 1);
    if (object < 0) {
      status = tx_fail_in(fail_library("it is damaged"), path);
      if (!is_own(group, path + length + 1)) status = TX_OK;
    } else {
      H5I_type_t type = H5Iget_type(object);
      if (type == H5I_DATASET) status = add_dataset(l->list, object, path);
      if (type == H5I_GROUP) status = walk(object, path, depth + 1, l);
      H5Oclose(object);
    }
  }
  path[length] = '\0';
  return status;
}

tx_status tx_hdf5_list_datasets(const char *path, tx_hdf5_list *list) {
  char *name = calloc(1, PATH_MAX_LENGTH);
  listing *l = malloc(sizeof *l);
  *list = (tx_hdf5_list){NULL, 0};
  if (name == NULL || l == NULL) {
    free(name);
    free(l);
    return tx_fail(TX_ENOMEM, "hdf5: not enough memory");
  }
  l->list = list;
  l->groups = 0;
  enter();
  hid_t file;
  int64_t bytes;
  tx_status status = open_file(path, &file, &bytes);
  if (status == TX_OK) {
    status = walk(file, name, 0, l);
    H5Fclose(file);
    if (status != TX_OK) tx_fail_at(status, "hdf5", path);
  }
  leave();
  free(name);
  free(l);
  if (status != TX_OK) tx_hdf5_list_free(list);
  return status;
}

void tx_hdf5_list_free(tx_hdf5_list *list) {
  for (int64_t i = 0; i < list->count; i++) free(list->dataset[i].path);
  free(list->dataset);
  *list = (tx_hdf5_list){NULL, 0};
}

/* -- reading ----------------------------------------------------------------------------------------------------------- */

/* A file that is being read. */
typedef struct opened {
  hid_t file, dataset;
  int64_t bytes, max_bytes; /* of the file; of what may be made of it, 0: as data/limit.h says */
} opened;

/* Opens a dataset of numbers; messages without the path of the file. */
static tx_status open_dataset(opened *o, const char *name, tx_hdf5_dataset *d) {
  hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
  H5Pset_chunk_cache(access, CHUNK_SLOTS, CHUNK_CACHE, 0.75);
  H5Pset_elink_cb(access, refuse_link, NULL);
  o->dataset = H5Dopen2(o->file, name, access);
  H5Pclose(access);
  if (o->dataset < 0) {
    tx_status status = fail_library("there is no dataset of that name in this file");
    return tx_fail_in(status, name);
  }
  tx_status status = TX_OK;
  if (!describe(o->dataset, d)) {
    status = tx_fail(TX_EWORLD, "dataset '%s' does not hold numbers in at most %d dimensions", name, TX_MAX_DIMS);
  }
  if (status == TX_OK) status = check_layout(o->dataset, name, d->bytes, o->bytes, o->max_bytes);
  if (status != TX_OK) H5Dclose(o->dataset);
  return status;
}

/* Whether `dims` sizes of a dtype may be unpacked. */
static tx_status check_size(const opened *o, const char *name, tx_dtype dtype, int dims, const int64_t *shape) {
  uint64_t bytes = tx_dtype_size(dtype);
  for (int i = 0; i < dims; i++) bytes = tx_capped_product(bytes, (uint64_t)shape[i]);
  tx_status status = tx_check_unpacked(bytes, (uint64_t)o->bytes, o->max_bytes);
  return status == TX_OK ? TX_OK : tx_fail_in(status, name);
}

/* Met where a number is converted that the type in memory cannot hold: the library would put the nearest there. It counts
 * infinite doubles among them, which f32 holds. */
static H5T_conv_ret_t refuse_beyond(H5T_conv_except_t what, hid_t from, hid_t to, void *number, void *made, void *met) {
  (void)to, (void)made;
  if (what != H5T_CONV_EXCEPT_RANGE_HI && what != H5T_CONV_EXCEPT_RANGE_LOW) return H5T_CONV_UNHANDLED;
  double value = 0;
  if (H5Tequal(from, H5T_NATIVE_DOUBLE) > 0) memcpy(&value, number, sizeof value);
  if (isinf(value)) return H5T_CONV_UNHANDLED;
  *(bool *)met = true;
  return H5T_CONV_ABORT;
}

/* Reads what is selected as numbers of `type`; a failure is told as `reason`. */
static tx_status read_numbers(hid_t dataset, hid_t type, hid_t memory, hid_t space, void *to, const char *reason) {
  bool beyond = false;
  hid_t transfer = H5Pcreate(H5P_DATASET_XFER);
  herr_t result = transfer < 0 ? -1 : H5Pset_type_conv_cb(transfer, refuse_beyond, &beyond);
  if (result >= 0) result = H5Dread(dataset, type, memory, space, transfer, to);
  tx_status status = result >= 0 ? TX_OK : fail_library(reason);
  if (status == TX_EWORLD && beyond) status = tx_fail(TX_EWORLD, "it holds a number beyond i64 or f32");
  if (transfer >= 0) H5Pclose(transfer);
  return status;
}

static tx_status load_dataset(opened *o, const char *name, tx_tensor **out) {
  tx_hdf5_dataset d = {0};
  TX_TRY(open_dataset(o, name, &d));
  tx_status status = check_size(o, name, d.dtype, d.dims, d.shape);
  if (status == TX_OK) status = tx_empty(d.dtype, d.dims, d.shape, out);
  if (status == TX_OK) {
    status = read_numbers(o->dataset, memory_type(d.dtype), H5S_ALL, H5S_ALL, tx_data(*out),
                          "it can't be read: damaged, or packed with an unknown filter");
    if (status != TX_OK) {
      tx_fail_in(status, name);
      tx_unref(*out);
    }
  }
  H5Dclose(o->dataset);
  return status;
}

tx_status tx_hdf5_load(const char *path, const char *dataset, int64_t max_bytes, tx_tensor **out) {
  opened o = {.max_bytes = max_bytes};
  enter();
  tx_status status = open_file(path, &o.file, &o.bytes);
  if (status == TX_OK) {
    status = load_dataset(&o, dataset, out);
    H5Fclose(o.file);
    if (status != TX_OK) tx_fail_at(status, "hdf5", path);
  }
  leave();
  return status;
}

/* -- images one by one ------------------------------------------------------------------------------------------------- */

typedef struct hdf5_images {
  opened o;
  tx_hdf5_dataset d;
  int64_t values;
  float scale;
  const char *name; /* of the dataset, behind the path */
  char path[];
} hdf5_images;

static void release_images(void *owner) {
  hdf5_images *images = owner;
  enter();
  H5Dclose(images->o.dataset);
  H5Fclose(images->o.file);
  leave();
  tx_dealloc(images);
}

/* Reads `count` images from image `first` on as what `type` says; called with the lock held. */
static tx_status read_images(const hdf5_images *images, int64_t first, int64_t count, hid_t type, void *to) {
  const tx_hdf5_dataset *d = &images->d;
  hsize_t start[TX_MAX_DIMS] = {0}, sizes[TX_MAX_DIMS];
  for (int i = 0; i < d->dims; i++) sizes[i] = (hsize_t)d->shape[i];
  if (d->dims > 2) { /* else one image alone */
    start[0] = (hsize_t)first;
    sizes[0] = (hsize_t)count;
  }
  hid_t space = H5Dget_space(images->o.dataset), memory = H5Screate_simple(d->dims, sizes, NULL);
  static const char reason[] = "an image can't be read: damaged, or packed with an unknown filter";
  tx_status status =
      space >= 0 && memory >= 0 && H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, sizes, NULL) >= 0
          ? read_numbers(images->o.dataset, type, memory, space, to, reason)
          : fail_library(reason);
  if (space >= 0) H5Sclose(space);
  if (memory >= 0) H5Sclose(memory);
  return status == TX_OK ? TX_OK : tx_fail_in(status, images->name);
}

static tx_status read_image(void *owner, int64_t index, float *pixels) {
  const hdf5_images *images = owner;
  bool bytes = images->d.dtype == TX_U8; /* the library's conversion takes 20 times as long as ours */
  uint8_t *last_quarter = (uint8_t *)pixels + 3 * images->values;
  enter();
  tx_status status = bytes ? read_images(images, index, 1, H5T_NATIVE_UINT8, last_quarter)
                           : read_images(images, index, 1, H5T_NATIVE_FLOAT, pixels);
  leave();
  if (status != TX_OK) return tx_fail_at(status, "hdf5", images->path);
  for (int64_t i = 0; i < images->values; i++) pixels[i] = (bytes ? last_quarter[i] : pixels[i]) * images->scale;
  return TX_OK;
}

/* The factor for integers whose type doesn't tell it: all are read once. */
static tx_status search_scale(const hdf5_images *images, int64_t count, double *scale) {
  int64_t low = 0, high = 0;
  int64_t *some = tx_alloc_array(images->values, sizeof *some);
  tx_status status = some == NULL ? TX_ENOMEM : TX_OK;
  for (int64_t n = 0; n < count && status == TX_OK && !tx_interrupted(); n++) {
    status = read_images(images, n, 1, H5T_NATIVE_INT64, some);
    if (status == TX_OK) tx_widen_range(some, images->values, &low, &high);
  }
  tx_dealloc(some);
  return status == TX_OK ? tx_scale_of_range(low, high, scale) : status;
}

/* The sizes {N,H,W,C} of a dataset of images, or of one image {H,W}. */
static tx_status image_sizes(const tx_hdf5_dataset *d, const char *name, int64_t sizes[4]) {
  int64_t numel, row[TX_MAX_DIMS + 1] = {1}; /* in front: how many images an image alone is */
  char shape[TX_SHAPE_TEXT];
  memcpy(row + 1, d->shape, (size_t)d->dims * sizeof *row);
  bool single = d->dims == 2;
  tx_status status = tx_image_sizes(TX_EWORLD, d->dims + single, row + !single, sizes);
  if (status != TX_OK) return tx_fail_in(status, name);
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
  TX_TRY(check_size(&images->o, images->name, TX_F32, 3, sizes + 1));
  images->values = sizes[1] * sizes[2] * sizes[3];
  bool guessed = scale == 0 && !tx_scale_of_type(d->kind, d->bytes, &scale);
  if (guessed) TX_TRY(search_scale(images, sizes[0], &scale));
  images->scale = (float)scale;
  *source = (tx_source){.count = sizes[0], .height = sizes[1], .width = sizes[2], .channels = sizes[3]};
  source->dtype = d->dtype == TX_U8 ? TX_U8 : TX_F32;
  source->scale = images->scale;
  source->guessed = guessed ? images->scale : 0;
  source->most = tx_most_unpacked((uint64_t)images->o.bytes, images->o.max_bytes);
  source->read = read_image;
  source->release = release_images;
  source->owner = images;
  return TX_OK;
}

/* Opens what the source keeps and describes it. */
static tx_status open_images(hdf5_images *images, double scale, tx_source *source) {
  TX_TRY(open_file(images->path, &images->o.file, &images->o.bytes));
  tx_status status = open_dataset(&images->o, images->name, &images->d);
  if (status == TX_OK) {
    status = describe_images(images, scale, source);
    if (status != TX_OK) H5Dclose(images->o.dataset);
  }
  if (status != TX_OK) {
    H5Fclose(images->o.file);
    return tx_fail_at(status, "hdf5", images->path);
  }
  return TX_OK;
}

tx_status tx_hdf5_source(const char *path, const char *dataset, double scale, int64_t max_bytes, tx_source **out) {
  size_t length = strlen(path) + 1, name = strlen(dataset) + 1;
  hdf5_images *images = tx_alloc_zero(sizeof *images + length + name);
  if (images == NULL) return TX_ENOMEM;
  memcpy(images->path, path, length);
  images->o.max_bytes = max_bytes;
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
