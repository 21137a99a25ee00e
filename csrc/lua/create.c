/* create.c - tensors from Lua values, shapes and rules: texres.tensor, zeros, randn, arange, ... */
#include <string.h>

#include "lua/binding.h"
#include "tensor/create.h"
#include "tensor/number.h"
#include "tensor/random.h"

/* -- creation from Lua values ---------------------------------------------------------------------------------------- */

/* The shape of a nested table, read along its first elements. */
static int table_shape(lua_State *L, int arg, int64_t shape[TX_MAX_DIMS]) {
  int dims = 0, top = lua_gettop(L);
  lua_pushvalue(L, arg);
  while (lua_istable(L, -1)) {
    if (dims == TX_MAX_DIMS) tx_error(L, "tensor: the table is nested deeper than %d", TX_MAX_DIMS);
    shape[dims++] = tx_check_list(L, lua_gettop(L), "tensor", "the table");
    lua_geti(L, -1, 1);
  }
  lua_settop(L, top);
  return dims;
}

static void put_number(lua_State *L, int at, tx_dtype dtype, void *data, int64_t i) {
  if (lua_type(L, at) != LUA_TNUMBER) {
    tx_error(L, "tensor: element %lld must be a number, got %s", (long long)i + 1, tx_describe(L, at));
  }
  tx_status status = tx_store(dtype, (char *)data + (size_t)i * tx_dtype_size(dtype), tx_to_number(L, at));
  if (status != TX_OK) tx_raise(L, tx_fail_by(status, "tensor"));
}

/* Fills from the table on top of the stack; *i counts elements in row-major order. */
static void fill_from_table(lua_State *L, const tx_tensor *t, int dim, int64_t *i) {
  int n = lua_istable(L, -1) ? tx_check_list(L, lua_gettop(L), "tensor", "the table") : -1;
  if (n != t->shape[dim]) {
    tx_error(L, "tensor: the table is ragged: %lld elements expected in dimension %d, got %s%d",
             (long long)t->shape[dim], dim + 1, n < 0 ? "none " : "", n);
  }
  for (int k = 1; k <= n; k++) {
    lua_geti(L, -1, k);
    if (dim + 1 < t->dims) {
      fill_from_table(L, t, dim + 1, i);
    } else {
      put_number(L, lua_gettop(L), t->dtype, t->storage->data, (*i)++);
    }
    lua_pop(L, 1);
  }
}

/* { dtype = "f32", requires_grad = false } */
typedef struct options {
  tx_dtype dtype; /* TX_DTYPE_COUNT: not given */
  bool requires_grad;
} options;

/* The options at `arg`, the last argument, for a tensor that is `default_value` unless told. */
static options read_options(lua_State *L, int arg, const char *operation, tx_dtype default_value) {
  tx_check_options(L, arg, operation, "dtype requires_grad");
  options o = {.dtype = tx_option_dtype(L, arg, operation, default_value),
               .requires_grad = tx_option_bool(L, arg, operation, "requires_grad", false)};
  return o;
}

/* What every function here returns: the handle on top of the stack, or the error. */
static int finish(lua_State *L, tx_status status, const char *operation, options o) {
  if (status != TX_OK) return tx_raise(L, tx_fail_by(status, operation));
  if (o.requires_grad) tx_set_requires_grad(L, tx_check_tensor(L, -1), true);
  tx_pace_collector(L);
  return 1;
}

