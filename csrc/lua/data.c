/* data.c - sources of images in files and what is done with many images, folders, tables of text. */
#include "lua/source.h"

#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/rng.h"
#include "data/csv.h"
#include "data/hash.h"
#include "data/hdf5.h"
#include "data/image.h"
#include "data/images.h"
#include "data/npy.h"

/* -- helpers ----------------------------------------------------------------------------------------------------------- */

/* Positions in a source, 0-based, from what stands at `arg`: a list of positions from 1, or a tensor i64 {n} of them.
 * Pushes a buffer that must stay on the stack while the positions are used. Raises when one is out of range. */
static const int64_t *check_positions(lua_State *L, int arg, const char *operation, const tx_source *source,
                                      int64_t *n) {
  tx_tensor *t = tx_test_tensor(L, arg);
  if (t != NULL ? t->dtype != TX_I64 || t->dims != 1 : !lua_istable(L, arg)) {
    tx_error(L, "%s: positions must be a list or a tensor i64 {n}, got %s", operation, tx_describe(L, arg));
  }
  *n = t != NULL ? t->shape[0] : (int64_t)luaL_len(L, arg);
  int64_t *positions = lua_newuserdatauv(L, (size_t)(*n > 0 ? *n : 1) * sizeof *positions, 0);
  for (int64_t i = 0; i < *n; i++) {
    if (t != NULL) {
      positions[i] = tx_i64(t)[i * t->strides[0]] - 1;
    } else {
      lua_geti(L, arg, i + 1);
      positions[i] = tx_check_int(L, lua_gettop(L), operation, "a position") - 1;
      lua_pop(L, 1);
    }
    if (positions[i] < 0 || positions[i] >= source->count) {
      tx_error(L, "%s: image %lld: the set has 1..%lld", operation, (long long)positions[i] + 1,
               (long long)source->count);
    }
  }
  return positions;
}

static int return_source(lua_State *L, tx_status status, tx_source *source) {
  if (status != TX_OK) return tx_raise(L, status);
  tx_push_source(L, source);
  tx_check_interrupt(L);
  return 1;
}

static int return_true(lua_State *L, tx_status status) {
  if (status != TX_OK) return tx_raise(L, status);
  tx_check_interrupt(L);
  lua_pushboolean(L, true);
  return 1;
}

/* -- sources ----------------------------------------------------------------------------------------------------------- */

static int gather(lua_State *L, tx_status (*read)(tx_source *, const int64_t *, int64_t, tx_tensor **)) {
  tx_source *source = tx_check_source(L, 1);
  int64_t n;
  const int64_t *positions = check_positions(L, 2, "images", source, &n);
  tx_tensor *images = NULL;
  tx_watch_interrupt(L);
  tx_status status = read(source, positions, n, &images);
  return tx_return_tensor(L, status, images);
}

/* source:images(positions) -> f32 {n,H,W,C}; source:cache(positions) -> u8 {n,H,W,C} where that holds all */
static int l_images(lua_State *L) { return gather(L, tx_images_read); }
static int l_cache(lua_State *L) { return gather(L, tx_images_cache); }

static void push_numbers(lua_State *L, const double *values, int64_t n) {
  lua_createtable(L, (int)n, 0);
  for (int64_t i = 0; i < n; i++) {
    lua_pushnumber(L, values[i]);
    lua_seti(L, -2, i + 1);
  }
}

/* source:statistics(positions) -> {mean per channel}, {std per channel} | nil, message */
static int l_statistics(lua_State *L) {
  tx_source *source = tx_check_source(L, 1);
  int64_t n;
  const int64_t *positions = check_positions(L, 2, "statistics", source, &n);
  double *mean = lua_newuserdatauv(L, 2 * (size_t)source->channels * sizeof *mean, 0), *std = mean + source->channels;
  tx_watch_interrupt(L);
  tx_status status = tx_images_statistics(source, positions, n, mean, std);
  if (status != TX_OK) return tx_raise(L, status);
  tx_check_interrupt(L);
  push_numbers(L, mean, source->channels);
  push_numbers(L, std, source->channels);
  return 2;
}

/* source:save_npy(positions, path) -> true | nil, message */
static int l_save_npy(lua_State *L) {
  tx_source *source = tx_check_source(L, 1);
  const char *path = luaL_checkstring(L, 3);
  int64_t n;
  const int64_t *positions = check_positions(L, 2, "save_npy", source, &n);
  tx_watch_interrupt(L);
  return return_true(L, tx_images_save_npy(source, positions, n, path));
}

