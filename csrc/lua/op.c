/* op.c - the generic binding: every row of autograd/list.h becomes a Lua function.
 *
 * The description of the function (autograd/op.h) says how arguments are read: tensor inputs first, then parameters, by
 * position; a last table with names gives parameters, and inputs that may be absent, by name:
 *
 *     F.conv2d(x, w, { bias = b, stride = 2, padding = "same" })      t:sum(1, true)      t:sum({1, 2}, { keepdim = true })
 *
 * Tables are read first, pointers to tensors taken last (binding.h): until then an input is a place on the stack.
 *
 * A tensor may also stand behind a number that is a parameter: gather(x, 2, index) is gather(x, index, 2).
 */
#include <math.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/list.h"
#include "base/integers.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/text.h"
#include "lua/binding.h"
#include "lua/op.h"

enum { MAX_PARAMS_SIZE = 512 };

/* -- descriptions ---------------------------------------------------------------------------------------------------- */

/* Name number i of a list "x w bias?" into name; false past the end. *optional tells whether a ? stood behind it. */
static bool word(const char *list, int i, char name[32], bool *optional) {
  for (; *list != '\0'; i--) {
    size_t length = strcspn(list, " ");
    if (i == 0) {
      *optional = length > 0 && list[length - 1] == '?';
      if (*optional) length--;
      if (length > 31) length = 31;
      memcpy(name, list, length);
      name[length] = '\0';
      return true;
    }
    list += length;
    while (*list == ' ') list++;
  }
  return false;
}

static int choice(const char *choices, const char *wanted) {
  char name[32];
  bool unused;
  for (int i = 0; word(choices, i, name, &unused); i++) {
    if (strcmp(name, wanted) == 0) return i;
  }
  return -1;
}

/* -- parameters ------------------------------------------------------------------------------------------------------ */

/* Writes the default_value of a parameter. */
static void set_default(const tx_param *p, char *params) {
  void *at = params + p->offset;
  const char *text = p->default_value;
  bool none = text == NULL || strcmp(text, "none") == 0;
  switch (p->kind) {
    case TX_PARAM_INT:
    case TX_PARAM_INDEX:
      *(int64_t *)at = none ? INT64_MIN : strtoll(text, NULL, 10);
      break;
    case TX_PARAM_NUMBER:
      *(double *)at = none ? (double)NAN : tx_text_value(text);
      break;
    case TX_PARAM_VALUE:
      *(tx_number *)at = tx_real(none ? (double)NAN : tx_text_value(text));
      break;
    case TX_PARAM_BOOL:
      *(bool *)at = text != NULL && strcmp(text, "true") == 0;
      break;
    case TX_PARAM_PAIR:
      for (int i = 0; i < 2; i++) ((int64_t *)at)[i] = none ? INT64_MIN : strtoll(text, NULL, 10);
      break;
    case TX_PARAM_PADDING: {
      int64_t n = none ? 0 : strtoll(text, NULL, 10);
      *(tx_padding *)at = (tx_padding){.mode = TX_PAD_EXPLICIT, .top = n, .bottom = n, .left = n, .right = n};
      break;
    }
    case TX_PARAM_DIM: /* a number here is 1-based, as in Lua; resolved against the input in resolve_dim */
      *(int *)at = none ? TX_NO_DIM : (int)strtol(text, NULL, 10);
      break;
    case TX_PARAM_DIMS:
      *(uint32_t *)at = UINT32_MAX;
      break;
    case TX_PARAM_INTS:
      ((tx_ints *)at)->count = 0;
      break;
    case TX_PARAM_CHOICE:
      *(int *)at = none ? -1 : choice(p->choices, text);
      break;
    case TX_PARAM_DTYPE:
      *(tx_dtype *)at = TX_F32;
      if (!none) tx_dtype_from_name(text, (tx_dtype *)at);
      break;
  }
}

