/* binding.c - see binding.h. */
#define _GNU_SOURCE /* sigaction */
#include "lua/binding.h"

#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/integers.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/text.h"
#include "tensor/number.h"

/* -- Ctrl-C -----------------------------------------------------------------------------------------------------------
 *
 * Whoever runs the script answers SIGINT in a handler that sets a hook on the main thread, as the stand-alone interpreter
 * does: the hook raises the error when the next instruction of Lua runs. While C computes, none runs. So a call that takes
 * long listens to SIGINT as well, in a handler that calls the one which stood there, and puts that back when it ends. What
 * came before it listened is answered after the call. If the signal came and a hook was set by it, the error is raised here, once, and the hook that stood before
 * is set again. A host that has SIGINT ignored, or end the program, or noted for later, has its way.
 */
static struct {
  lua_State *L; /* NULL: no call is being watched */
  bool listens; /* from here on: a call has lasted */
  lua_State *main;
  lua_Hook hook; /* of the main thread, when listening began */
  int mask, count;
  struct sigaction before;
  volatile sig_atomic_t came;
} watched;

static void on_interrupt(int number, siginfo_t *info, void *context) {
  watched.came = 1;
  if ((watched.before.sa_flags & SA_SIGINFO) != 0) {
    watched.before.sa_sigaction(number, info, context);
  } else {
    watched.before.sa_handler(number);
  }
}

static bool is_ours(const struct sigaction *action) {
  return (action->sa_flags & SA_SIGINFO) != 0 && action->sa_sigaction == on_interrupt;
}

static void listen(void) {
  watched.listens = true;
  watched.came = 0;
  lua_rawgeti(watched.L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD); /* takes no memory */
  watched.main = lua_tothread(watched.L, -1);
  lua_pop(watched.L, 1);
  watched.hook = lua_gethook(watched.main);
  watched.mask = lua_gethookmask(watched.main);
  watched.count = lua_gethookcount(watched.main);
  if (sigaction(SIGINT, NULL, &watched.before) != 0) return;
  if (watched.before.sa_handler == SIG_DFL || watched.before.sa_handler == SIG_IGN) return;
  struct sigaction action = {.sa_sigaction = on_interrupt, .sa_flags = watched.before.sa_flags | SA_SIGINFO};
  action.sa_mask = watched.before.sa_mask;
  sigaction(SIGINT, &action, NULL);
}

/* The handler that stood there may have put another in its place, as the interpreter's does: then that stays. */
static void stop_listening(void) {
  struct sigaction now;
  if (!watched.listens) return;
  if (sigaction(SIGINT, NULL, &now) == 0 && is_ours(&now)) sigaction(SIGINT, &watched.before, NULL);
  watched.listens = false;
}

static bool is_interrupted(void *context) {
  (void)context;
  if (!watched.listens) listen();
  return watched.came != 0 && lua_gethook(watched.main) != watched.hook;
}

void tx_watch_interrupt_later(lua_State *L) {
  tx_check_owner(L);
  stop_listening();
  watched.L = L;
  tx_watch(is_interrupted, NULL);
}

void tx_watch_interrupt(lua_State *L) {
  tx_watch_interrupt_later(L);
  (void)tx_ask_interrupt(); /* which begins to listen */
}

void tx_end_watch(void) {
  if (!tx_is_owner()) return; /* the watch is not that of a thread that is being refused */
  stop_listening();
  watched.L = NULL;
  tx_unwatch();
}

void tx_check_interrupt(lua_State *L) {
  const bool interrupted = tx_interrupted();
  if (interrupted && !tx_prompt_insists(L)) lua_sethook(watched.main, watched.hook, watched.mask, watched.count);
  tx_end_watch();
  if (interrupted) tx_error(L, "interrupted!");
}

/* -- errors ---------------------------------------------------------------------------------------------------------- */

