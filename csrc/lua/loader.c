/* loader.c - Augment, Loader and Pass: csrc/data/{augment,loader}.h as Lua sees them.
 *
 * lua/texres/data/loader.lua gives these their public face (set:loader, loader:batches).
 */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "data/loader.h"
#include "lua/source.h"

#define AUGMENT_TYPE "texres.Augment"
#define LOADER_TYPE "texres.Loader"
#define EPOCH_TYPE "texres.Epoch"

/* -- Augment: a list of transforms ----------------------------------------------------------------------------------- */

/* Raises "augment: unknown <what> '<given>'; the choices are <names>", names being on top of the stack. */
static int unknown(lua_State *L, const char *what, const char *given) {
  return tx_error(L, "augment: unknown %s '%s'; the choices are %s", what, given, lua_tostring(L, -1));
}

static tx_transform_kind check_kind(lua_State *L, int at) {
  if (lua_type(L, at) != LUA_TSTRING)
    tx_error(L, "augment: a transform's name is expected, such as \"flip\" or {\"rotate\", degrees = 15}, got %s",
             tx_describe(L, at));
  const char *name = lua_tostring(L, at);
  for (int kind = 0; kind < TX_TRANSFORM_COUNT; kind++)
    if (strcmp(tx_transforms[kind].name, name) == 0) return (tx_transform_kind)kind;
  luaL_Buffer choices;
  luaL_buffinit(L, &choices);
  for (int kind = 0; kind < TX_TRANSFORM_COUNT; kind++) {
    if (kind > 0) luaL_addstring(&choices, ", ");
    luaL_addstring(&choices, tx_transforms[kind].name);
  }
  luaL_pushresult(&choices);
  unknown(L, "transform", name);
  return TX_FLIP;
}

/* Where a transform keeps the parameter `name`, its bounds and whether it is a whole number; raises with the choices when it
 * has none such. */
static double *find_param(lua_State *L, tx_transform *t, const char *name, double *low, double *high, bool *whole) {
  const tx_transform_info *info = &tx_transforms[t->kind];
  *low = 0;
  *high = 1;
  *whole = false;
  if (strcmp(name, "p") == 0) return &t->p;
  for (int i = 0; i < TX_TRANSFORM_PARAMS && info->param[i].name != NULL; i++) {
    if (strcmp(info->param[i].name, name) != 0) continue;
    *low = info->param[i].low;
    *high = info->param[i].high;
    *whole = info->param[i].whole;
    return &t->value[i];
  }
  char what[64];
  snprintf(what, sizeof what, "parameter of %s", info->name);
  luaL_Buffer choices;
  luaL_buffinit(L, &choices);
  for (int i = 0; i < TX_TRANSFORM_PARAMS && info->param[i].name != NULL; i++) {
    luaL_addstring(&choices, info->param[i].name);
    luaL_addstring(&choices, ", ");
  }
  luaL_addstring(&choices, "p");
  luaL_pushresult(&choices);
  unknown(L, what, name);
  return NULL;
}

/* Sets parameter `name` from the value on top of the stack (true and false count as 1 and 0). */
static void set_param(lua_State *L, tx_transform *t, const char *name) {
  const char *transform = tx_transforms[t->kind].name;
  bool whole;
  double low, high, *param = find_param(L, t, name, &low, &high, &whole);
  double value = lua_isboolean(L, -1) ? (double)lua_toboolean(L, -1) : (double)NAN;
  if (lua_type(L, -1) == LUA_TNUMBER) value = lua_tonumber(L, -1);
  if (!(value >= low && value <= high) || (whole && value != rint(value)))
    tx_error(L, "augment: %s: %s must be a %s within %g..%g, got %s", transform, name,
             whole ? "whole number" : "number", low, high, tx_describe(L, lua_gettop(L)));
  *param = value;
}

/* {"rotate", degrees = 15} or {"rotate", 15}, at `at`. */
static tx_transform read_transform_table(lua_State *L, int at) {
  lua_geti(L, at, 1);
  tx_transform t = tx_transform_make(check_kind(L, lua_gettop(L)));
  lua_pop(L, 1);
  const tx_transform_info *info = &tx_transforms[t.kind];
  for (lua_pushnil(L); lua_next(L, at) != 0; lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING) {
      set_param(L, &t, lua_tostring(L, -2));
    } else if (lua_isinteger(L, -2) && lua_tointeger(L, -2) == 2 && info->param[0].name != NULL) {
      set_param(L, &t, info->param[0].name);
    } else if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) != 1) {
      tx_error(L, "augment: %s takes %s, others by name", info->name,
               info->param[0].name != NULL ? "its name and one value" : "its name only");
    }
  }
  if (t.kind == TX_WINDOW && t.p != 1)
    tx_error(L, "augment: window: all images are to be of one size, p can't be given");
  return t;
}