static int l_tensor(lua_State *L) {
  int64_t shape[TX_MAX_DIMS], i = 0;
  options o = read_options(L, 2, "tensor", TX_DTYPE_COUNT);
  lua_settop(L, 2);
  bool copy = luaL_testudata(L, 1, TX_TENSOR_TYPE) != NULL;
  int dims = copy ? 0 : table_shape(L, 1, shape);
  tx_tensor **handle = tx_new_handle(L);
  if (copy) {
    tx_tensor *given = tx_check_tensor(L, 1);
    return finish(L, tx_copy_as(given, o.dtype == TX_DTYPE_COUNT ? given->dtype : o.dtype, handle), "tensor", o);
  }
  if (o.dtype == TX_DTYPE_COUNT) o.dtype = TX_F32;
  tx_status status = tx_empty(o.dtype, dims, shape, handle);
  if (status != TX_OK) return tx_raise(L, status);
  if (dims == 0) {
    put_number(L, 1, o.dtype, (*handle)->storage->data, 0);
  } else {
    luaL_checkstack(L, dims + 4, "tensor");
    lua_pushvalue(L, 1);
    fill_from_table(L, *handle, 0, &i);
    lua_pop(L, 1);
  }
  return finish(L, TX_OK, "tensor", o);
}

/* -- creation from a shape: texres.zeros(2, 3, { dtype = "f64" }) ------------------------------------------------------ */

/* Fills an empty tensor; `value` is what full was given. */
typedef tx_status fill_fn(tx_tensor *t, tx_number value);

static tx_status fill_value(tx_tensor *t, tx_number value) { return tx_fill(t, value); }
static tx_status fill_nothing(tx_tensor *t, tx_number value) {
  (void)t, (void)value;
  return TX_OK;
}
static tx_status fill_rand(tx_tensor *t, tx_number value) {
  (void)value;
  return tx_fill_uniform(t, tx_next_key(), 0, 1);
}
static tx_status fill_randn(tx_tensor *t, tx_number value) {
  (void)value;
  return tx_fill_normal(t, tx_next_key(), 0, 1);
}

static int make(lua_State *L, const char *operation, options o, int dims, const int64_t *shape, fill_fn *fill,
                tx_number value) {
  tx_tensor **handle = tx_new_handle(L);
  tx_status status = tx_empty(o.dtype, dims, shape, handle);
  if (status == TX_OK) status = fill(*handle, value);
  return finish(L, status, operation, o);
}

/* The shape stands first, the options behind it. */
static int create(lua_State *L, const char *operation, fill_fn *fill, tx_number value) {
  int64_t shape[TX_MAX_DIMS];
  int next, dims = tx_check_shape(L, 1, operation, shape, &next);
  return make(L, operation, read_options(L, next, operation, TX_F32), dims, shape, fill, value);
}

/* The same with the shape of the tensor at 1; the options stand at `at`. */
static int create_like(lua_State *L, const char *operation, int at, fill_fn *fill, tx_number value) {
  int64_t shape[TX_MAX_DIMS];
  options o = read_options(L, at, operation, TX_DTYPE_COUNT);
  const tx_tensor *like = tx_check_tensor(L, 1);
  if (o.dtype == TX_DTYPE_COUNT) o.dtype = like->dtype;
  memcpy(shape, like->shape, sizeof shape);
  return make(L, operation, o, like->dims, shape, fill, value);
}

static int l_zeros(lua_State *L) { return create(L, "zeros", fill_value, tx_integer(0)); }
static int l_ones(lua_State *L) { return create(L, "ones", fill_value, tx_integer(1)); }
static int l_empty(lua_State *L) { return create(L, "empty", fill_nothing, tx_integer(0)); }
static int l_rand(lua_State *L) { return create(L, "rand", fill_rand, tx_integer(0)); }
static int l_randn(lua_State *L) { return create(L, "randn", fill_randn, tx_integer(0)); }
static int l_zeros_like(lua_State *L) { return create_like(L, "zeros_like", 2, fill_value, tx_integer(0)); }
static int l_ones_like(lua_State *L) { return create_like(L, "ones_like", 2, fill_value, tx_integer(1)); }
static int l_empty_like(lua_State *L) { return create_like(L, "empty_like", 2, fill_nothing, tx_integer(0)); }
static int l_rand_like(lua_State *L) { return create_like(L, "rand_like", 2, fill_rand, tx_integer(0)); }
static int l_randn_like(lua_State *L) { return create_like(L, "randn_like", 2, fill_randn, tx_integer(0)); }