static void read_pair(lua_State *L, const tx_op *op, const tx_param *p, int arg, int64_t pair[2]) {
  if (lua_type(L, arg) == LUA_TNUMBER) {
    pair[0] = pair[1] = tx_check_int(L, arg, op->name, p->name);
    return;
  }
  if (!lua_istable(L, arg) || tx_check_list(L, arg, op->name, p->name) != 2) {
    tx_error(L, "%s: %s must be a number or {rows, columns}, got %s", op->name, p->name, tx_describe(L, arg));
  }
  for (int i = 0; i < 2; i++) {
    lua_geti(L, arg, i + 1);
    pair[i] = tx_check_int(L, lua_gettop(L), op->name, p->name);
    lua_pop(L, 1);
  }
}

static void read_padding(lua_State *L, const tx_op *op, const tx_param *p, int arg, tx_padding *padding) {
  const char *text = lua_type(L, arg) == LUA_TSTRING ? lua_tostring(L, arg) : "";
  if (strcmp(text, "same") == 0 || strcmp(text, "valid") == 0) {
    *padding = (tx_padding){.mode = text[0] == 's' ? TX_PAD_SAME : TX_PAD_VALID};
    return;
  }
  int64_t side[4];
  if (lua_type(L, arg) == LUA_TNUMBER) {
    side[0] = side[1] = side[2] = side[3] = tx_check_int(L, arg, op->name, p->name);
  } else if (lua_istable(L, arg) && tx_check_list(L, arg, op->name, p->name) == 4) {
    for (int i = 0; i < 4; i++) {
      lua_geti(L, arg, i + 1);
      side[i] = tx_check_int(L, lua_gettop(L), op->name, p->name);
      lua_pop(L, 1);
    }
  } else {
    tx_error(L, "%s: %s must be a number, {top, bottom, left, right}, \"same\" or \"valid\", got %s", op->name, p->name,
             tx_describe(L, arg));
    return;
  }
  *padding = (tx_padding){.top = side[0], .bottom = side[1], .left = side[2], .right = side[3]};
}

static void read_dims(lua_State *L, const tx_op *op, const tx_param *p, int arg, int dims, uint32_t *mask) {
  if (lua_type(L, arg) == LUA_TNUMBER) {
    *mask = UINT32_C(1) << tx_check_dim(L, tx_check_int(L, arg, op->name, p->name), dims, op->name);
    return;
  }
  if (!lua_istable(L, arg)) {
    tx_error(L, "%s: %s must be a dimension or a list of them, got %s", op->name, p->name, tx_describe(L, arg));
  }
  int n = tx_check_list(L, arg, op->name, p->name);
  *mask = n == 0 ? UINT32_MAX : 0; /* {}: no dimension is named */
  for (int i = 1; i <= n; i++) {
    lua_geti(L, arg, i);
    uint32_t bit = UINT32_C(1) << tx_check_dim(L, tx_check_int(L, lua_gettop(L), op->name, p->name), dims, op->name);
    if (*mask & bit) tx_error(L, "%s: a dimension is named twice", op->name);
    *mask |= bit;
    lua_pop(L, 1);
  }
}

/* Reads a list of integers: a table, or all numbers from `arg` on; returns the next argument. */
static int read_ints(lua_State *L, const tx_op *op, const tx_param *p, int arg, tx_ints *ints) {
  bool list = lua_istable(L, arg);
  int n = list ? tx_check_list(L, arg, op->name, p->name) : 0;
  if (!list) {
    while (lua_type(L, arg + n) == LUA_TNUMBER) n++;
  }
  if (n > TX_MAX_DIMS) tx_error(L, "%s: %s has %d values: at most %d", op->name, p->name, n, TX_MAX_DIMS);
  if (!list && n == 0) tx_error(L, "%s: %s must be integers, got %s", op->name, p->name, tx_describe(L, arg));
  for (int i = 0; i < n; i++) {
    if (list) lua_geti(L, arg, i + 1);
    ints->value[i] = tx_check_int(L, list ? lua_gettop(L) : arg + i, op->name, p->name);
    if (list) lua_pop(L, 1);
  }
  ints->count = n;
  return list ? arg + 1 : arg + n;
}