static void read_augment(lua_State *L, int arg, tx_augment *augment) {
  if (!lua_istable(L, arg)) tx_error(L, "augment: a list of transforms is expected, got %s", tx_describe(L, arg));
  int n = tx_check_list(L, arg, "augment", "the list of transforms");
  if (n > TX_MAX_TRANSFORMS) tx_error(L, "augment: at most %d transforms are possible", TX_MAX_TRANSFORMS);
  for (int i = 1; i <= n; i++) {
    int at = (lua_geti(L, arg, i), lua_gettop(L));
    if (lua_istable(L, at)) {
      augment->step[augment->count++] = read_transform_table(L, at);
    } else {
      augment->step[augment->count++] = tx_transform_make(check_kind(L, at));
    }
    lua_pop(L, 1);
  }
}

/* texres.augment(list) -> Augment; what is one already is handed back. */
static int l_augment(lua_State *L) {
  lua_settop(L, 1);
  if (luaL_testudata(L, 1, AUGMENT_TYPE) != NULL) return 1;
  tx_augment *augment = lua_newuserdatauv(L, sizeof *augment, 0);
  augment->count = 0;
  luaL_setmetatable(L, AUGMENT_TYPE);
  read_augment(L, 1, augment);
  return 1;
}

static int l_augment_tostring(lua_State *L) {
  const tx_augment *augment = tx_check_object(L, 1, AUGMENT_TYPE, "augment", "an augmentation");
  luaL_Buffer names;
  luaL_buffinit(L, &names);
  luaL_addstring(&names, "augmentation: ");
  for (int i = 0; i < augment->count; i++) {
    if (i > 0) luaL_addstring(&names, ", ");
    luaL_addstring(&names, tx_transforms[augment->step[i].kind].name);
  }
  if (augment->count == 0) luaL_addstring(&names, "none");
  luaL_pushresult(&names);
  return 1;
}

/* The images at `arg` as f32 {N,H,W,C}; pushes the copy. */
static tx_tensor **push_f32_copy(lua_State *L, int arg, const char *what) {
  tx_tensor **copy = tx_new_handle(L);
  const tx_tensor *t = tx_check_tensor(L, arg);
  if (t->dims != 4 || !tx_dtype_is_float(t->dtype))
    tx_error(L, "augment: %s f32 {N,H,W,C} wanted, got %s %s", what, tx_dtype_name(t->dtype), tx_shape_of(t));
  tx_status status = tx_copy_as(t, TX_F32, copy);
  if (status != TX_OK) tx_raise(L, tx_fail_by(status, "augment"));
  return copy;
}

typedef void change_fn(const tx_augment *augment, tx_rng rng, tx_size2 size, int64_t channels, float *image,
                       float *scratch);

/* Changes images or masks one by one; image i is sample i. Where they become smaller *images is exchanged. */
static tx_status change_all(const tx_augment *augment, uint64_t seed, uint64_t epoch, tx_tensor **images,
                            change_fn *change) {
  const int64_t *s = (*images)->shape, values = s[1] * s[2] * s[3];
  tx_size2 size = {s[1], s[2]}, wanted;
  TX_TRY(tx_augment_size(augment, size, &wanted));
  const int64_t shape[] = {s[0], wanted.height, wanted.width, s[3]}, kept = shape[1] * shape[2] * shape[3];
  tx_tensor *changed;
  TX_TRY(tx_empty(TX_F32, 4, shape, &changed));
  float *scratch = tx_alloc_array(values, sizeof *scratch);
  if (scratch == NULL) {
    tx_unref(changed);
    return TX_ENOMEM;
  }
  for (int64_t i = 0; i < s[0]; i++) {
    float *image = tx_f32(*images) + i * values;
    change(augment, tx_augment_rng(seed, epoch, (uint64_t)i, 0), size, s[3], image, scratch);
    memcpy(tx_f32(changed) + i * kept, image, (size_t)kept * sizeof *image);
  }
  tx_dealloc(scratch);
  tx_unref(*images);
  *images = changed;
  return TX_OK;
}

