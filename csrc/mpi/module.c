/* module.c - the module texres.mpi, for the library's own files alone, which know what its functions take: lua/texres/distributed.lua
 * and trainer/shards.lua. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "data/loader.h"
#include "lua/core_api.h"
#include "mpi/reduction.h"
#include "mpi/wire.h"

#define TX_EXPORT __attribute__((visibility("default")))
TX_EXPORT int luaopen_texres_mpi(lua_State *L);

#define REDUCTION_TYPE "texres.mpi.reduction"

_Static_assert((int)TX_MAX_SHARDS <= (int)TX_REDUCTION_SHARDS, "what a loader cuts can be added up");

static const tx_core_api *core;
static int own_rank, job_size;

static size_t size_of(tx_dtype dtype) { return dtype == TX_U8 ? 1 : dtype == TX_F32 ? 4 : 8; }

/* The tensor at `arg`, whose elements lie one after the other; `written`: and may be changed. */
static tx_tensor *check_elements(lua_State *L, int arg, bool written, int64_t *count) {
  tx_tensor *t = core->check_tensor(L, arg);
  if (!core->is_contiguous(t)) core->error(L, "distributed: wanted a contiguous tensor: call contiguous() first");
  if (written) {
    if (core->elements_apart(t) != TX_OK) core->error(L, "distributed: an expanded tensor can't be written to");
    tx_touch(t);
  }
  *count = 1;
  for (int d = 0; d < t->dims; d++) *count *= t->shape[d];
  return t;
}

/* A number of dtype and shape, which are no others of as many bytes. */
static uint64_t kind_of(const tx_tensor *t) {
  uint64_t kind = 14695981039346656037u ^ (uint64_t)t->dtype; /* FNV-1a */
  for (int d = 0; d < t->dims; d++) kind = kind * 1099511628211u ^ (uint64_t)t->shape[d];
  return kind * 1099511628211u;
}

/* -- all together ------------------------------------------------------------------------------------------------------- */

/* library(): what it calls itself; may be asked before open */
static int l_library(lua_State *L) {
  lua_pushstring(L, tx_wire_library());
  return 1;
}

/* A thread of Lua that has the function to call before a job ends because a rank does not do what this one does. */
static lua_State *teller;

static void tell(int rank, bool ended) {
  lua_pushvalue(teller, 1);
  lua_pushinteger(teller, rank);
  lua_pushboolean(teller, ended);
  lua_pcall(teller, 2, 0, 0);
}

/* open(tell) -> rank, size (from 0), library. tell(rank, ended) tells of a rank that is waited for, but has come to its end, or
 * makes another call. */
static int l_open(lua_State *L) {
  lua_settop(L, 1);
  teller = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, teller, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &teller);
  tx_wire_open(&own_rank, &job_size, tell);
  lua_pushinteger(L, own_rank);
  lua_pushinteger(L, job_size);
  lua_pushstring(L, tx_wire_library());
  return 3;
}

static int l_waited(lua_State *L) {
  lua_pushnumber(L, tx_wire_waited());
  return 1;
}

static int l_barrier(lua_State *L) {
  (void)L;
  tx_wire_barrier();
  return 0;
}

/* broadcast(tensor, root): in place */
static int l_broadcast(lua_State *L) {
  int64_t count;
  const lua_Integer root = lua_tointeger(L, 2);
  tx_tensor *t = check_elements(L, 1, root != own_rank, &count);
  tx_wire_broadcast(tx_data(t), count * (int64_t)size_of(t->dtype), kind_of(t), (int)root);
  return 0;
}

/* all_gather(tensor, into): `into` has room for `size` of them */
static int l_all_gather(lua_State *L) {
  int64_t count, all;
  const tx_tensor *t = check_elements(L, 1, false, &count);
  tx_tensor *into = check_elements(L, 2, true, &all);
  if (all != count * job_size || into->dtype != t->dtype) core->error(L, "all_gather: the result has no room for all");
  tx_wire_all_gather(tx_data(t), count * (int64_t)size_of(t->dtype), kind_of(t), tx_data(into));
  return 0;
}

/* texts(text) -> those of all ranks, a list */
static int l_texts(lua_State *L) {
  size_t own;
  const char *text = lua_tolstring(L, 1, &own);
  int64_t *bytes = lua_newuserdatauv(L, (size_t)job_size * sizeof *bytes, 0), total = 0;
  const int64_t length = (int64_t)own;
  tx_wire_all_gather(&length, sizeof length, 0, bytes);
  for (int r = 0; r < job_size; r++) total += bytes[r];
  char *all = lua_newuserdatauv(L, (size_t)total + 1, 0);
  tx_wire_all_gather_some(text, bytes, all);
  lua_createtable(L, job_size, 0);
  for (int r = 0; r < job_size; r++) {
    lua_pushlstring(L, all, (size_t)bytes[r]);
    lua_seti(L, -2, r + 1);
    all += bytes[r];
  }
  return 1;
}

static int l_abort(lua_State *L) {
  tx_wire_abort((int)lua_tointeger(L, 1));
  return 0;
}

/* -- gradients ---------------------------------------------------------------------------------------------------------- */

typedef struct reduction {
  tx_reduction *r; /* NULL: closed */
  int count;
  bool begun;
  void ***before; /* of the parts before the last shard, the gradients' elements */
  tx_tensor *parameter[];
} reduction;

static reduction *check_reduction(lua_State *L) {
  reduction *r = luaL_testudata(L, 1, REDUCTION_TYPE);
  if (r == NULL || r->r == NULL) core->error(L, "reduction: it is closed");
  return r;
}

