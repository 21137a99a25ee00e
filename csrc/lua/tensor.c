/* tensor.c - the Tensor userdata: properties, operators, access to elements, changes in place. */
#include <limits.h>
#include <string.h>

#include "autograd/op.h"
#include "base/memory.h"
#include "lua/binding.h"
#include "lua/op.h"
#include "tensor/create.h"
#include "tensor/print.h"
#include "tensor/random.h"

/* -- questions ------------------------------------------------------------------------------------------------------- */

static int l_dim(lua_State *L) {
  lua_pushinteger(L, tx_check_tensor(L, 1)->dims);
  return 1;
}

static int l_numel(lua_State *L) {
  lua_pushinteger(L, tx_numel(tx_check_tensor(L, 1)));
  return 1;
}

static int l_size(lua_State *L) {
  tx_tensor *t = tx_check_tensor(L, 1);
  if (!lua_isnoneornil(L, 2)) {
    lua_pushinteger(L, t->shape[tx_check_dim(L, tx_check_int(L, 2, "size", "dim"), t->dims, "size")]);
    return 1;
  }
  for (int d = 0; d < t->dims; d++) lua_pushinteger(L, t->shape[d]);
  return t->dims;
}

static int l_version(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)tx_check_tensor(L, 1)->storage->version);
  return 1;
}

static int push_list(lua_State *L, int n, const int64_t values[TX_MAX_DIMS]) {
  int64_t kept[TX_MAX_DIMS]; /* making a table may let the tensor go */
  memcpy(kept, values, sizeof kept);
  lua_createtable(L, n, 0);
  for (int d = 0; d < n; d++) {
    lua_pushinteger(L, kept[d]);
    lua_seti(L, -2, d + 1);
  }
  return 1;
}

static int l_shape(lua_State *L) {
  tx_tensor *t = tx_check_tensor(L, 1);
  return push_list(L, t->dims, t->shape);
}

static int l_stride(lua_State *L) {
  tx_tensor *t = tx_check_tensor(L, 1);
  return push_list(L, t->dims, t->strides);
}

static int l_is_contiguous(lua_State *L) {
  lua_pushboolean(L, tx_is_contiguous(tx_check_tensor(L, 1)));
  return 1;
}

/* #t -> size of the first dimension */
static int l_len(lua_State *L) {
  tx_tensor *t = tx_check_tensor(L, 1);
  if (t->dims == 0) return tx_error(L, "#: the tensor holds one number and has no length");
  lua_pushinteger(L, t->shape[0]);
  return 1;
}

static void push_element(lua_State *L, tx_dtype dtype, const void *data, int64_t i) {
  switch (dtype) {
    case TX_U8:
      lua_pushinteger(L, ((const uint8_t *)data)[i]);
      break;
    case TX_I64:
      lua_pushinteger(L, ((const int64_t *)data)[i]);
      break;
    case TX_F32:
      lua_pushnumber(L, (double)((const float *)data)[i]);
      break;
    default:
      lua_pushnumber(L, ((const double *)data)[i]);
  }
}

static int l_item(lua_State *L) {
  tx_tensor *t = tx_check_tensor(L, 1);
  if (tx_numel(t) != 1) return tx_error(L, "item: the tensor is %s: it must hold one element", tx_shape_of(t));
  push_element(L, t->dtype, tx_data(t), 0);
  return 1;
}

static void push_nested(lua_State *L, const tx_tensor *t, int dim, int64_t *i) {
  if (dim == t->dims) {
    push_element(L, t->dtype, tx_data(t), (*i)++);
    return;
  }
  lua_createtable(L, t->shape[dim] < INT_MAX ? (int)t->shape[dim] : 0, 0);
  for (int64_t k = 1; k <= t->shape[dim]; k++) {
    push_nested(L, t, dim + 1, i);
    lua_seti(L, -2, k);
  }
}

static int l_totable(lua_State *L) {
  int64_t i = 0;
  lua_settop(L, 1);
  tx_tensor **handle = tx_new_handle(L);
  tx_status status = tx_contiguous(tx_check_tensor(L, 1), handle);
  if (status != TX_OK) return tx_raise(L, status);
  luaL_checkstack(L, TX_MAX_DIMS + 4, "totable");
  push_nested(L, *handle, 0, &i);
  return 1;
}

static int l_is_tensor(lua_State *L) {
  lua_pushboolean(L, luaL_testudata(L, 1, TX_TENSOR_TYPE) != NULL);
  return 1;
}

static double opt_number(lua_State *L, int arg, const char *operation, const char *name, double default_value) {
  return lua_isnoneornil(L, arg) ? default_value : tx_check_number(L, arg, operation, name);
}