/* Mixes images or masks as planned. */
static tx_status mix_all(const tx_mix_plan *plan, tx_tensor *images) {
  const int64_t *s = images->shape;
  tx_tensor *scratch;
  TX_TRY(tx_empty_like(images, &scratch));
  tx_augment_mix(plan, s[0], s[1], s[2], s[3], tx_f32(images), tx_f32(scratch));
  tx_unref(scratch);
  return TX_OK;
}

/* The masks of the options at `arg`, as f32 copies that fit the images; pushes them, or nil. */
static tx_tensor **push_masks(lua_State *L, int arg, const tx_tensor *images) {
  if (!lua_istable(L, arg) || lua_getfield(L, arg, "masks") == LUA_TNIL) {
    lua_pushnil(L);
    return NULL;
  }
  tx_tensor **masks = push_f32_copy(L, lua_gettop(L), "masks");
  if (memcmp((*masks)->shape, images->shape, 3 * sizeof *images->shape) != 0)
    tx_error(L, "augment: masks are %s, images %s", tx_shape_of(*masks), tx_shape_of(images));
  return masks;
}

/* augment:window() -> pixels along a side of its window, or nil. */
static int l_augment_window(lua_State *L) {
  const tx_augment *augment = tx_check_object(L, 1, AUGMENT_TYPE, "augment", "an augmentation");
  const tx_transform *window = tx_augment_find(augment, TX_WINDOW);
  if (window == NULL) return 0;
  lua_pushinteger(L, (lua_Integer)window->value[0]);
  return 1;
}

/* augment:pastes() -> whether defects are pasted. */
static int l_augment_pastes(lua_State *L) {
  const tx_augment *augment = tx_check_object(L, 1, AUGMENT_TYPE, "augment", "an augmentation");
  lua_pushboolean(L, tx_augment_find(augment, TX_PASTE) != NULL);
  return 1;
}

/* augment:apply(images, {seed = 0, epoch = 1, masks =}) -> new images f32 {N,H,W,C}; image i is treated as sample i. With mixup
 * or cutmix also {shift =, lambda =}: image i was mixed with image (i + shift) modulo N, of which 1 - lambda is seen. With masks
 * also these, moved and mixed as the images are. */
static int l_augment_apply(lua_State *L) {
  const tx_augment *augment = tx_check_object(L, 1, AUGMENT_TYPE, "augment", "an augmentation");
  tx_check_options(L, 3, "augment", "seed epoch masks");
  if (tx_augment_find(augment, TX_PASTE) != NULL)
    return tx_error(L, "augment: paste takes defects out of a set: only a loader of one can do it");
  lua_settop(L, 3);
  uint64_t seed = (uint64_t)tx_option_int(L, 3, "augment", "seed", 0);
  uint64_t epoch = (uint64_t)tx_option_int(L, 3, "augment", "epoch", 1);
  tx_tensor **images = push_f32_copy(L, 2, "images"), **masks = push_masks(L, 3, *images);
  int masks_at = lua_gettop(L);
  tx_status status = change_all(augment, seed, epoch, images, tx_augment_image);
  const int64_t *s = (*images)->shape;
  tx_mix_plan plan = tx_augment_plan_mix(augment, seed, epoch, 0, s[0], s[1], s[2]);
  if (status == TX_OK && masks != NULL) status = change_all(augment, seed, epoch, masks, tx_augment_mask);
  if (status == TX_OK && plan.wanted) status = mix_all(&plan, *images);
  plan.masks = true;
  if (status == TX_OK && plan.wanted && masks != NULL) status = mix_all(&plan, *masks);
  if (status != TX_OK) return tx_raise(L, status);
  lua_pushvalue(L, 4);
  lua_pushnil(L);
  if (plan.wanted) {
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, (lua_Integer)plan.shift);
    lua_setfield(L, -2, "shift");
    lua_pushnumber(L, plan.lambda);
    lua_setfield(L, -2, "lambda");
    lua_replace(L, -2);
  }
  lua_pushvalue(L, masks_at);
  return 3;
}

/* -- Loader: the recipe ---------------------------------------------------------------------------------------------- */

static int l_loader_gc(lua_State *L) {
  tx_loader **handle = tx_check_object(L, 1, LOADER_TYPE, "loader", "a loader");
  tx_loader_unref(*handle);
  *handle = NULL;
  return 0;
}

