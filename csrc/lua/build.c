/* build.c - which texres this is, and how it was built: _VERSION, build_info. */
#include <zlib.h>

#include "base/cpu.h"
#include "data/hdf5.h"
#include "lua/binding.h"
#include "lua/core_api.h"
#include "passes/gemm.h"

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "an unknown compiler"
#endif

/* build_info() -> {compiler = "gcc 12.2.0", flags = "-O2 -g ...", isas = {"ref", "avx2"}, zlib = "1.2.13",
 * blas = "OpenBLAS 0.3.21 ... Haswell MAX_THREADS=64", hdf5 = "1.10.8"}: `isas` are those of its kernels that this machine
 * can run; blas and hdf5 are nil where the module was built without them. */
static int l_build_info(lua_State *L) {
  char hdf5[TX_HDF5_VERSION_SIZE];
  lua_newtable(L);
  lua_pushliteral(L, COMPILER);
  lua_setfield(L, -2, "compiler");
  lua_pushliteral(L, TX_BUILD_FLAGS);
  lua_setfield(L, -2, "flags");
  lua_pushstring(L, zlibVersion());
  lua_setfield(L, -2, "zlib");
  lua_pushstring(L, tx_blas_name()); /* NULL is nil */
  lua_setfield(L, -2, "blas");
  lua_pushstring(L, tx_hdf5_version(hdf5));
  lua_setfield(L, -2, "hdf5");
  lua_newtable(L);
  for (int i = 0, count = 0; i < TX_ISA_COUNT; i++) {
    if (!tx_isa_supported((tx_isa)i)) continue;
    lua_pushstring(L, tx_isa_name((tx_isa)i));
    lua_seti(L, -2, ++count);
  }
  lua_setfield(L, -2, "isas");
  return 1;
}

static const luaL_Reg functions[] = {{"build_info", l_build_info}, {NULL, NULL}};

static const tx_core_api api = {
    .version = TX_VERSION,
    .check_tensor = tx_check_tensor,
    .error = tx_error,
    .is_contiguous = tx_is_contiguous,
    .elements_apart = tx_elements_apart,
    .listen_to_leaves = tx_listen_to_leaves,
};

void tx_lua_open_build(lua_State *L) {
  lua_pushlightuserdata(L, (void *)(uintptr_t)&api);
  lua_setfield(L, LUA_REGISTRYINDEX, TX_CORE_API);
  luaL_setfuncs(L, functions, 0);
  lua_pushliteral(L, "texres " TX_VERSION);
  lua_setfield(L, -2, "_VERSION");
}
