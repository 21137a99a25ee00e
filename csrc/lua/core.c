/* core.c - the module texres.core: opens every concept once, in order. */
#include "kernels/kernels.h"
#include "lua/binding.h"
#include "tensor/gemm.h"

#if defined(__GNUC__)
#define TX_EXPORT __attribute__((visibility("default")))
#else
#define TX_EXPORT
#endif

TX_EXPORT int luaopen_texres_core(lua_State *L);

int luaopen_texres_core(lua_State *L) {
  tx_blas_loaded();
  tx_status status = tx_kernels_init();
  if (status != TX_OK) return tx_raise(L, status);
  lua_newtable(L);
  tx_lua_open_tensor(L); /* first: creates `methods`, which the others add to */
  tx_lua_open_create(L);
  tx_lua_open_ops(L);
  tx_lua_open_autograd(L);
  tx_lua_open_system(L);
  tx_lua_open_kernels(L);
  tx_lua_open_process(L);
  tx_lua_open_source(L);
  tx_lua_open_file(L);
  tx_lua_open_optim(L);
  tx_lua_open_fabric(L);
  tx_lua_open_loader(L);
  tx_lua_open_npy(L);
  tx_lua_open_data(L);
  tx_lua_open_image(L);
  tx_lua_open_hdf5(L);
  tx_lua_open_table(L);
  tx_lua_open_text(L);
  return 1;
}