static tx_loader *check_loader(lua_State *L, int arg) {
  tx_loader **handle = tx_check_object(L, arg, LOADER_TYPE, "loader", "a loader");
  tx_check_owner(L);
  if (*handle == NULL) tx_error(L, "the loader was closed");
  return *handle;
}

static void *alloc_or_raise(lua_State *L, int64_t count, size_t size) {
  void *block = tx_alloc_array(count, size);
  if (block == NULL) tx_raise(L, TX_ENOMEM);
  return block;
}

/* Reads a list of `count` integers from 1 into a 0-based array. */
static void read_integers(lua_State *L, int arg, const char *name, int64_t count, int64_t *to) {
  if (!lua_istable(L, arg) || tx_check_list(L, arg, "loader", name) != count)
    tx_error(L, "loader: %s must be a list of %lld integers, got %s", name, (long long)count, tx_describe(L, arg));
  for (int64_t i = 0; i < count; i++) {
    lua_geti(L, arg, i + 1);
    int64_t value = tx_check_int(L, lua_gettop(L), "loader", name);
    if (value < 1) {
      tx_error(L, "loader: item %lld of %s is %lld: they count from 1", (long long)i + 1, name, (long long)value);
    }
    to[i] = value - 1;
    lua_pop(L, 1);
  }
}

/* Reads field `name` of the options at `arg`, a list of `count` numbers; false when absent. */
static bool push_numbers(lua_State *L, int arg, const char *name, int64_t count) {
  if (lua_getfield(L, arg, name) == LUA_TNIL) {
    lua_pop(L, 1);
    return false;
  }
  if (!lua_istable(L, -1) || tx_check_list(L, lua_gettop(L), "loader", name) != count)
    tx_error(L, "loader: %s must be a list of %lld numbers, got %s", name, (long long)count,
             tx_describe(L, lua_gettop(L)));
  return true;
}

static double number_at(lua_State *L, const char *name, int64_t i) {
  lua_geti(L, -1, i + 1);
  double value = tx_check_number(L, lua_gettop(L), "loader", name);
  lua_pop(L, 1);
  return value;
}

static void read_normalization(lua_State *L, int arg, tx_loader *loader) {
  int64_t channels = loader->source->channels;
  bool has_mean = push_numbers(L, arg, "mean", channels);
  if (has_mean) lua_pop(L, 1);
  bool has_std = push_numbers(L, arg, "std", channels);
  if (has_std) lua_pop(L, 1);
  if (!has_mean && !has_std) return;
  loader->mean = alloc_or_raise(L, channels, sizeof(float));
  loader->inverse_std = alloc_or_raise(L, channels, sizeof(float));
  for (int64_t c = 0; c < channels; c++) {
    loader->mean[c] = 0;
    loader->inverse_std[c] = 1;
  }
  if (has_mean) {
    push_numbers(L, arg, "mean", channels);
    for (int64_t c = 0; c < channels; c++) {
      double mean = number_at(L, "mean", c);
      if (!isfinite((float)mean))
        tx_error(L, "loader: mean of channel %d is %g, it must be a number that f32 can hold", (int)c + 1, mean);
      loader->mean[c] = (float)mean;
    }
    lua_pop(L, 1);
  }
  if (!has_std) return;
  push_numbers(L, arg, "std", channels);
  for (int64_t c = 0; c < channels; c++) {
    double std = number_at(L, "std", c);
    if (!(std > 0 && isfinite(std))) {
      tx_error(L, "loader: std of channel %d is %g, it must be positive%s", (int)c + 1, std,
               std == 0 ? ": are all of its pixels the same?" : "");
    }
    loader->inverse_std[c] = (float)(1 / std);
    if (!(loader->inverse_std[c] > 0 && isfinite(loader->inverse_std[c])))
      tx_error(L, "loader: std of channel %d is %g: f32 can't hold 1 / std", (int)c + 1, std);
  }
  lua_pop(L, 1);
}

static void read_scale(lua_State *L, int arg, tx_loader *loader) {
  loader->scale = 1;
  if (lua_getfield(L, arg, "scale") != LUA_TNIL) {
    double scale = tx_check_number(L, lua_gettop(L), "loader", "scale");
    loader->scale = (float)scale;
    if (!(loader->scale > 0 && isfinite(loader->scale)))
      tx_error(L, "loader: scale is %g, it must be a number above 0 that f32 can hold", scale);
  }
  lua_pop(L, 1);
}

