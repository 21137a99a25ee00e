/* prompt.c - Ctrl-C at the prompt of lua/texres/repl.lua.
 *
 * texres.core.prompt.open()         from here on Ctrl-C ends no program
 *                   .close()        it does what it did before
 *                   .call(f, ...)   as pcall; Ctrl-C ends it, with the message "interrupted!"
 *                   .keys(file)     waits for input and returns it: a text, nil at its end, false after Ctrl-C
 *                   .raw(file, on)  a terminal that gives each key as it is pressed and shows none; off: as it was
 *                   .reached(make)  coroutine.create or coroutine.wrap such that Ctrl-C reaches what it makes
 *
 * As the interpreter does, the handler sets a hook on the main thread, which raises when the next instruction runs; a long
 * call of the library sees it (binding.c). Coroutines have hooks of their own, which can't be set from a handler that does
 * not know which one runs: theirs looks after some thousand instructions whether that of the main thread is set. A call
 * that waits for the system returns early, as the handler asks for no SA_RESTART.
 *
 * What goes on nonetheless gets a second press from a timer: a training step that answers the first one at its end, and a
 * script that has caught the error. From the third on every instruction of the script raises until the prompt is reached,
 * but none of the library's files, so that what these have to put back is put back.
 */
#define _GNU_SOURCE /* sigaction, pthread_sigmask, pselect */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
#include <sys/time.h>
#include <termios.h>
#include <unistd.h>

#include "lua/binding.h"

enum { STEP = 120000, UNWINDING = 50000 /* microseconds */, EVERY = 5000 /* instructions */ };

static struct {
  lua_State *main; /* NULL: there is no prompt */
  volatile sig_atomic_t runs, presses, insists;
  lua_Hook hook; /* that of the main thread, in whose place ours stands */
  int mask, count;
  struct sigaction interrupt, alarm; /* before */
} prompt;

/* Whether the function that the hook interrupts is one of the library's files. */
static bool is_library(lua_State *L, lua_Debug *ar) {
  lua_getinfo(L, "S", ar);
  lua_getfield(L, LUA_REGISTRYINDEX, "texres.library");
  const char *library = lua_tostring(L, -1);
  bool is = library != NULL && strncmp(ar->source, library, strlen(library)) == 0;
  lua_pop(L, 1);
  return is;
}

static void on_stop(lua_State *L, lua_Debug *ar) {
  if (prompt.insists != 0) {
    if (is_library(L, ar)) return;
  } else {
    lua_sethook(prompt.main, prompt.hook, prompt.mask, prompt.count);
  }
  lua_pushliteral(L, "interrupted!");
  lua_error(L);
}

static void on_count(lua_State *L, lua_Debug *ar);
static void watch(lua_State *L, int instructions) { lua_sethook(L, on_count, LUA_MASKCOUNT, instructions); }

/* The hook of coroutines. */
static void on_count(lua_State *L, lua_Debug *ar) {
  watch(L, prompt.insists != 0 ? 1 : EVERY);
  if (prompt.main != NULL && lua_gethook(prompt.main) == on_stop) on_stop(L, ar);
}

bool tx_prompt_insists(lua_State *L) {
  if (prompt.insists != 0 && lua_gethook(L) == on_count) watch(L, 1);
  return prompt.insists != 0;
}

static void set_timer(int microseconds) {
  struct itimerval timer = {.it_interval.tv_usec = microseconds, .it_value.tv_usec = microseconds};
  setitimer(ITIMER_REAL, &timer, NULL);
}

void tx_prompt_pressed(void) {
  if (prompt.runs != 0) set_timer(STEP);
}

