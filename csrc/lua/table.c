/* table.c - CSV tables, folders, and the order of a shuffled list: read_csv, list_folder, shuffled. */
#include <limits.h>
#include <string.h>

#include "base/file.h"
#include "base/rng.h"
#include "data/csv.h"
#include "lua/binding.h"

#define CSV_TYPE "texres.csv"

static int l_close_csv(lua_State *L) {
  tx_csv_free(tx_check_object(L, 1, CSV_TYPE, "read_csv", "a CSV table"));
  return 0;
}

static int l_read_csv(lua_State *L) {
  const char *path = tx_check_path(L, 1, "read_csv");
  int64_t max_bytes = tx_option_bytes(L, 2, "read_csv");
  tx_csv *csv = lua_newuserdatauv(L, sizeof *csv, 0);
  memset(csv, 0, sizeof *csv);
  luaL_setmetatable(L, CSV_TYPE);
  lua_toclose(L, -1);
  tx_status status = tx_csv_read(path, max_bytes, csv);
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
  lua_createtable(L, (int)csv->rows, 0);
  for (int64_t r = 0; r < csv->rows; r++) {
    lua_pushinteger(L, (lua_Integer)csv->line[r + 1]);
    lua_seti(L, -2, r + 1);
  }
  return 3;
}

#define FOLDER_TYPE "texres.folder"

static int l_close_folder(lua_State *L) {
  tx_folder_free(tx_check_object(L, 1, FOLDER_TYPE, "list_folder", "a folder"));
  return 0;
}

/* list_folder(path) -> {names of files}, {names of folders}, both sorted, without those that start with a dot */
static int l_list_folder(lua_State *L) {
  const char *path = tx_check_path(L, 1, "list_folder");
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
  int64_t n = tx_check_int(L, 1, "shuffled", "the count");
  if (n < 0 || n > INT_MAX) return tx_error(L, "shuffled: the count is %lld: 0..%d", (long long)n, INT_MAX);
  tx_rng rng = tx_rng_make((uint64_t)tx_check_int(L, 2, "shuffled", "the seed"),
                           (uint64_t)tx_check_int(L, 3, "shuffled", "the stream"));
  int64_t *order = tx_new_array(L, n, sizeof *order);
  for (int64_t i = 0; i < n; i++) order[i] = i + 1;
  tx_rng_shuffle(&rng, order, n);
  lua_createtable(L, (int)n, 0);
  for (int64_t i = 0; i < n; i++) {
    lua_pushinteger(L, (lua_Integer)order[i]);
    lua_seti(L, -2, i + 1);
  }
  return 1;
}

/* -- tables ----------------------------------------------------------------------------------------------------------- */

static const tx_function functions[] = {
    {"read_csv", l_read_csv,
     "read_csv(path, {max_bytes=}): a CSV file as three lists: the names of the columns, the columns, each a list of "
     "texts, and for each row the line of the file on which it starts; or nil and a message. max_bytes: as in "
     "load_npz."},
    {"list_folder", l_list_folder, NULL},
    {"shuffled", l_shuffled, NULL},
    {NULL, NULL, NULL},
};

static const luaL_Reg csv_meta[] = {{"__gc", l_close_csv}, {"__close", l_close_csv}, {NULL, NULL}};
static const luaL_Reg folder_meta[] = {{"__gc", l_close_folder}, {"__close", l_close_folder}, {NULL, NULL}};

static void new_type(lua_State *L, const char *name, const luaL_Reg *meta) {
  luaL_newmetatable(L, name);
  luaL_setfuncs(L, meta, 0);
  lua_pop(L, 1);
}

void tx_lua_open_table(lua_State *L) {
  new_type(L, CSV_TYPE, csv_meta);
  new_type(L, FOLDER_TYPE, folder_meta);
  tx_set_functions(L, functions);
}
