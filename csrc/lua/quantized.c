/* quantized.c - networks in 8 bits (quantized/program.h), as lua/texres/nn/quantized.lua describes them.
 *
 *     core.quantized_program(description, tensors) -> program
 *     program:run(x)         x f32 {N,H,W,C} -> f32 {N,K}, or {N,P,Q,K} where the last value is {P,Q,K}
 *
 * A description comes out of a file: nothing of it is believed. What is read here is in the range of its type, and each
 * tensor has the size that its step says; tx_qprogram_plan sees whether the steps fit each other. Factors are quotients of
 * scales, computed in f64 from left to right and rounded once.
 */
#include "quantized/program.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/integers.h"
#include "base/memory.h"
#include "lua/binding.h"

#define PROGRAM_TYPE "texres.QuantizedProgram"
#define WHO "quantized_program"

enum {
  MOST_STEPS = 1 << 12, /* and values, and operands of a concatenation */
  MOST_SIDE = 1 << 20,  /* of an image, channels, and numbers of a window */
};

/* A^T adds up 36 elements, each at most 64 times: below this their sums, of 32 bits each, stay finite at every step, so
 * that it makes no difference where a power of two is multiplied as part of a sum. */
#define LARGEST_ELEMENT_FACTOR 0x1p80f

/* What is read: a step of the description, number `number`, the table at `table`. */
typedef struct reader {
  lua_State *L;
  tx_qprogram *p;
  double *scale; /* of each value; 0: floats */
  int tensors, table, number;
  const char *who; /* for messages */
} reader;

/* -- numbers ------------------------------------------------------------------------------------------------------------ */

static int64_t in_range(lua_State *L, int64_t value, const char *who, const char *name, int64_t low, int64_t high) {
  if (value < low || value > high) {
    tx_error(L, "%s: %s is %lld, wanted %lld to %lld", who, name, (long long)value, (long long)low, (long long)high);
  }
  return value;
}

static int64_t whole(lua_State *L, int table, const char *who, const char *name, int64_t low, int64_t high) {
  lua_getfield(L, table, name);
  const int64_t number = in_range(L, tx_check_int(L, lua_gettop(L), who, name), who, name, low, high);
  lua_pop(L, 1);
  return number;
}

static bool is_given(lua_State *L, int table, const char *name) {
  const bool given = lua_getfield(L, table, name) != LUA_TNIL;
  lua_pop(L, 1);
  return given;
}

