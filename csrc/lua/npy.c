/* npy.c - texres.load_npy, save_npy, load_npz, t:save_npy. */
#include <string.h>

#include "base/integers.h"
#include "data/limit.h"
#include "data/npy.h"
#include "data/npz.h"
#include "lua/binding.h"

static int l_load_npy(lua_State *L) {
  const char *path = tx_check_path(L, 1, "load_npy");
  tx_check_options(L, 2, "load_npy", "mmap");
  bool mapped = tx_option_bool(L, 2, "load_npy", "mmap", false);
  tx_tensor **handle = tx_new_handle(L);
  tx_watch_interrupt(L);
  return tx_return_tensor(L, tx_load_npy(path, mapped, handle), handle);
}

static int save(lua_State *L, int path, int tensor) {
  const char *name = tx_check_path(L, path, "save_npy");
  return tx_return_true(L, tx_save_npy(name, tx_check_tensor(L, tensor)));
}

static int l_save_npy(lua_State *L) { return save(L, 1, 2); }
static int l_tensor_save_npy(lua_State *L) { return save(L, 2, 1); }

/* -- .npz: the open archive is a userdata, so that it is closed whatever happens -------------------------------------- */

#define ARCHIVE_TYPE "texres.npz"

typedef struct archive {
  tx_file file;
  tx_npz npz;
} archive;

static int l_close_archive(lua_State *L) {
  archive *a = tx_check_object(L, 1, ARCHIVE_TYPE, "load_npz", "an archive");
  tx_npz_free(&a->npz);
  tx_file_release(&a->file);
  return 0;
}

/* Pushes nil and "load_npz: path: message"; raises when memory ran out. */
static int fail_npz(lua_State *L, tx_status status, const char *path) {
  return tx_raise(L, tx_fail_at(status, "load_npz", path));
}

/* Pushes a member's tensor; on failure nothing. */
static tx_status push_member(lua_State *L, const archive *a, int64_t member, tx_npy *npy) {
  tx_tensor **handle = tx_new_handle(L);
  tx_watch_interrupt(L);
  tx_status status = tx_npz_tensor(&a->npz, member, npy, handle);
  if (status != TX_OK) *handle = NULL;
  tx_check_interrupt(L);
  if (status == TX_OK) {
    tx_pace_collector(L);
  } else {
    lua_pop(L, 1);
  }
  return status;
}

/* The member of that name -> tensor | nil, message */
static int load_member(lua_State *L, const archive *a, const char *path, const char *wanted, int64_t max_bytes) {
  tx_npy npy = {0};
  tx_status status = tx_fail(TX_EWORLD, "no member '%s'", wanted);
  for (int64_t m = 0; m < a->npz.count; m++) {
    if (strcmp(wanted, a->npz.member[m].name) != 0) continue;
    status = tx_check_unpacked(a->npz.member[m].unpacked, a->npz.size, max_bytes);
    if (status == TX_OK) status = push_member(L, a, m, &npy);
    break;
  }
  return status == TX_OK ? 1 : fail_npz(L, status, path);
}

static uint64_t unpacked_bytes(const tx_npz *npz) {
  uint64_t sum = 0;
  for (int64_t m = 0; m < npz->count; m++) sum = tx_capped_sum(sum, npz->member[m].unpacked);
  return sum;
}

/* All members -> tensors, types, reasons of the members that are no arrays of numbers, each by name | nil, message */
static int load_members(lua_State *L, const archive *a, const char *path, int64_t max_bytes) {
  tx_status status = tx_check_unpacked(unpacked_bytes(&a->npz), a->npz.size, max_bytes);
  if (status != TX_OK) return fail_npz(L, status, path);
  lua_newtable(L);
  lua_newtable(L);
  lua_newtable(L);
  int first = lua_gettop(L) - 2;
  for (int64_t m = 0; m < a->npz.count; m++) {
    const char *name = a->npz.member[m].name;
    tx_npy npy = {0};
    status = push_member(L, a, m, &npy);
    if (status == TX_OK) {
      lua_setfield(L, first, name);
      lua_pushfstring(L, "%c%d", npy.kind, npy.item);
      lua_setfield(L, first + 1, name);
    } else if (npy.foreign) {
      lua_pushstring(L, tx_message());
      lua_setfield(L, first + 2, name);
    } else {
      return fail_npz(L, status, path);
    }
  }
  return 3;
}

static int l_load_npz(lua_State *L) {
  const char *path = tx_check_path(L, 1, "load_npz");
  const char *wanted = lua_istable(L, 2) ? NULL : tx_opt_string(L, 2, "load_npz", "the name");
  int64_t max_bytes = tx_option_bytes(L, lua_istable(L, 2) ? 2 : 3, "load_npz");
  archive *a = lua_newuserdatauv(L, sizeof *a, 0);
  memset(a, 0, sizeof *a);
  luaL_setmetatable(L, ARCHIVE_TYPE);
  lua_toclose(L, -1);
  tx_watch_interrupt(L);
  tx_status status = tx_file_read("load_npz", path, &a->file);
  if (status != TX_OK) return tx_raise(L, status);
  status = tx_npz_parse(a->file.data, a->file.bytes, &a->npz);
  if (status != TX_OK) return fail_npz(L, status, path);
  tx_check_interrupt(L);
  return wanted != NULL ? load_member(L, a, path, wanted, max_bytes) : load_members(L, a, path, max_bytes);
}

static const tx_function functions[] = {
    {"load_npy", l_load_npy,
     "load_npy(path, {mmap=false}): the tensor of a .npy file of NumPy; or nil and a message. bool becomes u8, other "
     "integers i64, f16 f32. With mmap elements that need no change stay in the file, from which they are read when "
     "they are used."},
    {"save_npy", l_save_npy,
     "save_npy(path, t): writes a tensor as a .npy file, which is replaced as a whole: true, or nil and a message."},
    {"load_npz", l_load_npz,
     "load_npz(path, name, {max_bytes=}): the tensor of that name in a .npz archive of NumPy; without a name three "
     "tables by name: the tensors, the types that they have in the file (\"u2\", \"f4\"), and why others (text, "
     "objects) can't be read. Or nil and a message. What would become more than 1 GiB and more than 16 times its file "
     "in memory is refused: max_bytes says how much it may become."},
    {NULL, NULL, NULL},
};

static const tx_function methods[] = {
    {"save_npy", l_tensor_save_npy,
     "save_npy(t, path): writes the tensor as a .npy file, which is replaced as a whole: true, or nil and a message."},
    {NULL, NULL, NULL},
};

static const luaL_Reg archive_meta[] = {{"__gc", l_close_archive}, {"__close", l_close_archive}, {NULL, NULL}};

void tx_lua_open_npy(lua_State *L) {
  luaL_newmetatable(L, ARCHIVE_TYPE);
  luaL_setfuncs(L, archive_meta, 0);
  lua_pop(L, 1);
  tx_set_functions(L, functions);
  lua_getfield(L, -1, "methods");
  tx_set_functions(L, methods);
  lua_pop(L, 1);
}
