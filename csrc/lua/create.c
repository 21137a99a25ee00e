/* create.c - tensors from Lua values, shapes and rules: texres.tensor, zeros, randn, arange, ... */
#include <string.h>

#include "lua/binding.h"
#include "tensor/create.h"
#include "tensor/random.h"

/* -- creation from Lua values ---------------------------------------------------------------------------------------- */

/* The shape of a nested table, read along its first elements. */
static int table_shape(lua_State *L, int arg, int64_t shape[TX_MAX_DIMS], bool *integers) {
  int dims = 0, top = lua_gettop(L);
  lua_pushvalue(L, arg);
  while (lua_istable(L, -1)) {
    if (dims == TX_MAX_DIMS) tx_error(L, "tensor: the table is nested deeper than %d", TX_MAX_DIMS);
    shape[dims++] = luaL_len(L, -1);
    lua_geti(L, -1, 1);
  }
  *integers = lua_isinteger(L, -1);
  lua_settop(L, top);
  return dims;
}

static void put_number(lua_State *L, int at, tx_dtype dtype, void *data, int64_t i) {
  if (lua_type(L, at) != LUA_TNUMBER) {
    tx_error(L, "tensor: element %lld must be a number, got %s", (long long)i + 1, tx_describe(L, at));
  }
  switch (dtype) {
    case TX_F32:
      ((float *)data)[i] = (float)lua_tonumber(L, at);
      break;
    case TX_F64:
      ((double *)data)[i] = lua_tonumber(L, at);
      break;
    default: {
      int exact;
      int64_t value = lua_tointegerx(L, at, &exact);
      if (!exact)
        tx_error(L, "tensor: %g is not an integer, the dtype is %s", lua_tonumber(L, at), tx_dtype_name(dtype));
      if (dtype == TX_I64) {
        ((int64_t *)data)[i] = value;
      } else if (value >= 0 && value <= 255) {
        ((uint8_t *)data)[i] = (uint8_t)value;
      } else {
        tx_error(L, "tensor: %lld does not fit u8 (0..255)", (long long)value);
      }
    }
  }
}

/* Fills from the table on top of the stack; *i counts elements in row-major order. */
static void fill_from_table(lua_State *L, const tx_tensor *t, int dim, int64_t *i) {
  int64_t n = lua_istable(L, -1) ? luaL_len(L, -1) : -1;
  if (n != t->shape[dim]) {
    tx_error(L, "tensor: the table is ragged: %lld elements expected in dimension %d, got %s%lld",
             (long long)t->shape[dim], dim + 1, n < 0 ? "none " : "", (long long)n);
  }
  for (int64_t k = 1; k <= n; k++) {
    lua_geti(L, -1, k);
    if (dim + 1 < t->dims) {
      fill_from_table(L, t, dim + 1, i);
    } else {
      put_number(L, lua_gettop(L), t->dtype, t->storage->data, (*i)++);
    }
    lua_pop(L, 1);
  }
}

/* Raises when a failed call left the handle closed; applies { requires_grad = true }; returns the handle. */
static int finish(lua_State *L, tx_status status, const char *operation, int options) {
  if (status != TX_OK) return tx_raise(L, tx_fail_by(status, operation));
  tx_tensor *t = tx_check_tensor(L, -1);
  bool given = options < lua_gettop(L); /* else the handle itself stands there */
  if (given && tx_option_bool(L, options, operation, "requires_grad", false)) tx_set_requires_grad(L, t, true);
  tx_pace_collector(L);
  return 1;
}

/* texres.tensor(table or number, { dtype = "f32", requires_grad = false }) */
static int l_tensor(lua_State *L) {
  int64_t shape[TX_MAX_DIMS], i = 0;
  bool integers;
  lua_settop(L, 2);
  tx_dtype dtype = tx_option_dtype(L, 2, "tensor", TX_F32);
  tx_tensor *given = tx_test_tensor(L, 1), **handle = tx_new_handle(L);
  if (given != NULL) { /* a copy */
    tx_tensor *converted = NULL;
    tx_status status = tx_to(given, tx_option_dtype(L, 2, "tensor", given->dtype), &converted);
    if (status == TX_OK) status = tx_clone(converted, handle);
    tx_unref(converted);
    return finish(L, status, "tensor", 2);
  }
  int dims = table_shape(L, 1, shape, &integers);
  tx_status status = tx_empty(dtype, dims, shape, handle);
  if (status != TX_OK) return tx_raise(L, status);
  if (dims == 0) {
    put_number(L, 1, dtype, (*handle)->storage->data, 0);
  } else {
    luaL_checkstack(L, dims + 4, "tensor");
    lua_pushvalue(L, 1);
    fill_from_table(L, *handle, 0, &i);
    lua_pop(L, 1);
  }
  return finish(L, TX_OK, "tensor", 2);
}