/* Pushes "file:line: " of the innermost Lua function outside the library's own files, "" when there is none. Library
 * files are those below the folder that lua/texres/init.lua stores in the registry. */
static void push_user_line(lua_State *L) {
  lua_Debug ar;
  lua_getfield(L, LUA_REGISTRYINDEX, "texres.library");
  const char *library = lua_tostring(L, -1);
  size_t length = library != NULL ? strlen(library) : 0;
  for (int level = 1; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    if (ar.currentline <= 0) continue;
    if (length > 0 && strncmp(ar.source, library, length) == 0) continue;
    lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
    lua_remove(L, -2);
    return;
  }
  lua_pop(L, 1);
  lua_pushliteral(L, "");
}

int tx_error(lua_State *L, const char *format, ...) {
  char shown[TX_MESSAGE_SIZE];
  va_list args;
  va_start(args, format);
  tx_message_args(shown, format, args);
  va_end(args);
  tx_end_watch();
  push_user_line(L);
  lua_pushstring(L, shown);
  lua_concat(L, 2);
  return lua_error(L);
}

int tx_raise(lua_State *L, tx_status status) {
  tx_check_interrupt(L);
  if (status == TX_EWORLD) {
    lua_pushnil(L);
    lua_pushstring(L, tx_message());
    return 2;
  }
  return tx_error(L, "%s", tx_message());
}

void tx_check_owner(lua_State *L) {
  if (!tx_is_owner()) tx_error(L, "%s", TX_OTHER_THREAD);
}

/* -- functions ------------------------------------------------------------------------------------------------------- */

/* Pushes the table of the registry from functions to what is told of them. */
static void push_docs(lua_State *L) {
  static const char key;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) != LUA_TNIL) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
}

void tx_set_functions(lua_State *L, const tx_function *functions) {
  push_docs(L);
  for (const tx_function *f = functions; f->name != NULL; f++) {
    lua_pushcfunction(L, f->call);
    if (f->doc != NULL) {
      lua_pushvalue(L, -1);
      lua_pushstring(L, f->doc);
      lua_rawset(L, -4);
    }
    lua_setfield(L, -3, f->name);
  }
  lua_pop(L, 1);
}

void tx_push_doc(lua_State *L, int arg) {
  arg = lua_absindex(L, arg);
  push_docs(L);
  lua_pushvalue(L, arg);
  lua_rawget(L, -2);
  lua_remove(L, -2);
}

/* -- tensors --------------------------------------------------------------------------------------------------------- */

tx_tensor **tx_new_handle(lua_State *L) {
  tx_check_owner(L);
  tx_tensor **handle = lua_newuserdatauv(L, sizeof *handle, 0);
  *handle = NULL;
  luaL_setmetatable(L, TX_TENSOR_TYPE);
  return handle;
}

static int l_free_block(lua_State *L) {
  void **block = lua_touserdata(L, 1);
  tx_dealloc(*block);
  *block = NULL;
  return 0;
}