static void on_interrupt(int signal_number) {
  (void)signal_number;
  const int presses = prompt.presses++;
  if (prompt.runs == 0 || lua_gethook(prompt.main) == on_stop) return;
  if (presses > 0) prompt.insists = 1;
  prompt.hook = lua_gethook(prompt.main);
  prompt.mask = lua_gethookmask(prompt.main);
  prompt.count = lua_gethookcount(prompt.main);
  lua_sethook(prompt.main, on_stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
  set_timer(UNWINDING);
}

static void on_alarm(int signal_number) {
  (void)signal_number;
  raise(SIGINT);
}

static void listen_to(int signal_number, void (*handler)(int), struct sigaction *before) {
  struct sigaction action = {.sa_handler = handler};
  sigemptyset(&action.sa_mask);
  sigaction(signal_number, &action, before);
}

static int l_open(lua_State *L) {
  if (prompt.main != NULL) tx_error(L, "repl: there is a prompt already");
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  prompt.main = lua_tothread(L, -1);
  prompt.runs = prompt.insists = 0;
  listen_to(SIGALRM, on_alarm, &prompt.alarm);
  listen_to(SIGINT, on_interrupt, &prompt.interrupt);
  return 0;
}

static int l_close(lua_State *L) {
  (void)L;
  if (prompt.main == NULL) return 0;
  sigaction(SIGINT, &prompt.interrupt, NULL);
  sigaction(SIGALRM, &prompt.alarm, NULL);
  prompt.main = NULL;
  return 0;
}

static void begin_call(lua_State *L) {
  if (L != prompt.main) watch(L, EVERY);
  prompt.presses = 0;
  prompt.runs = 1;
}

static void end_call(lua_State *L) {
  prompt.runs = 0;
  set_timer(0);
  if (lua_gethook(prompt.main) == on_stop) lua_sethook(prompt.main, prompt.hook, prompt.mask, prompt.count);
  if (L != prompt.main) lua_sethook(L, NULL, 0, 0);
  prompt.insists = 0;
}

static int l_call(lua_State *L) {
  if (prompt.main == NULL || prompt.runs != 0) tx_error(L, "repl: there is no prompt that waits");
  lua_pushboolean(L, true);
  lua_insert(L, 1);
  begin_call(L);
  int failure = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
  end_call(L);
  if (failure != LUA_OK) {
    lua_pushboolean(L, false);
    lua_replace(L, 1);
  }
  return lua_gettop(L);
}

/* Whether there is something to read before Ctrl-C is pressed, which is let in only while the call sleeps, so that none
 * comes unseen before it. */
static bool wait_for(int file) {
  sigset_t interrupt, earlier;
  int ready = -1;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_BLOCK, &interrupt, &earlier);
  prompt.presses = 0;
  while (ready < 0 && prompt.presses == 0) {
    fd_set files;
    FD_ZERO(&files);
    FD_SET(file, &files);
    ready = pselect(file + 1, &files, NULL, NULL, NULL, &earlier);
    if (ready < 0 && errno != EINTR) break; /* reading will tell why */
  }
  pthread_sigmask(SIG_SETMASK, &earlier, NULL);
  return prompt.presses == 0;
}

static int descriptor(lua_State *L, const char *operation) {
  luaL_Stream *stream = tx_check_object(L, 1, LUA_FILEHANDLE, operation, "a file");
  int file = stream->closef != NULL ? fileno(stream->f) : -1;
  if (file < 0 || file >= FD_SETSIZE) tx_error(L, "%s: the file is closed", operation);
  return file;
}

static int l_keys(lua_State *L) {
  char keys[4096];
  int file = descriptor(L, "keys");
  if (!wait_for(file)) {
    lua_pushboolean(L, false);
    return 1;
  }
  ssize_t count = read(file, keys, sizeof keys);
  if (count > 0) {
    lua_pushlstring(L, keys, (size_t)count);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

static int l_raw(lua_State *L) {
  static struct termios before;
  static bool is_raw;
  int file = descriptor(L, "raw");
  bool on = lua_toboolean(L, 2);
  if (on && !is_raw && tcgetattr(file, &before) == 0) {
    struct termios raw = before;
    raw.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IXON | ISTRIP);
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | IEXTEN); /* ISIG stays: Ctrl-C is a signal */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    is_raw = tcsetattr(file, TCSADRAIN, &raw) == 0;
  } else if (!on && is_raw) {
    tcsetattr(file, TCSADRAIN, &before);
    is_raw = false;
  }
  return 0;
}

/* A coroutine is made with the hook of the thread that makes it. Where that is a coroutine its hook is left alone: to set
 * it again would begin its count anew, and one that makes others in a loop would never come to its end. */
static int l_make(lua_State *L) {
  if (!lua_isfunction(L, 1)) tx_error(L, "coroutine: a function is expected, got %s", tx_describe(L, 1));
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  if (lua_gethook(L) == on_count) {
    lua_call(L, 1, 1);
    return 1;
  }
  lua_Hook hook = lua_gethook(L);
  const int mask = lua_gethookmask(L), count = lua_gethookcount(L);
  sigset_t interrupt, earlier;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_BLOCK, &interrupt, &earlier);
  watch(L, EVERY);
  int failure = lua_pcall(L, 1, 1, 0);
  lua_sethook(L, hook, mask, count);
  pthread_sigmask(SIG_SETMASK, &earlier, NULL);
  return failure == LUA_OK ? 1 : lua_error(L);
}

static int l_reached(lua_State *L) {
  lua_settop(L, 1);
  lua_pushcclosure(L, l_make, 1);
  return 1;
}

static const luaL_Reg functions[] = {{"open", l_open}, {"close", l_close},     {"call", l_call}, {"keys", l_keys},
                                     {"raw", l_raw},   {"reached", l_reached}, {NULL, NULL}};

void tx_lua_open_prompt(lua_State *L) {
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "prompt");
}
