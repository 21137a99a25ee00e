/* file.c - parts of files to tensors, strings and tensors to files; the formats themselves are written in Lua.
 *
 *     core.read_tensor(path, offset, "F16", {64, 3})      the tensor (here f32), or nil and a message
 *     core.write_file(path, {header, tensor, tensor})     true, or nil and a message; all or nothing
 */
#include "base/file.h"

#include <string.h>

#include "base/memory.h"
#include "lua/binding.h"
#include "tensor/half.h"

/* -- reading --------------------------------------------------------------------------------------------------------- */

typedef struct stored_type {
  const char *name; /* as safetensors spells it */
  tx_dtype dtype;   /* of the tensor that is made */
  size_t size;      /* of one element in the file */
} stored_type;

static const stored_type stored_types[] = {
    {"F32", TX_F32, 4}, {"F64", TX_F64, 8}, {"I64", TX_I64, 8},
    {"U8", TX_U8, 1},   {"F16", TX_F32, 2}, {"BF16", TX_F32, 2},
};

static const stored_type *find_type(const char *name) {
  for (size_t i = 0; i < sizeof stored_types / sizeof *stored_types; i++) {
    if (strcmp(stored_types[i].name, name) == 0) return &stored_types[i];
  }
  return NULL;
}

static tx_status read_halves(const char *path, int64_t offset, bool bf16, tx_tensor *t) {
  size_t n = (size_t)tx_numel(t);
  uint16_t *half = tx_alloc(n * sizeof *half);
  if (half == NULL) return TX_ENOMEM;
  tx_status status = tx_read_file(path, offset, half, n * sizeof *half);
  float *value = tx_f32(t);
  for (size_t i = 0; status == TX_OK && i < n; i++) value[i] = bf16 ? tx_bf16_to_f32(half[i]) : tx_f16_to_f32(half[i]);
  tx_dealloc(half);
  return status;
}

static tx_status read_tensor(const char *path, int64_t offset, const stored_type *type, int dims, const int64_t *shape,
                             tx_tensor **out) {
  TX_TRY(tx_empty(type->dtype, dims, shape, out));
  tx_status status = type->size == 2
                         ? read_halves(path, offset, type->name[0] == 'B', *out)
                         : tx_read_file(path, offset, (*out)->storage->data, (size_t)tx_numel(*out) * type->size);
  if (status != TX_OK) tx_unref(*out);
  return status;
}

static int l_read_tensor(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  int64_t offset = tx_check_int(L, 2, "read_tensor", "offset");
  const char *name = luaL_checkstring(L, 3);
  int64_t shape[TX_MAX_DIMS];
  int next;
  int dims = tx_check_shape(L, 4, "read_tensor", shape, &next);
  const stored_type *type = find_type(name);
  if (type == NULL) return tx_raise(L, tx_fail(TX_EWORLD, "%s: elements of type %s cannot be read", path, name));
  if (offset < 0) return tx_error(L, "read_tensor: offset is negative");
  tx_tensor *t = NULL;
  tx_status status = read_tensor(path, offset, type, dims, shape, &t);
  return tx_return_tensor(L, status, t);
}

/* -- writing --------------------------------------------------------------------------------------------------------- */

static tx_piece check_piece(lua_State *L, int index) {
  tx_tensor *t = tx_test_tensor(L, index);
  if (t != NULL) {
    if (!tx_is_contiguous(t)) tx_error(L, "write_file: a tensor %s is not contiguous", tx_shape_of(t));
    return (tx_piece){tx_data(t), (size_t)tx_numel(t) * tx_dtype_size(t->dtype)};
  }
  if (lua_type(L, index) != LUA_TSTRING)
    tx_error(L, "write_file: expected strings and tensors, got %s", tx_describe(L, index));
  size_t bytes;
  const char *text = lua_tolstring(L, index, &bytes);
  return (tx_piece){text, bytes};
}

static int l_write_file(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  int count = (int)luaL_len(L, 2);
  tx_piece *pieces = lua_newuserdatauv(L, sizeof *pieces * ((size_t)count + 1), 0);
  for (int i = 0; i < count; i++) { /* the table keeps the strings and tensors alive */
    lua_rawgeti(L, 2, i + 1);
    pieces[i] = check_piece(L, -1);
    lua_pop(L, 1);
  }
  tx_status status = tx_write_file(path, count, pieces);
  if (status != TX_OK) return tx_raise(L, status);
  lua_pushboolean(L, true);
  return 1;
}

/* -- table ----------------------------------------------------------------------------------------------------------- */

static const luaL_Reg functions[] = {
    {"read_tensor", l_read_tensor},
    {"write_file", l_write_file},
    {NULL, NULL},
};

void tx_lua_open_file(lua_State *L) { luaL_setfuncs(L, functions, 0); }
