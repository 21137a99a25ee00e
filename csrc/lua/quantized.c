/* quantized.c - networks in 8 bits (quantized/program.h), as lua/texres/quantize.lua describes them.
 *
 *     core.quantized_program(description, tensors) -> program
 *     program:run(x)         x f32 {N,H,W,C} -> f32 {N,K}, or {N,P,Q,K} where the last step makes floats of images
 *
 * description = { values = { { shape = {H,W,C}, zero = 0, scale = 0.1 }, ... }, steps = { { op = "conv", input = 2, output = 3,
 * ... }, ... } }; values count from 1, the first is the input. tensors["step.3.weight"] and so on belong to steps.
 */
#include "quantized/program.h"

#include <math.h>
#include <string.h>

#include "base/integers.h"
#include "base/memory.h"
#include "lua/binding.h"

#define PROGRAM_TYPE "texres.QuantizedProgram"
#define WHO "quantized_program"

enum { MOST_STEPS = 1 << 14, MOST_SIDE = 1 << 20 };

/* -- reading the description -------------------------------------------------------------------------------------------- */

static int64_t whole(lua_State *L, int table, const char *name, int64_t low, int64_t high, int64_t default_value) {
  const int64_t value = tx_option_int(L, table, WHO, name, default_value);
  if (value < low || value > high) {
    tx_error(L, WHO ": %s is %I, wanted %I to %I", name, (LUAI_UACINT)value, (LUAI_UACINT)low, (LUAI_UACINT)high);
  }
  return value;
}

static float finite_float(lua_State *L, int table, const char *name, double default_value) {
  const float value = (float)tx_option_number(L, table, WHO, name, default_value);
  if (!isfinite(value)) tx_error(L, WHO ": %s is no finite number", name);
  return value;
}

/* Pushes the table in field `name`. */
static int push_table(lua_State *L, int table, const char *name) {
  lua_getfield(L, table, name);
  tx_check_table(L, lua_gettop(L), WHO, name);
  return lua_gettop(L);
}