/* Reads parameter p from argument `arg`; returns the next argument. `dims` is the rank of the first input. */
static int read_param(lua_State *L, const tx_op *op, const tx_param *p, int arg, int dims, char *params) {
  void *at = params + p->offset;
  switch (p->kind) {
    case TX_PARAM_INT:
      *(int64_t *)at = tx_check_int(L, arg, op->name, p->name);
      break;
    case TX_PARAM_INDEX: {
      int64_t index = tx_check_int(L, arg, op->name, p->name);
      if (index == 0) tx_error(L, "%s: %s is 0: indices count from 1, or from the end with -1", op->name, p->name);
      *(int64_t *)at = index > 0 ? index - 1 : index;
      break;
    }
    case TX_PARAM_NUMBER: {
      double value = tx_check_number(L, arg, op->name, p->name);
      if (value != value) tx_error(L, "%s: %s is NaN", op->name, p->name); /* in here it says that nothing was given */
      *(double *)at = value;
      break;
    }
    case TX_PARAM_VALUE:
      *(tx_number *)at = tx_check_value(L, arg, op->name, p->name);
      break;
    case TX_PARAM_BOOL:
      if (!lua_isboolean(L, arg)) {
        tx_error(L, "%s: %s must be true or false, got %s", op->name, p->name, tx_describe(L, arg));
      }
      *(bool *)at = lua_toboolean(L, arg);
      break;
    case TX_PARAM_PAIR:
      read_pair(L, op, p, arg, at);
      break;
    case TX_PARAM_PADDING:
      read_padding(L, op, p, arg, at);
      break;
    case TX_PARAM_DIM:
      *(int *)at = tx_check_dim(L, tx_check_int(L, arg, op->name, p->name), dims, op->name);
      break;
    case TX_PARAM_DIMS:
      read_dims(L, op, p, arg, dims, at);
      break;
    case TX_PARAM_INTS:
      return read_ints(L, op, p, arg, at);
    case TX_PARAM_CHOICE: {
      const char *text = lua_type(L, arg) == LUA_TSTRING ? lua_tostring(L, arg) : "";
      *(int *)at = choice(p->choices, text);
      if (*(int *)at < 0) {
        tx_error(L, "%s: %s must be one of %s, got %s", op->name, p->name, p->choices, tx_describe(L, arg));
      }
      break;
    }
    case TX_PARAM_DTYPE: {
      const char *text = lua_type(L, arg) == LUA_TSTRING ? lua_tostring(L, arg) : "";
      if (!tx_dtype_from_name(text, at)) {
        tx_error(L, "%s: %s must be one of u8, i64, f32, f64, got %s", op->name, p->name, tx_describe(L, arg));
      }
      break;
    }
  }
  return arg + 1;
}

/* A dimension that was not given still stands as its default_value, 1-based: make it 0-based. */
static void resolve_default_dim(lua_State *L, const tx_op *op, const tx_param *p, int dims, char *params) {
  int *dim = (int *)(void *)(params + p->offset);
  if (*dim != TX_NO_DIM) *dim = tx_check_dim(L, *dim, dims, op->name);
}

/* -- inputs ---------------------------------------------------------------------------------------------------------- */

/* The inputs of one call: where they stand on the Lua stack, then the tensors themselves. */
typedef struct inputs {
  int count;
  int at[TX_MAX_INPUTS]; /* stack index, 0 where absent; for a list: at[0] is our copy of it */
  int dims;              /* of the first input */
  tx_tensor *few[TX_MAX_INPUTS];
  tx_tensor **tensor; /* few, or a userdata for long lists */
} inputs;

/* A Lua number as a weak 0-dimensional tensor; pushes its handle. */
static void push_number_tensor(lua_State *L, int arg) {
  tx_number n = tx_to_number(L, arg);
  tx_tensor **handle = tx_new_handle(L);
  tx_status status = tx_scalar(n.integral ? TX_I64 : TX_F64, n, true, handle);
  if (status != TX_OK) tx_raise(L, status);
}