void **tx_new_block(lua_State *L) {
  void **block = lua_newuserdatauv(L, sizeof *block, 0);
  *block = NULL;
  if (luaL_newmetatable(L, "texres.block")) {
    lua_pushcfunction(L, l_free_block);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return block;
}

/* Small tensors: the collector sees 40 bytes of a handle, behind which about 1 KiB stands, and elements. It is told of that
 * now and then, as if Lua had allocated it. Large ones: it runs when their bytes have grown by half, or by the slack. */
void tx_pace_collector(lua_State *L) {
  enum { BATCH = 64 };
  static int untold;   /* handles */
  static size_t told;  /* bytes of small blocks, when it was told last */
  static size_t bound; /* live bytes at which the collector should run */
  const size_t slack = (size_t)64 << 20;
  if (!lua_gc(L, LUA_GCISRUNNING)) return;
  if (++untold >= BATCH) {
    const size_t bytes = tx_small_bytes();
    untold = 0;
    lua_gc(L, LUA_GCSTEP, BATCH + (int)((bytes > told ? bytes - told : 0) >> 10));
    told = tx_small_bytes();
  }
  if (tx_live_bytes() < (bound > slack ? bound : slack)) return;
  lua_gc(L, LUA_GCCOLLECT);
  size_t survived = tx_live_bytes();
  bound = survived + (survived / 2 > slack ? survived / 2 : slack);
}

int tx_return_tensor(lua_State *L, tx_status status, tx_tensor **handle) {
  if (status != TX_OK) {
    *handle = NULL; /* whoever failed has given it back */
    return tx_raise(L, status);
  }
  tx_check_interrupt(L);
  tx_pace_collector(L);
  return 1;
}

int tx_return_true(lua_State *L, tx_status status) {
  if (status != TX_OK) return tx_raise(L, status);
  tx_check_interrupt(L);
  lua_pushboolean(L, true);
  return 1;
}

tx_tensor *tx_test_tensor(lua_State *L, int arg) {
  tx_tensor **handle = luaL_testudata(L, arg, TX_TENSOR_TYPE);
  if (handle == NULL) return NULL;
  tx_check_owner(L);
  if (*handle == NULL) tx_error(L, "the tensor was closed: free() or <close> has given its memory back");
  tx_sync_grad_mode(L);
  if (tx_readable(*handle) != TX_OK) tx_error(L, "%s", tx_message());
  return *handle;
}

/* The name of the C function that runs: as it stands in the core, by whatever name it was called; else that name, or NULL. */
static const char *operation_of(lua_State *L, lua_Debug *call) {
  static const char *const tables[] = {"functional", "methods", "process", NULL};
  lua_getinfo(L, "f", call);
  int function = lua_gettop(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "texres.core") != LUA_TTABLE) return call->name;
  for (int i = -1, core = lua_gettop(L); i < 0 || tables[i] != NULL; i++) {
    if (i >= 0) lua_getfield(L, core, tables[i]);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
      if (lua_rawequal(L, -1, function) && lua_type(L, -2) == LUA_TSTRING) return lua_tostring(L, -2);
    }
  }
  return call->name;
}

/* Raises that something else stands at `arg` than `what`. */
static int fail_expected(lua_State *L, int arg, const char *operation, const char *what) {
  lua_Debug call = {0};
  bool known = lua_getstack(L, 0, &call) && lua_getinfo(L, "n", &call) && call.name != NULL;
  bool method = known && strcmp(call.namewhat, "method") == 0 && arg > 1; /* its object is not counted */
  const char *got = tx_describe(L, arg);
  if (operation == NULL) operation = operation_of(L, &call);
  if (operation != NULL && strcmp(operation, "?") == 0) operation = NULL;
  return tx_error(L, "%s%s%s is expected as argument %d, got %s", operation != NULL ? operation : "",
                  operation != NULL ? ": " : "", what, method ? arg - 1 : arg, got);
}

tx_tensor *tx_check_tensor(lua_State *L, int arg) {
  tx_tensor *t = tx_test_tensor(L, arg);
  if (t == NULL) fail_expected(L, arg, NULL, "a tensor");
  return t;
}

/* -- arguments ------------------------------------------------------------------------------------------------------- */

void *tx_check_object(lua_State *L, int arg, const char *type, const char *operation, const char *what) {
  void *object = luaL_testudata(L, arg, type);
  if (object == NULL) fail_expected(L, arg, operation, what);
  return object;
}