static int l_allclose(lua_State *L) {
  tx_tensor *a = tx_check_tensor(L, 1), *b = tx_check_tensor(L, 2);
  double rtol = opt_number(L, 3, "allclose", "rtol", 1e-5);
  double atol = opt_number(L, 4, "allclose", "atol", rtol == 0 ? 0 : 1e-8);
  if (!(rtol >= 0 && atol >= 0)) return tx_error(L, "allclose: rtol is %g, atol %g: 0 or more is needed", rtol, atol);
  bool close;
  tx_status status = tx_allclose(a, b, rtol, atol, false, &close);
  if (status != TX_OK) return tx_raise(L, status);
  lua_pushboolean(L, close);
  return 1;
}

static int l_all_finite(lua_State *L) {
  bool finite;
  tx_status status = tx_all_finite(tx_check_tensor(L, 1), &finite);
  if (status != TX_OK) return tx_raise(L, status);
  lua_pushboolean(L, finite);
  return 1;
}

static int l_tostring(lua_State *L) {
  tx_tensor **handle = tx_check_object(L, 1, TX_TENSOR_TYPE, NULL, "a tensor");
  if (*handle == NULL) {
    lua_pushliteral(L, "closed tensor");
    return 1;
  }
  void **block = tx_new_block(L);
  char *text;
  tx_status status = tx_print(tx_check_tensor(L, 1), &text);
  if (status != TX_OK) return tx_raise(L, status);
  *block = text;
  lua_pushstring(L, text);
  return 1;
}

/* -- changes in place ------------------------------------------------------------------------------------------------ */

/* What every change in place returns: t, or the error. */
static int return_self(lua_State *L, tx_status status, const char *operation) {
  if (status != TX_OK) return tx_raise(L, tx_fail_by(status, operation));
  lua_settop(L, 1);
  return 1;
}

/* t:fill(value) -> t */
static int fill(lua_State *L, const char *operation, tx_number value) {
  tx_tensor *t = tx_check_tensor(L, 1);
  tx_status status = tx_writable(operation, t);
  if (status == TX_OK) status = tx_fill(t, value);
  return return_self(L, status, operation);
}

static int l_fill(lua_State *L) { return fill(L, "fill", tx_check_value(L, 2, "fill", "the value")); }

static int l_zero(lua_State *L) { return fill(L, "zero", tx_integer(0)); }

static tx_status copy_into(const char *operation, tx_tensor *dst, const tx_tensor *src) {
  if (tx_grad_enabled() && src->requires_grad) {
    return tx_fail(TX_EINVAL,
                   "%s: the source requires a gradient, which would be lost here: detach() it, or build the "
                   "result with cat, stack or where",
                   operation);
  }
  TX_TRY(tx_writable(operation, dst));
  return tx_copy(dst, src);
}

static int l_copy_from(lua_State *L) {
  tx_tensor *t = tx_check_tensor(L, 1), *src = tx_check_tensor(L, 2);
  return return_self(L, copy_into("copy_from", t, src), "copy_from");
}

/* An in-place random fill with two numbers that may be absent. */
static int fill_random(lua_State *L, const char *operation, tx_status (*fill_with)(tx_tensor *, tx_key, double, double),
                       const char *first, double a, const char *second, double b) {
  tx_tensor *t = tx_check_tensor(L, 1);
  a = opt_number(L, 2, operation, first, a);
  b = opt_number(L, 3, operation, second, b);
  tx_status status = tx_writable(operation, t);
  if (status == TX_OK) status = fill_with(t, tx_next_key(), a, b);
  return return_self(L, status, operation);
}

static int l_uniform(lua_State *L) { return fill_random(L, "uniform", tx_fill_uniform, "low", 0, "high", 1); }
static int l_normal(lua_State *L) { return fill_random(L, "normal", tx_fill_normal, "mean", 0, "std", 1); }

/* t:free(): gives the memory back now; later use raises. Also __gc and __close. */
static int l_free(lua_State *L) {
  tx_tensor **handle = tx_check_object(L, 1, TX_TENSOR_TYPE, NULL, "a tensor");
  tx_tensor *t = *handle;
  *handle = NULL;
  tx_unref(t);
  return 0;
}

/* -- properties and indexing -------------------------------------------------------------------------------------------------------- */

void tx_set_requires_grad(lua_State *L, tx_tensor *t, bool wanted) {
  if (wanted && !tx_dtype_is_float(t->dtype)) {
    tx_error(L, "requires_grad: only f32 and f64 tensors have gradients, this one is %s", tx_dtype_name(t->dtype));
  }
  if (t->node != NULL && !wanted) tx_error(L, "requires_grad: this tensor was computed: use detach()");
  t->requires_grad = wanted;
}

/* The position at 2: a number with an integral value, as in Lua's own tables. */
static int64_t check_position(lua_State *L) {
  int whole;
  int64_t index = lua_tointegerx(L, 2, &whole);
  if (!whole) tx_error(L, "index %s: positions are whole numbers", tx_describe(L, 2));
  return index;
}