static void read_weights(lua_State *L, int arg, tx_loader *loader) {
  if (!push_numbers(L, arg, "weights", loader->count)) return;
  loader->weight = alloc_or_raise(L, loader->count, sizeof(double));
  loader->sampling = TX_SAMPLE_WEIGHTED;
  double total = 0;
  for (int64_t i = 0; i < loader->count; i++) {
    double weight = number_at(L, "weights", i);
    if (!(weight >= 0) || isinf(weight))
      tx_error(L, "loader: weight of sample %lld is %g, it must be a finite number of at least 0", (long long)i + 1,
               weight);
    loader->weight[i] = weight;
    total += weight;
  }
  if (!(total > 0)) tx_error(L, "loader: all weights are 0");
  if (isinf(total)) tx_error(L, "loader: the weights add up to more than a number can hold: only their ratios matter");
  lua_pop(L, 1);
}

static void read_loader_options(lua_State *L, int arg, tx_loader *loader) {
  loader->batch = tx_option_int(L, arg, "loader", "batch", 32);
  loader->classes = tx_option_int(L, arg, "loader", "classes", 0);
  loader->drop_last = tx_option_bool(L, arg, "loader", "drop_last", false);
  loader->skip_bad = tx_option_bool(L, arg, "loader", "skip_bad", false);
  loader->seed = (uint64_t)tx_option_int(L, arg, "loader", "seed", 0);
  int64_t workers = tx_option_int(L, arg, "loader", "workers", 2);
  loader->workers = workers < 0 || workers > INT_MAX ? -1 : (int)workers; /* tx_loader_check refuses it */
  if (tx_option_bool(L, arg, "loader", "shuffle", false)) loader->sampling = TX_SAMPLE_SHUFFLED;
  if (tx_option_bool(L, arg, "loader", "balanced", false)) loader->sampling = TX_SAMPLE_BALANCED;
  if (lua_getfield(L, arg, "augment") != LUA_TNIL) {
    const tx_augment *augment = luaL_testudata(L, -1, AUGMENT_TYPE);
    if (augment == NULL) tx_error(L, "loader: augment must be an augmentation, got %s", tx_describe(L, lua_gettop(L)));
    loader->augment = *augment;
  }
  lua_pop(L, 1);
  if (lua_getfield(L, arg, "masks") != LUA_TNIL) loader->masks = tx_source_ref(tx_check_source(L, lua_gettop(L)));
  lua_pop(L, 1);
  loader->shard = tx_option_int(L, arg, "loader", "shard", 0);
  loader->rank = (int)tx_option_int(L, arg, "loader", "rank", 0);
  loader->ranks = (int)tx_option_int(L, arg, "loader", "ranks", 1);
  loader->give_masks = tx_option_bool(L, arg, "loader", "give_masks", false);
  loader->good = tx_option_int(L, arg, "loader", "good", 0) - 1;
  read_scale(L, arg, loader);
  read_normalization(L, arg, loader);
  read_weights(L, arg, loader);
}

/* texres.loader(source, positions, labels, {classes=, batch=, shuffle=, balanced=, weights=, drop_last=, skip_bad=, seed=,
 * scale=, augment=, mean=, std=, workers=, masks=, give_masks=, good=, shard=, rank=, ranks=}) -> Loader. */
static int l_loader(lua_State *L) {
  if (!lua_istable(L, 2)) tx_error(L, "loader: positions must be a list, got %s", tx_describe(L, 2));
  tx_check_table(L, 4, "loader", "the options");
  tx_loader **handle = lua_newuserdatauv(L, sizeof *handle, 0); /* owns the arrays from the start */
  *handle = NULL;
  luaL_setmetatable(L, LOADER_TYPE);
  tx_loader *recipe = tx_alloc_zero(sizeof *recipe);
  if (recipe == NULL) return tx_raise(L, TX_ENOMEM);
  atomic_init(&recipe->refs, 1);
  *handle = recipe;
  recipe->source = tx_source_ref(tx_check_source(L, 1));
  recipe->count = tx_check_list(L, 2, "loader", "positions");
  recipe->position = alloc_or_raise(L, recipe->count, sizeof(int64_t));
  recipe->label = alloc_or_raise(L, recipe->count, sizeof(int64_t));
  read_integers(L, 2, "positions", recipe->count, recipe->position);
  read_integers(L, 3, "labels", recipe->count, recipe->label);
  read_loader_options(L, 4, recipe);
  tx_status status = tx_loader_check(recipe);
  return status == TX_OK ? 1 : tx_raise(L, status);
}

