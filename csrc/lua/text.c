/* text.c - text that is the same under every locale: format, number_text, number_of, text_less, visible (see texres/plain.lua). */
#include "base/text.h"

#include <math.h>
#include <string.h>

#include "base/integers.h"
#include "lua/binding.h"

/* NaN has a sign, which is chance and which printf writes: "-nan". */
static void drop_nan_sign(lua_State *L, int arg) {
  if (lua_type(L, arg) != LUA_TNUMBER || lua_tonumber(L, arg) == lua_tonumber(L, arg)) return;
  lua_pushnumber(L, (lua_Number)NAN);
  lua_replace(L, arg);
}

/* format(format, ...) -> what string.format, which is the upvalue, gives in the locale "C"; "nan" for every NaN */
static int l_format(lua_State *L) {
  for (int arg = lua_gettop(L); arg > 1; arg--) drop_nan_sign(L, arg);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  void *before = tx_locale_enter();
  int result = lua_pcall(L, lua_gettop(L) - 1, 1, 0); /* a __tostring may raise: the locale is put back first */
  tx_locale_leave(before);
  return result == LUA_OK ? 1 : lua_error(L);
}

/* number_text(value) -> the shortest of 15 to 17 digits that are read back as the same number; integers as they are */
static int l_number_text(lua_State *L) {
  char text[64];
  if (lua_isinteger(L, 1)) {
    tx_format(text, sizeof text, LUA_INTEGER_FMT, lua_tointeger(L, 1));
  } else {
    double value = tx_check_number(L, 1, "number_text", "the value");
    for (int digits = 15; digits <= 17; digits++) {
      tx_format(text, sizeof text, "%.*g", digits, value);
      if (tx_text_value(text) == value) break;
    }
  }
  lua_pushstring(L, text);
  return 1;
}

/* number_of(text) -> what tonumber gives in the locale "C"; nil when the text is no number */
static int l_number_of(lua_State *L) {
  size_t bytes;
  const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &bytes) : NULL;
  if (text != NULL) {
    void *before = tx_locale_enter();
    size_t used = lua_stringtonumber(L, text);
    tx_locale_leave(before);
    if (used == bytes + 1) return 1;
  }
  luaL_pushfail(L);
  return 1;
}

/* text_less(a, b) -> whether a comes before b, compared byte by byte; Lua's < follows the locale */
static int l_text_less(lua_State *L) {
  const char *a = tx_check_string(L, 1, "text_less", "a"), *b = tx_check_string(L, 2, "text_less", "b");
  int64_t a_bytes = (int64_t)lua_rawlen(L, 1), b_bytes = (int64_t)lua_rawlen(L, 2);
  int order = memcmp(a, b, (size_t)tx_min(a_bytes, b_bytes));
  lua_pushboolean(L, order < 0 || (order == 0 && a_bytes < b_bytes));
  return 1;
}

/* visible(text) -> the text, nothing in which steers a terminal: see tx_visible */
static int l_visible(lua_State *L) {
  size_t bytes = 0;
  tx_check_string(L, 1, "visible", "the text");
  const char *text = lua_tolstring(L, 1, &bytes);
  luaL_Buffer buffer;
  char *out = luaL_buffinitsize(L, &buffer, 4 * bytes + 1);
  luaL_pushresultsize(&buffer, tx_visible(out, 4 * bytes + 1, text, bytes));
  return 1;
}

/* -- table ----------------------------------------------------------------------------------------------------------- */

static const luaL_Reg functions[] = {
    {"number_text", l_number_text},
    {"number_of", l_number_of},
    {"text_less", l_text_less},
    {"visible", l_visible},
    {NULL, NULL},
};

void tx_lua_open_text(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, "string");
  lua_getfield(L, -1, "format");
  lua_pushcclosure(L, l_format, 1);
  lua_setfield(L, -4, "format");
  lua_pop(L, 2);
}
