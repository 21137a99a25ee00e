/* oom.c - lets chosen allocations of a process fail; see oom.lua, which steers it.
 *
 * Preloaded, it stands before glibc's allocator and mmap. Allocations of a run are numbered from 1, those of all threads
 * together. An allocation has a site: the innermost C functions that are being called, and the line of Lua that runs. Works
 * share the code of many sites, and loops come to one again and again; where it has failed and all was well, it is not tried
 * each time. It is due when it is met for the first time, the fourth, the sixteenth, and so on, of all times that it is looked
 * at; one failure at a time and all from one on are counted apart.
 *
 * As a Lua module (the same file, so the same counters):
 *
 *     oom.arm(n, all, any)  a run begins: of its allocations from number n on, the first that is due fails; with `all`, those
 *                           after it as well; with `any`, each is due
 *     oom.disarm()          it ends; returns its number of allocations, and that of the one that failed, nil when none did
 *     oom.blocks()          how many blocks are allocated
 */
#define _GNU_SOURCE /* RTLD_NEXT, MAP_FAILED */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t n, size_t bytes);
extern void *__libc_realloc(void *block, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);
extern void __libc_free(void *block);

static atomic_bool armed;
static atomic_long blocks;

/* -- whose allocation it is ------------------------------------------------------------------------------------------ */

enum { DEPTH = 32, SITE_DEPTH = 12 }; /* frames of the stack that are looked at, and that make a site */

/* Once this is loaded, backtrace allocates nothing any more. */
__attribute__((constructor)) static void load_backtrace(void) {
  void *frame[1];
  backtrace(frame, 1);
}

/* libhdf5 1.10 frees twice or gives half an answer when an allocation inside it fails, its own or one of what it calls. That
 * is not ours to mend: those are let through. Here is where its libraries lie. */
static struct { uintptr_t from, to; } foreign[8];
static int foreign_count;

static int find_foreign(struct dl_phdr_info *library, size_t size, void *context) {
  (void)size, (void)context;
  if (strstr(library->dlpi_name, "libhdf5") == NULL) return 0;
  for (int i = 0; i < library->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &library->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || (part->p_flags & PF_X) == 0) continue;
    if (foreign_count == sizeof foreign / sizeof *foreign) return 1;
    foreign[foreign_count].from = library->dlpi_addr + part->p_vaddr;
    foreign[foreign_count++].to = library->dlpi_addr + part->p_vaddr + part->p_memsz;
  }
  return 0;
}

static bool is_foreign(void *const *frame, int depth) {
  for (int i = 0; i < depth; i++) {
    for (int j = 0; j < foreign_count; j++) {
      if ((uintptr_t)frame[i] >= foreign[j].from && (uintptr_t)frame[i] < foreign[j].to) return true;
    }
  }
  return false;
}

/* The line of Lua that runs, as a number. A hook keeps it: the state can't be asked while it allocates, as its stack may be
 * what is being moved. */
static atomic_ulong lua_line;

static void keep_line(lua_State *L, lua_Debug *ar) {
  lua_getinfo(L, "Sl", ar);
  atomic_store(&lua_line, (uintptr_t)ar->source * 31 + (uintptr_t)ar->currentline);
}

/* -- which allocation fails ------------------------------------------------------------------------------------------ */

typedef struct {
  uint64_t hash; /* 0: no site stands here */
  long met;
} site;

/* All under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static site sites[1 << 16]; /* at its hash or, where another stands there, at the next free place */
static long count, first;   /* allocations of this run; the number from which on they are looked at */
static long failed;         /* the number of the one that failed, 0 when none has yet */
static bool fail_all, fail_any;

static uint64_t hash_site(void *const *frame, int depth) {
  uint64_t hash = atomic_load(&lua_line) * 2 + fail_all;
  for (int i = 0; i < depth && i < SITE_DEPTH; i++) {
    hash = (hash ^ (uintptr_t)frame[i]) * UINT64_C(0x9E3779B97F4A7C15);
    hash ^= hash >> 32;
  }
  return hash != 0 ? hash : 1;
}

/* NULL when the table is full: such a site is due each time. */
static site *find_site(uint64_t hash) {
  const size_t places = sizeof sites / sizeof *sites;
  for (size_t i = 0; i < places; i++) {
    site *s = &sites[(hash + i) % places];
    if (s->hash == 0) s->hash = hash;
    if (s->hash == hash) return s;
  }
  return NULL;
}

static bool is_due(uint64_t hash) {
  site *s = find_site(hash);
  if (s == NULL) return true;
  long rest = ++s->met;
  while (rest % 4 == 0) rest /= 4;
  return rest == 1; /* a power of 4 */
}

static bool fails_locked(void) {
  void *frame[DEPTH];
  if (++count < first || (failed != 0 && !fail_all)) return false;
  const int depth = backtrace(frame, DEPTH);
  if (is_foreign(frame, depth)) return false;
  if (failed != 0) return true;
  if (!fail_any && !is_due(hash_site(frame, depth))) return false;
  failed = count;
  return true;
}

static bool fails(void) {
  if (!atomic_load(&armed)) return false;
  pthread_mutex_lock(&lock);
  const bool it_fails = atomic_load(&armed) && fails_locked();
  pthread_mutex_unlock(&lock);
  if (it_fails) errno = ENOMEM;
  return it_fails;
}

/* -- the allocator --------------------------------------------------------------------------------------------------- */

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

/* Saving a model waits for the disk, which is most of the time that it takes; nothing here has to outlive a power cut. */
int fsync(int file) {
  (void)file;
  return 0;
}

/* -- the module ------------------------------------------------------------------------------------------------------ */

static int l_arm(lua_State *L) {
  first = (long)luaL_checkinteger(L, 1);
  fail_all = lua_toboolean(L, 2);
  fail_any = lua_toboolean(L, 3);
  count = failed = 0;
  foreign_count = 0;
  dl_iterate_phdr(find_foreign, NULL);
  lua_sethook(L, keep_line, LUA_MASKLINE, 0);
  atomic_store(&armed, true);
  return 0;
}

static int l_disarm(lua_State *L) {
  pthread_mutex_lock(&lock);
  atomic_store(&armed, false);
  pthread_mutex_unlock(&lock);
  lua_sethook(L, NULL, 0, 0);
  lua_pushinteger(L, (lua_Integer)count);
  if (failed == 0) return 1;
  lua_pushinteger(L, (lua_Integer)failed);
  return 2;
}

static int l_blocks(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)atomic_load(&blocks));
  return 1;
}

int luaopen_oom(lua_State *L) {
  luaL_newlib(L, ((const luaL_Reg[]){{"arm", l_arm}, {"disarm", l_disarm}, {"blocks", l_blocks}, {NULL, NULL}}));
  return 1;
}