static int l_loader_tostring(lua_State *L) {
  const tx_loader *loader = check_loader(L, 1);
  lua_pushfstring(L, "loader of %I images, %I at a time", (LUAI_UACINT)loader->count, (LUAI_UACINT)loader->batch);
  return 1;
}

static int l_loader_length(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)tx_loader_batches(check_loader(L, 1)));
  return 1;
}

/* loader:shards(batch) -> into how many shards a batch (from 1) is cut, the first one of this rank and the one after its last,
 * from 0, and the images of the batch. */
static int l_loader_shards(lua_State *L) {
  const int64_t batch = tx_check_int(L, 2, "loader", "batch");
  const tx_loader *loader = check_loader(L, 1);
  if (batch < 1 || batch > tx_loader_batches(loader))
    return tx_error(L, "loader: there is no batch %lld", (long long)batch);
  const tx_shards cut = tx_loader_shards(loader, batch - 1);
  lua_pushinteger(L, (lua_Integer)cut.count);
  lua_pushinteger(L, (lua_Integer)cut.first);
  lua_pushinteger(L, (lua_Integer)cut.end);
  lua_pushinteger(L, (lua_Integer)cut.images);
  return 4;
}

/* loader:order(epoch) -> list of the epoch's samples, from 1. */
static int l_loader_order(lua_State *L) {
  uint64_t epoch = (uint64_t)tx_check_int(L, 2, "loader", "epoch");
  const int64_t count = check_loader(L, 1)->count;
  int64_t *order = tx_new_array(L, count, 2 * sizeof *order);
  tx_status status = tx_loader_order(check_loader(L, 1), epoch, order, order + count);
  if (status != TX_OK) return tx_raise(L, status);
  lua_createtable(L, (int)count, 0);
  for (int64_t i = 0; i < count; i++) {
    lua_pushinteger(L, (lua_Integer)order[i] + 1);
    lua_seti(L, -2, i + 1);
  }
  return 1;
}

/* -- Pass: one epoch under way --------------------------------------------------------------------------------------- */

/* loader:start(epoch, first) -> Pass, which begins with batch `first` (from 1). */
static int l_loader_start(lua_State *L) {
  uint64_t epoch = (uint64_t)tx_check_int(L, 2, "loader", "epoch");
  int64_t first = tx_check_int(L, 3, "loader", "first");
  check_loader(L, 1);
  if (first < 1) return tx_error(L, "loader: the first batch is %lld: batches count from 1", (long long)first);
  tx_epoch **handle = lua_newuserdatauv(L, sizeof *handle, 0);
  *handle = NULL;
  luaL_setmetatable(L, EPOCH_TYPE);
  tx_status status = tx_epoch_start(check_loader(L, 1), epoch, first - 1, handle);
  return status == TX_OK ? 1 : tx_raise(L, status);
}

/* Pushes what was left out of the batch that is complete: a list of {place = (in the order of the epoch), sample =, message =},
 * both from 1; nil where nothing was. */
static void push_skipped(lua_State *L, const tx_epoch *run) {
  int64_t first, places = tx_epoch_places(run, &first), sample;
  int list = 0, count = 0;
  for (int64_t place = first; place < first + places; place++) {
    const char *trouble = tx_epoch_trouble(run, place, &sample);
    if (trouble == NULL) continue;
    if (list == 0) list = (lua_newtable(L), lua_gettop(L));
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, (lua_Integer)place + 1);
    lua_setfield(L, -2, "place");
    lua_pushinteger(L, (lua_Integer)sample + 1);
    lua_setfield(L, -2, "sample");
    lua_pushstring(L, trouble);
    lua_setfield(L, -2, "message");
    lua_seti(L, list, ++count);
  }
  if (list == 0) lua_pushnil(L);
}

/* All that takes memory is pushed before the batch is handed out, so that no batch is lost when there is none.
 *
 * epoch:next() -> images f32 {n,H,W,C}, labels i64 {n}, mix ({labels = i64 {n}, lambda = number}) or nil, masks f32 {n,H,W,1}
 * or nil, skipped (see push_skipped); nothing at the end. An image that can't be decoded raises, unless it is skipped. */
