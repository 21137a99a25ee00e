/* image.c - images: load_image, write_png, image_source, regions of masks, local_contrast. */
#include "data/contrast.h"
#include "data/image.h"

#include <string.h>

#include "data/regions.h"
#include "lua/source.h"

enum { SIZE_MAX_WANTED = 65535 };
static const long long MAX_PIXELS_MAX = 1LL << 40;

static int64_t check_size(lua_State *L, int at, const char *operation) {
  int64_t size = tx_check_int(L, at, operation, "size");
  if (size < 1 || size > SIZE_MAX_WANTED) {
    tx_error(L, "%s: size %lld: 1..%d is possible", operation, (long long)size, SIZE_MAX_WANTED);
  }
  return size;
}

/* {channels = 1 to 4, size = n or {height, width}, max_pixels =} at `arg`; known: the names of all options */
static tx_image_options check_image_options(lua_State *L, int arg, const char *operation, const char *known) {
  tx_check_options(L, arg, operation, known);
  tx_image_options o = {.channels = tx_option_int(L, arg, operation, "channels", 0)};
  if (o.channels < 0 || o.channels > 4) {
    tx_error(L, "%s: channels is %lld: 1 (gray), 2 (gray, alpha), 3 (RGB), 4 (RGB, alpha) are possible", operation,
             (long long)o.channels);
  }
  if (lua_istable(L, arg) && lua_getfield(L, arg, "max_pixels") != LUA_TNIL) {
    o.max_pixels = tx_check_int(L, lua_gettop(L), operation, "max_pixels");
    if (o.max_pixels < 1 || o.max_pixels > MAX_PIXELS_MAX) {
      tx_error(L, "%s: max_pixels is %lld: 1..%lld is possible", operation, (long long)o.max_pixels, MAX_PIXELS_MAX);
    }
  }
  int type = lua_istable(L, arg) ? lua_getfield(L, arg, "size") : LUA_TNIL, top = lua_gettop(L);
  if (type == LUA_TTABLE) {
    lua_geti(L, top, 1);
    lua_geti(L, top, 2);
    o.height = check_size(L, top + 1, operation);
    o.width = check_size(L, top + 2, operation);
  } else if (type != LUA_TNIL) {
    o.height = o.width = check_size(L, top, operation);
  }
  return o;
}

static int l_load_image(lua_State *L) {
  const char *path = tx_check_path(L, 1, "load_image");
  tx_image_options options = check_image_options(L, 2, "load_image", "channels size max_pixels");
  tx_tensor **handle = tx_new_handle(L);
  return tx_return_tensor(L, tx_load_image("load_image", path, &options, handle), handle);
}

static int l_write_png(lua_State *L) {
  const char *path = tx_check_path(L, 1, "write_png");
  return tx_return_true(L, tx_write_png(path, tx_check_tensor(L, 2)));
}

/* Pushes a list of {index =, message =} of the images that can't be read. */
static void push_troubles(lua_State *L, const tx_source *source) {
  lua_newtable(L);
  for (int64_t i = 0; i < source->count; i++) {
    const char *message = tx_image_source_trouble(source, i);
    if (message == NULL) continue;
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, (lua_Integer)i + 1);
    lua_setfield(L, -2, "index");
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    lua_seti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  }
}

/* image_source({path, ...}, {channels=, size=, max_pixels=, skip_bad=}) -> source of files that are decoded when they are read, list of
 * {index=, message=} of those that skip_bad passes over | nil, message */
static int l_image_source(lua_State *L) {
  tx_image_options options = check_image_options(L, 2, "data.folder", "channels size max_pixels skip_bad");
  options.skip_bad = tx_option_bool(L, 2, "data.folder", "skip_bad", false);
  int count = tx_check_list(L, 1, "data.folder", "the paths");
  tx_copy_list(L, 1, count);
  lua_replace(L, 1);
  const char **paths = tx_new_array(L, count, sizeof *paths);
  for (int i = 0; i < count; i++) {
    if (lua_rawgeti(L, 1, i + 1) != LUA_TSTRING)
      tx_error(L, "data.folder: path %d must be a string, got %s", i + 1, tx_describe(L, -1));
    paths[i] = tx_check_path(L, -1, "data.folder"); /* our copy of the list keeps it alive */
    lua_pop(L, 1);
  }
  tx_source **handle = tx_new_source(L);
  tx_watch_interrupt(L);
  tx_status status = tx_image_source(paths, count, &options, handle);
  if (status != TX_OK) return tx_return_source(L, status, handle);
  tx_check_interrupt(L);
  push_troubles(L, *handle);
  return 2;
}