static int l_full(lua_State *L) {
  int64_t shape[TX_MAX_DIMS];
  int next;
  if (!lua_istable(L, 1)) return tx_error(L, "full: the shape must be a list, such as full({2, 3}, 0.5)");
  int dims = tx_check_shape(L, 1, "full", shape, &next);
  tx_number value = tx_check_value(L, 2, "full", "the value");
  return make(L, "full", read_options(L, 3, "full", TX_F32), dims, shape, fill_value, value);
}

static int l_full_like(lua_State *L) {
  return create_like(L, "full_like", 3, fill_value, tx_check_value(L, 2, "full_like", "the value"));
}

/* A whole number as an integer: arange(1.0, 3.0, { dtype = "i64" }) counts exactly. */
static tx_number as_integer(tx_number n) {
  return tx_holds(TX_I64, n) == TX_OK && !n.integral ? tx_integer((int64_t)n.real) : n;
}

static int l_arange(lua_State *L) {
  tx_number value[3] = {tx_integer(1), tx_integer(1), tx_integer(1)};
  int n = 0;
  for (; n < 3 && lua_type(L, n + 1) == LUA_TNUMBER; n++) value[n] = tx_check_value(L, n + 1, "arange", "a limit");
  if (n == 0) return tx_error(L, "arange: a number is expected, got %s", tx_describe(L, 1));
  if (n == 1) {
    value[1] = value[0];
    value[0] = tx_integer(1);
  }
  bool integers = value[0].integral && value[1].integral && value[2].integral;
  options o = read_options(L, n + 1, "arange", integers ? TX_I64 : TX_F32);
  for (int i = 0; i < 3 && !tx_dtype_is_float(o.dtype); i++) value[i] = as_integer(value[i]);
  tx_tensor **handle = tx_new_handle(L);
  return finish(L, tx_arange(o.dtype, value[0], value[1], value[2], handle), "arange", o);
}

static int l_eye(lua_State *L) {
  int64_t rows = tx_check_int(L, 1, "eye", "rows"), columns = rows;
  int at = 2;
  if (lua_type(L, 2) == LUA_TNUMBER) {
    columns = tx_check_int(L, 2, "eye", "columns");
    at = 3;
  }
  options o = read_options(L, at, "eye", TX_F32);
  tx_tensor **handle = tx_new_handle(L);
  return finish(L, tx_eye(o.dtype, rows, columns, handle), "eye", o);
}

static int l_randint(lua_State *L) {
  int64_t shape[TX_MAX_DIMS], low = tx_check_int(L, 1, "randint", "low"), high = tx_check_int(L, 2, "randint", "high");
  int next, dims = tx_check_shape(L, 3, "randint", shape, &next);
  options o = read_options(L, next, "randint", TX_I64);
  tx_tensor **handle = tx_new_handle(L);
  tx_status status = tx_empty(o.dtype, dims, shape, handle);
  if (status == TX_OK) status = tx_fill_integers(*handle, tx_next_key(), low, high);
  return finish(L, status, "randint", o);
}

static int l_randperm(lua_State *L) {
  int64_t n = tx_check_int(L, 1, "randperm", "n");
  tx_check_options(L, 2, "randperm", "");
  tx_tensor **handle = tx_new_handle(L);
  return finish(L, tx_randperm(tx_next_key(), n, handle), "randperm", (options){0});
}

/* resample(units, rows, samples, seed, stream) -> f64 {samples, rows}: see tensor/random.h; a function of its arguments alone */
static int l_resample(lua_State *L) {
  tx_tensor *unit = tx_check_tensor(L, 1);
  int64_t rows = tx_check_int(L, 2, "resample", "rows"), samples = tx_check_int(L, 3, "resample", "samples");
  tx_key key = {(uint64_t)tx_check_int(L, 4, "resample", "the seed"),
                (uint64_t)tx_check_int(L, 5, "resample", "the stream")};
  tx_tensor **handle = tx_new_handle(L);
  tx_watch_interrupt(L);
  return tx_return_tensor(L, tx_resample(key, unit, rows, samples, handle), handle);
}

