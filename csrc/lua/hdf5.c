/* hdf5.c - HDF5 files: hdf5_datasets, load_hdf5, hdf5_source. */
#include "data/hdf5.h"

#include <string.h>

#include "lua/source.h"

#define LIST_TYPE "texres.hdf5"

static int l_close_hdf5(lua_State *L) {
  tx_hdf5_list_free(tx_check_object(L, 1, LIST_TYPE, "hdf5_datasets", "a list of datasets"));
  return 0;
}

static int l_hdf5_datasets(lua_State *L) {
  const char *path = tx_check_path(L, 1, "hdf5_datasets");
  tx_hdf5_list *list = lua_newuserdatauv(L, sizeof *list, 0);
  memset(list, 0, sizeof *list);
  luaL_setmetatable(L, LIST_TYPE);
  lua_toclose(L, -1);
  tx_status status = tx_hdf5_list_datasets(path, list);
  if (status != TX_OK) return tx_raise(L, status);
  lua_createtable(L, (int)list->count, 0);
  lua_newtable(L);
  for (int64_t i = 0, n = 0; i < list->count; i++) {
    const tx_hdf5_dataset *d = &list->dataset[i];
    if (d->foreign) {
      lua_pushfstring(L, "%s holds text, records or more dimensions than a tensor has", d->path);
      lua_setfield(L, -2, d->path);
      continue;
    }
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
    lua_seti(L, -3, ++n);
  }
  return 2;
}

static int l_load_hdf5(lua_State *L) {
  const char *path = tx_check_path(L, 1, "load_hdf5"), *dataset = tx_check_string(L, 2, "load_hdf5", "the dataset");
  int64_t max_bytes = tx_option_bytes(L, 3, "load_hdf5");
  tx_tensor **handle = tx_new_handle(L);
  return tx_return_tensor(L, tx_hdf5_load(path, dataset, max_bytes, handle), handle);
}

/* hdf5_source(path, dataset, scale, {max_bytes=}) -> source that reads images from the file one by one | nil, message */
static int l_hdf5_source(lua_State *L) {
  const char *path = tx_check_path(L, 1, "hdf5_source"), *dataset = tx_check_string(L, 2, "hdf5_source", "the dataset");
  double scale = tx_check_scale(L, 3);
  int64_t max_bytes = tx_option_bytes(L, 4, "hdf5_source");
  tx_source **handle = tx_new_source(L);
  return tx_return_source(L, tx_hdf5_source(path, dataset, scale, max_bytes, handle), handle);
}

static const tx_function functions[] = {
    {"hdf5_datasets", l_hdf5_datasets,
     "hdf5_datasets(path): what an HDF5 file holds: a list of {name = \"/color/20\", dtype = \"u8\", shape = {...}}, "
     "and a table of why others can't be read, by name; or nil and a message, also where texres was built without "
     "HDF5."},
    {"load_hdf5", l_load_hdf5,
     "load_hdf5(path, dataset, {max_bytes=}): a dataset of an HDF5 file as a tensor; or nil and a message. max_bytes: "
     "as in load_npz."},
    {"hdf5_source", l_hdf5_source, NULL},
    {NULL, NULL, NULL},
};

static const luaL_Reg list_meta[] = {{"__gc", l_close_hdf5}, {"__close", l_close_hdf5}, {NULL, NULL}};

void tx_lua_open_hdf5(lua_State *L) {
  luaL_newmetatable(L, LIST_TYPE);
  luaL_setfuncs(L, list_meta, 0);
  lua_pop(L, 1);
  tx_set_functions(L, functions);
}