/* regions(masks u8 {N,H,W}) -> i64 {N,H,W}, sizes i64 {regions}: connected regions, counted from 1 through all masks; 0 is
 * outside */
static int l_regions(lua_State *L) {
  lua_settop(L, 1);
  tx_tensor **number = tx_new_handle(L), **sizes = tx_new_handle(L);
  tx_tensor *masks = tx_check_tensor(L, 1);
  if (masks->dtype != TX_U8 || masks->dims != 3 || !tx_is_contiguous(masks)) {
    return tx_error(L, "regions: contiguous masks u8 {N,H,W} are wanted, got %s", tx_describe(L, 1));
  }
  const int64_t height = masks->shape[1], width = masks->shape[2], pixels = height * width;
  tx_status status = tx_empty(TX_I64, 3, masks->shape, number);
  if (status != TX_OK) return tx_raise(L, status);
  int64_t count = 0;
  for (int64_t i = 0; i < masks->shape[0]; i++)
    count += tx_regions(tx_u8(masks) + i * pixels, height, width, count + 1, tx_i64(*number) + i * pixels);
  status = tx_zeros(TX_I64, 1, &count, sizes);
  if (status != TX_OK) return tx_raise(L, status);
  for (int64_t p = 0, n = masks->shape[0] * pixels; p < n; p++) {
    const int64_t region = tx_i64(*number)[p];
    if (region > 0) tx_i64(*sizes)[region - 1]++;
  }
  tx_pace_collector(L);
  return 2;
}

/* {H,W}, {H,W,C} or {N,H,W,C} as sizes. */
static void check_images(lua_State *L, const tx_tensor *t, int64_t sizes[4]) {
  if (t->dims < 2 || t->dims > 4 || !tx_dtype_is_float(t->dtype))
    tx_error(L, "local_contrast: images {H,W}, {H,W,C} or {N,H,W,C} of floats wanted, got %s %s",
             tx_dtype_name(t->dtype), tx_shape_of(t));
  bool many = t->dims == 4;
  sizes[0] = many ? t->shape[0] : 1;
  for (int d = 1; d < 4; d++) sizes[d] = d - !many < t->dims ? t->shape[d - !many] : 1;
}

/* local_contrast(images, reach, floor) -> f32 of the same shape */
static int l_local_contrast(lua_State *L) {
  lua_settop(L, 3);
  tx_tensor *given = tx_check_tensor(L, 1), **images = tx_new_handle(L), **result = tx_new_handle(L);
  int64_t sizes[4], reach = tx_check_int(L, 2, "local_contrast", "reach");
  double floor = tx_check_number(L, 3, "local_contrast", "floor");
  check_images(L, given, sizes);
  tx_status status = tx_copy_as(given, TX_F32, images);
  if (status == TX_OK) status = tx_empty_like(*images, result);
  if (status != TX_OK) return tx_raise(L, tx_fail_by(status, "local_contrast"));
  int64_t values = sizes[1] * sizes[2] * sizes[3];
  double *sums = tx_new_array(L, 2 * sizes[2] * sizes[3], sizeof *sums);
  for (int64_t i = 0; i < sizes[0]; i++)
    tx_local_contrast(tx_f32(*images) + i * values, tx_f32(*result) + i * values, (tx_size2){sizes[1], sizes[2]},
                      sizes[3], reach, floor, sums);
  tx_pace_collector(L);
  lua_pushvalue(L, 5);
  return 1;
}

static const tx_function functions[] = {
    {"load_image", l_load_image,
     "load_image(path, {channels=, size=, max_pixels=}): a picture (PNG, JPEG, BMP, PGM, PPM, ...) as u8 {H,W,C}, one "
     "of 16 bits as f32 in 0..1; or nil and a message. channels: 1 (gray), 2, 3 (red, green, blue) or 4 (and alpha), "
     "by default as in the file; size: a number or {height, width} to which it is scaled; max_pixels: the most that "
     "are decoded."},
    {"write_png", l_write_png,
     "write_png(path, image): writes an image {H,W} or {H,W,C} of 1 to 4 channels, u8 or floats in 0..1, as a PNG, "
     "which is replaced as a whole: true, or nil and a message."},
    {"image_source", l_image_source, NULL},
    {"regions", l_regions, NULL},
    {"local_contrast", l_local_contrast, NULL},
    {NULL, NULL, NULL},
};

void tx_lua_open_image(lua_State *L) { tx_set_functions(L, functions); }