/* Where the tensor stands that was given at `arg`, as such or as a number. */
static int read_input(lua_State *L, const tx_op *op, int arg, const char *name) {
  if (tx_test_tensor(L, arg) != NULL) return arg;
  if (!(op->where & TX_INPUT_NUMBERS) || lua_type(L, arg) != LUA_TNUMBER) {
    const char *wanted = op->where & TX_INPUT_NUMBERS ? "a tensor or a number" : "a tensor";
    tx_error(L, "%s: %s must be %s, got %s", op->name, name, wanted, tx_describe(L, arg));
  }
  push_number_tensor(L, arg);
  return lua_gettop(L);
}

static void read_list(lua_State *L, const tx_op *op, inputs *in) {
  if (!lua_istable(L, 1)) tx_error(L, "%s: a list of tensors is expected, got %s", op->name, tx_describe(L, 1));
  in->count = tx_check_list(L, 1, op->name, "the list of tensors");
  if (in->count < 1) tx_error(L, "%s: the list of tensors is empty", op->name);
  tx_copy_list(L, 1, in->count);
  in->at[0] = lua_gettop(L);
  in->dims = tx_list_tensor(L, in->at[0], 1, op->name)->dims;
  if (in->count > TX_MAX_INPUTS) in->tensor = tx_new_array(L, in->count, sizeof in->tensor[0]);
}

/* From here on nothing may run Lua code before the inputs have been used. */
static void take_inputs(lua_State *L, const tx_op *op, inputs *in) {
  for (int i = 0; i < in->count; i++) {
    if (op->where & TX_INPUT_LIST) {
      in->tensor[i] = tx_list_tensor(L, in->at[0], i + 1, op->name);
    } else {
      in->tensor[i] = in->at[i] != 0 ? tx_check_tensor(L, in->at[i]) : NULL;
    }
  }
}

/* What was given by position may not stand among the options, too. */
static void refuse_twice(lua_State *L, const tx_op *op, int options, const char *name) {
  if (options == 0) return;
  if (lua_getfield(L, options, name) != LUA_TNIL) tx_error(L, "%s: %s is given twice", op->name, name);
  lua_pop(L, 1);
}

/* Where numbers stand at `arg`, moves the next argument that is none to that place. */
static void bring_tensor(lua_State *L, int arg, int last) {
  int at = arg;
  while (at <= last && lua_type(L, at) == LUA_TNUMBER) at++;
  if (at == arg || at > last) return;
  lua_pushvalue(L, at);
  lua_remove(L, at);
  lua_insert(L, arg);
}

/* Reads the tensor inputs among the arguments up to `last`; returns the next argument. */
static int read_inputs(lua_State *L, const tx_op *op, int last, int options, inputs *in) {
  if (op->where & TX_INPUT_LIST) {
    read_list(L, op, in);
    return 2;
  }
  char name[32];
  bool optional;
  int arg = 1;
  for (int i = 0; word(op->inputs, i, name, &optional); i++) {
    in->count = i + 1;
    bool given = arg <= last && arg != options;
    if (optional && !(given && luaL_testudata(L, arg, TX_TENSOR_TYPE) != NULL)) {
      if (given && lua_isnil(L, arg)) arg++; /* nil holds the place */
      if (options != 0 && lua_getfield(L, options, name) != LUA_TNIL) {
        in->at[i] = read_input(L, op, lua_gettop(L), name);
      }
      continue;
    }
    if (optional) refuse_twice(L, op, options, name);
    bool movable = i > 0 && op->params != NULL && !(op->where & TX_INPUT_NUMBERS);
    if (given && movable) bring_tensor(L, arg, options != 0 ? last - 1 : last);
    in->at[i] = read_input(L, op, given ? arg : lua_gettop(L) + 1, name);
    if (i == 0) in->dims = tx_check_tensor(L, in->at[0])->dims;
    arg++;
  }
  return arg;
}

/* -- the call -------------------------------------------------------------------------------------------------------- */

/* Whether an empty table is taken for options: not where it may be a list of nothing, nor where there is no option. */
static bool empty_is_options(const tx_op *op) {
  for (const tx_param *p = op->params; p != NULL && p->name != NULL; p++) {
    if (p->kind == TX_PARAM_DIMS || p->kind == TX_PARAM_INTS) return false;
  }
  return op->params != NULL || strchr(op->inputs, '?') != NULL;
}