const char *tx_describe(lua_State *L, int arg) {
  static _Thread_local char text[TX_SHAPE_TEXT + 32];
  tx_tensor **handle = luaL_testudata(L, arg, TX_TENSOR_TYPE);
  if (handle != NULL) {
    if (*handle == NULL) return "a closed tensor";
    snprintf(text, sizeof text, "a tensor %s %s", tx_dtype_name((*handle)->dtype), tx_shape_of(*handle));
    return text;
  }
  switch (lua_type(L, arg)) {
    case LUA_TNONE:
    case LUA_TNIL:
      return "nil";
    case LUA_TNUMBER:
      return tx_number_text(tx_to_number(L, arg), text);
    case LUA_TSTRING:
      snprintf(text, sizeof text, "'%.40s'", lua_tostring(L, arg));
      return text;
    case LUA_TBOOLEAN:
      return lua_toboolean(L, arg) ? "true" : "false";
    default:
      snprintf(text, sizeof text, "a %s", luaL_typename(L, arg));
      return text;
  }
}

int64_t tx_check_int(lua_State *L, int arg, const char *operation, const char *name) {
  int ok = 0;
  lua_Integer value = lua_type(L, arg) == LUA_TNUMBER ? lua_tointegerx(L, arg, &ok) : 0;
  if (!ok) tx_error(L, "%s: %s must be an integer, got %s", operation, name, tx_describe(L, arg));
  return (int64_t)value;
}

const char *tx_check_string(lua_State *L, int arg, const char *operation, const char *name) {
  if (!lua_isstring(L, arg)) tx_error(L, "%s: %s must be a string, got %s", operation, name, tx_describe(L, arg));
  return lua_tostring(L, arg);
}

const char *tx_opt_string(lua_State *L, int arg, const char *operation, const char *name) {
  return lua_isnoneornil(L, arg) ? NULL : tx_check_string(L, arg, operation, name);
}

const char *tx_check_path(lua_State *L, int arg, const char *operation) {
  const char *path = tx_check_string(L, arg, operation, "the path");
  if (strlen(path) != lua_rawlen(L, arg)) {
    tx_error(L, "%s: the path can't hold a zero byte, as the one behind '%s'", operation, path);
  }
  return path;
}

void tx_check_table(lua_State *L, int arg, const char *operation, const char *name) {
  if (!lua_istable(L, arg)) tx_error(L, "%s: %s must be a table, got %s", operation, name, tx_describe(L, arg));
}

tx_number tx_to_number(lua_State *L, int arg) {
  return lua_isinteger(L, arg) ? tx_integer(lua_tointeger(L, arg)) : tx_real(lua_tonumber(L, arg));
}

tx_number tx_check_value(lua_State *L, int arg, const char *operation, const char *name) {
  if (lua_type(L, arg) != LUA_TNUMBER) {
    tx_error(L, "%s: %s must be a number, got %s", operation, name, tx_describe(L, arg));
  }
  return tx_to_number(L, arg);
}

double tx_check_number(lua_State *L, int arg, const char *operation, const char *name) {
  tx_check_value(L, arg, operation, name);
  double value = lua_tonumber(L, arg);
  return value == value ? value : (double)NAN; /* of one sign, as messages show it */
}

/* Refuses names among the n items of a list: they would not be read. Only table.pack's n is taken. Lua's order is items
 * first, then names: a long list is looked through from its end on. */
static void refuse_names(lua_State *L, int arg, const char *operation, const char *what, lua_Integer n) {
  int top = lua_gettop(L);
  if (n > TX_MAX_DIMS && lua_rawgeti(L, arg, n) != LUA_TNIL) {
    lua_pushinteger(L, n);
    lua_replace(L, -2);
  } else {
    lua_settop(L, top);
    lua_pushnil(L);
  }
  while (lua_next(L, arg)) {
    bool counts = lua_isinteger(L, -1) && lua_tointeger(L, -1) == n;
    if (lua_type(L, -2) == LUA_TSTRING && !(counts && strcmp(lua_tostring(L, -2), "n") == 0)) {
      tx_error(L, "%s: '%s' stands among the items of %s: options come in a table of their own", operation,
               lua_tostring(L, -2), what);
    }
    lua_pop(L, 1);
  }
}

