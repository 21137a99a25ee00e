/* autograd.c - backward, no_grad, detach, texres.Function and what is computed again in backward. */
#include "autograd/op.h"
#include "base/memory.h"
#include "lua/binding.h"

/* Registry key: what a backward in Lua raised, where that is no text; else false. It passes through as it is. */
static const char raised;

static int raise_from_backward(lua_State *L, tx_status status) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &raised);
  lua_pushboolean(L, false);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &raised);
  return lua_toboolean(L, -1) ? lua_error(L) : tx_raise(L, status);
}

static int l_backward(lua_State *L) {
  /* Activations that only garbage handles still hold could not be freed on the way. */
  tx_pace_collector(L);
  tx_tensor *t = tx_check_tensor(L, 1);
  tx_tensor *gradient = lua_isnoneornil(L, 2) ? NULL : tx_check_tensor(L, 2);
  tx_watch_interrupt(L);
  tx_status status = tx_backward(t, gradient);
  if (status != TX_OK) return raise_from_backward(L, status);
  tx_check_interrupt(L);
  return 0;
}

static int l_detach(lua_State *L) {
  lua_settop(L, 1);
  tx_tensor **handle = tx_new_handle(L);
  return tx_return_tensor(L, tx_alias(tx_check_tensor(L, 1), handle), handle);
}

static bool is_callable(lua_State *L, int arg) {
  if (lua_isfunction(L, arg)) return true;
  if (luaL_getmetafield(L, arg, "__call") == LUA_TNIL) return false;
  lua_pop(L, 1);
  return true;
}

/* -- where recording is off or on ------------------------------------------------------------------------------------ */

/* A call of no_grad, enable_grad or without_graph that hasn't returned: a userdata in the first slot of that call, closed with it. A
 * coroutine may be suspended inside; until it is resumed, its calls don't count for the others. */
typedef struct grad_scope {
  struct grad_scope *outer, *inner;
  lua_State *L;      /* its coroutine: the user value, so that it lives as long as this */
  const void *state; /* the Lua state that this belongs to */
  bool enabled, kept, open;
} grad_scope;

#define GRAD_SCOPE_TYPE "texres.grad_scope"

static _Thread_local grad_scope *innermost; /* of all coroutines, in the order of the calls */

/* Whether the coroutine of a scope runs, or waits for one that it has resumed. */
static bool is_running(lua_State *L, const grad_scope *scope) {
  if (scope->L == L) return true;
  return scope->state == lua_topointer(L, LUA_REGISTRYINDEX) && lua_status(scope->L) == LUA_OK;
}

static void apply(const grad_scope *scope) {
  tx_set_grad_enabled(scope == NULL || scope->enabled);
  tx_set_graph_kept(scope == NULL || scope->kept);
}

void tx_sync_grad_mode(lua_State *L) {
  const grad_scope *scope = innermost;
  if (scope == NULL) return;
  while (scope != NULL && !is_running(L, scope)) scope = scope->outer;
  apply(scope);
}

static void open_scope(lua_State *L, bool enabled, bool kept) {
  tx_check_owner(L);
  grad_scope *scope = lua_newuserdatauv(L, sizeof *scope, 1);
  *scope = (grad_scope){.enabled = enabled, .kept = kept, .L = L, .state = lua_topointer(L, LUA_REGISTRYINDEX)};
  luaL_setmetatable(L, GRAD_SCOPE_TYPE);
  lua_pushthread(L);
  lua_setiuservalue(L, -2, 1);
  lua_insert(L, 1);
  lua_toclose(L, 1);
  scope->open = true;
  scope->outer = innermost;
  if (innermost != NULL) innermost->inner = scope;
  innermost = scope;
  apply(scope);
}

void tx_open_grad_scope(lua_State *L, bool enabled) {
  tx_sync_grad_mode(L);
  open_scope(L, enabled, tx_graph_kept());
}

