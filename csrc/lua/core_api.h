/* core_api.h - what the core lends to a module of its own, such as texres.mpi, which links with nothing of it: a table of
 * functions in the registry, under TX_CORE_API, of the same version.
 */
#ifndef TX_LUA_CORE_API_H
#define TX_LUA_CORE_API_H

#include "autograd/op.h"
#include "lua/binding.h"

#define TX_CORE_API "texres.core.api"

typedef struct tx_core_api {
  const char *version;
  /* as in lua/binding.h, tensor/tensor.h and autograd/op.h */
  tx_tensor *(*check_tensor)(lua_State *L, int arg);
  int (*error)(lua_State *L, const char *format, ...);
  bool (*is_contiguous)(const tx_tensor *t);
  tx_status (*elements_apart)(const tx_tensor *t);
  void (*listen_to_leaves)(tx_leaf_listener *listener, void *context);
} tx_core_api;

#endif
