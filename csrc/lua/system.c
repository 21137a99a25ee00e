/* system.c - threads, clock, memory counters, random seed. */
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "lua/binding.h"

static int l_clock(lua_State *L) {
  lua_pushnumber(L, tx_clock());
  return 1;
}

static int l_num_threads(lua_State *L) {
  lua_pushinteger(L, tx_num_threads());
  return 1;
}

static int l_set_num_threads(lua_State *L) {
  tx_check_owner(L);
  int64_t n = tx_check_int(L, 1, "set_num_threads", "n");
  if (n < 1 || n > TX_MAX_THREADS) {
    return tx_error(L, "set_num_threads: n is %lld: 1..%d is possible", (long long)n, TX_MAX_THREADS);
  }
  tx_set_num_threads((int)n);
  return 0;
}

static int l_live_bytes(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)tx_live_bytes());
  lua_pushinteger(L, (lua_Integer)tx_peak_bytes());
  lua_pushinteger(L, (lua_Integer)tx_cached_bytes());
  return 3;
}

static int l_trim_memory(lua_State *L) {
  tx_check_owner(L);
  tx_memory_trim();
  return 0;
}

static int l_manual_seed(lua_State *L) {
  tx_check_owner(L);
  tx_generator *g = tx_default_generator();
  g->seed = (uint64_t)tx_check_int(L, 1, "manual_seed", "seed");
  g->next_stream = 0;
  return 0;
}

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

static int l_isa(lua_State *L) {
  lua_pushstring(L, tx_isa_name(tx_kernels_isa()));
  return 1;
}

static const tx_function functions[] = {
    {"clock", l_clock, "clock(): seconds of a clock that never goes back; differences of two are times."},
    {"num_threads", l_num_threads,
     "num_threads(): how many threads compute; by default one for each core that the process may use."},
    {"set_num_threads", l_set_num_threads,
     "set_num_threads(n): lets n threads compute, 1..256; results are the same bits for any n."},
    {"live_bytes", l_live_bytes,
     "live_bytes(): three numbers of bytes: held by tensors, the graph and scratch space; the most that it has been; "
     "free ones that are kept for reuse."},
    {"trim_memory", l_trim_memory,
     "trim_memory(): gives memory that is kept for reuse back to the system; the most of live_bytes starts anew."},
    {"manual_seed", l_manual_seed,
     "manual_seed(n): restarts the generator behind rand, randn, dropout and the weights of new layers with a whole "
     "number."},
    {"rng_state", l_rng_state,
     "rng_state(seed, stream): the state of the generator, two whole numbers; given both, it is put there."},
    {"isa", l_isa,
     "isa(): the instruction set of the kernels in use: \"ref\", \"avx2\", \"avx512\" or \"neon\". The environment "
     "variable TEXRES_ISA chooses another one before the module is loaded."},
    {NULL, NULL, NULL},
};

void tx_lua_open_system(lua_State *L) { tx_set_functions(L, functions); }