/* Also by the collector, for a coroutine that was given up while it was suspended. */
static int l_close_grad_scope(lua_State *L) {
  grad_scope *scope = tx_check_object(L, 1, GRAD_SCOPE_TYPE, "no_grad", "a scope");
  if (!scope->open) return 0;
  scope->open = false;
  if (scope->inner != NULL) scope->inner->outer = scope->outer;
  if (scope->outer != NULL) scope->outer->inner = scope->inner;
  if (innermost == scope) innermost = scope->outer;
  if (innermost == NULL) apply(NULL);
  return 0;
}

static int end_scope(lua_State *L, int status, lua_KContext context) {
  (void)status, (void)context;
  return lua_gettop(L) - 1;
}

static int in_scope(lua_State *L, const char *name, bool enabled, bool keeps) {
  if (!is_callable(L, 1)) return tx_error(L, "%s: a function is expected", name);
  tx_sync_grad_mode(L);
  open_scope(L, enabled, keeps && tx_graph_kept());
  lua_callk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, end_scope);
  return end_scope(L, LUA_OK, 0);
}

static int l_no_grad(lua_State *L) { return in_scope(L, "no_grad", false, true); }
static int l_enable_grad(lua_State *L) { return in_scope(L, "enable_grad", true, true); }

/* without_graph(f, ...) -> what f(...) returns, computed as if it was recorded; its graph is not kept. */
static int l_without_graph(lua_State *L) { return in_scope(L, "without_graph", true, false); }

static int l_grad_enabled(lua_State *L) {
  tx_sync_grad_mode(L);
  lua_pushboolean(L, tx_grad_enabled());
  return 1;
}

/* -- Lua in the graph ------------------------------------------------------------------------------------------------ */

/* What a recorded call of a Lua function keeps. */
typedef struct lua_function {
  lua_State *L; /* the main thread */
  int kept;     /* in its registry: {the function backward, its ctx object}, or the function that computes again */
} lua_function;

static void release_function(void *pointer) {
  lua_function *f = pointer;
  luaL_unref(f->L, LUA_REGISTRYINDEX, f->kept);
  tx_dealloc(f);
}

/* Keeps the value on top of the stack, which it pops. */
static lua_function *keep_function(lua_State *L) {
  const int kept = luaL_ref(L, LUA_REGISTRYINDEX); /* the last thing here that may raise; runs no finalizer */
  lua_function *f = tx_alloc_zero(sizeof *f);
  if (f == NULL) {
    luaL_unref(L, LUA_REGISTRYINDEX, kept);
    return NULL;
  }
  f->kept = kept;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  f->L = lua_tothread(L, -1);
  lua_pop(L, 1);
  return f;
}

typedef struct backward_call {
  lua_function *function;
  int n_out, n_in;
  tx_tensor *const *dout;
  tx_tensor **din;
} backward_call;

/* Runs ctx's backward in protected mode: backward(ctx, dy1, dy2, ...) -> dx1, dx2, ... */
static int protected_backward(lua_State *L) {
  backward_call *call = lua_touserdata(L, 1);
  tx_open_grad_scope(L, false);
  luaL_checkstack(L, call->n_out + call->n_in + 8, "texres.Function");
  lua_rawgeti(L, LUA_REGISTRYINDEX, call->function->kept);
  lua_rawgeti(L, -1, 1);
  lua_rawgeti(L, -2, 2);
  for (int o = 0; o < call->n_out; o++) {
    if (call->dout[o] == NULL) {
      lua_pushnil(L);
    } else {
      tx_tensor **handle = tx_new_handle(L);
      *handle = tx_ref(call->dout[o]);
    }
  }
  lua_call(L, call->n_out + 1, call->n_in);
  for (int i = 0; i < call->n_in; i++) {
    int at = lua_gettop(L) - call->n_in + 1 + i;
    if (lua_isnil(L, at)) continue;
    call->din[i] = tx_ref(tx_test_tensor(L, at));
    if (call->din[i] == NULL)
      tx_error(L, "backward gave %s for input %d: a tensor or nil is wanted", tx_describe(L, at), i + 1);
  }
  return 0;
}

