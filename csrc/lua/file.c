/* file.c - files as Lua sees them; the formats themselves are written in Lua.
 *
 *     core.open_file(path)                                a file of Lua's io library, for reading, or nil and a message
 *     core.file_kind(path)                                "file", "folder", "other", or nil where nothing stands
 *     core.read_tensor(file, offset, "F16", {64, 3})      the tensor (here f32) and its CRC-32, or nil and a message
 *     core.crc32("text")                                  as gzip and ZIP count it; of a tensor: of its bytes
 *     core.write_file(path, {header, tensor, tensor})     true, or nil and a message; all or nothing
 */
#define _POSIX_C_SOURCE 200809L /* fdopen, fileno */
#include "base/file.h"

#include <lualib.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/integers.h"
#include "base/memory.h"
#include "data/limit.h"
#include "lua/binding.h"
#include "tensor/half.h"

/* -- reading --------------------------------------------------------------------------------------------------------- */

static int l_close(lua_State *L) {
  luaL_Stream *stream = tx_check_object(L, 1, LUA_FILEHANDLE, "close", "a file");
  return luaL_fileresult(L, fclose(stream->f) == 0, NULL);
}

/* open_file(path) -> file | nil, message. Only regular files: see base/file.h. */
static int l_open_file(lua_State *L) {
  const char *path = tx_check_path(L, 1, "open_file");
  luaL_Stream *stream = lua_newuserdatauv(L, sizeof *stream, 0);
  stream->closef = NULL; /* closed so far */
  luaL_setmetatable(L, LUA_FILEHANDLE);
  int descriptor = -1;
  int64_t bytes;
  tx_status status = tx_file_open(NULL, path, &descriptor, &bytes);
  if (status != TX_OK) return tx_raise(L, status);
  stream->f = fdopen(descriptor, "rb");
  if (stream->f == NULL) {
    tx_file_close(descriptor);
    return tx_raise(L, tx_fail(TX_ENOMEM, "%s: not enough memory to open it", path));
  }
  stream->closef = l_close;
  return 1;
}

/* file_kind(path) -> what stands there: "file", "folder", "other"; nil: nothing. See base/file.h. */
static int l_file_kind(lua_State *L) {
  static const char *const names[] = {
      [TX_FILE_REGULAR] = "file", [TX_FILE_FOLDER] = "folder", [TX_FILE_OTHER] = "other"};
  lua_pushstring(L, names[tx_file_kind_of(tx_check_path(L, 1, "file_kind"))]);
  return 1;
}

/* How elements are stored, and what they become. Widths as safetensors names them; all little-endian. */
typedef enum stored_kind { PLAIN, TRUTH, SIGNED, UNSIGNED, HALF, BRAIN, E4M3, E5M2 } stored_kind;

typedef struct stored_type {
  const char *name;
  tx_dtype dtype; /* of the tensor that is made */
  size_t size;    /* of one element in the file */
  stored_kind kind;
} stored_type;

static const stored_type stored_types[] = {
    {"F32", TX_F32, 4, PLAIN},    {"F64", TX_F64, 8, PLAIN},    {"I64", TX_I64, 8, PLAIN},    {"U8", TX_U8, 1, PLAIN},
    {"BOOL", TX_U8, 1, TRUTH},    {"I32", TX_I64, 4, SIGNED},   {"I16", TX_I64, 2, SIGNED},   {"I8", TX_I64, 1, SIGNED},
    {"U64", TX_I64, 8, UNSIGNED}, {"U32", TX_I64, 4, UNSIGNED}, {"U16", TX_I64, 2, UNSIGNED}, {"F16", TX_F32, 2, HALF},
    {"BF16", TX_F32, 2, BRAIN},   {"F8_E4M3", TX_F32, 1, E4M3}, {"F8_E5M2", TX_F32, 1, E5M2},
};

