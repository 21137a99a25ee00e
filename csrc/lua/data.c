/* data.c - sources over .npy files and several sources; what is done with many images of a source. */
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "base/integers.h"
#include "base/memory.h"
#include "fingerprint/fingerprint.h"
#include "data/images.h"
#include "data/npy.h"
#include "lua/source.h"

/* -- helpers ---------------------------------------------------------------------------------------------------------- */

/* Positions from 1, as they stand at `arg`: a list, a tensor i64 {n}, or nil: all of the source at 1. Pushes a buffer that
 * must stay on the stack while the positions are used. */
static int64_t *read_positions(lua_State *L, int arg, const char *operation, int64_t *n) {
  if (lua_isnoneornil(L, arg)) {
    *n = tx_check_source(L, 1)->count;
    int64_t *all = tx_new_array(L, *n, sizeof *all);
    for (int64_t i = 0; i < *n; i++) all[i] = i + 1;
    return all;
  }
  const tx_tensor *t = tx_test_tensor(L, arg);
  if (t != NULL ? t->dtype != TX_I64 || t->dims != 1 : !lua_istable(L, arg)) {
    tx_error(L, "%s: positions must be a list or a tensor i64 {n}, got %s", operation, tx_describe(L, arg));
  }
  *n = t != NULL ? t->shape[0] : tx_check_list(L, arg, operation, "the positions");
  int64_t *positions = tx_new_array(L, *n, sizeof *positions);
  if (t != NULL) t = tx_check_tensor(L, arg);
  for (int64_t i = 0; i < *n; i++) {
    if (t != NULL) {
      positions[i] = tx_i64(t)[i * t->strides[0]];
    } else {
      lua_geti(L, arg, i + 1);
      positions[i] = tx_check_int(L, lua_gettop(L), operation, "a position");
      lua_pop(L, 1);
    }
  }
  return positions;
}

/* The same from 0; raises when one is out of range. The source is taken last: reading a list may close it. */
static const int64_t *check_positions(lua_State *L, int arg, const char *operation, int64_t *n) {
  int64_t *positions = read_positions(L, arg, operation, n);
  const int64_t count = tx_check_source(L, 1)->count;
  for (int64_t i = 0; i < *n; i++, positions++) {
    if (*positions < 1 || *positions > count) {
      tx_error(L, "%s: image %lld: the set has 1..%lld", operation, (long long)*positions, (long long)count);
    }
    --*positions;
  }
  return positions - *n;
}

/* -- many images, several sources ------------------------------------------------------------------------------------- */

/* source:images(positions) -> f32 {n,H,W,C} | nil, message */
static int l_images(lua_State *L) {
  int64_t n;
  const int64_t *positions = check_positions(L, 2, "images", &n);
  tx_tensor **handle = tx_new_handle(L);
  tx_source *source = tx_check_source(L, 1);
  tx_watch_interrupt(L);
  return tx_return_tensor(L, tx_images_read(source, positions, n, handle), handle);
}

/* source:cache(positions, {max_bytes=}) -> source of these images in memory; positions: all by default | nil, message */
static int l_cache(lua_State *L) {
  int64_t n, max_bytes = tx_option_bytes(L, 3, "cache");
  const int64_t *positions = check_positions(L, 2, "cache", &n);
  tx_source **handle = tx_new_source(L), *source = tx_check_source(L, 1);
  tx_watch_interrupt(L);
  return tx_return_source(L, tx_images_cache(source, positions, n, max_bytes, handle), handle);
}

/* Where the statistics of so many channels go; pushes it. */
static tx_statistics new_statistics(lua_State *L, int64_t channels) {
  double *room = tx_new_array(L, channels, 4 * sizeof *room);
  return (tx_statistics){room, room + channels, room + 2 * channels, room + 3 * channels};
}

/* {mean =, std =, min =, max =}, each a list per channel */
static int push_statistics(lua_State *L, const tx_statistics *s, int64_t channels) {
  lua_createtable(L, 0, 4);
  tx_set_numbers(L, "mean", s->mean, channels, sizeof(double));
  tx_set_numbers(L, "std", s->std, channels, sizeof(double));
  tx_set_numbers(L, "min", s->low, channels, sizeof(double));
  tx_set_numbers(L, "max", s->high, channels, sizeof(double));
  return 1;
}

