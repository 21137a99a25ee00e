/* oom.c - lets the n-th allocation of a process fail; see oom.lua, which steers it.
 *
 * Preloaded, it stands before glibc's allocator and mmap. As a Lua module (the same file, so the same counters):
 *
 *     oom.arm(n, all)  from now on the n-th allocation of any thread fails; with `all`, those after it do as well
 *     oom.disarm()     none does; returns whether one did
 *     oom.blocks()     how many blocks are allocated
 */
#define _GNU_SOURCE /* RTLD_NEXT, MAP_FAILED */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include <lauxlib.h>
#include <lua.h>

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t n, size_t bytes);
extern void *__libc_realloc(void *block, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);
extern void __libc_free(void *block);

static atomic_long left = -1; /* allocations until one fails; negative: none does */
static atomic_bool failed, fail_all;
static atomic_long blocks;

/* libhdf5 1.10 frees twice or gives half an answer when an allocation inside it fails, its own or one of what it calls. That
 * is not ours to mend: those are let through. Once this is loaded, backtrace allocates nothing any more. */
__attribute__((constructor)) static void load_backtrace(void) {
  void *frame[1];
  backtrace(frame, 1);
}

static bool is_foreign(void) {
  void *frame[32];
  const int depth = backtrace(frame, 32);
  for (int i = 0; i < depth; i++) {
    Dl_info found;
    if (dladdr(frame[i], &found) != 0 && found.dli_fname != NULL && strstr(found.dli_fname, "libhdf5") != NULL)
      return true;
  }
  return false;
}

static bool fails(void) {
  if (atomic_load(&left) < 0 || is_foreign()) return false;
  const long now = atomic_load(&left);
  if (now < 0 || (now > 0 && atomic_fetch_sub(&left, 1) > 1)) return false;
  if (!atomic_load(&fail_all)) atomic_store(&left, -1);
  atomic_store(&failed, true);
  errno = ENOMEM;
  return true;
}

static void *counted(void *block) {
  if (block != NULL) atomic_fetch_add(&blocks, 1);
  return block;
}

void *malloc(size_t bytes) { return fails() ? NULL : counted(__libc_malloc(bytes)); }
void *calloc(size_t n, size_t bytes) { return fails() ? NULL : counted(__libc_calloc(n, bytes)); }
void *memalign(size_t alignment, size_t bytes) { return fails() ? NULL : counted(__libc_memalign(alignment, bytes)); }
void *aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }

int posix_memalign(void **block, size_t alignment, size_t bytes) {
  *block = memalign(alignment, bytes);
  return *block != NULL ? 0 : ENOMEM;
}

/* Making a block smaller does not fail: Lua counts on that, as it may with every allocator that Lua runs on. */
void *realloc(void *block, size_t bytes) {
  if (block == NULL) return malloc(bytes);
  if (bytes == 0) {
    free(block);
    return NULL;
  }
  return bytes > malloc_usable_size(block) && fails() ? NULL : __libc_realloc(block, bytes);
}

void free(void *block) {
  if (block != NULL) atomic_fetch_sub(&blocks, 1);
  __libc_free(block);
}

void *mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
  static void *(*real)(void *, size_t, int, int, int, off_t);
  if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "mmap");
  return fails() ? MAP_FAILED : real(address, bytes, protection, flags, file, offset);
}

static int l_arm(lua_State *L) {
  const long n = (long)luaL_checkinteger(L, 1);
  atomic_store(&failed, false);
  atomic_store(&fail_all, lua_toboolean(L, 2));
  atomic_store(&left, n);
  return 0;
}

static int l_disarm(lua_State *L) {
  atomic_store(&left, -1);
  lua_pushboolean(L, atomic_load(&failed));
  return 1;
}

static int l_blocks(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)atomic_load(&blocks));
  return 1;
}

int luaopen_oom(lua_State *L) {
  luaL_newlib(L, ((const luaL_Reg[]){{"arm", l_arm}, {"disarm", l_disarm}, {"blocks", l_blocks}, {NULL, NULL}}));
  return 1;
}