/* -- creation from a shape: texres.zeros(2, 3, { dtype = "f64" }) ------------------------------------------------------ */

/* Fills an empty tensor; `options` is the stack index of the options table. */
typedef tx_status fill_fn(lua_State *L, tx_tensor *t, int options);

static int create(lua_State *L, const char *operation, tx_dtype preset, fill_fn *fill, int first) {
  int64_t shape[TX_MAX_DIMS];
  int options, dims = tx_check_shape(L, first, operation, shape, &options);
  lua_settop(L, options);
  tx_dtype dtype = tx_option_dtype(L, options, operation, preset);
  if (dims == 0 && options == first) return tx_error(L, "%s: a shape is expected", operation);
  tx_tensor **handle = tx_new_handle(L);
  tx_status status = tx_empty(dtype, dims, shape, handle);
  if (status == TX_OK) status = fill(L, *handle, options);
  return finish(L, status, operation, options);
}

static int create_like(lua_State *L, const char *operation, fill_fn *fill, int options) {
  tx_tensor *like = tx_check_tensor(L, 1);
  lua_settop(L, options);
  tx_dtype dtype = tx_option_dtype(L, options, operation, like->dtype);
  tx_tensor **handle = tx_new_handle(L);
  tx_status status = tx_empty(dtype, like->dims, like->shape, handle);
  if (status == TX_OK) status = fill(L, *handle, options);
  return finish(L, status, operation, options);
}

static tx_status fill_zero(lua_State *L, tx_tensor *t, int options) {
  (void)L, (void)options;
  return tx_fill(t, 0);
}
static tx_status fill_one(lua_State *L, tx_tensor *t, int options) {
  (void)L, (void)options;
  return tx_fill(t, 1);
}
static tx_status fill_nothing(lua_State *L, tx_tensor *t, int options) {
  (void)L, (void)options, (void)t;
  return TX_OK;
}
static tx_status fill_value(lua_State *L, tx_tensor *t, int options) { /* the value stands before the options */
  return tx_fill(t, lua_tonumber(L, options - 1));
}
static tx_status fill_rand(lua_State *L, tx_tensor *t, int options) {
  (void)L, (void)options;
  return tx_fill_uniform(t, tx_next_key(), 0, 1);
}
static tx_status fill_randn(lua_State *L, tx_tensor *t, int options) {
  (void)L, (void)options;
  return tx_fill_normal(t, tx_next_key(), 0, 1);
}

static int l_zeros(lua_State *L) { return create(L, "zeros", TX_F32, fill_zero, 1); }
static int l_ones(lua_State *L) { return create(L, "ones", TX_F32, fill_one, 1); }
static int l_empty(lua_State *L) { return create(L, "empty", TX_F32, fill_nothing, 1); }
static int l_rand(lua_State *L) { return create(L, "rand", TX_F32, fill_rand, 1); }
static int l_randn(lua_State *L) { return create(L, "randn", TX_F32, fill_randn, 1); }
static int l_zeros_like(lua_State *L) { return create_like(L, "zeros_like", fill_zero, 2); }
static int l_ones_like(lua_State *L) { return create_like(L, "ones_like", fill_one, 2); }
static int l_empty_like(lua_State *L) { return create_like(L, "empty_like", fill_nothing, 2); }
static int l_rand_like(lua_State *L) { return create_like(L, "rand_like", fill_rand, 2); }
static int l_randn_like(lua_State *L) { return create_like(L, "randn_like", fill_randn, 2); }