/* source:statistics(positions) -> {mean =, std =, min =, max =} | nil, message */
static int l_statistics(lua_State *L) {
  int64_t n;
  const int64_t *positions = check_positions(L, 2, "statistics", &n), channels = tx_check_source(L, 1)->channels;
  const tx_statistics s = new_statistics(L, channels);
  tx_source *source = tx_check_source(L, 1);
  tx_watch_interrupt(L);
  tx_status status = tx_images_statistics(source, positions, n, &s);
  if (status != TX_OK) return tx_raise(L, status);
  tx_check_interrupt(L);
  return push_statistics(L, &s, channels);
}

/* source:moments(positions, first, last) -> those of these blocks of MOMENTS_BLOCK images, from 1, as a text; of all blocks, in
 * their order, joined_moments makes the statistics | nil, message */
static int l_moments(lua_State *L) {
  int64_t n;
  const int64_t *positions = check_positions(L, 2, "statistics", &n), channels = tx_check_source(L, 1)->channels;
  const int64_t first = tx_check_int(L, 3, "moments", "the first block"),
                last = tx_check_int(L, 4, "moments", "the last");
  if (first < 1 || last < first || last > tx_ceil_div(n, TX_IMAGES_BLOCK)) {
    return tx_error(L, "moments: blocks %lld to %lld of %lld images", (long long)first, (long long)last, (long long)n);
  }
  tx_moments *moments = tx_new_array(L, (last - first + 1) * channels, sizeof *moments);
  tx_source *source = tx_check_source(L, 1);
  tx_watch_interrupt(L);
  tx_status status = tx_images_moments(source, positions, n, first - 1, last, moments);
  if (status != TX_OK) return tx_raise(L, status);
  tx_check_interrupt(L);
  lua_pushlstring(L, (const char *)moments, (size_t)((last - first + 1) * channels) * sizeof *moments);
  return 1;
}

/* joined_moments(text, channels) -> {mean =, std =, min =, max =} */
static int l_joined_moments(lua_State *L) {
  size_t bytes;
  const char *text = luaL_tolstring(L, 1, &bytes);
  const int64_t channels = tx_check_int(L, 2, "joined_moments", "the channels");
  if (channels < 1 || bytes % ((size_t)channels * sizeof(tx_moments)) != 0) {
    return tx_error(L, "joined_moments: %d bytes are no moments of %lld channels", (int)bytes, (long long)channels);
  }
  const int64_t blocks = (int64_t)(bytes / ((size_t)channels * sizeof(tx_moments)));
  tx_moments *moments = tx_new_array(L, blocks * channels, sizeof *moments);
  memcpy(moments, text, bytes);
  const tx_statistics s = new_statistics(L, channels);
  tx_images_join(moments, blocks, channels, &s);
  return push_statistics(L, &s, channels);
}

/* source:save_npy(positions, path) -> true | nil, message */
static int l_save_npy(lua_State *L) {
  const char *path = tx_check_path(L, 3, "save_npy");
  int64_t n;
  const int64_t *positions = check_positions(L, 2, "save_npy", &n);
  tx_source *source = tx_check_source(L, 1);
  tx_watch_interrupt(L);
  return tx_return_true(L, tx_images_save_npy(source, positions, n, path));
}

/* npy_source(path, scale) -> source | nil, message; without a scale: what data/scale.h says */
static int l_npy_source(lua_State *L) {
  const char *path = tx_check_path(L, 1, "npy_source");
  double scale = tx_check_scale(L, 2);
  tx_source **handle = tx_new_source(L);
  tx_watch_interrupt(L);
  return tx_return_source(L, tx_npy_source(path, scale, handle), handle);
}

/* concat_sources{source, ...} -> source */
static int l_concat_sources(lua_State *L) {
  int count = tx_check_list(L, 1, "concat_sources", "the list of sources");
  if (count == 0) return tx_error(L, "concat_sources: the list of sources is empty");
  tx_copy_list(L, 1, count);
  lua_replace(L, 1);
  tx_source **parts = tx_new_array(L, count, sizeof *parts), **handle = tx_new_source(L);
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, 1, i + 1);
    if (luaL_testudata(L, -1, TX_SOURCE_TYPE) == NULL) {
      return tx_error(L, "concat_sources: item %d must be a source of images, got %s", i + 1, tx_describe(L, -1));
    }
    parts[i] = tx_check_source(L, lua_gettop(L));
    lua_pop(L, 1);
  }
  return tx_return_source(L, tx_source_concat(parts, count, handle), handle);
}

/* -- fingerprints ------------------------------------------------------------------------------------------------------------ */

static void push_column(lua_State *L, const tx_fingerprint *fingerprints, int64_t n, size_t offset, const char *name) {
  lua_createtable(L, (int)n, 0);
  for (int64_t i = 0; i < n; i++) {
    float value;
    memcpy(&value, (const char *)&fingerprints[i] + offset, sizeof value);
    lua_pushnumber(L, value);
    lua_seti(L, -2, i + 1);
  }
  lua_setfield(L, -2, name);
}