/* npy_source(path, scale) -> source | nil, message; scale 0: see tx_npy_source */
static int l_npy_source(lua_State *L) {
  tx_source *source = NULL;
  tx_watch_interrupt(L);
  tx_status status = tx_npy_source(luaL_checkstring(L, 1), luaL_optnumber(L, 2, 0), &source);
  return return_source(L, status, source);
}

/* concat_sources{source, ...} -> source */
static int l_concat_sources(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_Integer count = luaL_len(L, 1);
  luaL_argcheck(L, count > 0, 1, "a list of sources expected");
  tx_source **parts = lua_newuserdatauv(L, (size_t)count * sizeof *parts, 0);
  for (lua_Integer i = 0; i < count; i++) {
    lua_geti(L, 1, i + 1);
    parts[i] = tx_check_source(L, lua_gettop(L));
    lua_pop(L, 1);
  }
  tx_source *source = NULL;
  tx_status status = tx_source_concat(parts, count, &source);
  return return_source(L, status, source);
}

/* -- looks ------------------------------------------------------------------------------------------------------------- */

static void push_column(lua_State *L, const tx_look *looks, int64_t n, size_t offset, const char *name) {
  lua_createtable(L, (int)n, 0);
  for (int64_t i = 0; i < n; i++) {
    float value;
    memcpy(&value, (const char *)&looks[i] + offset, sizeof value);
    lua_pushnumber(L, value);
    lua_seti(L, -2, i + 1);
  }
  lua_setfield(L, -2, name);
}

/* Pushes a table of columns: exact (16 bytes of text), mean, std, low, high, dark, bright. */
static void push_looks(lua_State *L, const tx_look *looks, int64_t n) {
  lua_createtable(L, 0, 7);
  lua_createtable(L, (int)n, 0);
  for (int64_t i = 0; i < n; i++) {
    lua_pushlstring(L, (const char *)looks[i].exact, sizeof looks[i].exact);
    lua_seti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "exact");
  push_column(L, looks, n, offsetof(tx_look, mean), "mean");
  push_column(L, looks, n, offsetof(tx_look, std), "std");
  push_column(L, looks, n, offsetof(tx_look, low), "low");
  push_column(L, looks, n, offsetof(tx_look, high), "high");
  push_column(L, looks, n, offsetof(tx_look, dark), "dark");
  push_column(L, looks, n, offsetof(tx_look, bright), "bright");
}

/* Pushes a list of {first =, second =, similarity =, turn =}, positions from 1. */
static void push_pairs(lua_State *L, const tx_near *pairs, int64_t count) {
  lua_createtable(L, (int)count, 0);
  for (int64_t i = 0; i < count; i++) {
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, (lua_Integer)pairs[i].first + 1);
    lua_setfield(L, -2, "first");
    lua_pushinteger(L, (lua_Integer)pairs[i].second + 1);
    lua_setfield(L, -2, "second");
    lua_pushnumber(L, pairs[i].similarity);
    lua_setfield(L, -2, "similarity");
    lua_pushinteger(L, pairs[i].turn);
    lua_setfield(L, -2, "turn");
    lua_seti(L, -2, i + 1);
  }
}

/* source:looks(positions, bits, similarity) -> columns, pairs that look alike | nil, message; positions in the pairs are
 * those in the list */
static int l_looks(lua_State *L) {
  tx_source *source = tx_check_source(L, 1);
  int bits = (int)luaL_checkinteger(L, 3);
  double similarity = luaL_checknumber(L, 4);
  int64_t n;
  const int64_t *positions = check_positions(L, 2, "audit", source, &n);
  luaL_argcheck(L, n <= INT32_MAX, 2, "too many images");
  tx_look *looks = lua_newuserdatauv(L, (size_t)(n > 0 ? n : 1) * sizeof *looks, 0);
  tx_watch_interrupt(L);
  tx_status status = tx_look_at(source, positions, n, looks);
  if (status != TX_OK) return tx_raise(L, status);
  tx_check_interrupt(L);
  tx_near *pairs;
  int64_t count;
  status = tx_look_alikes(looks, n, bits, similarity, &pairs, &count);
  if (status != TX_OK) return tx_raise(L, status);
  tx_near *kept = lua_newuserdatauv(L, (size_t)(count > 0 ? count : 1) * sizeof *kept, 0);
  memcpy(kept, pairs, (size_t)count * sizeof *kept);
  tx_dealloc(pairs);
  tx_check_interrupt(L);
  push_looks(L, looks, n);
  push_pairs(L, kept, count);
  return 2;
}

/* -- image files ------------------------------------------------------------------------------------------------------- */

enum { SIZE_MAX_WANTED = 65535 };

static int64_t check_size(lua_State *L, int at, const char *operation) {
  int64_t size = tx_check_int(L, at, operation, "size");
  if (size < 1 || size > SIZE_MAX_WANTED) {
    tx_error(L, "%s: size %lld: 1..%d is possible", operation, (long long)size, SIZE_MAX_WANTED);
  }
  return size;
}