/* The list of numbers from `low` on in field `name`; returns how many there are, which is n, or 1 to n with `fewer`. */
static int list(lua_State *L, int table, const char *who, const char *name, int n, bool fewer, int64_t low,
                int64_t high, int64_t *out) {
  lua_getfield(L, table, name);
  const int at = lua_gettop(L), count = tx_check_list(L, at, who, name);
  if (count > n || count < (fewer ? 1 : n)) tx_error(L, "%s: %s has %d numbers, wanted %d", who, name, count, n);
  for (int i = 0; i < count; i++) {
    lua_geti(L, at, i + 1);
    out[i] = in_range(L, tx_check_int(L, lua_gettop(L), who, name), who, name, low, high);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return count;
}

static bool flag(const reader *r, const char *name) { return tx_option_bool(r->L, r->table, r->who, name, false); }

/* The number of a value that steps before have made, from 0. */
static int value(const reader *r, const char *name) {
  return (int)whole(r->L, r->table, r->who, name, 1, r->p->values) - 1;
}

/* A factor of scales; those of floats are 0. */
static float factor_of(const reader *r, double quotient) {
  const float factor = (float)quotient;
  if (!isfinite(factor) || factor == 0) tx_error(r->L, "%s: the scales of its values can't be", r->who);
  return factor;
}

/* Raises unless all are finite and at most `largest`. */
static void check_floats(const reader *r, const char *name, const float *x, int64_t n, float largest) {
  for (int64_t i = 0; i < n; i++) {
    if (!(fabsf(x[i]) <= largest)) tx_error(r->L, "%s: its %s holds a number that can't be", r->who, name);
  }
}

/* Where bytes are handed on as they are. */
static void same_worth(const reader *r, int from, int to) {
  const tx_qplace *place = r->p->place;
  if (r->scale[from] != r->scale[to] || place[from].layout.zero != place[to].layout.zero) {
    tx_error(r->L, "%s: its output must have the scale and zero of its input", r->who);
  }
}

/* -- tensors ------------------------------------------------------------------------------------------------------------ */

static void push_tensor(const reader *r, const char *name) {
  lua_pushfstring(r->L, "step.%d.%s", r->number, name);
  lua_pushvalue(r->L, -1);
  lua_rawget(r->L, r->tensors);
}

/* Of what push_tensor has left at `at`. */
static const void *data_of(const reader *r, int at, tx_dtype dtype, int64_t numel) {
  const tx_tensor *t = tx_test_tensor(r->L, at);
  if (t == NULL || t->dtype != dtype || !tx_is_contiguous(t) || tx_numel(t) != numel) {
    tx_error(r->L, WHO ": %s must be a contiguous tensor %s of %lld elements, got %s", lua_tostring(r->L, at - 1),
             tx_dtype_name(dtype), (long long)numel, tx_describe(r->L, at));
  }
  return tx_data(t);
}

/* Raises unless sums of products with these weights, {places, k}, stay in 32 bits in whatever order they are added up. */
static void check_sums(const reader *r, const uint8_t *weight, int bytes, int64_t places, int64_t k, int64_t largest) {
  for (int64_t n = 0; n < k; n++) {
    int64_t sum = 0;
    for (int64_t i = 0; i < places; i++) {
      const uint8_t *at = weight + (i * k + n) * bytes;
      const int64_t w = bytes == 1 ? (int8_t)*at : (int16_t)(uint16_t)tx_load_le(at, 2);
      sum += w < 0 ? -w : w;
    }
    if (sum > INT32_MAX / largest) tx_error(r->L, "%s: sums of its weights could leave 32 bits", r->who);
  }
}

/* The same for each of the 36 elements, whose inputs are at most the sum of a row of B^T times one of another. */
static void check_winograd_sums(const reader *r, const uint8_t *weight, int64_t c, int64_t k) {
  static const int positive[6] = {5, 2, 5, 3, 3, 5}, negative[6] = {5, 8, 5, 3, 3, 5}; /* of the rows of B^T */
  for (int p = 0; p < 36; p++) {
    const int i = p / 6, j = p % 6;
    const int64_t most = tx_max(positive[i] * positive[j] + negative[i] * negative[j],
                                positive[i] * negative[j] + negative[i] * positive[j]);
    check_sums(r, weight + p * c * k * 2, 2, c, k, 255 * most);
  }
}

/* Packs the weights of a step whose numbers were read. */
static void read_weights(const reader *r, tx_qstep *s) {
  lua_State *L = r->L;
  tx_qconv *c = &s->conv;
  const int64_t places = c->winograd ? 36 * c->c : c->r * c->s * (c->c / c->groups);
  const int top = lua_gettop(L);
  push_tensor(r, "weight");
  push_tensor(r, "factor");
  push_tensor(r, "shift");
  const uint8_t *weight = data_of(r, top + 2, TX_U8, places * c->k * (c->winograd ? 2 : 1));
  const float *factor = data_of(r, top + 4, TX_F32, c->winograd ? 36 * c->k : c->k);
  const float *shift = data_of(r, top + 6, TX_F32, c->k);
  check_floats(r, "factor", factor, c->winograd ? 36 * c->k : c->k, c->winograd ? LARGEST_ELEMENT_FACTOR : FLT_MAX);
  check_floats(r, "shift", shift, c->k, FLT_MAX);
  if (c->winograd) {
    check_winograd_sums(r, weight, c->c, c->k);
  } else {
    check_sums(r, weight, 1, places, c->k, 255);
  }
  const tx_status status = tx_qconv_pack(c, weight, factor, shift, r->p->place[s->input].layout.zero);
  if (status != TX_OK) tx_raise(L, status);
  lua_settop(L, top);
}

/* -- steps -------------------------------------------------------------------------------------------------------------- */

/* Each reads what is its own into a step that has op, input, output and no other value. */
typedef void read_fn(const reader *r, tx_qstep *s);

static void read_quantize(const reader *r, tx_qstep *s) { s->factor = factor_of(r, 1 / r->scale[s->output]); }
static void read_dequantize(const reader *r, tx_qstep *s) { s->factor = factor_of(r, r->scale[s->input]); }

static void read_conv(const reader *r, tx_qstep *s) {
  lua_State *L = r->L;
  tx_qconv *c = &s->conv;
  int64_t kernel[2], channels[2], padding[4];
  list(L, r->table, r->who, "kernel", 2, false, 1, MOST_SIDE, kernel);
  list(L, r->table, r->who, "channels", 2, false, 1, MOST_SIDE, channels);
  list(L, r->table, r->who, "stride", 2, false, 1, MOST_SIDE, c->stride);
  list(L, r->table, r->who, "dilation", 2, false, 1, MOST_SIDE, c->dilation);
  list(L, r->table, r->who, "padding", 4, false, 0, MOST_SIDE, padding);
  c->r = kernel[0];
  c->s = kernel[1];
  c->c = channels[0];
  c->k = channels[1];
  c->top = padding[0];
  c->left = padding[2];
  c->groups = whole(L, r->table, r->who, "groups", 1, MOST_SIDE);
  c->relu = flag(r, "relu");
  c->residual_last = flag(r, "residual_last");
  if (is_given(L, r->table, "residual")) {
    s->other = value(r, "residual");
    c->residual_factor = factor_of(r, r->scale[s->other] / r->scale[s->output]);
  }
  if (c->r * c->s > MOST_SIDE) tx_error(L, "%s: its kernel is too large", r->who);
  if (c->c % c->groups != 0 || c->k % c->groups != 0) {
    tx_error(L, "%s: %d groups don't divide its channels", r->who, (int)c->groups);
  }
  lua_getfield(L, r->table, "method");
  const char *method = tx_check_string(L, lua_gettop(L), r->who, "method");
  c->winograd = strcmp(method, "winograd") == 0;
  if (!c->winograd && strcmp(method, "direct") != 0) {
    tx_error(L, "%s: method is '%s', wanted direct or winograd", r->who, method);
  }
  lua_pop(L, 1);
  if (c->winograd && (c->r != 3 || c->s != 3 || c->stride[0] != 1 || c->stride[1] != 1 || c->dilation[0] != 1 ||
                      c->dilation[1] != 1 || c->groups != 1 || c->c % 2 != 0)) {
    tx_error(L, "%s: winograd is for 3x3, stride 1 and an even number of channels", r->who);
  }
  read_weights(r, s);
}

static void read_linear(const reader *r, tx_qstep *s) {
  int64_t channels[2];
  list(r->L, r->table, r->who, "channels", 2, false, 1, MOST_SIDE, channels);
  s->conv = (tx_qconv){.r = 1,
                       .s = 1,
                       .c = channels[0],
                       .k = channels[1],
                       .groups = 1,
                       .stride = {1, 1},
                       .dilation = {1, 1},
                       .relu = flag(r, "relu")};
  s->floats = flag(r, "floats");
  read_weights(r, s);
}

static void read_window(const reader *r, tx_qwindow *w) {
  int64_t kernel[2], padding[4];
  list(r->L, r->table, r->who, "kernel", 2, false, 1, MOST_SIDE, kernel);
  list(r->L, r->table, r->who, "stride", 2, false, 1, MOST_SIDE, w->stride);
  list(r->L, r->table, r->who, "padding", 4, false, 0, MOST_SIDE, padding);
  w->r = kernel[0];
  w->s = kernel[1];
  w->top = padding[0];
  w->left = padding[2];
}

/* All of the input. */
static void whole_window(const reader *r, tx_qstep *s) {
  const tx_qlayout *x = &r->p->place[s->input].layout;
  s->window = (tx_qwindow){.r = x->h, .s = x->w, .stride = {1, 1}, .with_border = true};
}

static void read_largest(const reader *r, tx_qstep *s) {
  s->window.largest = true;
  same_worth(r, s->input, s->output);
}

static void read_mean(const reader *r, tx_qstep *s) {
  tx_qwindow *w = &s->window;
  w->scale = r->scale[s->input];
  w->scale_y = r->scale[s->output];
  factor_of(r, w->scale / w->scale_y); /* of one pixel, and of all */
  factor_of(r, w->scale / (w->scale_y * ((double)w->r * (double)w->s)));
}

static void read_max_pool(const reader *r, tx_qstep *s) {
  read_window(r, &s->window);
  read_largest(r, s);
}

static void read_global_max_pool(const reader *r, tx_qstep *s) {
  whole_window(r, s);
  read_largest(r, s);
}

static void read_avg_pool(const reader *r, tx_qstep *s) {
  read_window(r, &s->window);
  s->window.with_border = flag(r, "count_include_pad");
  read_mean(r, s);
}

static void read_global_avg_pool(const reader *r, tx_qstep *s) {
  whole_window(r, s);
  read_mean(r, s);
}

static void read_add(const reader *r, tx_qstep *s) {
  s->sum.factor[0] = factor_of(r, r->scale[s->input] / r->scale[s->output]);
  s->sum.factor[1] = factor_of(r, r->scale[s->other] / r->scale[s->output]);
  s->sum.relu = flag(r, "relu");
}

static void read_subtract(const reader *r, tx_qstep *s) {
  read_add(r, s);
  s->sum.factor[1] = -s->sum.factor[1];
}

static void read_multiply(const reader *r, tx_qstep *s) {
  s->factor = factor_of(r, r->scale[s->input] * r->scale[s->other] / r->scale[s->output]);
}

/* One of the values that a cat puts side by side. */
static void read_copy(const reader *r, tx_qstep *s) {
  s->factor = factor_of(r, r->scale[s->input] / r->scale[s->output]);
}

static void read_lookup(const reader *r, tx_qstep *s) {
  push_tensor(r, "table");
  memcpy(s->table, data_of(r, lua_gettop(r->L), TX_U8, sizeof s->table), sizeof s->table);
  lua_pop(r->L, 2);
}

static void read_flatten(const reader *r, tx_qstep *s) { same_worth(r, s->input, s->output); }

static const struct {
  const char *name;
  tx_qop op;
  int inputs; /* 1: `input`; 2: that many `inputs`; 0: as many as there are */
  read_fn *read;
} ops[] = {
    {"quantize", TX_Q_QUANTIZE, 1, read_quantize},
    {"conv", TX_Q_CONV, 1, read_conv},
    {"linear", TX_Q_CONV, 1, read_linear},
    {"max_pool", TX_Q_POOL, 1, read_max_pool},
    {"avg_pool", TX_Q_POOL, 1, read_avg_pool},
    {"global_max_pool", TX_Q_POOL, 1, read_global_max_pool},
    {"global_avg_pool", TX_Q_POOL, 1, read_global_avg_pool},
    {"add", TX_Q_ADD, 2, read_add},
    {"subtract", TX_Q_ADD, 2, read_subtract},
    {"multiply", TX_Q_MULTIPLY, 2, read_multiply},
    {"cat", TX_Q_COPY, 0, read_copy},
    {"lookup", TX_Q_LOOKUP, 1, read_lookup},
    {"flatten", TX_Q_FLATTEN, 1, read_flatten},
    {"dequantize", TX_Q_DEQUANTIZE, 1, read_dequantize},
};
enum { OPS = sizeof ops / sizeof *ops };

static int find_op(const reader *r) {
  lua_getfield(r->L, r->table, "op");
  const char *name = tx_check_string(r->L, lua_gettop(r->L), r->who, "op");
  int op = 0;
  while (op < OPS && strcmp(ops[op].name, name) != 0) op++;
  if (op == OPS) tx_error(r->L, "%s: there is no '%s'", r->who, name);
  lua_pop(r->L, 1);
  return op;
}

/* The values that the step reads into `from`; returns how many. */
static int read_inputs(const reader *r, int op, int64_t from[MOST_STEPS]) {
  if (ops[op].inputs == 1) {
    from[0] = value(r, "input") + 1;
    return 1;
  }
  const int n = ops[op].inputs;
  return list(r->L, r->table, r->who, "inputs", n > 0 ? n : MOST_STEPS, n == 0, 1, r->p->values, from);
}

/* Of a cat, a step for each value. */
static void read_step(reader *r, int64_t from[MOST_STEPS]) {
  tx_qprogram *p = r->p;
  const int op = find_op(r), inputs = read_inputs(r, op, from), output = value(r, "output");
  const bool copies = ops[op].op == TX_Q_COPY;
  int64_t at = 0;
  for (int i = 0; i < (copies ? inputs : 1); i++) {
    tx_qstep *s;
    const tx_status status = tx_qprogram_add(p, &s); /* from here on what it packs is given back */
    if (status != TX_OK) tx_raise(r->L, status);
    s->op = ops[op].op;
    s->number = r->number;
    s->input = (int)from[i] - 1;
    s->other = !copies && inputs == 2 ? (int)from[1] - 1 : -1;
    s->output = output;
    s->at = at;
    ops[op].read(r, s);
    if (s->op != TX_Q_DEQUANTIZE && !s->floats && r->scale[output] == 0) {
      tx_error(r->L, "%s: its output has no scale", r->who);
    }
    at += p->place[s->input].layout.c;
  }
}

/* -- the whole ---------------------------------------------------------------------------------------------------------- */

static void read_value(const reader *r, int v) {
  lua_State *L = r->L;
  tx_qlayout *l = &r->p->place[v].layout;
  int64_t size[3] = {1, 1, 1};
  const int dims = list(L, r->table, r->who, "shape", 3, true, 1, MOST_SIDE, size);
  if (dims == 2) tx_error(L, "%s: its shape is {H,W,C} or {C}", r->who);
  *l = dims == 3 ? (tx_qlayout){.h = size[0], .w = size[1], .c = size[2]} : (tx_qlayout){.h = 1, .w = 1, .c = size[0]};
  if (is_given(L, r->table, "scale")) l->zero = (int32_t)whole(L, r->table, r->who, "zero", 0, 255);
  r->p->place[v].flat = dims == 1;
  r->scale[v] = tx_option_number(L, r->table, r->who, "scale", 0);
  if (!isfinite(r->scale[v]) || r->scale[v] < 0) tx_error(L, "%s: its scale can't be", r->who);
}

/* Pushes item number `number` of the list at `from`, and what messages call it. */
static void next_item(reader *r, int from, int number, const char *what) {
  r->number = number;
  r->who = lua_pushfstring(r->L, WHO ": %s %d", what, number);
  lua_geti(r->L, from, number);
  r->table = lua_gettop(r->L);
  tx_check_table(r->L, r->table, WHO, r->who + sizeof WHO ": " - 1);
}

/* Pushes the list in field `name` of the description. */
static int push_list(lua_State *L, const char *name, int *count) {
  lua_getfield(L, 1, name);
  const int at = lua_gettop(L);
  *count = (int)in_range(L, tx_check_list(L, at, WHO, name), WHO, "the number of items", 1, MOST_STEPS);
  return at;
}

static int l_quantized_program(lua_State *L) {
  lua_settop(L, 2);
  tx_check_table(L, 1, WHO, "the description");
  tx_check_table(L, 2, WHO, "the tensors");
  tx_check_owner(L);
  tx_qprogram *p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = (tx_qprogram){0};
  luaL_setmetatable(L, PROGRAM_TYPE);
  int value_count, step_count;
  const int values = push_list(L, "values", &value_count), steps = push_list(L, "steps", &step_count);
  reader r = {.L = L, .p = p, .tensors = 2, .scale = tx_new_array(L, value_count, sizeof *r.scale)};
  int64_t *inputs = tx_new_array(L, MOST_STEPS, sizeof *inputs);
  tx_status status = tx_qprogram_open(p, value_count);
  if (status != TX_OK) return tx_raise(L, status);
  const int top = lua_gettop(L);
  for (int v = 0; v < value_count; v++, lua_settop(L, top)) {
    next_item(&r, values, v + 1, "value");
    read_value(&r, v);
  }
  for (int i = 0; i < step_count; i++, lua_settop(L, top)) {
    next_item(&r, steps, i + 1, "step");
    read_step(&r, inputs);
  }
  const int last = (int)whole(L, 1, WHO, "output", 1, value_count) - 1;
  if (last != p->step[p->steps - 1].output) return tx_error(L, WHO ": the last step does not make the output");
  status = tx_qprogram_plan(p);
  if (status != TX_OK) return tx_raise(L, status);
  lua_pushvalue(L, 3);
  return 1;
}

/* -- the object --------------------------------------------------------------------------------------------------------- */

/* The shape of so many images that are laid out as `place`; returns its dimensions. */
static int shape_of(const tx_qplace *place, int64_t images, int64_t shape[4]) {
  const tx_qlayout *l = &place->layout;
  shape[0] = images;
  shape[1] = place->flat ? l->c : l->h;
  shape[2] = l->w;
  shape[3] = l->c;
  return place->flat ? 2 : 4;
}

/* Raises unless x is images of that shape. */
static void check_images(lua_State *L, const tx_tensor *x, int dims, const int64_t *shape) {
  char text[TX_SHAPE_TEXT];
  bool same = x->dtype == TX_F32 && x->dims == dims;
  for (int i = 1; same && i < dims; i++) same = x->shape[i] == shape[i];
  if (same) return;
  tx_shape_text(dims - 1, shape + 1, text); /* "{4,5,6}" */
  tx_error(L, "run: the images are %s %s, the quantized network takes f32 {N,%s", tx_dtype_name(x->dtype),
           tx_shape_of(x), text + 1);
}

static int l_run(lua_State *L) {
  lua_settop(L, 2);
  const tx_qprogram *p = tx_check_object(L, 1, PROGRAM_TYPE, "run", "a quantized program");
  tx_tensor **whole_x = tx_new_handle(L), **handle = tx_new_handle(L);
  const tx_tensor *x = tx_check_tensor(L, 2);
  if (p->arena == 0) return tx_error(L, "run: the quantized program was not made, or is closed");
  int64_t shape[4];
  int dims = shape_of(&p->place[0], 0, shape);
  check_images(L, x, dims, shape);
  dims = shape_of(tx_qprogram_output(p), x->shape[0], shape);
  tx_status status = tx_as_contiguous(x, whole_x);
  if (status == TX_OK) status = tx_empty(TX_F32, dims, shape, handle);
  if (status == TX_OK) {
    tx_watch_interrupt_later(L);
    status = tx_keep(tx_qprogram_run(p, shape[0], tx_f32(*whole_x), tx_f32(*handle)), handle);
  }
  tx_unref(*whole_x);
  *whole_x = NULL;
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