int tx_check_list(lua_State *L, int arg, const char *operation, const char *what) {
  if (!lua_istable(L, arg)) tx_error(L, "%s: %s must be a list, got %s", operation, what, tx_describe(L, arg));
  lua_len(L, arg);
  lua_Integer n = tx_check_int(L, lua_gettop(L), operation, "a list's length");
  if (n < 0 || n > INT_MAX) tx_error(L, "%s: %s has %lld items: at most %d", operation, what, (long long)n, INT_MAX);
  lua_pop(L, 1);
  refuse_names(L, arg, operation, what, n);
  return (int)n;
}

void *tx_new_array(lua_State *L, int64_t n, size_t size) {
  if (n < 0 || (uint64_t)n > (size_t)PTRDIFF_MAX / 2 / size) {
    tx_error(L, "not enough memory: %lld elements of %d bytes were asked for", (long long)n, (int)size);
  }
  return lua_newuserdatauv(L, (size_t)tx_max(n, 1) * size, 0);
}

void tx_set_numbers(lua_State *L, const char *name, const double *values, int64_t n, size_t stride) {
  lua_createtable(L, (int)n, 0);
  for (int64_t i = 0; i < n; i++) {
    lua_pushnumber(L, *(const double *)((const char *)values + (size_t)i * stride));
    lua_seti(L, -2, i + 1);
  }
  lua_setfield(L, -2, name);
}

void tx_copy_list(lua_State *L, int arg, int n) {
  enum { HINT = 4096 }; /* a length that is only claimed takes no memory */
  lua_createtable(L, (int)tx_min(n, HINT), 0);
  for (int i = 1; i <= n; i++) {
    lua_geti(L, arg, i);
    lua_rawseti(L, -2, i);
  }
}

tx_tensor *tx_list_tensor(lua_State *L, int list, int i, const char *operation) {
  lua_rawgeti(L, list, i);
  tx_tensor *t = tx_test_tensor(L, -1);
  if (t == NULL) {
    tx_error(L, "%s: element %d of the list must be a tensor, got %s", operation, i, tx_describe(L, lua_gettop(L)));
  }
  lua_pop(L, 1);
  return t;
}

int tx_check_dim(lua_State *L, int64_t dim, int dims, const char *operation) {
  int64_t d = dim < 0 ? dim + dims : dim - 1;
  if (dim == 0 || d < 0 || d >= dims) {
    if (dims == 0)
      tx_error(L, "%s: dimension %lld: the tensor holds one number and has none", operation, (long long)dim);
    tx_error(L, "%s: dimension %lld: the tensor has dimensions 1..%d (or -1..-%d)", operation, (long long)dim, dims,
             dims);
  }
  return (int)d;
}

static void add_size(lua_State *L, int at, const char *operation, int64_t shape[TX_MAX_DIMS], int *dims) {
  if (*dims == TX_MAX_DIMS) tx_error(L, "%s: a tensor has at most %d dimensions", operation, TX_MAX_DIMS);
  shape[(*dims)++] = tx_check_int(L, at, operation, "a size");
}

int tx_check_shape(lua_State *L, int arg, const char *operation, int64_t shape[TX_MAX_DIMS], int *next) {
  int dims = 0;
  if (lua_istable(L, arg)) {
    int n = tx_check_list(L, arg, operation, "the shape");
    for (int i = 1; i <= n; i++) {
      lua_geti(L, arg, i);
      add_size(L, lua_gettop(L), operation, shape, &dims);
      lua_pop(L, 1);
    }
    *next = arg + 1;
  } else {
    for (*next = arg; lua_type(L, *next) == LUA_TNUMBER; (*next)++) add_size(L, *next, operation, shape, &dims);
    if (*next == arg) {
      tx_error(L, "%s: a shape is expected, such as (2, 3) or ({2, 3}), got %s", operation, tx_describe(L, arg));
    }
  }
  return dims;
}