/* Pushes a table of columns: exact (16 bytes of text), mean, std, low, high, dark, bright. */
static void push_fingerprints(lua_State *L, const tx_fingerprint *fingerprints, int64_t n) {
  lua_createtable(L, 0, 7);
  lua_createtable(L, (int)n, 0);
  for (int64_t i = 0; i < n; i++) {
    lua_pushlstring(L, (const char *)fingerprints[i].exact, sizeof fingerprints[i].exact);
    lua_seti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "exact");
  push_column(L, fingerprints, n, offsetof(tx_fingerprint, mean), "mean");
  push_column(L, fingerprints, n, offsetof(tx_fingerprint, std), "std");
  push_column(L, fingerprints, n, offsetof(tx_fingerprint, low), "low");
  push_column(L, fingerprints, n, offsetof(tx_fingerprint, high), "high");
  push_column(L, fingerprints, n, offsetof(tx_fingerprint, dark), "dark");
  push_column(L, fingerprints, n, offsetof(tx_fingerprint, bright), "bright");
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

/* The parts of n images, a list of numbers from 1 at `arg`, as numbers from 0; pushes their buffer. */
static const int32_t *check_parts(lua_State *L, int arg, int64_t n, int32_t *parts) {
  if (tx_check_list(L, arg, "audit", "the parts") != n) tx_error(L, "audit: a part for each image is needed");
  int32_t *part = tx_new_array(L, n, sizeof *part);
  *parts = 1;
  for (int64_t i = 0; i < n; i++) {
    lua_geti(L, arg, i + 1);
    int64_t number = tx_check_int(L, lua_gettop(L), "audit", "a part");
    lua_pop(L, 1);
    if (number < 1 || number > 1 << 16) tx_error(L, "audit: part %lld: 1..65536 is needed", (long long)number);
    part[i] = (int32_t)number - 1;
    if (number > *parts) *parts = (int32_t)number;
  }
  return part;
}

/* source:fingerprints(positions, parts, bits, similarity, white) -> columns, pairs that look alike | nil, message; positions in
 * the pairs are those in the list, `parts` a number for each */
static int l_fingerprints(lua_State *L) {
  tx_near_rule rule = {.bits = (int)tx_max(0, tx_min(tx_check_int(L, 4, "audit", "bits"), INT_MAX)),
                       .similarity = tx_check_number(L, 5, "audit", "similarity")};
  double white = tx_check_number(L, 6, "audit", "white");
  int64_t n;
  const int64_t *positions = check_positions(L, 2, "audit", &n);
  if (n > INT32_MAX) return tx_error(L, "audit: %lld images: at most %d", (long long)n, INT32_MAX);
  rule.part = check_parts(L, 3, n, &rule.parts);
  tx_fingerprint *fingerprints = tx_new_array(L, n, sizeof *fingerprints);
  void **block = tx_new_block(L);
  tx_source *source = tx_check_source(L, 1);
  tx_near *pairs;
  int64_t count;
  tx_watch_interrupt(L);
  tx_status status = tx_fingerprint_images(source, positions, n, (float)white, fingerprints);
  if (status == TX_OK) status = tx_find_near(fingerprints, n, &rule, &pairs, &count);
  if (status != TX_OK) return tx_raise(L, status);
  *block = pairs;
  tx_check_interrupt(L);
  push_fingerprints(L, fingerprints, n);
  push_pairs(L, pairs, count);
  return 2;
}

/* -- tables ----------------------------------------------------------------------------------------------------------- */

static const luaL_Reg functions[] = {{"npy_source", l_npy_source},
                                     {"concat_sources", l_concat_sources},
                                     {"joined_moments", l_joined_moments},
                                     {NULL, NULL}};

static const luaL_Reg source_methods[] = {{"images", l_images},
                                          {"cache", l_cache},
                                          {"statistics", l_statistics},
                                          {"moments", l_moments},
                                          {"save_npy", l_save_npy},
                                          {"fingerprints", l_fingerprints},
                                          {NULL, NULL}};

void tx_lua_open_data(lua_State *L) {
  luaL_getmetatable(L, TX_SOURCE_TYPE); /* more methods for what source.c has opened */
  luaL_setfuncs(L, source_methods, 0);
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
  lua_pushinteger(L, TX_IMAGES_BLOCK);
  lua_setfield(L, -2, "MOMENTS_BLOCK");
}
