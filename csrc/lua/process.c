/* process.c - the few things that Lua scripts need from the operating system and Lua's own library lacks.
 *
 * texres.core.process.columns(file)     width of the terminal that file is, nil when it is none
 *                    .failed(file)      whether something that was written to it got lost, as on a full disk
 *                    .make_folder(path) makes a folder and those above it: true, or nil and a message
 *                    .lock(path)        a lock on a file, which is made: an object that holds it until it is closed or its
 *                                       process ends, however that ends; nil and a message when another holds it
 *                    .interrupts(on)    while on, Ctrl-C is counted instead of ending the program; on again inside of it
 *                                       takes another off
 *                    .terminations(on)  the same of SIGTERM, by which systemd and others stop a program
 *                    .interrupted()     which of the two came since: "Ctrl-C" or "SIGTERM"; nil: none
 *                    .whole(f, ...)     what f(...) returns; Ctrl-C meanwhile is answered after it
 */
#define _GNU_SOURCE /* sigaction, pthread_sigmask */
#include "lua/binding.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int l_columns(lua_State *L) {
  luaL_Stream *stream = tx_check_object(L, 1, LUA_FILEHANDLE, "columns", "a file");
  if (stream->closef == NULL || !isatty(fileno(stream->f))) return 0;
  struct winsize size = {0};
  bool known = ioctl(fileno(stream->f), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  lua_pushinteger(L, known ? size.ws_col : 80);
  return 1;
}

/* print() does not tell of it, and the C library throws away what a stream did not take: only its mark stays. */
static int l_failed(lua_State *L) {
  luaL_Stream *stream = tx_check_object(L, 1, LUA_FILEHANDLE, "failed", "a file");
  lua_pushboolean(L, stream->closef == NULL || fflush(stream->f) != 0 || ferror(stream->f));
  return 1;
}

/* Makes every folder on the way to `path`, which is changed and restored while it works. */
static bool make_folders(char *path) {
  for (char *at = path + 1; *at != '\0'; at++) {
    if (*at != '/') continue;
    *at = '\0';
    bool made = mkdir(path, 0777) == 0 || errno == EEXIST;
    *at = '/';
    if (!made) return false;
  }
  if (mkdir(path, 0777) == 0) return true;
  struct stat found;
  return errno == EEXIST && stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

static int l_make_folder(lua_State *L) {
  const char *path = tx_check_path(L, 1, "make_folder");
  size_t length = strlen(path);
  if (length == 0) tx_error(L, "make_folder: the path is empty");
  char *copy = lua_newuserdatauv(L, length + 1, 0);
  memcpy(copy, path, length + 1);
  if (make_folders(copy)) {
    lua_pushboolean(L, 1);
    return 1;
  }
  return tx_raise(L, tx_fail(TX_EWORLD, "%s: can't make the folder: %s", path, strerror(errno)));
}

/* -- locks ----------------------------------------------------------------------------------------------------------- */

#define LOCK_TYPE "texres.Lock"

/* Closing the file gives the lock back. */
static int l_unlock(lua_State *L) {
  int *file = tx_check_object(L, 1, LOCK_TYPE, "lock", "a lock");
  if (*file >= 0) close(*file);
  *file = -1;
  return 0;
}

/* What a lock's file says: the process that holds it. */
static long long holder(int file) {
  char text[24] = {0};
  return pread(file, text, sizeof text - 1, 0) > 0 ? strtoll(text, NULL, 10) : 0;
}

/* Opens a lock's file, which is written to: -1 where something else stands at its path, such as a link that leads
 * to a file of the user's. */
static int open_lock(const char *path) {
  int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, 0666);
  struct stat found;
  if (file < 0 || (fstat(file, &found) == 0 && S_ISREG(found.st_mode))) return file;
  close(file);
  errno = ELOOP;
  return -1;
}

/* File systems that know no locks let everyone in. */
static bool is_held(int file) { return flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; }