/* Whether `name` is one of the words of `list`. */
static bool is_word(const char *list, const char *name) {
  size_t length = strlen(name);
  for (const char *at = list; length > 0 && (at = strstr(at, name)) != NULL; at += length) {
    if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
  }
  return false;
}

void tx_check_options(lua_State *L, int arg, const char *operation, const char *known) {
  for (int extra = lua_gettop(L); extra > arg; extra--) {
    if (!lua_isnil(L, extra)) tx_error(L, "%s: argument %d is too many: %s", operation, extra, tx_describe(L, extra));
  }
  if (lua_isnoneornil(L, arg)) return;
  if (!lua_istable(L, arg)) tx_error(L, "%s: options are a table, got %s", operation, tx_describe(L, arg));
  lua_pushnil(L);
  while (lua_next(L, arg)) {
    const char *name = tx_option_name(L, operation);
    if (!is_word(known, name)) tx_unknown_option(L, operation, name, known);
    lua_pop(L, 1);
  }
}

const char *tx_option_name(lua_State *L, const char *operation) {
  if (lua_type(L, -2) != LUA_TSTRING) {
    tx_error(L, "%s: options go by name, %s stands among them without one", operation, tx_describe(L, lua_gettop(L)));
  }
  return lua_tostring(L, -2);
}

int tx_unknown_option(lua_State *L, const char *operation, const char *name, const char *known) {
  luaL_gsub(L, known[0] != '\0' ? known : "none", " ", ", ");
  return tx_error(L, "%s: unknown option '%s'; there are %s", operation, name, lua_tostring(L, -1));
}

/* Pushes field `name` of the table at `arg`; false, with nothing pushed, when there is none. */
static bool push_option(lua_State *L, int arg, const char *operation, const char *name) {
  if (lua_isnoneornil(L, arg)) return false;
  if (!lua_istable(L, arg)) tx_error(L, "%s: options are a table, got %s", operation, tx_describe(L, arg));
  if (lua_getfield(L, arg, name) != LUA_TNIL) return true;
  lua_pop(L, 1);
  return false;
}

tx_dtype tx_option_dtype(lua_State *L, int arg, const char *operation, tx_dtype default_value) {
  tx_dtype dtype = default_value;
  if (!push_option(L, arg, operation, "dtype")) return default_value;
  const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  if (name == NULL || !tx_dtype_from_name(name, &dtype)) {
    tx_error(L, "%s: dtype must be one of u8, i64, f32, f64, got %s", operation, tx_describe(L, -1));
  }
  lua_pop(L, 1);
  return dtype;
}

bool tx_option_bool(lua_State *L, int arg, const char *operation, const char *name, bool default_value) {
  if (!push_option(L, arg, operation, name)) return default_value;
  if (!lua_isboolean(L, -1)) tx_error(L, "%s: %s must be true or false, got %s", operation, name, tx_describe(L, -1));
  bool value = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

double tx_option_number(lua_State *L, int arg, const char *operation, const char *name, double default_value) {
  if (!push_option(L, arg, operation, name)) return default_value;
  double value = tx_check_number(L, lua_gettop(L), operation, name);
  lua_pop(L, 1);
  return value;
}

int64_t tx_option_int(lua_State *L, int arg, const char *operation, const char *name, int64_t default_value) {
  if (!push_option(L, arg, operation, name)) return default_value;
  int64_t value = tx_check_int(L, lua_gettop(L), operation, name);
  lua_pop(L, 1);
  return value;
}

int64_t tx_option_bytes(lua_State *L, int arg, const char *operation) {
  tx_check_options(L, arg, operation, "max_bytes");
  int64_t bytes = tx_option_int(L, arg, operation, "max_bytes", 0);
  if (bytes < 0) tx_error(L, "%s: max_bytes is %lld: it is a number of bytes", operation, (long long)bytes);
  return bytes;
}