/* {channels = 1 or 3, size = n or {height, width}} at `arg` */
static tx_image_options check_image_options(lua_State *L, int arg, const char *operation) {
  tx_image_options o = {.channels = tx_option_int(L, arg, operation, "channels", 0)};
  if (o.channels != 0 && o.channels != 1 && o.channels != 3) {
    tx_error(L, "%s: channels is %lld: 1 or 3 is possible", operation, (long long)o.channels);
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

/* load_image(path, {channels=, size=}) -> u8 {H,W,C}, of 16 bits f32 in 0..1 | nil, message */
static int l_load_image(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  tx_image_options options = check_image_options(L, 2, "load_image");
  tx_tensor *image = NULL;
  tx_status status = tx_load_image("load_image", path, &options, &image);
  return tx_return_tensor(L, status, image);
}

/* write_png(path, image) -> true | nil, message; image u8 or float (0..1) {H,W} or {H,W,C} */
static int l_write_png(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  return return_true(L, tx_write_png(path, tx_check_tensor(L, 2)));
}

/* image_source({path, ...}, {channels=, size=}) -> source of files that are decoded when they are read | nil, message */
static int l_image_source(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  tx_image_options options = check_image_options(L, 2, "data.folder");
  int64_t count = (int64_t)luaL_len(L, 1);
  const char **paths = lua_newuserdatauv(L, (size_t)(count > 0 ? count : 1) * sizeof *paths, 0);
  for (int64_t i = 0; i < count; i++) {
    if (lua_geti(L, 1, i + 1) != LUA_TSTRING) tx_error(L, "data.folder: path %lld is not a string", (long long)i + 1);
    paths[i] = lua_tostring(L, -1); /* the list keeps it alive */
    lua_pop(L, 1);
  }
  tx_source *source = NULL;
  tx_watch_interrupt(L);
  tx_status status = tx_image_source(paths, count, &options, &source);
  return return_source(L, status, source);
}

/* -- HDF5 -------------------------------------------------------------------------------------------------------------- */

#define HDF5_TYPE "texres.hdf5"

static int l_close_hdf5(lua_State *L) {
  tx_hdf5_list_free(luaL_checkudata(L, 1, HDF5_TYPE));
  return 0;
}

/* hdf5_datasets(path) -> list of {name = "/color/20", dtype = "u8", shape = {...}} | nil, message */
static int l_hdf5_datasets(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  tx_hdf5_list *list = lua_newuserdatauv(L, sizeof *list, 0);
  memset(list, 0, sizeof *list);
  luaL_setmetatable(L, HDF5_TYPE);
  lua_toclose(L, -1);
  tx_status status = tx_hdf5_list_datasets(path, list);
  if (status != TX_OK) return tx_raise(L, status);
  lua_createtable(L, (int)list->count, 0);
  for (int64_t i = 0; i < list->count; i++) {
    const tx_hdf5_dataset *d = &list->dataset[i];
    lua_createtable(L, 0, 3);
    lua_pushstring(L, d->path);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, tx_dtype_name(d->dtype));
    lua_setfield(L, -2, "dtype");
    lua_createtable(L, d->dims, 0);
    for (int k = 0; k < d->dims; k++) {
      lua_pushinteger(L, (lua_Integer)d->shape[k]);
      lua_seti(L, -2, k + 1);
    }
    lua_setfield(L, -2, "shape");
    lua_seti(L, -2, i + 1);
  }
  return 1;
}

/* load_hdf5(path, dataset) -> tensor | nil, message */
static int l_load_hdf5(lua_State *L) {
  tx_tensor *t = NULL;
  tx_status status = tx_hdf5_load(luaL_checkstring(L, 1), luaL_checkstring(L, 2), &t);
  return tx_return_tensor(L, status, t);
}

/* hdf5_source(path, dataset, scale) -> source that reads images from the file one by one | nil, message */
static int l_hdf5_source(lua_State *L) {
  tx_source *source = NULL;
  tx_status status = tx_hdf5_source(luaL_checkstring(L, 1), luaL_checkstring(L, 2), luaL_optnumber(L, 3, 0), &source);
  return return_source(L, status, source);
}

/* -- text, folders, shuffling ------------------------------------------------------------------------------------------ */

#define CSV_TYPE "texres.csv"

static int l_close_csv(lua_State *L) {
  tx_csv_free(luaL_checkudata(L, 1, CSV_TYPE));
  return 0;
}

/* read_csv(path) -> names, columns: names[c] and the text columns[c][row] | nil, message */
static int l_read_csv(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  tx_csv *csv = lua_newuserdatauv(L, sizeof *csv, 0);
  memset(csv, 0, sizeof *csv);
  luaL_setmetatable(L, CSV_TYPE);
  lua_toclose(L, -1);
  tx_status status = tx_csv_read(path, csv);
  if (status != TX_OK) return tx_raise(L, status);
  lua_newtable(L); /* names */
  lua_newtable(L); /* columns */
  for (int64_t c = 0; c < csv->columns; c++) {
    lua_pushstring(L, tx_csv_cell(csv, -1, c));
    lua_seti(L, -3, c + 1);
    lua_createtable(L, (int)csv->rows, 0);
    for (int64_t r = 0; r < csv->rows; r++) {
      lua_pushstring(L, tx_csv_cell(csv, r, c));
      lua_seti(L, -2, r + 1);
    }
    lua_seti(L, -2, c + 1);
  }
  return 2;
}

#define FOLDER_TYPE "texres.folder"

static int l_close_folder(lua_State *L) {
  tx_folder_free(luaL_checkudata(L, 1, FOLDER_TYPE));
  return 0;
}

/* list_folder(path) -> {names of files}, {names of folders}, both sorted, without those that start with a dot */
static int l_list_folder(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  tx_folder *folder = lua_newuserdatauv(L, sizeof *folder, 0);
  memset(folder, 0, sizeof *folder);
  luaL_setmetatable(L, FOLDER_TYPE);
  lua_toclose(L, -1);
  tx_status status = tx_folder_list("list_folder", path, folder);
  if (status != TX_OK) return tx_raise(L, status);
  lua_newtable(L);
  lua_newtable(L);
  lua_Integer files = 0, folders = 0;
  for (int64_t i = 0; i < folder->count; i++) {
    bool is_folder = folder->entry[i].folder;
    lua_pushstring(L, folder->entry[i].name);
    lua_seti(L, is_folder ? -2 : -3, is_folder ? ++folders : ++files);
  }
  return 2;
}

/* shuffled(n, seed, stream) -> a list of 1..n in random order, a function of its arguments alone */
static int l_shuffled(lua_State *L) {
  int64_t n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n >= 0, 1, "a count expected");
  tx_rng rng = tx_rng_make((uint64_t)luaL_checkinteger(L, 2), (uint64_t)luaL_checkinteger(L, 3));
  int64_t *order = lua_newuserdatauv(L, (size_t)(n > 0 ? n : 1) * sizeof *order, 0);
  for (int64_t i = 0; i < n; i++) order[i] = i + 1;
  tx_rng_shuffle(&rng, order, n);
  lua_createtable(L, (int)n, 0);
  for (int64_t i = 0; i < n; i++) {
    lua_pushinteger(L, (lua_Integer)order[i]);
    lua_seti(L, -2, i + 1);
  }
  return 1;
}

