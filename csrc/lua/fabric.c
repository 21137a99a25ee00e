/* fabric.c - the synthetic textile generator as a function; lua/texres/data/fabric.lua makes a data set of it. */
#include <stdio.h>
#include <string.h>

#include "fabric/fabric.h"
#include "lua/binding.h"

static const char OPERATION[] = "fabric";

/* The position of the name at `at` in `names`; raises with the choices when it is none of them. */
static int check_name(lua_State *L, int at, const char *what, const char *const *names) {
  const char *name = lua_type(L, at) == LUA_TSTRING ? lua_tostring(L, at) : "";
  char choices[128] = "";
  for (int i = 0; names[i] != NULL; i++) {
    if (strcmp(name, names[i]) == 0) return i;
    snprintf(choices + strlen(choices), sizeof choices - strlen(choices), "%s%s", i > 0 ? ", " : "", names[i]);
  }
  return tx_error(L, "%s: unknown %s %s; the choices are %s", OPERATION, what, tx_describe(L, at), choices);
}

/* Field `name`, a number or {low, high}, into a range. */
static void read_range(lua_State *L, const char *name, double range[2]) {
  int type = lua_getfield(L, 1, name), top = lua_gettop(L);
  if (type == LUA_TNUMBER) {
    range[0] = range[1] = lua_tonumber(L, top);
  } else if (type == LUA_TTABLE) {
    for (int i = 0; i < 2; i++) {
      lua_geti(L, top, i + 1);
      range[i] = tx_check_number(L, top + 1, OPERATION, name);
      lua_pop(L, 1);
    }
  } else if (type != LUA_TNIL) {
    tx_error(L, "%s: %s must be a number or {low, high}, got %s", OPERATION, name, tx_describe(L, top));
  }
  lua_pop(L, 1);
}

static void read_classes(lua_State *L, tx_fabric_options *o) {
  if (lua_getfield(L, 1, "classes") != LUA_TTABLE) tx_error(L, "%s: classes must be a list of names", OPERATION);
  int n = tx_check_list(L, lua_gettop(L), OPERATION, "classes");
  if (n < 1 || n > TX_DEFECT_COUNT) tx_error(L, "%s: 1..%d classes are possible", OPERATION, TX_DEFECT_COUNT);
  for (int i = 0; i < n; i++) {
    lua_geti(L, -1, i + 1);
    o->classes[i] = (tx_defect)check_name(L, lua_gettop(L), "class", tx_defect_names);
    lua_pop(L, 1);
  }
  o->n_classes = n;
  lua_pop(L, 1);
}

/* Field weave: a name, or a list of names. */
static void read_weaves(lua_State *L, tx_fabric_options *o) {
  int type = lua_getfield(L, 1, "weave"), top = lua_gettop(L);
  if (type == LUA_TTABLE) {
    for (int i = 1, n = tx_check_list(L, top, OPERATION, "weave"); i <= n; i++) {
      lua_geti(L, top, i);
      o->weaves |= 1u << check_name(L, top + 1, "weave", tx_weave_names);
      lua_pop(L, 1);
    }
  } else {
    o->weaves = 1u << check_name(L, top, "weave", tx_weave_names);
  }
  lua_pop(L, 1);
}

/* Pushes the table of columns, one entry per image each. */
static void push_records(lua_State *L, const tx_fabric_record *records, int64_t count) {
  lua_createtable(L, 0, 7);
  tx_set_numbers(L, "angle", &records->angle, count, sizeof *records);
  tx_set_numbers(L, "severity", &records->severity, count, sizeof *records);
  tx_set_numbers(L, "size", &records->size, count, sizeof *records);
  tx_set_numbers(L, "row", &records->row, count, sizeof *records);
  tx_set_numbers(L, "col", &records->col, count, sizeof *records);
  lua_createtable(L, (int)count, 0);
  lua_createtable(L, (int)count, 0);
  for (int64_t i = 0; i < count; i++) {
    lua_pushfstring(L, "cloth%d", (int)records[i].source + 1);
    lua_seti(L, -3, i + 1);
    lua_pushstring(L, tx_weave_names[records[i].weave]);
    lua_seti(L, -2, i + 1);
  }
  lua_setfield(L, -3, "weave");
  lua_setfield(L, -2, "source");
}

/* A new tensor handle on the stack, filled with an undefined tensor. */
static tx_tensor *push_empty(lua_State *L, tx_dtype dtype, int dims, const int64_t *shape) {
  tx_tensor **handle = tx_new_handle(L);
  tx_return_tensor(L, tx_empty(dtype, dims, shape, handle), handle);
  return *handle;
}

/* texres.fabric{count=, height=, width=, seed=, classes=, weave=, sources=, severity=, defect_size=, yarn=, masks=}
 * -> images u8 {N,H,W,1}, labels i64 {N} 1-based, columns, masks u8 {N,H,W,1} or nil. */
static int l_fabric(lua_State *L) {
  tx_check_table(L, 1, OPERATION, "the options");
  lua_settop(L, 1);
  tx_fabric_options o = {
      .count = tx_option_int(L, 1, OPERATION, "count", 0),
      .height = tx_option_int(L, 1, OPERATION, "height", 64),
      .width = tx_option_int(L, 1, OPERATION, "width", 64),
      .seed = (uint64_t)tx_option_int(L, 1, OPERATION, "seed", 0),
      .sources = tx_option_int(L, 1, OPERATION, "sources", 1),
      .severity = {0.4, 1.0},
      .defect_size = {28, 56},
      .yarn = {23, 28},
  };
  bool with_masks = tx_option_bool(L, 1, OPERATION, "masks", false);
  read_classes(L, &o);
  read_weaves(L, &o);
  read_range(L, "severity", o.severity);
  read_range(L, "defect_size", o.defect_size);
  read_range(L, "yarn", o.yarn);
  tx_status status = tx_fabric_check(&o);
  if (status != TX_OK) return tx_raise(L, status);
  int64_t shape[] = {o.count, o.height, o.width, 1};
  tx_tensor *images = push_empty(L, TX_U8, 4, shape), *labels = push_empty(L, TX_I64, 1, shape);
  tx_tensor *masks = with_masks ? push_empty(L, TX_U8, 4, shape) : NULL;
  tx_fabric_record *records = tx_new_array(L, o.count, sizeof *records);
  tx_watch_interrupt(L);
  status = tx_fabric_generate(&o, tx_u8(images), masks != NULL ? tx_u8(masks) : NULL, records);
  if (status != TX_OK) return tx_raise(L, status);
  tx_check_interrupt(L);
  for (int64_t i = 0; i < o.count; i++) tx_i64(labels)[i] = records[i].label + 1;
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  push_records(L, records, o.count);
  if (masks == NULL) return 3;
  lua_pushvalue(L, 4);
  return 4;
}

static void push_names(lua_State *L, const char *const *names) {
  lua_newtable(L);
  for (int i = 0; names[i] != NULL; i++) {
    lua_pushstring(L, names[i]);
    lua_seti(L, -2, i + 1);
  }
}

/* texres.fabric_choices() -> list of class names, list of weave names. */
static int l_fabric_choices(lua_State *L) {
  push_names(L, tx_defect_names);
  push_names(L, tx_weave_names);
  return 2;
}

static const luaL_Reg functions[] = {{"fabric", l_fabric}, {"fabric_choices", l_fabric_choices}, {NULL, NULL}};

void tx_lua_open_fabric(lua_State *L) { luaL_setfuncs(L, functions, 0); }