/* -- tables ---------------------------------------------------------------------------------------------------------- */

static const tx_function functions[] = {
    {"tensor", l_tensor,
     "tensor(values, {dtype=\"f32\", requires_grad=false}): a tensor of a number or of nested lists of numbers, one "
     "list for each row; of a tensor a copy, by default of its own dtype. Rows of different lengths, and numbers that "
     "the dtype cannot hold, are errors. dtype: \"f32\", \"f64\", \"u8\" or \"i64\", here and in all functions that "
     "make tensors."},
    {"zeros", l_zeros,
     "zeros(shape, {dtype=\"f32\", requires_grad=false}): a tensor of zeros; shape: zeros(2, 3) or zeros({2, 3}), "
     "zeros({}) has no dimensions and one element."},
    {"ones", l_ones, "ones(shape, {dtype=\"f32\", requires_grad=false}): a tensor of ones; shape as in zeros."},
    {"empty", l_empty,
     "empty(shape, {dtype=\"f32\", requires_grad=false}): a tensor whose elements are whatever the memory held; shape "
     "as in zeros."},
    {"full", l_full,
     "full(shape, value, {dtype=\"f32\", requires_grad=false}): a tensor in which each element is the value; shape is "
     "a list, {2, 3}. The dtype must be able to hold the value."},
    {"rand", l_rand,
     "rand(shape, {dtype=\"f32\", requires_grad=false}): random numbers, uniform in 0..1 without 1; shape as in zeros; "
     "f32 or f64. They follow manual_seed."},
    {"randn", l_randn,
     "randn(shape, {dtype=\"f32\", requires_grad=false}): random numbers of the normal distribution with mean 0 and "
     "deviation 1; shape as in zeros; f32 or f64. They follow manual_seed."},
    {"zeros_like", l_zeros_like,
     "zeros_like(t, {dtype=, requires_grad=false}): zeros in the shape of t, by default in its dtype."},
    {"ones_like", l_ones_like,
     "ones_like(t, {dtype=, requires_grad=false}): ones in the shape of t, by default in its dtype."},
    {"empty_like", l_empty_like,
     "empty_like(t, {dtype=, requires_grad=false}): a tensor in the shape of t, by default in its dtype, whose "
     "elements are whatever the memory held."},
    {"full_like", l_full_like,
     "full_like(t, value, {dtype=, requires_grad=false}): a tensor in the shape of t, by default in its dtype, in "
     "which each element is the value."},
    {"rand_like", l_rand_like,
     "rand_like(t, {dtype=, requires_grad=false}): as rand, in the shape of t and by default in its dtype."},
    {"randn_like", l_randn_like,
     "randn_like(t, {dtype=, requires_grad=false}): as randn, in the shape of t and by default in its dtype."},
    {"arange", l_arange,
     "arange(first, last, step, {dtype=, requires_grad=false}): first, first + step, ... up to last, which is included "
     "where it is met: {N}. arange(last) begins at 1; step is 1 unless told. i64 where all are whole numbers, else "
     "f32."},
    {"eye", l_eye,
     "eye(rows, columns, {dtype=\"f32\", requires_grad=false}): {rows,columns} with ones on the diagonal, zeros "
     "elsewhere; columns: as many as rows unless told."},
    {"randint", l_randint,
     "randint(low, high, shape, {dtype=\"i64\", requires_grad=false}): random whole numbers low..high, both included, "
     "each equally likely; shape as in zeros. They follow manual_seed."},
    {"randperm", l_randperm, "randperm(n): the numbers 1..n in random order, i64 {n}. It follows manual_seed."},
    {"resample", l_resample, NULL},
    {NULL, NULL, NULL},
};

void tx_lua_open_create(lua_State *L) { tx_set_functions(L, functions); }
