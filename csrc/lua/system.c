/* system.c - threads, clock, memory counters, random seed. */
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "lua/binding.h"

/* texres.clock() -> seconds of a monotonic clock. */
static int l_clock(lua_State *L) {
  lua_pushnumber(L, tx_clock());
  return 1;
}

/* texres.num_threads() -> threads in use. */
static int l_num_threads(lua_State *L) {
  lua_pushinteger(L, tx_num_threads());
  return 1;
}

/* texres.set_num_threads(n): results are the same bits for any n. */
static int l_set_num_threads(lua_State *L) {
  tx_check_owner(L);
  int64_t n = tx_check_int(L, 1, "set_num_threads", "n");
  if (n < 1 || n > TX_MAX_THREADS) {
    return tx_error(L, "set_num_threads: n is %lld: 1..%d is possible", (long long)n, TX_MAX_THREADS);
  }
  tx_set_num_threads((int)n);
  return 0;
}

/* texres.live_bytes() -> bytes held by tensors, the graph and scratch space; the largest number so far; bytes that are
 * free and kept for reuse. */
static int l_live_bytes(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)tx_live_bytes());
  lua_pushinteger(L, (lua_Integer)tx_peak_bytes());
  lua_pushinteger(L, (lua_Integer)tx_cached_bytes());
  return 3;
}

/* texres.trim_memory(): gives cached blocks back to the system; restarts the peak of live_bytes. */
static int l_trim_memory(lua_State *L) {
  tx_check_owner(L);
  tx_memory_trim();
  return 0;
}

/* texres.manual_seed(n): restarts the generator behind rand, randn, dropout and initialization. */
static int l_manual_seed(lua_State *L) {
  tx_check_owner(L);
  tx_generator *g = tx_default_generator();
  g->seed = (uint64_t)tx_check_int(L, 1, "manual_seed", "seed");
  g->next_stream = 0;
  return 0;
}

/* texres.rng_state() -> seed, next stream; texres.rng_state(seed, stream) restores them. */
static int l_rng_state(lua_State *L) {
  tx_check_owner(L);
  tx_generator *g = tx_default_generator();
  if (lua_gettop(L) >= 2) {
    g->seed = (uint64_t)tx_check_int(L, 1, "rng_state", "seed");
    g->next_stream = (uint64_t)tx_check_int(L, 2, "rng_state", "stream");
  }
  lua_pushinteger(L, (lua_Integer)g->seed);
  lua_pushinteger(L, (lua_Integer)g->next_stream);
  return 2;
}

/* texres.isa() -> "avx512": the instruction set of the kernels in use. */
static int l_isa(lua_State *L) {
  lua_pushstring(L, tx_isa_name(tx_kernels_isa()));
  return 1;
}

static const luaL_Reg functions[] = {{"clock", l_clock},
                                     {"num_threads", l_num_threads},
                                     {"set_num_threads", l_set_num_threads},
                                     {"live_bytes", l_live_bytes},
                                     {"trim_memory", l_trim_memory},
                                     {"manual_seed", l_manual_seed},
                                     {"rng_state", l_rng_state},
                                     {"isa", l_isa},
                                     {NULL, NULL}};

void tx_lua_open_system(lua_State *L) { luaL_setfuncs(L, functions, 0); }
