/* data.c - texres.data_core: sources of images and what is done with them, folders, tables of text. */
#include "lua/data.h"

#include <inttypes.h>
#include <string.h>

#include "base/rng.h"
#include "data/csv.h"
#include "data/file.h"
#include "data/images.h"
#include "data/npy.h"

/* -- helpers (data.h) -------------------------------------------------------------------------------------------------- */

void tx_push_source(lua_State *L, tx_source *source) {
  tx_source **handle = lua_newuserdatauv(L, sizeof *handle, 0);
  *handle = source;
  luaL_setmetatable(L, TX_SOURCE_TYPE);
}

tx_source *tx_check_source(lua_State *L, int arg) {
  tx_source **handle = luaL_checkudata(L, arg, TX_SOURCE_TYPE);
  if (*handle == NULL) tx_error(L, "the source of the images was closed");
  return *handle;
}

const int64_t *tx_check_positions(lua_State *L, int arg, const char *operation, const tx_source *source, int64_t *n) {
  tx_tensor *t = tx_test_tensor(L, arg);
  if (t != NULL && (t->dtype != TX_I64 || t->dims != 1)) {
    tx_error(L, "%s: positions must be a list or a tensor i64 {n}, got %s", operation, tx_describe(L, arg));
  }
  if (t == NULL && !lua_istable(L, arg)) {
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

void tx_push_data_table(lua_State *L) {
  if (lua_getfield(L, -1, "data_core") == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "data_core");
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

static int l_close(lua_State *L) {
  tx_source **handle = luaL_checkudata(L, 1, TX_SOURCE_TYPE);
  tx_source_unref(*handle);
  *handle = NULL;
  return 0;
}

static int l_count(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)tx_check_source(L, 1)->count);
  return 1;
}

/* source:shape() -> count, height, width, channels, dtype */
static int l_shape(lua_State *L) {
  const tx_source *source = tx_check_source(L, 1);
  lua_pushinteger(L, (lua_Integer)source->count);
  lua_pushinteger(L, (lua_Integer)source->height);
  lua_pushinteger(L, (lua_Integer)source->width);
  lua_pushinteger(L, (lua_Integer)source->channels);
  lua_pushstring(L, tx_dtype_name(source->dtype));
  return 5;
}

/* source:image(position) -> f32 {H,W,C} | nil, message */
static int l_image(lua_State *L) {
  tx_source *source = tx_check_source(L, 1);
  int64_t position = tx_check_int(L, 2, "get", "the position");
  int64_t shape[3] = {source->height, source->width, source->channels};
  tx_tensor *image = NULL;
  tx_status status = tx_empty(TX_F32, 3, shape, &image);
  if (status == TX_OK) {
    status = tx_source_read(source, position - 1, tx_f32(image));
    if (status != TX_OK) tx_unref(image);
  }
  return tx_return_tensor(L, status, image);
}

static int gather(lua_State *L, tx_status (*read)(tx_source *, const int64_t *, int64_t, tx_tensor **)) {
  tx_source *source = tx_check_source(L, 1);
  int64_t n;
  const int64_t *positions = tx_check_positions(L, 2, "images", source, &n);
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
  const int64_t *positions = tx_check_positions(L, 2, "statistics", source, &n);
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
  const int64_t *positions = tx_check_positions(L, 2, "save_npy", source, &n);
  tx_watch_interrupt(L);
  return return_true(L, tx_images_save_npy(source, positions, n, path));
}

static int l_from_tensor(lua_State *L) {
  tx_source *source = NULL;
  tx_status status = tx_source_from_tensor(tx_check_tensor(L, 1), &source);
  return return_source(L, status, source);
}

/* from_npy(path, scale) -> source | nil, message; scale 0: see tx_npy_source */
static int l_from_npy(lua_State *L) {
  tx_source *source = NULL;
  tx_watch_interrupt(L);
  tx_status status = tx_npy_source(luaL_checkstring(L, 1), luaL_optnumber(L, 2, 0), &source);
  return return_source(L, status, source);
}

/* concat{source, ...} -> source */
static int l_concat(lua_State *L) {
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

/* -- text, folders, shuffling ------------------------------------------------------------------------------------------ */

#define CSV_TYPE "texres.csv"

static int l_close_csv(lua_State *L) {
  tx_csv_free(luaL_checkudata(L, 1, CSV_TYPE));
  return 0;
}

/* read_csv(path) -> {names = {...}, name = {text, ...}, ...} by position: columns[c][row], names[c] | nil, message */
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

/* shuffle(n, seed, stream) -> a list of 1..n in random order, a function of its arguments alone */
static int l_shuffle(lua_State *L) {
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
    {"from_tensor", l_from_tensor}, {"from_npy", l_from_npy}, {"concat", l_concat}, {"read_csv", l_read_csv},
    {"list_folder", l_list_folder}, {"shuffle", l_shuffle},   {NULL, NULL}};

static const luaL_Reg source_methods[] = {
    {"shape", l_shape},           {"image", l_image},       {"images", l_images}, {"cache", l_cache},
    {"statistics", l_statistics}, {"save_npy", l_save_npy}, {"close", l_close},   {NULL, NULL}};

static const luaL_Reg source_meta[] = {{"__gc", l_close}, {"__close", l_close}, {"__len", l_count}, {NULL, NULL}};
static const luaL_Reg csv_meta[] = {{"__gc", l_close_csv}, {"__close", l_close_csv}, {NULL, NULL}};
static const luaL_Reg folder_meta[] = {{"__gc", l_close_folder}, {"__close", l_close_folder}, {NULL, NULL}};

static void new_type(lua_State *L, const char *name, const luaL_Reg *meta) {
  luaL_newmetatable(L, name);
  luaL_setfuncs(L, meta, 0);
  lua_pop(L, 1);
}

void tx_lua_open_data(lua_State *L) {
  new_type(L, TX_SOURCE_TYPE, source_meta);
  new_type(L, CSV_TYPE, csv_meta);
  new_type(L, FOLDER_TYPE, folder_meta);
  luaL_getmetatable(L, TX_SOURCE_TYPE);
  lua_newtable(L);
  luaL_setfuncs(L, source_methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  tx_push_data_table(L);
  luaL_setfuncs(L, functions, 0);
  lua_pop(L, 1);
}
