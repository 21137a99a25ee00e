/* optim.c - the optimizers' steps over lists of parameters; schedules, groups and state are kept in Lua.
 *
 *     core.optimizer.sgd_step(parameters, velocities, {lr=, momentum=, dampening=, weight_decay=, nesterov=, first=})
 *     core.optimizer.adam_step(parameters, means, squares, {lr=, beta1=, beta2=, eps=, weight_decay=, decoupled=, step=})
 *     core.optimizer.gradient_norm(parameters)            the norm of all gradients taken together
 *     core.optimizer.scale_gradients(parameters, factor)
 *
 * A list is a Lua table 1..n of tensors. Gradients are those that backward left at the parameters; parameters without one
 * are passed over.
 */
#include "tensor/optim.h"

#include "lua/binding.h"
#include "tensor/math.h"

/* Replaces the list at `list` by our own copy; returns its length. */
static int take_list(lua_State *L, int list, const char *operation) {
  int n = tx_check_list(L, list, operation, "the list of tensors");
  tx_copy_list(L, list, n);
  lua_replace(L, list);
  return n;
}

/* The state's list at `list` has as many tensors as there are parameters. */
static void check_length(lua_State *L, int list, const char *operation, int count) {
  int n = take_list(L, list, operation);
  if (n != count) tx_error(L, "%s: %d parameters, but argument %d has %d tensors", operation, count, list, n);
}

/* The gradient that backward or the user left at a parameter, or NULL. */
static tx_tensor *gradient_of(lua_State *L, const tx_tensor *parameter) {
  tx_tensor *gradient = parameter->grad;
  if (gradient != NULL && tx_readable(gradient) != TX_OK) tx_error(L, "%s", tx_message());
  return gradient;
}

static int l_sgd_step(lua_State *L) {
  const char *operation = "sgd_step";
  int count = take_list(L, 1, operation);
  tx_sgd_options options = {
      .lr = tx_option_number(L, 3, operation, "lr", 0),
      .momentum = tx_option_number(L, 3, operation, "momentum", 0),
      .dampening = tx_option_number(L, 3, operation, "dampening", 0),
      .weight_decay = tx_option_number(L, 3, operation, "weight_decay", 0),
      .nesterov = tx_option_bool(L, 3, operation, "nesterov", false),
      .first = tx_option_bool(L, 3, operation, "first", false),
  };
  if (options.momentum != 0) check_length(L, 2, operation, count);
  tx_sgd_row *rows = tx_new_array(L, count, sizeof *rows);
  for (int i = 0; i < count; i++) {
    tx_tensor *parameter = tx_list_tensor(L, 1, i + 1, operation);
    tx_tensor *velocity = options.momentum != 0 ? tx_list_tensor(L, 2, i + 1, operation) : NULL;
    rows[i] = (tx_sgd_row){parameter, gradient_of(L, parameter), velocity};
  }
  tx_status status = tx_sgd_step(count, rows, &options);
  return status == TX_OK ? 0 : tx_raise(L, status);
}

static int l_adam_step(lua_State *L) {
  const char *operation = "adam_step";
  int count = take_list(L, 1, operation);
  tx_adam_options options = {
      .lr = tx_option_number(L, 4, operation, "lr", 0),
      .beta1 = tx_option_number(L, 4, operation, "beta1", 0.9),
      .beta2 = tx_option_number(L, 4, operation, "beta2", 0.999),
      .eps = tx_option_number(L, 4, operation, "eps", 1e-8),
      .weight_decay = tx_option_number(L, 4, operation, "weight_decay", 0),
      .decoupled = tx_option_bool(L, 4, operation, "decoupled", false),
      .step = tx_option_int(L, 4, operation, "step", 1),
  };
  check_length(L, 2, operation, count);
  check_length(L, 3, operation, count);
  tx_adam_row *rows = tx_new_array(L, count, sizeof *rows);
  for (int i = 0; i < count; i++) {
    tx_tensor *parameter = tx_list_tensor(L, 1, i + 1, operation);
    rows[i] = (tx_adam_row){parameter, gradient_of(L, parameter), tx_list_tensor(L, 2, i + 1, operation),
                            tx_list_tensor(L, 3, i + 1, operation)};
  }
  tx_status status = tx_adam_step(count, rows, &options);
  return status == TX_OK ? 0 : tx_raise(L, status);
}

static int l_gradient_norm(lua_State *L) {
  const char *operation = "gradient_norm";
  int count = take_list(L, 1, operation);
  tx_tensor **gradients = tx_new_array(L, count, sizeof *gradients);
  for (int i = 0; i < count; i++) gradients[i] = gradient_of(L, tx_list_tensor(L, 1, i + 1, operation));
  double norm;
  tx_status status = tx_total_norm(count, gradients, &norm);
  if (status != TX_OK) return tx_raise(L, status);
  lua_pushnumber(L, norm);
  return 1;
}

static tx_status scale(tx_tensor *t, double factor) {
  tx_tensor *scalar;
  TX_TRY(tx_scalar(TX_F64, tx_real(factor), true, &scalar));
  tx_status status = tx_binary_into("scale_gradients", TX_MUL, t, scalar);
  tx_unref(scalar);
  if (status == TX_OK) tx_touch(t);
  return status;
}

/* Whether one of the first `count` parameters has this gradient, too: it was scaled with that one. */
static bool was_scaled(lua_State *L, int count, tx_tensor *gradient, const char *operation) {
  for (int i = 0; i < count; i++) {
    const tx_tensor *earlier = gradient_of(L, tx_list_tensor(L, 1, i + 1, operation));
    if (earlier != NULL && tx_data(earlier) == tx_data(gradient)) return true;
  }
  return false;
}

static int l_scale_gradients(lua_State *L) {
  const char *operation = "scale_gradients";
  int count = take_list(L, 1, operation);
  double factor = tx_check_number(L, 2, operation, "factor");
  for (int i = 0; i < count; i++) {
    tx_tensor *gradient = gradient_of(L, tx_list_tensor(L, 1, i + 1, operation));
    if (gradient == NULL || was_scaled(L, i, gradient, operation)) continue;
    tx_status status = scale(gradient, factor);
    if (status != TX_OK) return tx_raise(L, status);
  }
  return 0;
}

static const luaL_Reg functions[] = {
    {"sgd_step", l_sgd_step},
    {"adam_step", l_adam_step},
    {"gradient_norm", l_gradient_norm},
    {"scale_gradients", l_scale_gradients},
    {NULL, NULL},
};

void tx_lua_open_optim(lua_State *L) {
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "optimizer");
}