/* 1-based or negative position along the first dimension, to 0-based. */
static int64_t check_row(lua_State *L, const tx_tensor *t, int64_t index) {
  if (t->dims == 0) tx_error(L, "index %lld: the tensor holds one number and has no dimensions", (long long)index);
  if (index == 0 || index > t->shape[0] || index < -t->shape[0]) {
    tx_error(L, "index %lld: the first dimension of %s has positions 1..%lld", (long long)index, tx_shape_of(t),
             (long long)t->shape[0]);
  }
  return index < 0 ? index + t->shape[0] : index - 1;
}

static void push_grad(lua_State *L) {
  tx_tensor **handle = tx_new_handle(L);
  *handle = tx_ref(tx_check_tensor(L, 1)->grad);
  if (*handle == NULL) lua_pushnil(L);
}

/* t[i]: a view; nil just behind the end, so that ipairs(t) ends there. Upvalue 2: select. */
static int index_row(lua_State *L) {
  int64_t index = check_position(L);
  const tx_tensor *t = tx_check_tensor(L, 1);
  if (t->dims > 0 && index == t->shape[0] + 1) return 0;
  check_row(L, t, index);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 1);
  lua_pushinteger(L, index);
  lua_call(L, 3, 1);
  return 1;
}

/* t[i] is a view; dtype, requires_grad, grad, is_leaf, operation are properties; else a method, or nil. Upvalues: methods,
 * select. */
static int l_index(lua_State *L) {
  int type = lua_type(L, 2);
  if (type == LUA_TNUMBER) return index_row(L);
  if (type != LUA_TSTRING) return tx_error(L, "a tensor has no field %s: t[i] takes a position", tx_describe(L, 2));
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  if (lua_stringtonumber(L, lua_tostring(L, 2)) != 0) {
    return tx_error(L, "index %s is text: t[i] takes a number", tx_describe(L, 2));
  }
  const char *name = lua_tostring(L, 2);
  tx_tensor *t = tx_check_tensor(L, 1);
  if (strcmp(name, "dtype") == 0) {
    lua_pushstring(L, tx_dtype_name(t->dtype));
  } else if (strcmp(name, "requires_grad") == 0) {
    lua_pushboolean(L, t->requires_grad);
  } else if (strcmp(name, "grad") == 0) {
    push_grad(L);
  } else if (strcmp(name, "is_leaf") == 0) {
    lua_pushboolean(L, t->node == NULL);
  } else if (strcmp(name, "operation") == 0) {
    lua_pushstring(L, tx_operation_of(t)); /* nil for a leaf */
  } else {
    lua_pushvalue(L, 2);
    lua_gettable(L, lua_upvalueindex(1)); /* nil, or the error of texres.strict */
  }
  return 1;
}

static void set_row(lua_State *L) {
  tx_tensor **row = tx_new_handle(L), *t = tx_check_tensor(L, 1), *value = tx_test_tensor(L, 3);
  tx_number number = value != NULL ? tx_integer(0) : tx_check_value(L, 3, "assignment", "the value");
  tx_status status = tx_select(t, 0, check_row(L, t, check_position(L)), row);
  if (status == TX_OK) status = tx_writable("assignment", t);
  if (status == TX_OK) status = value != NULL ? copy_into("assignment", *row, value) : tx_fill(*row, number);
  if (status != TX_OK) tx_raise(L, tx_fail_by(status, "assignment"));
}

static void set_grad(lua_State *L, tx_tensor *t) {
  tx_tensor *grad = lua_isnil(L, 3) ? NULL : tx_test_tensor(L, 3);
  if (grad == NULL && !lua_isnil(L, 3)) tx_error(L, "grad: a tensor or nil is expected, got %s", tx_describe(L, 3));
  tx_status status = grad != NULL ? tx_elements_apart(grad) : TX_OK; /* backward adds to it */
  if (status != TX_OK) tx_raise(L, tx_fail_by(status, "grad"));
  if (grad != NULL && (!tx_same_shape(t, grad) || t->dtype != grad->dtype)) {
    tx_error(L, "grad: the gradient is %s %s, the tensor %s %s", tx_dtype_name(grad->dtype), tx_shape_of(grad),
             tx_dtype_name(t->dtype), tx_shape_of(t));
  }
  /* The same memory, as a tensor without a graph and a gradient of its own: no tensor can come to hold itself. */
  tx_tensor *alias = NULL;
  if (grad != NULL) status = tx_alias(grad, &alias);
  if (status != TX_OK) tx_raise(L, status);
  tx_unref(t->grad);
  t->grad = alias;
}