/* Where the elements of a gradient are; NULL where there is none that could be summed in place. */
static void *gradient_of(const tx_tensor *parameter) {
  const tx_tensor *g = parameter->grad;
  if (g == NULL || !core->is_contiguous(g)) return NULL;
  return tx_data(g);
}

static void is_whole(void *context, tx_tensor *leaf) {
  reduction *r = context;
  for (int i = 0; i < r->count; i++) {
    if (r->parameter[i] != leaf) continue;
    void *data = gradient_of(leaf);
    if (data != NULL) tx_reduction_ready(r->r, i, data);
    return;
  }
  tx_reduction_poll(r->r);
}

/* reduction(parameters, shards, bucket_bytes): the parameters are kept */
static int l_reduction(lua_State *L) {
  const int shards = (int)lua_tointeger(L, 2);
  const lua_Integer bucket = lua_tointeger(L, 3);
  const int count = (int)luaL_len(L, 1);
  int64_t *elements = lua_newuserdatauv(L, (size_t)count * sizeof *elements + 1, 0);
  reduction *own = lua_newuserdatauv(L, sizeof *own + (size_t)count * sizeof own->parameter[0], 2);
  memset(own, 0, sizeof *own);
  luaL_setmetatable(L, REDUCTION_TYPE);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  const int at = lua_gettop(L);
  tx_dtype dtype = TX_F32;
  for (int i = 0; i < count; i++) {
    lua_geti(L, 1, i + 1);
    own->parameter[i] = check_elements(L, -1, false, &elements[i]);
    lua_pop(L, 1);
    if (i == 0) dtype = own->parameter[i]->dtype;
    if (own->parameter[i]->dtype != dtype) core->error(L, "reduction: parameters are of several dtypes");
  }
  own->count = count;
  own->r = tx_reduction_new(own_rank, job_size, shards, dtype == TX_F64, count, elements,
                            bucket / (lua_Integer)size_of(dtype));
  if (own->r == NULL) core->error(L, "reduction: not enough memory");
  lua_settop(L, at);
  return 1;
}

/* reduction:begin(parts): the sums of the shards before the last one, lists of gradients */
static int l_begin(lua_State *L) {
  reduction *own = check_reduction(L);
  const int parts = (int)luaL_len(L, 2);
  lua_settop(L, 2);
  void **block = lua_newuserdatauv(L, (size_t)parts * (size_t)(own->count + 1) * sizeof(void *) + 1, 0);
  own->before = (void ***)block;
  for (int k = 0; k < parts; k++) {
    void **part = block + parts + k * own->count;
    own->before[k] = part;
    lua_geti(L, 2, k + 1);
    for (int i = 0; i < own->count; i++) {
      int64_t count;
      lua_geti(L, -1, i + 1);
      part[i] = tx_data(check_elements(L, -1, false, &count));
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_createtable(L, 2, 0); /* keeps the gradients and the block of their places */
  lua_pushvalue(L, 2);
  lua_seti(L, -2, 1);
  lua_pushvalue(L, 3);
  lua_seti(L, -2, 2);
  lua_setiuservalue(L, 1, 2);
  tx_reduction_begin(own->r, (void *const *const *)own->before);
  core->listen_to_leaves(is_whole, own);
  own->begun = true;
  return 0;
}

/* reduction:finish(): every parameter has a gradient, and all of them become the sums */
static int l_finish(lua_State *L) {
  reduction *own = check_reduction(L);
  core->listen_to_leaves(NULL, NULL);
  if (!own->begun) core->error(L, "reduction: finish without begin");
  for (int i = 0; i < own->count; i++) {
    void *data = gradient_of(own->parameter[i]);
    if (data == NULL) core->error(L, "reduction: parameter %d has no gradient, or none that is contiguous", i + 1);
    tx_touch(own->parameter[i]->grad);
    tx_reduction_ready(own->r, i, data);
  }
  tx_reduction_finish(own->r);
  own->begun = false;
  lua_pushnil(L);
  lua_setiuservalue(L, 1, 2);
  return 0;
}

/* completed(first, n): how many parts of the tree the shard after the first n completes */
static int l_completed(lua_State *L) {
  lua_pushinteger(L, tx_reduction_completed((int)lua_tointeger(L, 1), (int)lua_tointeger(L, 2)));
  return 1;
}

/* reduction:close(): frees it, between finish and begin */
static int l_close(lua_State *L) {
  reduction *own = luaL_testudata(L, 1, REDUCTION_TYPE);
  if (own == NULL) return 0;
  if (own->begun) core->listen_to_leaves(NULL, NULL);
  own->begun = false;
  tx_reduction_free(own->r);
  own->r = NULL;
  return 0;
}

static const luaL_Reg functions[] = {
    {"library", l_library},     {"waited", l_waited},         {"open", l_open},   {"barrier", l_barrier},
    {"broadcast", l_broadcast}, {"all_gather", l_all_gather}, {"texts", l_texts}, {"abort", l_abort},
    {"reduction", l_reduction}, {"completed", l_completed},   {NULL, NULL},
};
static const luaL_Reg methods[] = {{"begin", l_begin}, {"finish", l_finish}, {"close", l_close}, {NULL, NULL}};
static const luaL_Reg meta[] = {{"__gc", l_close}, {NULL, NULL}};

int luaopen_texres_mpi(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, TX_CORE_API);
  core = lua_touserdata(L, -1);
  if (core == NULL) return luaL_error(L, "texres.mpi: texres is to be loaded first");
  if (strcmp(core->version, TX_VERSION) != 0) {
    return luaL_error(L, "texres.mpi is of texres %s, but this is %s: build both together", TX_VERSION, core->version);
  }
  luaL_newmetatable(L, REDUCTION_TYPE);
  luaL_setfuncs(L, meta, 0);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  luaL_newlib(L, functions);
  return 1;
}