static const stored_type *find_type(const char *name) {
  for (size_t i = 0; i < sizeof stored_types / sizeof *stored_types; i++) {
    if (strcmp(stored_types[i].name, name) == 0) return &stored_types[i];
  }
  return NULL;
}

/* Eight bits: sign, four of the exponent, three of the fraction; no infinity, one NaN (Micikevicius et al., "FP8 formats for
 * deep learning", 2022). */
static float e4m3_to_f32(uint8_t bits) {
  int exponent = bits >> 3 & 15, fraction = bits & 7;
  float value = exponent == 0                     ? ldexpf((float)fraction, -9)
                : exponent == 15 && fraction == 7 ? NAN
                                                  : ldexpf((float)(8 + fraction), exponent - 10);
  return bits >> 7 ? -value : value;
}

static float small_float(uint64_t bits, stored_kind kind) {
  switch (kind) {
    case HALF:
      return tx_f16_to_f32((uint16_t)bits);
    case BRAIN:
      return tx_bf16_to_f32((uint16_t)bits);
    case E5M2: /* the upper half of a half */
      return tx_f16_to_f32((uint16_t)(bits << 8));
    default:
      return e4m3_to_f32((uint8_t)bits);
  }
}

/* Converts elements from `at` on of the tensor. */
static tx_status convert(const stored_type *type, const uint8_t *from, size_t count, size_t at, tx_tensor *t) {
  unsigned above = (unsigned)(64 - 8 * type->size); /* bits that a stored integer lacks */
  for (size_t i = 0; i < count; i++) {
    uint64_t bits = tx_load_le(from + i * type->size, type->size);
    if (type->dtype == TX_F32) {
      tx_f32(t)[at + i] = small_float(bits, type->kind);
    } else if (type->kind == TRUTH) { /* 0, or any other byte */
      tx_u8(t)[at + i] = bits != 0;
    } else if (type->kind == SIGNED) {
      tx_i64(t)[at + i] = (int64_t)(bits << above) >> above;
    } else if (bits > INT64_MAX) {
      return tx_fail(TX_EWORLD, "an unsigned integer is above 9223372036854775807");
    } else {
      tx_i64(t)[at + i] = (int64_t)bits;
    }
  }
  return TX_OK;
}

/* Reads a tensor in parts that stay in the cache while they are counted and converted. */
static tx_status read_elements(int file, int64_t offset, const stored_type *type, tx_tensor *t, uLong *crc) {
  enum { PART = 1 << 18 };
  size_t bytes = (size_t)tx_numel(t) * type->size;
  uint8_t *part = type->kind == PLAIN ? NULL : tx_alloc(PART), *plain = tx_data(t);
  if (type->kind != PLAIN && part == NULL) return TX_ENOMEM;
  tx_status status = TX_OK;
  for (size_t at = 0; at < bytes && status == TX_OK; at += PART) {
    size_t some = (size_t)tx_min((int64_t)(bytes - at), PART);
    uint8_t *to = type->kind == PLAIN ? plain + at : part;
    status = tx_file_read_at(file, offset + (int64_t)at, to, some);
    if (status != TX_OK) break;
    *crc = crc32(*crc, to, (uInt)some);
    if (type->kind != PLAIN) status = convert(type, to, some / type->size, at / type->size, t);
  }
  tx_dealloc(part);
  return status;
}

/* read_tensor(file, offset, type, shape) -> tensor, CRC-32 of the stored bytes | nil, message (the reason only) */
static int l_read_tensor(lua_State *L) {
  luaL_Stream *stream = tx_check_object(L, 1, LUA_FILEHANDLE, "read_tensor", "a file");
  if (stream->closef == NULL) return tx_error(L, "read_tensor: the file is closed");
  int64_t offset = tx_check_int(L, 2, "read_tensor", "offset");
  const char *name = tx_check_string(L, 3, "read_tensor", "type");
  int64_t shape[TX_MAX_DIMS];
  int next;
  int dims = tx_check_shape(L, 4, "read_tensor", shape, &next);
  const stored_type *type = find_type(name);
  if (type == NULL) return tx_raise(L, tx_fail(TX_EWORLD, "elements of type %s cannot be read", name));
  if (offset < 0) return tx_error(L, "read_tensor: offset is negative");
  tx_tensor **handle = tx_new_handle(L);
  uLong crc = crc32(0, NULL, 0);
  tx_status status = tx_empty(type->dtype, dims, shape, handle);
  if (status == TX_OK) status = read_elements(fileno(stream->f), offset, type, *handle, &crc);
  if (status != TX_OK) return tx_raise(L, status); /* the handle is collected */
  tx_pace_collector(L);
  lua_pushinteger(L, (lua_Integer)crc);
  return 2;
}