static bool is_options(lua_State *L, const tx_op *op, int arg) {
  if (arg < 1 || !lua_istable(L, arg) || (op->params == NULL && strchr(op->inputs, '?') == NULL)) return false;
  lua_pushnil(L);
  bool named = false, empty = true;
  while (!named && lua_next(L, arg)) {
    named = lua_type(L, -2) == LUA_TSTRING;
    empty = false;
    lua_pop(L, 1);
  }
  if (named) lua_pop(L, 1); /* the key */
  if (named || !empty || !empty_is_options(op)) return named;
  if (luaL_getmetafield(L, arg, "__len") == LUA_TNIL) return true;
  lua_pop(L, 1); /* a list, whose items __index gives */
  return false;
}

/* Name number i of what can be given by name: parameters, then optional inputs; NULL past the end. `room` may hold it. */
static const char *option_name(const tx_op *op, int i, char room[32]) {
  for (const tx_param *p = op->params; p != NULL && p->name != NULL; p++) {
    if (i-- == 0) return p->name;
  }
  bool optional;
  for (int k = 0; !(op->where & TX_INPUT_LIST) && word(op->inputs, k, room, &optional); k++) {
    if (optional && i-- == 0) return room;
  }
  return NULL;
}

static void refuse_option(lua_State *L, const tx_op *op, const char *name) {
  char room[32], list[256] = "";
  const char *known;
  for (int i = 0; (known = option_name(op, i, room)) != NULL; i++) {
    snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i > 0 ? " " : "", known);
  }
  tx_unknown_option(L, op->name, name, list);
}

static void check_option_names(lua_State *L, const tx_op *op, int options) {
  char room[32];
  lua_pushnil(L);
  while (lua_next(L, options)) {
    const char *name = tx_option_name(L, op->name), *known;
    int i = 0;
    while ((known = option_name(op, i, room)) != NULL && strcmp(known, name) != 0) i++;
    if (known == NULL) refuse_option(L, op, name);
    lua_pop(L, 1);
  }
}

static void read_params(lua_State *L, const tx_op *op, int arg, int last, int options, int dims, char *params) {
  for (const tx_param *p = op->params; p != NULL && p->name != NULL; p++) {
    set_default(p, params);
    bool given = false;
    if (arg <= last && arg != options) {
      given = !lua_isnil(L, arg);
      arg = given ? read_param(L, op, p, arg, dims, params) : arg + 1;
      if (given) refuse_twice(L, op, options, p->name);
    }
    if (!given && options != 0) {
      if (lua_getfield(L, options, p->name) != LUA_TNIL) {
        given = true;
        read_param(L, op, p, lua_gettop(L), dims, params);
      }
      lua_pop(L, 1);
    }
    if (given) continue;
    if (p->default_value == NULL) tx_error(L, "%s: %s must be given", op->name, p->name);
    if (p->kind == TX_PARAM_DIM) resolve_default_dim(L, op, p, dims, params);
  }
  if (arg <= last && arg != options) tx_error(L, "%s: argument %d is too many: %s", op->name, arg, tx_describe(L, arg));
}

/* Reads all arguments on the stack as a call of the op; the inputs are still to be taken. */
static void read_call(lua_State *L, const tx_op *op, inputs *in, char *params) {
  in->tensor = in->few;
  int last = lua_gettop(L);
  while (last > 1 && lua_isnil(L, last)) last--; /* nothing was given there */
  lua_settop(L, last);
  int options = is_options(L, op, last) && !(last == 1 && (op->where & TX_INPUT_LIST)) ? last : 0;
  luaL_checkstack(L, TX_MAX_INPUTS + 8, op->name);
  int arg = read_inputs(L, op, last, options, in);
  if (options != 0) check_option_names(L, op, options);
  read_params(L, op, arg, last, options, in->dims, params);
}