/* Keeps what a backward in Lua has raised, on top of the stack, for raise_from_backward. A number passes as it is, too: to make
 * a text of it takes memory, and tx_backward, which owns gradients, stands below this. */
static tx_status note_raised(lua_State *L) {
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  tx_fail(TX_EINVAL, "texres.Function: backward failed: %s", text != NULL ? text : luaL_typename(L, -1));
  if (text != NULL) {
    lua_pop(L, 1);
  } else {
    lua_rawsetp(L, LUA_REGISTRYINDEX, &raised);
  }
  return TX_EINVAL;
}

/* Calls one of the functions above and below in the middle of tx_backward. */
static tx_status run_protected(lua_State *L, lua_CFunction function, void *call) {
  tx_end_watch();
  lua_pushcfunction(L, function);
  lua_pushlightuserdata(L, call);
  int failure = lua_pcall(L, 1, 0, 0);
  tx_set_grad_enabled(false); /* as it was */
  if (failure != LUA_OK) return note_raised(L);
  tx_watch_interrupt(L);
  return TX_OK;
}

static tx_status run_function(void *context, int n_out, tx_tensor *const *dout, int n_in, tx_tensor **din) {
  lua_function *f = context;
  backward_call call = {.function = f, .n_out = n_out, .n_in = n_in, .dout = dout, .din = din};
  return run_protected(f->L, protected_backward, &call);
}

/* record_function(backward, ctx, inputs, outputs): hangs a Lua backward on outputs computed inside no_grad. inputs and
 * outputs are made by table.pack. */
static int l_record_function(lua_State *L) {
  tx_tensor *in[TX_MAX_INPUTS], *out[TX_MAX_OUTPUTS];
  int64_t n_in = tx_option_int(L, 3, "texres.Function", "n", 0), n_out = tx_option_int(L, 4, "texres.Function", "n", 0);
  if (n_in < 0 || n_in > TX_MAX_INPUTS || n_out < 0 || n_out > TX_MAX_OUTPUTS) {
    return tx_error(L, "texres.Function: %lld arguments and %lld results: at most %d and %d", (long long)n_in,
                    (long long)n_out, TX_MAX_INPUTS, TX_MAX_OUTPUTS);
  }
  lua_createtable(L, 2, 0); /* what backward is called with */
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, 1);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, 2);
  const int table = lua_gettop(L), first = table + 1;
  for (int64_t i = 1; i <= n_in; i++) lua_geti(L, 3, i);
  for (int64_t o = 1; o <= n_out; o++) lua_geti(L, 4, o);
  for (int i = 0; i < (int)n_in; i++) in[i] = tx_test_tensor(L, first + i); /* NULL: an argument that is not a tensor */
  for (int o = 0; o < (int)n_out; o++) {
    int at = first + (int)n_in + o;
    out[o] = tx_test_tensor(L, at);
    if (out[o] == NULL) return tx_error(L, "texres.Function: forward must return tensors, got %s", tx_describe(L, at));
  }
  lua_pushvalue(L, table);
  lua_function *f = keep_function(L);
  if (f == NULL) return tx_raise(L, TX_ENOMEM);
  tx_status status =
      tx_record_custom("texres.Function", (int)n_in, in, (int)n_out, out, run_function, release_function, f);
  if (status != TX_OK) {
    release_function(f);
    return tx_raise(L, status);
  }
  return 0;
}

typedef struct replay_call {
  lua_function *function;
  tx_tensor *x, *y;
} replay_call;

