/* process.c - the few things that Lua scripts need from the operating system and Lua's own library lacks.
 *
 * texres.core.process.columns(file)     width of the terminal that file is, nil when it is none
 *                    .make_folder(path) makes a folder and those above it: true, or nil and a message
 *                    .interrupts(on)    while on, Ctrl-C is counted instead of ending the program
 *                    .interrupted()     whether it was pressed since
 */
#define _GNU_SOURCE /* sigaction */
#include "lua/binding.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int l_columns(lua_State *L) {
  luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  if (stream->closef == NULL || !isatty(fileno(stream->f))) return 0;
  struct winsize size = {0};
  bool known = ioctl(fileno(stream->f), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  lua_pushinteger(L, known ? size.ws_col : 80);
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
  size_t length;
  const char *path = luaL_checklstring(L, 1, &length);
  luaL_argcheck(L, length > 0, 1, "make_folder: the path is empty");
  char *copy = lua_newuserdatauv(L, length + 1, 0);
  memcpy(copy, path, length + 1);
  if (make_folders(copy)) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushnil(L);
  lua_pushfstring(L, "%s: can't make the folder: %s", path, strerror(errno));
  return 2;
}

/* -- Ctrl-C ---------------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t pressed;
static struct sigaction before;
static bool watching;

/* The second press goes to whoever had the signal before: the user means it. */
static void on_interrupt(int signal_number) {
  (void)signal_number;
  if (pressed++ == 0) return;
  sigaction(SIGINT, &before, NULL);
  raise(SIGINT);
}

static int l_interrupts(lua_State *L) {
  bool on = lua_toboolean(L, 1);
  if (on && !watching) {
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    pressed = 0;
    sigaction(SIGINT, &action, &before);
  } else if (!on && watching) {
    sigaction(SIGINT, &before, NULL);
  }
  watching = on;
  return 0;
}

static int l_interrupted(lua_State *L) {
  lua_pushboolean(L, pressed > 0);
  return 1;
}

static const luaL_Reg functions[] = {{"columns", l_columns},
                                     {"make_folder", l_make_folder},
                                     {"interrupts", l_interrupts},
                                     {"interrupted", l_interrupted},
                                     {NULL, NULL}};

void tx_lua_open_process(lua_State *L) {
  luaL_newlib(L, functions);
  lua_setfield(L, -2, "process");
}