void tx_read_call(lua_State *L, const tx_op *op, tx_tensor *in[TX_MAX_INPUTS], void *params) {
  inputs all = {0};
  read_call(L, op, &all, params);
  take_inputs(L, op, &all);
  memcpy(in, all.few, sizeof all.few);
}

/* Whether the call may take long, in blocks few of which come before a look at the clock. */
static bool is_large(const inputs *in) {
  enum { LARGE = 1 << 18 }; /* elements */
  int64_t elements = 0;
  for (int i = 0; i < in->count && elements < LARGE; i++) {
    if (in->tensor[i] != NULL) elements += tx_min(tx_numel(in->tensor[i]), LARGE);
  }
  return elements >= LARGE;
}

/* texres.<op>(...): the op is the upvalue. */
static int l_call(lua_State *L) {
  const tx_op *op = lua_touserdata(L, lua_upvalueindex(1));
  alignas(max_align_t) char params[MAX_PARAMS_SIZE];
  inputs in = {0};
  read_call(L, op, &in, params);
  tx_tensor **handle[TX_MAX_OUTPUTS], *out[TX_MAX_OUTPUTS];
  for (int o = 0; o < op->outputs; o++) handle[o] = tx_new_handle(L);
  tx_watch_interrupt_later(L);
  take_inputs(L, op, &in);
  if (is_large(&in)) (void)tx_ask_interrupt(); /* listens to Ctrl-C from here on */
  tx_status status = tx_call_op(op, in.count, in.tensor, params, out);
  if (status != TX_OK) return tx_raise(L, status);
  for (int o = 0; o < op->outputs; o++) *handle[o] = out[o];
  tx_check_interrupt(L);
  tx_pace_collector(L);
  int given = 0;
  while (given < op->outputs && out[given] != NULL) given++;
  lua_pop(L, op->outputs - given);
  return given;
}

/* -- tables ---------------------------------------------------------------------------------------------------------- */

static const tx_op *const ops[] = {
#define TX_OP(name) &tx_op_##name,
    TX_OPS(TX_OP)
#undef TX_OP
};

enum { OP_COUNT = (int)(sizeof ops / sizeof ops[0]) };

bool tx_push_op(lua_State *L, const char *name) {
  for (int i = 0; i < OP_COUNT; i++) {
    if (strcmp(ops[i]->name, name) != 0) continue;
    lua_pushlightuserdata(L, (void *)ops[i]);
    lua_pushcclosure(L, l_call, 1);
    return true;
  }
  return false;
}

/* help(f) -> what is told of a function of the core, nil of others; help() -> the names of all differentiable functions. */
static int l_help(lua_State *L) {
  if (lua_isnoneornil(L, 1)) {
    lua_createtable(L, OP_COUNT, 0);
    for (int i = 0; i < OP_COUNT; i++) {
      lua_pushstring(L, ops[i]->name);
      lua_seti(L, -2, i + 1);
    }
    return 1;
  }
  if (lua_tocfunction(L, 1) != l_call) {
    tx_push_doc(L, 1);
    return 1;
  }
  lua_getupvalue(L, 1, 1);
  const tx_op *op = lua_touserdata(L, -1);
  lua_pushstring(L, op->doc);
  return 1;
}

/* Puts the functions with flag `where` into the table at `index`. */
static void add_ops(lua_State *L, int index, unsigned where) {
  for (int i = 0; i < OP_COUNT; i++) {
    if (!(ops[i]->where & where)) continue;
    tx_push_op(L, ops[i]->name);
    lua_setfield(L, index, ops[i]->name);
  }
}

void tx_lua_open_ops(lua_State *L) {
  int module = lua_gettop(L);
  add_ops(L, module, TX_AS_FUNCTION);
  lua_pushcfunction(L, l_help);
  lua_setfield(L, module, "help");
  lua_newtable(L);
  add_ops(L, lua_gettop(L), TX_AS_FUNCTIONAL);
  lua_setfield(L, module, "functional");
  lua_getfield(L, module, "methods");
  add_ops(L, lua_gettop(L), TX_AS_METHOD);
  lua_pop(L, 1);
}