static int l_lock(lua_State *L) {
  const char *path = tx_check_path(L, 1, "lock");
  int *file = lua_newuserdatauv(L, sizeof *file, 0);
  *file = -1;
  luaL_setmetatable(L, LOCK_TYPE);
  *file = open_lock(path);
  if (*file < 0) {
    bool is_none = errno == ELOOP || errno == ENXIO;
    const char *reason = is_none ? "is a link, a pipe or a socket, a file is wanted" : strerror(errno);
    return tx_raise(L, tx_fail(TX_EWORLD, "%s: %s", path, reason));
  }
  if (is_held(*file)) {
    return tx_raise(L, tx_fail(TX_EWORLD, "%s: process %lld is at work here", path, holder(*file)));
  }
  char text[24];
  int length = snprintf(text, sizeof text, "%lld\n", (long long)getpid());
  bool written = ftruncate(*file, 0) == 0 && pwrite(*file, text, (size_t)length, 0) == length;
  (void)written; /* it is for people */
  return 1;
}

static const luaL_Reg lock_methods[] = {{"__gc", l_unlock}, {"__close", l_unlock}, {NULL, NULL}};

/* -- Ctrl-C ---------------------------------------------------------------------------------------------------------- */

/* One signal that is counted. */
typedef struct counted {
  volatile sig_atomic_t came;
  struct sigaction before;
  int watching; /* how many runs want it: one may begin inside of another */
} counted;

static counted presses, terminations;

/* The second one goes to whoever had the signal before: the user means it. */
static void count_signal(counted *c, int number) {
  if (c->came++ == 0) return;
  sigaction(number, &c->before, NULL);
  raise(number);
}

static void on_interrupt(int number) {
  if (presses.came == 0) tx_prompt_pressed();
  count_signal(&presses, number);
}

static void on_termination(int number) { count_signal(&terminations, number); }

static void count_signals(counted *c, int number, void (*handler)(int), bool on) {
  if (on && c->watching++ == 0) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    c->came = 0;
    sigaction(number, &action, &c->before);
  } else if (!on && c->watching > 0 && --c->watching == 0) {
    sigaction(number, &c->before, NULL);
  }
}

static int l_interrupts(lua_State *L) {
  count_signals(&presses, SIGINT, on_interrupt, lua_toboolean(L, 1));
  return 0;
}

static int l_terminations(lua_State *L) {
  count_signals(&terminations, SIGTERM, on_termination, lua_toboolean(L, 1));
  return 0;
}

static int l_interrupted(lua_State *L) {
  if (presses.came > 0) {
    lua_pushliteral(L, "Ctrl-C");
  } else if (terminations.watching > 0 && terminations.came > 0) {
    lua_pushliteral(L, "SIGTERM");
  } else {
    lua_pushnil(L);
  }
  return 1;
}

/* The threads of the pool and of loaders block all signals, so the signal waits for this one. */
static int l_whole(lua_State *L) {
  sigset_t interrupt, earlier;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_BLOCK, &interrupt, &earlier);
  int failure = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
  pthread_sigmask(SIG_SETMASK, &earlier, NULL);
  return failure == LUA_OK ? lua_gettop(L) : lua_error(L);
}

static const tx_function functions[] = {
    {"columns", l_columns, NULL},
    {"failed", l_failed, NULL},
    {"make_folder", l_make_folder,
     "make_folder(path): makes a folder, and those on the way to it; one that is there is fine: true, or nil and a "
     "message."},
    {"lock", l_lock, NULL},
    {"interrupts", l_interrupts, NULL},
    {"terminations", l_terminations, NULL},
    {"interrupted", l_interrupted, NULL},
    {"whole", l_whole, NULL},
    {NULL, NULL, NULL},
};

void tx_lua_open_process(lua_State *L) {
  luaL_newmetatable(L, LOCK_TYPE);
  luaL_setfuncs(L, lock_methods, 0);
  lua_pop(L, 1);
  lua_newtable(L);
  tx_set_functions(L, functions);
  lua_setfield(L, -2, "process");
}