/* -- tables ------------------------------------------------------------------------------------------------------------ */

static const luaL_Reg functions[] = {
    {"npy_source", l_npy_source},         {"image_source", l_image_source},   {"hdf5_source", l_hdf5_source},
    {"concat_sources", l_concat_sources}, {"hdf5_datasets", l_hdf5_datasets}, {"load_hdf5", l_load_hdf5},
    {"load_image", l_load_image},         {"write_png", l_write_png},         {"read_csv", l_read_csv},
    {"list_folder", l_list_folder},       {"shuffled", l_shuffled},           {NULL, NULL}};

static const luaL_Reg source_methods[] = {{"images", l_images},     {"cache", l_cache}, {"statistics", l_statistics},
                                          {"save_npy", l_save_npy}, {"looks", l_looks}, {NULL, NULL}};

static const luaL_Reg csv_meta[] = {{"__gc", l_close_csv}, {"__close", l_close_csv}, {NULL, NULL}};
static const luaL_Reg hdf5_meta[] = {{"__gc", l_close_hdf5}, {"__close", l_close_hdf5}, {NULL, NULL}};
static const luaL_Reg folder_meta[] = {{"__gc", l_close_folder}, {"__close", l_close_folder}, {NULL, NULL}};

static void new_type(lua_State *L, const char *name, const luaL_Reg *meta) {
  luaL_newmetatable(L, name);
  luaL_setfuncs(L, meta, 0);
  lua_pop(L, 1);
}

void tx_lua_open_data(lua_State *L) {
  new_type(L, CSV_TYPE, csv_meta);
  new_type(L, FOLDER_TYPE, folder_meta);
  new_type(L, HDF5_TYPE, hdf5_meta);
  luaL_getmetatable(L, TX_SOURCE_TYPE); /* more methods for what source.c has opened */
  luaL_setfuncs(L, source_methods, 0);
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
}