/* crc32(text or contiguous tensor) -> integer */
static tx_piece check_piece(lua_State *L, int index, const char *operation) {
  tx_tensor *t = tx_test_tensor(L, index);
  if (t != NULL) {
    if (!tx_is_contiguous(t)) tx_error(L, "%s: a tensor %s is not contiguous", operation, tx_shape_of(t));
    return (tx_piece){tx_data(t), (size_t)tx_numel(t) * tx_dtype_size(t->dtype)};
  }
  if (lua_type(L, index) != LUA_TSTRING) {
    tx_error(L, "%s: expected strings and tensors, got %s", operation, tx_describe(L, index));
  }
  size_t bytes;
  const char *text = lua_tolstring(L, index, &bytes);
  return (tx_piece){text, bytes};
}

static int l_crc32(lua_State *L) {
  tx_piece piece = check_piece(L, 1, "crc32");
  lua_pushinteger(L, (lua_Integer)crc32_z(0, piece.data, piece.bytes));
  return 1;
}

/* check_unpacked(path, bytes, max_bytes or nil) -> true | nil, message: data/limit.h, for what is unpacked in steps */
static int l_check_unpacked(lua_State *L) {
  const char *path = tx_check_path(L, 1, "check_unpacked");
  double bytes = tx_check_number(L, 2, "check_unpacked", "bytes");
  int64_t max_bytes = lua_isnoneornil(L, 3) ? 0 : tx_check_int(L, 3, "check_unpacked", "max_bytes"), size;
  int file;
  tx_status status = tx_file_open(NULL, path, &file, &size);
  if (status != TX_OK) return tx_raise(L, status);
  tx_file_close(file);
  status = tx_check_unpacked(bytes < 0x1p63 ? (uint64_t)bytes : UINT64_MAX, (uint64_t)size, max_bytes);
  if (status != TX_OK) return tx_raise(L, tx_fail_at(status, NULL, path));
  lua_pushboolean(L, true);
  return 1;
}

/* -- writing --------------------------------------------------------------------------------------------------------- */

static int l_write_file(lua_State *L) {
  const char *path = tx_check_path(L, 1, "write_file");
  int count = tx_check_list(L, 2, "write_file", "the pieces");
  tx_copy_list(L, 2, count);
  tx_piece *pieces = tx_new_array(L, count, sizeof *pieces);
  for (int i = 0; i < count; i++) { /* our copy of the list keeps the strings and tensors alive */
    lua_rawgeti(L, -2, i + 1);
    pieces[i] = check_piece(L, -1, "write_file");
    lua_pop(L, 1);
  }
  tx_remove_leftovers(path);
  tx_status status = tx_write_file(path, count, pieces);
  if (status != TX_OK) return tx_raise(L, status);
  lua_pushboolean(L, true);
  return 1;
}

/* -- table ----------------------------------------------------------------------------------------------------------- */

static const luaL_Reg functions[] = {
    {"open_file", l_open_file},
    {"file_kind", l_file_kind},
    {"read_tensor", l_read_tensor},
    {"crc32", l_crc32},
    {"check_unpacked", l_check_unpacked},
    {"write_file", l_write_file},
    {NULL, NULL},
};

void tx_lua_open_file(lua_State *L) { luaL_setfuncs(L, functions, 0); }