/* The list of n numbers in field `name`; where there is none, all are `default_value`. */
static void list(lua_State *L, int table, const char *name, int n, int64_t low, int64_t default_value, int64_t *out) {
  if (lua_getfield(L, table, name) == LUA_TNIL) {
    for (int i = 0; i < n; i++) out[i] = default_value;
  } else {
    if (tx_check_list(L, lua_gettop(L), WHO, name) != n) tx_error(L, WHO ": %s wants %d numbers", name, n);
    for (int i = 0; i < n; i++) {
      lua_geti(L, -1, i + 1);
      out[i] = tx_check_int(L, lua_gettop(L), WHO, name);
      if (out[i] < low || out[i] > MOST_SIDE) tx_error(L, WHO ": %s can't be %I", name, (LUAI_UACINT)out[i]);
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
}

static void read_value(lua_State *L, int table, tx_qlayout *l) {
  const int shape = push_table(L, table, "shape"), dims = tx_check_list(L, shape, WHO, "shape");
  int64_t size[3] = {1, 1, 1};
  if (dims != 1 && dims != 3) tx_error(L, WHO ": a shape is {H,W,C} or {C}");
  list(L, table, "shape", dims, 1, 1, dims == 3 ? size : size + 2);
  lua_pop(L, 1);
  *l = (tx_qlayout){.h = size[0], .w = size[1], .c = size[2]};
  l->zero = (int32_t)whole(L, table, "zero", 0, 255, 0);
}

/* Pushes tensors["step.<number>.<name>"] and gives it: of that dtype, contiguous, with so many elements. */
static const void *step_tensor(lua_State *L, int tensors, int number, const char *name, tx_dtype dtype, int64_t numel) {
  lua_pushfstring(L, "step.%d.%s", number, name);
  lua_pushvalue(L, -1);
  lua_gettable(L, tensors);
  const tx_tensor *t = tx_test_tensor(L, lua_gettop(L));
  if (t == NULL || t->dtype != dtype || !tx_is_contiguous(t) || tx_numel(t) != numel) {
    tx_error(L, WHO ": %s must be a contiguous tensor %s of %I elements, got %s", lua_tostring(L, -2),
             tx_dtype_name(dtype), (LUAI_UACINT)numel, tx_describe(L, -1));
  }
  return tx_data(t);
}

/* -- steps -------------------------------------------------------------------------------------------------------------- */

/* Raises where sums of products could leave 32 bits: U of one element and channel, all channels of the input at their most. */
static void check_winograd_sums(lua_State *L, const uint8_t *u, int64_t c, int64_t k) {
  static const int positive[6] = {5, 2, 5, 3, 3, 5}, negative[6] = {5, 8, 5, 3, 3, 5}; /* of the rows of B^T */
  for (int64_t p = 0; p < 36; p++) {
    const int i = (int)p / 6, j = (int)p % 6;
    const int64_t bound = 255 * tx_max(positive[i] * positive[j] + negative[i] * negative[j],
                                       positive[i] * negative[j] + negative[i] * positive[j]);
    for (int64_t n = 0; n < k; n++) {
      int64_t sum = 0;
      for (int64_t d = 0; d < c; d++) {
        const int64_t value = (int16_t)(uint16_t)tx_load_le(u + ((p * c + d) * k + n) * 2, 2);
        sum += value < 0 ? -value : value;
      }
      if (sum * bound > INT32_MAX) tx_error(L, WHO ": sums of the weights could leave 32 bits");
    }
  }
}

static void read_conv(lua_State *L, int table, int tensors, int number, tx_qprogram *p, tx_qstep *s, bool dense) {
  const tx_qlayout *x = &p->place[s->input].layout;
  tx_qconv *c = &s->conv;
  int64_t kernel[2], channels[2], padding[4];
  list(L, table, "kernel", 2, 1, 1, kernel);
  list(L, table, "stride", 2, 1, 1, c->stride);
  list(L, table, "dilation", 2, 1, 1, c->dilation);
  list(L, table, "padding", 4, 0, 0, padding);
  list(L, table, "channels", 2, 1, 0, channels);
  c->groups = whole(L, table, "groups", 1, MOST_SIDE, 1);
  c->relu = tx_option_bool(L, table, WHO, "relu", false);
  c->residual_last = tx_option_bool(L, table, WHO, "residual_last", false);
  c->residual_factor = finite_float(L, table, "residual_factor", 0);
  s->floats = tx_option_bool(L, table, WHO, "floats", false);
  lua_getfield(L, table, "method");
  c->winograd = !dense && strcmp(tx_check_string(L, lua_gettop(L), WHO, "method"), "winograd") == 0;
  lua_pop(L, 1);
  *c = (tx_qconv){.r = kernel[0],
                  .s = kernel[1],
                  .c = channels[0],
                  .k = channels[1],
                  .groups = c->groups,
                  .stride = {c->stride[0], c->stride[1]},
                  .dilation = {c->dilation[0], c->dilation[1]},
                  .top = padding[0],
                  .left = padding[1],
                  .winograd = c->winograd,
                  .relu = c->relu,
                  .residual_last = c->residual_last,
                  .residual_factor = c->residual_factor};
  if (c->c < 1 || c->k < 1 || c->c % c->groups != 0 || c->k % c->groups != 0)
    tx_error(L, WHO ": channels and groups differ");
  const int64_t places = c->winograd ? 36 * c->c : c->r * c->s * (c->c / c->groups);
  if (c->r * c->s > MOST_SIDE || places > INT32_MAX / (255 * 127)) tx_error(L, WHO ": sums could leave 32 bits");
  if (c->winograd && (c->r != 3 || c->s != 3 || c->stride[0] != 1 || c->stride[1] != 1 || c->dilation[0] != 1 ||
                      c->dilation[1] != 1 || c->groups != 1 || c->c % 2 != 0 || s->floats)) {
    tx_error(L, WHO ": winograd is for 3x3, stride 1, an even number of channels");
  }
  const int64_t factors = c->winograd ? 36 * c->k : c->k;
  const uint8_t *weight = step_tensor(L, tensors, number, "weight", TX_U8, places * c->k * (c->winograd ? 2 : 1));
  const float *factor = step_tensor(L, tensors, number, "factor", TX_F32, factors);
  const float *shift = step_tensor(L, tensors, number, "shift", TX_F32, c->k);
  if (c->winograd) check_winograd_sums(L, weight, c->c, c->k);
  const tx_status status = tx_qconv_pack(c, weight, factor, shift, x->zero);
  if (status != TX_OK) tx_raise(L, status);
  lua_pop(L, 6);
}

static void read_window(lua_State *L, int table, const tx_qlayout *x, tx_qwindow *w, bool global) {
  int64_t kernel[2], padding[4];
  list(L, table, "kernel", 2, 1, 1, kernel);
  list(L, table, "stride", 2, 1, 1, w->stride);
  list(L, table, "padding", 4, 0, 0, padding);
  w->r = global ? x->h : kernel[0];
  w->s = global ? x->w : kernel[1];
  w->top = padding[0];
  w->left = padding[1];
  w->with_border = tx_option_bool(L, table, WHO, "count_include_pad", false);
  w->factor = finite_float(L, table, "factor", 0);
}

static void read_sum(lua_State *L, int table, tx_qsum *sum) {
  const int factors = push_table(L, table, "factors");
  for (int i = 0; i < 2; i++) {
    lua_geti(L, factors, i + 1);
    sum->factor[i] = (float)tx_check_number(L, lua_gettop(L), WHO, "factors");
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  sum->relu = tx_option_bool(L, table, WHO, "relu", false);
}

static const struct {
  const char *name;
  tx_qop op;
} ops[] = {
    {"quantize", TX_Q_QUANTIZE},     {"conv", TX_Q_CONV},
    {"linear", TX_Q_CONV},           {"max_pool", TX_Q_POOL},
    {"avg_pool", TX_Q_POOL},         {"global_max_pool", TX_Q_POOL},
    {"global_avg_pool", TX_Q_POOL},  {"add", TX_Q_ADD},
    {"multiply", TX_Q_MULTIPLY},     {"copy", TX_Q_COPY},
    {"lookup", TX_Q_LOOKUP},         {"flatten", TX_Q_FLATTEN},
    {"dequantize", TX_Q_DEQUANTIZE},
};

static void read_step(lua_State *L, int table, int tensors, int number, tx_qprogram *p) {
  tx_qstep *s = &p->step[p->steps];
  lua_getfield(L, table, "op");
  const char *name = tx_check_string(L, lua_gettop(L), WHO, "op");
  size_t i = 0;
  while (i < sizeof ops / sizeof *ops && strcmp(ops[i].name, name) != 0) i++;
  if (i == sizeof ops / sizeof *ops) tx_error(L, WHO ": step %d: there is no '%s'", number, name);
  const bool dense = strcmp(name, "linear") == 0, global = strncmp(name, "global", 6) == 0;
  *s = (tx_qstep){.op = ops[i].op, .window = {.largest = strstr(name, "max") != NULL}};
  s->input = (int)whole(L, table, "input", 1, p->values, 0) - 1;
  s->output = (int)whole(L, table, "output", 2, p->values, 0) - 1;
  s->other = (int)whole(L, table, "other", 0, p->values, 0) - 1;
  s->at = whole(L, table, "at", 1, MOST_SIDE, 1) - 1;
  s->factor = finite_float(L, table, "factor", 0);
  switch (s->op) {
    case TX_Q_CONV:
      p->steps++; /* from here on what it packs is given back */
      read_conv(L, table, tensors, number, p, s, dense);
      p->steps--;
      break;
    case TX_Q_POOL:
      read_window(L, table, &p->place[s->input].layout, &s->window, global);
      break;
    case TX_Q_ADD:
      read_sum(L, table, &s->sum);
      break;
    case TX_Q_LOOKUP:
      memcpy(s->table, step_tensor(L, tensors, number, "table", TX_U8, 256), 256);
      lua_pop(L, 2);
      break;
    default:
      break;
  }
  lua_pop(L, 1);
  p->steps++;
}

/* Every value but the first is made before it is read, by one step (copies: by several), and the last step makes the last. */
static void check_order(lua_State *L, const tx_qprogram *p, bool *made) {
  made[0] = true;
  for (int i = 0; i < p->steps; i++) {
    const tx_qstep *s = &p->step[i];
    if (!made[s->input] || (s->other >= 0 && !made[s->other]) || s->output == s->input) {
      tx_error(L, WHO ": step %d reads a value that is not made yet", i + 1);
    }
    if (made[s->output] && (s->op != TX_Q_COPY || p->step[i - 1].output != s->output)) {
      tx_error(L, WHO ": step %d makes a value again", i + 1);
    }
    made[s->output] = true;
  }
}

static int l_quantized_program(lua_State *L) {
  lua_settop(L, 2);
  tx_check_table(L, 1, WHO, "the description");
  tx_check_table(L, 2, WHO, "the tensors");
  tx_check_owner(L);
  tx_qprogram *p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = (tx_qprogram){0};
  luaL_setmetatable(L, PROGRAM_TYPE);
  const int values = push_table(L, 1, "values"), steps = push_table(L, 1, "steps");
  const int value_count = tx_check_list(L, values, WHO, "values"), step_count = tx_check_list(L, steps, WHO, "steps");
  if (step_count < 1 || step_count > MOST_STEPS || value_count < 2 || value_count > MOST_STEPS) {
    tx_error(L, WHO ": %d steps and %d values", step_count, value_count);
  }
  tx_status status = tx_qprogram_open(p, step_count, value_count);
  if (status != TX_OK) return tx_raise(L, status);
  for (int v = 0; v < value_count; v++) {
    lua_geti(L, values, v + 1);
    tx_check_table(L, lua_gettop(L), WHO, "a value");
    read_value(L, lua_gettop(L), &p->place[v].layout);
    lua_pop(L, 1);
  }
  for (int i = 0; i < step_count; i++) {
    lua_geti(L, steps, i + 1);
    tx_check_table(L, lua_gettop(L), WHO, "a step");
    read_step(L, lua_gettop(L), 2, i + 1, p);
    lua_pop(L, 1);
  }
  bool *made = tx_new_array(L, value_count, sizeof *made);
  memset(made, 0, (size_t)value_count * sizeof *made);
  check_order(L, p, made);
  status = tx_qprogram_plan(p);
  if (status != TX_OK) return tx_raise(L, status);
  lua_pushvalue(L, 3);
  return 1;
}

/* -- the object --------------------------------------------------------------------------------------------------------- */

static int l_run(lua_State *L) {
  lua_settop(L, 2);
  const tx_qprogram *p = tx_check_object(L, 1, PROGRAM_TYPE, "run", "a quantized program");
  tx_tensor **handle = tx_new_handle(L), **whole_x = tx_new_handle(L);
  const tx_tensor *x = tx_check_tensor(L, 2);
  if (p->steps == 0) return tx_error(L, "run: the quantized program was closed");
  const tx_qlayout *in = &p->place[0].layout, *out = tx_qprogram_output(p);
  if (x->dtype != TX_F32 || x->dims != 4 || x->shape[1] != in->h || x->shape[2] != in->w || x->shape[3] != in->c) {
    return tx_error(L, "run: the images are %s %s, the quantized network takes f32 {N,%I,%I,%I}",
                    tx_dtype_name(x->dtype), tx_shape_of(x), (LUAI_UACINT)in->h, (LUAI_UACINT)in->w,
                    (LUAI_UACINT)in->c);
  }
  const int64_t images = x->shape[0], shape[4] = {images, out->h, out->w, out->c}, flat[2] = {images, out->c};
  const bool pixel = out->h * out->w == 1;
  tx_status status = tx_as_contiguous(x, whole_x);
  if (status == TX_OK) status = tx_empty(TX_F32, pixel ? 2 : 4, pixel ? flat : shape, handle);
  if (status == TX_OK) {
    tx_watch_interrupt_later(L);
    status = tx_keep(tx_qprogram_run(p, images, tx_f32(*whole_x), tx_f32(*handle)), handle);
  }
  tx_unref(*whole_x);
  *whole_x = NULL;
  lua_pop(L, 1);
  return tx_return_tensor(L, status, handle);
}

static int l_gc(lua_State *L) {
  tx_qprogram_close(tx_check_object(L, 1, PROGRAM_TYPE, NULL, "a quantized program"));
  return 0;
}

static const luaL_Reg methods[] = {{"run", l_run}, {"__gc", l_gc}, {NULL, NULL}};

static const tx_function functions[] = {
    {"quantized_program", l_quantized_program, NULL},
    {NULL, NULL, NULL},
};

void tx_lua_open_quantized(lua_State *L) {
  luaL_newmetatable(L, PROGRAM_TYPE);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  tx_set_functions(L, functions);
}