/* Runs again(x) -> y, and whether nobody else has y, so that its handle need not wait for the collector. */
static int protected_replay(lua_State *L) {
  replay_call *call = lua_touserdata(L, 1);
  open_scope(L, true, true);
  lua_rawgeti(L, LUA_REGISTRYINDEX, call->function->kept);
  tx_tensor **handle = tx_new_handle(L);
  *handle = tx_ref(call->x);
  lua_call(L, 1, 2);
  call->y = tx_ref(tx_test_tensor(L, -2));
  if (call->y == NULL)
    tx_error(L, "computed again in backward, the result is %s: a tensor is wanted", tx_describe(L, -2));
  if (!lua_toboolean(L, -1)) return 0;
  handle = lua_touserdata(L, -2);
  tx_unref(*handle);
  *handle = NULL;
  return 0;
}

static tx_status run_replay(void *context, tx_tensor *x, tx_tensor **y) {
  lua_function *f = context;
  replay_call call = {.function = f, .x = x};
  tx_status status = run_protected(f->L, protected_replay, &call);
  *y = call.y;
  return status;
}

/* record_replay(again, x, y): y, computed of x inside no_grad, gets a graph that backward makes by again(x). */
static int l_record_replay(lua_State *L) {
  tx_tensor *x = tx_check_tensor(L, 2), *y = tx_check_tensor(L, 3);
  lua_pushvalue(L, 1);
  lua_function *f = keep_function(L);
  if (f == NULL) return tx_raise(L, TX_ENOMEM);
  tx_status status = tx_record_replay("checkpoint", x, y, run_replay, release_function, f);
  if (status != TX_OK) {
    release_function(f);
    return tx_raise(L, status);
  }
  return 0;
}

/* stand_in(leaves, others): from now on calls are recorded with others[i] in the place of leaves[i], of the same shape, so that
 * it gets the gradient; without `others` no more. */
static int l_stand_in(lua_State *L) {
  const lua_Integer count = luaL_len(L, 1);
  const bool none = lua_isnoneornil(L, 2);
  for (lua_Integer i = 1; i <= count; i++) {
    tx_tensor *other = NULL;
    lua_geti(L, 1, i);
    tx_tensor *leaf = tx_check_tensor(L, -1);
    if (!none) {
      lua_geti(L, 2, i);
      other = tx_check_tensor(L, -1);
    }
    tx_unref(leaf->stand_in);
    leaf->stand_in = tx_ref(other);
    lua_pop(L, none ? 1 : 2);
  }
  return 0;
}

static const tx_function methods[] = {
    {"backward", l_backward,
     "backward(t, gradient): adds the gradients of t to the .grad of every leaf that requires one, and frees the graph "
     "on the way. Without a gradient t has one element, whose gradient is 1; else the gradient has the shape of t."},
    {"detach", l_detach,
     "detach(t): the same elements, in the same memory, outside of the graph: no gradient goes through."},
    {NULL, NULL, NULL},
};

static const tx_function functions[] = {
    {"no_grad", l_no_grad,
     "no_grad(f, ...): what f(...) returns; nothing is recorded inside, so that what is computed there requires no "
     "gradient. f may yield in a coroutine."},
    {"enable_grad", l_enable_grad,
     "enable_grad(f, ...): what f(...) returns; inside everything is recorded, also within no_grad."},
    {"grad_enabled", l_grad_enabled, "grad_enabled(): whether calls are being recorded for backward."},
    {"without_graph", l_without_graph, NULL},
    {"record_function", l_record_function, NULL},
    {"record_replay", l_record_replay, NULL},
    {"stand_in", l_stand_in, NULL},
    {NULL, NULL, NULL},
};

static const luaL_Reg scope_meta[] = {{"__gc", l_close_grad_scope}, {"__close", l_close_grad_scope}, {NULL, NULL}};

void tx_lua_open_autograd(lua_State *L) {
  lua_pushboolean(L, false);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &raised);
  luaL_newmetatable(L, GRAD_SCOPE_TYPE);
  luaL_setfuncs(L, scope_meta, 0);
  lua_pop(L, 1);
  tx_set_functions(L, functions);
  lua_getfield(L, -1, "methods");
  tx_set_functions(L, methods);
  lua_pop(L, 1);
}
