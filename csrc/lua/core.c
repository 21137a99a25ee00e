/* core.c - the module texres.core: opens every concept once, in order. */
#include <pthread.h>

#include "kernels/kernels.h"
#include "lua/binding.h"
#include "passes/gemm.h"

#if defined(__GNUC__)
#define TX_EXPORT __attribute__((visibility("default")))
#else
#define TX_EXPORT
#endif

TX_EXPORT int luaopen_texres_core(lua_State *L);

/* -- whose library it is ------------------------------------------------------------------------------------------------
 *
 * Tensors of all Lua states share one memory, graph and generator, without locks. So the library belongs to the thread of
 * the host that loads it, until every Lua state that has loaded it is closed; states of that thread may take turns.
 */
static pthread_mutex_t owner_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t owner;
static int states; /* that have loaded the library */

bool tx_is_owner(void) { return pthread_equal(owner, pthread_self()); }

/* In a forked process the thread that forked is the only one. */
static void begin_child(void) {
  pthread_mutex_init(&owner_lock, NULL);
  owner = pthread_self();
}

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, begin_child); }

static int l_leave(lua_State *L) {
  bool *counted = lua_touserdata(L, 1);
  pthread_mutex_lock(&owner_lock);
  if (*counted) states--;
  pthread_mutex_unlock(&owner_lock);
  *counted = false;
  return 0;
}

/* Counts this state, once, until it is closed; raises when the library belongs to another thread. */
static void enter(lua_State *L) {
  static const char key;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TNIL) {
    bool *counted = lua_newuserdatauv(L, sizeof *counted, 0);
    *counted = false;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_leave);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    pthread_mutex_lock(&owner_lock);
    if (states == 0) owner = pthread_self();
    *counted = tx_is_owner();
    if (*counted) states++;
    pthread_mutex_unlock(&owner_lock);
    if (*counted) {
      lua_pushvalue(L, -1);
      lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  if (!tx_is_owner()) luaL_error(L, "%s", TX_OTHER_THREAD);
}

int luaopen_texres_core(lua_State *L) {
  enter(L);
  tx_blas_open();
  tx_status status = tx_kernels_init();
  if (status != TX_OK) return tx_raise(L, status);
  lua_newtable(L);
  tx_lua_open_tensor(L); /* first: creates `methods`, which the others add to */
  tx_lua_open_create(L);
  tx_lua_open_ops(L);
  tx_lua_open_autograd(L);
  tx_lua_open_system(L);
  tx_lua_open_build(L);
  tx_lua_open_kernels(L);
  tx_lua_open_process(L);
  tx_lua_open_prompt(L);
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
  tx_lua_open_quantized(L);
  tx_lua_open_line(L);
  return 1;
}