/* texres.full({2, 3}, value, options) */
static int l_full(lua_State *L) {
  int64_t shape[TX_MAX_DIMS];
  int at;
  if (!lua_istable(L, 1)) return tx_error(L, "full: the shape must be a list, such as full({2, 3}, 0.5)");
  int dims = tx_check_shape(L, 1, "full", shape, &at);
  tx_check_number(L, 2, "full", "the value");
  lua_settop(L, 3);
  tx_dtype dtype = tx_option_dtype(L, 3, "full", TX_F32);
  tx_tensor **handle = tx_new_handle(L);
  tx_status status = tx_empty(dtype, dims, shape, handle);
  if (status == TX_OK) status = fill_value(L, *handle, 3);
  return finish(L, status, "full", 3);
}

/* texres.full_like(t, value, options) */
static int l_full_like(lua_State *L) {
  tx_check_number(L, 2, "full_like", "the value");
  return create_like(L, "full_like", fill_value, 3);
}

/* texres.arange(last), (first, last), (first, last, step), options last: first, first + step, ... up to last included. */
static int l_arange(lua_State *L) {
  double value[3] = {1, 1, 1};
  int n = 0;
  bool integers = true;
  for (; n < 3 && lua_type(L, n + 1) == LUA_TNUMBER; n++) {
    value[n] = lua_tonumber(L, n + 1);
    integers = integers && lua_isinteger(L, n + 1);
  }
  if (n == 0) return tx_error(L, "arange: a number is expected, got %s", tx_describe(L, 1));
  lua_settop(L, n + 1);
  tx_dtype dtype = tx_option_dtype(L, n + 1, "arange", integers ? TX_I64 : TX_F32);
  tx_tensor **handle = tx_new_handle(L);
  tx_status status = tx_arange(dtype, n == 1 ? 1 : value[0], n == 1 ? value[0] : value[1], value[2], handle);
  return finish(L, status, "arange", n + 1);
}

/* texres.eye(rows, [columns], options) */
static int l_eye(lua_State *L) {
  int64_t rows = tx_check_int(L, 1, "eye", "rows"), columns = rows;
  int options = 2;
  if (lua_type(L, 2) == LUA_TNUMBER) {
    columns = tx_check_int(L, 2, "eye", "columns");
    options = 3;
  }
  lua_settop(L, options);
  tx_dtype dtype = tx_option_dtype(L, options, "eye", TX_F32);
  tx_tensor **handle = tx_new_handle(L);
  return finish(L, tx_eye(dtype, rows, columns, handle), "eye", options);
}

/* texres.randint(low, high, {2, 3}, options): integers low..high, both included; i64 unless told. */
static int l_randint(lua_State *L) {
  int64_t shape[TX_MAX_DIMS], low = tx_check_int(L, 1, "randint", "low"), high = tx_check_int(L, 2, "randint", "high");
  int options, dims = tx_check_shape(L, 3, "randint", shape, &options);
  lua_settop(L, options);
  tx_dtype dtype = tx_option_dtype(L, options, "randint", TX_I64);
  tx_tensor **handle = tx_new_handle(L);
  tx_status status = tx_empty(dtype, dims, shape, handle);
  if (status == TX_OK) status = tx_fill_integers(*handle, tx_next_key(), low, high);
  return finish(L, status, "randint", options);
}

/* texres.randperm(n): the numbers 1..n in random order, i64. */
static int l_randperm(lua_State *L) {
  int64_t n = tx_check_int(L, 1, "randperm", "n");
  lua_settop(L, 2);
  tx_tensor **handle = tx_new_handle(L);
  return finish(L, tx_randperm(tx_next_key(), n, handle), "randperm", 2);
}

/* -- tables ---------------------------------------------------------------------------------------------------------- */

static const luaL_Reg functions[] = {{"tensor", l_tensor},
                                     {"zeros", l_zeros},
                                     {"ones", l_ones},
                                     {"empty", l_empty},
                                     {"full", l_full},
                                     {"rand", l_rand},
                                     {"randn", l_randn},
                                     {"zeros_like", l_zeros_like},
                                     {"ones_like", l_ones_like},
                                     {"empty_like", l_empty_like},
                                     {"full_like", l_full_like},
                                     {"rand_like", l_rand_like},
                                     {"randn_like", l_randn_like},
                                     {"arange", l_arange},
                                     {"eye", l_eye},
                                     {"randint", l_randint},
                                     {"randperm", l_randperm},
                                     {NULL, NULL}};

void tx_lua_open_create(lua_State *L) { luaL_setfuncs(L, functions, 0); }
