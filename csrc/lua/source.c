/* source.c - Source: images of a data set, read one at a time as f32 {H,W,C}. */
#include "lua/source.h"

#include <math.h>
#include <string.h>

tx_source **tx_new_source(lua_State *L) {
  tx_check_owner(L);
  tx_source **handle = lua_newuserdatauv(L, sizeof *handle, 0);
  *handle = NULL;
  luaL_setmetatable(L, TX_SOURCE_TYPE);
  return handle;
}

int tx_return_source(lua_State *L, tx_status status, tx_source **handle) {
  if (status != TX_OK) {
    *handle = NULL; /* whoever failed has given it back */
    return tx_raise(L, status);
  }
  tx_check_interrupt(L);
  return 1;
}

tx_source *tx_check_source(lua_State *L, int arg) {
  tx_source **handle = tx_check_object(L, arg, TX_SOURCE_TYPE, NULL, "a source of images");
  tx_check_owner(L);
  if (*handle == NULL) tx_error(L, "the source of images was closed");
  return *handle;
}

double tx_check_scale(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg)) return 0;
  double scale = lua_type(L, arg) == LUA_TNUMBER ? lua_tonumber(L, arg) : 0;
  if (!(scale > 0 && (float)scale > 0 && isfinite((float)scale))) {
    tx_error(L, "data: scale is %s, wanted a finite number above 0 (in f32)", tx_describe(L, arg));
  }
  return scale;
}

/* texres.source(images, scale, stored) -> Source over a tensor {N,H,W} or {N,H,W,C}. Pixels are stored values * scale, by
 * default what their type is worth (data/scale.h): that of the tensor, or `stored`, as in the file ("u2", "b1"). */
static int l_source(lua_State *L) {
  lua_settop(L, 3);
  double scale = tx_check_scale(L, 2);
  const char *stored = lua_isnil(L, 3) ? "" : tx_check_string(L, 3, "source", "stored");
  int bytes = stored[0] != '\0' ? stored[1] - '0' : 0;
  if (stored[0] != '\0' && (strchr("buif", stored[0]) == NULL || bytes < 1 || bytes > 8 || stored[2] != '\0')) {
    tx_error(L, "source: stored is %s, wanted a type as NumPy writes it, u2", tx_describe(L, 3));
  }
  tx_source **handle = tx_new_source(L);
  const tx_tensor *images = tx_check_tensor(L, 1);
  return tx_return_source(L, tx_source_from_tensor(images, stored[0], bytes, scale, handle), handle);
}

/* source:read(i) -> image i (1-based) as f32 {H,W,C}; nil, message when it can't be decoded. */
static int l_read(lua_State *L) {
  int64_t index = tx_check_int(L, 2, "source", "the index");
  tx_tensor **handle = tx_new_handle(L);
  tx_source *source = tx_check_source(L, 1);
  if (index < 1 || index > source->count)
    return tx_error(L, "source: image %lld: there are %lld", (long long)index, (long long)source->count);
  int64_t shape[] = {source->height, source->width, source->channels};
  tx_status status = tx_empty(TX_F32, 3, shape, handle);
  if (status == TX_OK) status = tx_keep(tx_source_read(source, index - 1, tx_f32(*handle)), handle);
  return tx_return_tensor(L, status, handle);
}

static int l_length(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)tx_check_source(L, 1)->count);
  return 1;
}

/* source.height, .width, .channels, .dtype (of the stored pixels), .scale (what those are multiplied by), .guessed (that factor
 * where the values told it, else nil), and methods. */
static int l_index(lua_State *L) {
  tx_source *source = tx_check_source(L, 1);
  const char *name = tx_check_string(L, 2, "source", "a field's name");
  if (strcmp(name, "height") == 0) {
    lua_pushinteger(L, (lua_Integer)source->height);
  } else if (strcmp(name, "width") == 0) {
    lua_pushinteger(L, (lua_Integer)source->width);
  } else if (strcmp(name, "channels") == 0) {
    lua_pushinteger(L, (lua_Integer)source->channels);
  } else if (strcmp(name, "dtype") == 0) {
    lua_pushstring(L, tx_dtype_name(source->dtype));
  } else if (strcmp(name, "scale") == 0) {
    lua_pushnumber(L, (lua_Number)source->scale);
  } else if (strcmp(name, "guessed") == 0) {
    if (source->guessed != 0)
      lua_pushnumber(L, (lua_Number)source->guessed);
    else
      lua_pushnil(L);
  } else {
    lua_getmetatable(L, 1);
    lua_getfield(L, -1, name);
  }
  return 1;
}

static int l_tostring(lua_State *L) {
  tx_source *s = tx_check_source(L, 1);
  lua_pushfstring(L, "Source(%I images {%I,%I,%I}, %s)", (LUAI_UACINT)s->count, (LUAI_UACINT)s->height,
                  (LUAI_UACINT)s->width, (LUAI_UACINT)s->channels, tx_dtype_name(s->dtype));
  return 1;
}

static int l_gc(lua_State *L) {
  tx_source **handle = tx_check_object(L, 1, TX_SOURCE_TYPE, NULL, "a source of images");
  tx_source_unref(*handle);
  *handle = NULL;
  return 0;
}

static const luaL_Reg methods[] = {{"read", l_read},           {"__index", l_index}, {"__len", l_length},
                                   {"__tostring", l_tostring}, {"__gc", l_gc},       {NULL, NULL}};

static const luaL_Reg functions[] = {{"source", l_source}, {NULL, NULL}};

void tx_lua_open_source(lua_State *L) {
  luaL_newmetatable(L, TX_SOURCE_TYPE);
  luaL_setfuncs(L, methods, 0);
  lua_pop(L, 1);
  luaL_setfuncs(L, functions, 0);
}