/* t[i] = number or tensor; t.requires_grad = true; t.grad = nil */
static int l_newindex(lua_State *L) {
  tx_tensor *t = tx_check_tensor(L, 1);
  const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (lua_type(L, 2) == LUA_TNUMBER) {
    set_row(L);
  } else if (strcmp(name, "requires_grad") == 0) {
    if (!lua_isboolean(L, 3)) return tx_error(L, "requires_grad must be true or false, got %s", tx_describe(L, 3));
    tx_set_requires_grad(L, t, lua_toboolean(L, 3));
  } else if (strcmp(name, "grad") == 0) {
    set_grad(L, t);
  } else {
    return tx_error(L, "a tensor has no field %s that can be set: only t[i], t.requires_grad and t.grad",
                    tx_describe(L, 2));
  }
  return 0;
}

/* -- tables ---------------------------------------------------------------------------------------------------------- */

static const tx_function functions[] = {
    {"is_tensor", l_is_tensor, "is_tensor(value): whether a value of any type is a tensor."},
    {"allclose", l_allclose,
     "allclose(a, b, rtol=1e-5, atol=1e-8): whether |a - b| <= atol + rtol |b| for all elements of two tensors of one "
     "shape; NaN is close to nothing. rtol = 0 alone asks for equality."},
    {NULL, NULL, NULL},
};

static const tx_function methods[] = {
    {"dim", l_dim, "dim(t): how many dimensions it has."},
    {"numel", l_numel, "numel(t): how many elements it has."},
    {"size", l_size,
     "size(t, dim): the size of a dimension, negative ones from the end; without it all sizes, as several results."},
    {"shape", l_shape, "shape(t): its sizes as a list, {2, 3}."},
    {"stride", l_stride,
     "stride(t): a list of how many elements lie between neighbours in each dimension: {3, 1} for {2,3}."},
    {"is_contiguous", l_is_contiguous,
     "is_contiguous(t): whether its elements lie in row-major order in memory, without gaps."},
    {"version", l_version, "version(t): how often the memory behind t was changed in place; views share it."},
    {"item", l_item, "item(t): the number in a tensor of one element; an error for others."},
    {"totable", l_totable,
     "totable(t): nested lists of its numbers, as tensor() takes them; of a tensor without dimensions the number."},
    {"allclose", l_allclose, NULL},
    {"all_finite", l_all_finite, "all_finite(t): whether no element is NaN or infinite."},
    {"fill", l_fill,
     "fill(t, value): makes each element the value, in place; returns t. The dtype must be able to hold it. What the "
     "graph needs for backward may not be changed: an error says so."},
    {"zero", l_zero, "zero(t): makes each element 0, in place; returns t."},
    {"copy_from", l_copy_from,
     "copy_from(t, source): copies the elements of another tensor, in place; returns t. The source is broadcast to the "
     "shape of t and converted as by to()."},
    {"uniform", l_uniform,
     "uniform(t, low=0, high=1): fills t, f32 or f64, with random numbers, uniform in low..high without high, in "
     "place; returns t. They follow manual_seed."},
    {"normal", l_normal,
     "normal(t, mean=0, std=1): fills t, f32 or f64, with random numbers of a normal distribution, in place; returns "
     "t. They follow manual_seed."},
    {"free", l_free,
     "free(t): gives its memory back now, as far as no other tensor shares it; later use of t is an error. A variable "
     "with <close> does the same."},
    {NULL, NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__len", l_len}, {"__tostring", l_tostring}, {"__gc", l_free}, {"__close", l_free}, {NULL, NULL}};

/* Operators are functions of autograd/list.h. */
static const struct {
  const char *event, *op;
} operators[] = {{"__add", "add"}, {"__sub", "sub"}, {"__mul", "mul"}, {"__div", "div"},
                 {"__mod", "mod"}, {"__pow", "pow"}, {"__unm", "neg"}, {"__idiv", "idiv"}};

/* -t passes its operand twice. */
static int l_unm(lua_State *L) {
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

void tx_lua_open_tensor(lua_State *L) {
  tx_set_functions(L, functions);
  luaL_newmetatable(L, TX_TENSOR_TYPE);
  luaL_setfuncs(L, metamethods, 0);
  for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
    if (!tx_push_op(L, operators[i].op)) continue;
    if (strcmp(operators[i].event, "__unm") == 0) lua_pushcclosure(L, l_unm, 1);
    lua_setfield(L, -2, operators[i].event);
  }
  lua_newtable(L); /* methods */
  tx_set_functions(L, methods);
  lua_pushvalue(L, -1);
  lua_setfield(L, -4, "methods");
  if (!tx_push_op(L, "select")) lua_pushnil(L);
  lua_pushcclosure(L, l_index, 2);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_newindex);
  lua_setfield(L, -2, "__newindex");
  lua_pop(L, 1);
}