static int l_epoch_next(lua_State *L) {
  tx_epoch **handle = tx_check_object(L, 1, EPOCH_TYPE, "loader", "an epoch");
  lua_settop(L, 1);
  tx_tensor **images = tx_new_handle(L), **labels = tx_new_handle(L);
  lua_createtable(L, 0, 2);
  tx_tensor **other = tx_new_handle(L);
  lua_setfield(L, 4, "labels");
  lua_pushnumber(L, 1);
  lua_setfield(L, 4, "lambda"); /* makes room for the number that is set below */
  tx_tensor **masks = tx_new_handle(L);
  tx_batch batch;
  bool end;
  if (*handle == NULL) return 0; /* it was stopped */
  tx_status status = tx_epoch_wait(*handle, &end);
  if (status == TX_EWORLD) return tx_error(L, "%s", tx_message());
  if (status == TX_OK && end) return 0;
  if (status == TX_OK) push_skipped(L, *handle);
  if (status == TX_OK) status = tx_epoch_next(*handle, &batch, &end);
  if (status != TX_OK) return tx_raise(L, status);
  *images = batch.images;
  *labels = batch.labels;
  *other = batch.other_labels;
  *masks = batch.masks;
  tx_pace_collector(L);
  if (batch.other_labels == NULL) {
    lua_pushnil(L);
    lua_replace(L, 4);
  } else {
    lua_pushnumber(L, batch.lambda);
    lua_setfield(L, 4, "lambda");
  }
  if (batch.masks == NULL) {
    lua_pushnil(L);
    lua_replace(L, 5);
  }
  return 5;
}

/* epoch:stop(), __close, __gc: stops the workers and waits for them. */
static int l_epoch_stop(lua_State *L) {
  tx_epoch **handle = tx_check_object(L, 1, EPOCH_TYPE, "loader", "an epoch");
  tx_epoch *run = *handle;
  *handle = NULL;
  tx_epoch_stop(run);
  return 0;
}

static int l_epoch_tostring(lua_State *L) {
  tx_epoch **handle = tx_check_object(L, 1, EPOCH_TYPE, "loader", "an epoch");
  if (*handle == NULL) {
    lua_pushliteral(L, "epoch that was stopped");
    return 1;
  }
  uint64_t epoch;
  int64_t done, batches;
  tx_epoch_place(*handle, &epoch, &done, &batches);
  lua_pushfstring(L, "epoch %I: %I of %I batches done", (LUAI_UACINT)epoch, (LUAI_UACINT)done, (LUAI_UACINT)batches);
  return 1;
}

/* texres.loader_threads() -> worker threads alive in this process. */
static int l_loader_threads(lua_State *L) {
  lua_pushinteger(L, tx_loader_threads());
  return 1;
}

/* -- tables ---------------------------------------------------------------------------------------------------------- */

static const luaL_Reg augment_methods[] = {{"apply", l_augment_apply},
                                           {"window", l_augment_window},
                                           {"pastes", l_augment_pastes},
                                           {"__tostring", l_augment_tostring},
                                           {NULL, NULL}};

static const luaL_Reg loader_methods[] = {{"start", l_loader_start},
                                          {"order", l_loader_order},
                                          {"shards", l_loader_shards},
                                          {"__len", l_loader_length},
                                          {"__tostring", l_loader_tostring},
                                          {"__gc", l_loader_gc},
                                          {NULL, NULL}};

static const luaL_Reg epoch_methods[] = {{"next", l_epoch_next},           {"stop", l_epoch_stop},
                                         {"__tostring", l_epoch_tostring}, {"__gc", l_epoch_stop},
                                         {"__close", l_epoch_stop},        {NULL, NULL}};

static const luaL_Reg functions[] = {
    {"augment", l_augment}, {"loader", l_loader}, {"loader_threads", l_loader_threads}, {NULL, NULL}};

static void make_type(lua_State *L, const char *name, const luaL_Reg *methods) {
  luaL_newmetatable(L, name);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

void tx_lua_open_loader(lua_State *L) {
  make_type(L, AUGMENT_TYPE, augment_methods);
  make_type(L, LOADER_TYPE, loader_methods);
  make_type(L, EPOCH_TYPE, epoch_methods);
  luaL_setfuncs(L, functions, 0);
}
