/* line.c - what stands between a camera and a scanner, and between its results and the world: base/frames.h,
 * base/folder_watch.h and base/outlet.h as Lua sees them.
 *
 * lua/texres/line/ gives these their public face (texres.line).
 */
#define _POSIX_C_SOURCE 200809L /* st_mtim */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/folder_watch.h"
#include "base/frames.h"
#include "base/memory.h"
#include "base/outlet.h"
#include "lua/binding.h"
#include "tensor/create.h"

#define FRAMES_TYPE "texres.Frames"
#define FOLDER_WATCH_TYPE "texres.FolderWatch"
#define OUTLET_TYPE "texres.Outlet"

static const int64_t FRAME_BYTES_MAX = (int64_t)1 << 32, ROOM_MAX = 1 << 16;

/* Seconds to wait: no longer than ten, as nothing of Lua runs meanwhile. */
static double check_seconds(lua_State *L, int arg, const char *operation) {
  const double seconds = tx_check_number(L, arg, operation, "seconds");
  return seconds > 0 ? fmin(seconds, 10) : 0;
}

/* -- Frames ---------------------------------------------------------------------------------------------------------- */

typedef struct lua_frames {
  tx_frames *frames; /* NULL: closed */
  int64_t shape[3];
} lua_frames;

/* raw_frames(path, {H,W,C}, room, drop) -> Frames | nil, message; path: "-" is standard input */
static int l_raw_frames(lua_State *L) {
  const char *path = tx_check_path(L, 1, "line.frames");
  lua_frames *self = lua_newuserdatauv(L, sizeof *self, 0);
  *self = (lua_frames){0};
  luaL_setmetatable(L, FRAMES_TYPE);
  int64_t bytes = 1;
  for (int i = 0; i < 3; i++) {
    lua_geti(L, 2, i + 1);
    self->shape[i] = tx_check_int(L, -1, "line.frames", "a size");
    if (self->shape[i] < 1 || self->shape[i] > FRAME_BYTES_MAX / bytes)
      return tx_error(L, "line.frames: frames of 1 to %lld bytes are possible", (long long)FRAME_BYTES_MAX);
    bytes *= self->shape[i];
  }
  const int64_t room = tx_check_int(L, 3, "line.frames", "room");
  if (room < 1 || room > ROOM_MAX) return tx_error(L, "line.frames: room is %lld: 1..65536", (long long)room);
  tx_frames_options options = {.bytes = (size_t)bytes, .room = (int)room, .drop = lua_toboolean(L, 4)};
  options.owned = strcmp(path, "-") != 0;
  int descriptor = 0;
  tx_status status = options.owned ? tx_frames_open_path(NULL, path, &descriptor) : TX_OK;
  if (status != TX_OK) return tx_raise(L, status);
  status = tx_frames_open(descriptor, &options, &self->frames);
  if (status != TX_OK && options.owned) close(descriptor);
  if (status != TX_OK) return tx_raise(L, status);
  lua_pushvalue(L, 5);
  return 1;
}

static lua_frames *check_frames(lua_State *L) {
  lua_frames *self = tx_check_object(L, 1, FRAMES_TYPE, "line.frames", "frames");
  if (self->frames == NULL) tx_error(L, "line.frames: they are closed");
  return self;
}

/* Whether all bytes are the same: a camera that has no picture. */
static bool is_flat(const tx_tensor *t) {
  const uint8_t *data = tx_u8(t);
  const size_t bytes = (size_t)tx_numel(t);
  return memcmp(data, data + 1, bytes - 1) == 0;
}

/* frames:take(seconds) -> u8 {H,W,C}, number, when it had come, seconds that it waited for room, whether it is flat | nil,
 * whether more may come */
static int l_take(lua_State *L) {
  lua_frames *self = check_frames(L);
  const double seconds = check_seconds(L, 2, "line.frames");
  const tx_frames_answer answer = tx_frames_wait(self->frames, seconds);
  if (answer != TX_FRAMES_ONE) {
    lua_pushnil(L);
    lua_pushboolean(L, answer == TX_FRAMES_NONE);
    return 2;
  }
  tx_tensor **handle = tx_new_handle(L);
  tx_status status = tx_empty(TX_U8, 3, self->shape, handle);
  if (status != TX_OK) return tx_raise(L, status);
  const tx_frame frame = tx_frames_take(self->frames, tx_data(*handle));
  const bool flat = is_flat(*handle);
  tx_pace_collector(L);
  lua_pushinteger(L, (lua_Integer)frame.number);
  lua_pushnumber(L, frame.arrived);
  lua_pushnumber(L, frame.waited);
  lua_pushboolean(L, flat);
  return 5;
}

/* frames:counts() -> {read =, dropped =, delayed =, waited =, longest =, rest =, failure =} */
static int l_counts(lua_State *L) {
  const tx_frames_counts counts = tx_frames_count(check_frames(L)->frames);
  lua_createtable(L, 0, 7);
  lua_pushinteger(L, (lua_Integer)counts.read);
  lua_setfield(L, -2, "read");
  lua_pushinteger(L, (lua_Integer)counts.dropped);
  lua_setfield(L, -2, "dropped");
  lua_pushinteger(L, (lua_Integer)counts.delayed);
  lua_setfield(L, -2, "delayed");
  lua_pushnumber(L, counts.waited);
  lua_setfield(L, -2, "waited");
  lua_pushnumber(L, counts.longest);
  lua_setfield(L, -2, "longest");
  lua_pushinteger(L, (lua_Integer)counts.rest);
  lua_setfield(L, -2, "rest");
  lua_pushstring(L, counts.failure);
  lua_setfield(L, -2, "failure");
  return 1;
}

static int l_stop(lua_State *L) {
  tx_frames_stop(check_frames(L)->frames);
  return 0;
}

static int l_close_frames(lua_State *L) {
  lua_frames *self = tx_check_object(L, 1, FRAMES_TYPE, "line.frames", "frames");
  tx_frames *frames = self->frames;
  self->frames = NULL;
  tx_frames_close(frames);
  return 0;
}

/* -- FolderWatch ----------------------------------------------------------------------------------------------------- */

typedef struct lua_folder_watch {
  int watch; /* -1: closed, or the system tells of no files */
} lua_folder_watch;

/* watch_folder(path) -> FolderWatch | nil, message */
static int l_watch_folder(lua_State *L) {
  const char *path = tx_check_path(L, 1, "line.folder");
  lua_folder_watch *self = lua_newuserdatauv(L, sizeof *self, 0);
  self->watch = -1;
  luaL_setmetatable(L, FOLDER_WATCH_TYPE);
  tx_status status = tx_folder_watch_open(NULL, path, &self->watch);
  return status == TX_OK ? 1 : tx_raise(L, status);
}

/* watch:is_told() -> whether the system tells of new files; else the folder is to be looked through */
static int l_is_told(lua_State *L) {
  lua_folder_watch *self = tx_check_object(L, 1, FOLDER_WATCH_TYPE, "line.folder", "a watch");
  lua_pushboolean(L, self->watch >= 0);
  return 1;
}

/* watch:wait(seconds) -> list of names, whether some were missed, whether the folder is gone | nil, message */
static int l_wait(lua_State *L) {
  lua_folder_watch *self = tx_check_object(L, 1, FOLDER_WATCH_TYPE, "line.folder", "a watch");
  const double seconds = check_seconds(L, 2, "line.folder");
  char *names = lua_newuserdatauv(L, TX_FOLDER_WATCH_BYTES, 0);
  tx_folder_news news;
  tx_status status = tx_folder_watch_wait(self->watch, seconds, names, &news);
  if (status != TX_OK) return tx_raise(L, status);
  lua_newtable(L);
  lua_Integer count = 0;
  for (size_t at = 0; at < news.bytes; at += strlen(names + at) + 1) {
    lua_pushstring(L, names + at);
    lua_rawseti(L, -2, ++count);
  }
  lua_pushboolean(L, news.missed);
  lua_pushboolean(L, news.gone);
  return 3;
}

static int l_close_watch(lua_State *L) {
  lua_folder_watch *self = tx_check_object(L, 1, FOLDER_WATCH_TYPE, "line.folder", "a watch");
  tx_folder_watch_close(self->watch);
  self->watch = -1;
  return 0;
}

/* file_stamp(path) -> size, when it was written to last in ns since 1970 | nothing: it is no file */
static int l_file_stamp(lua_State *L) {
  struct stat info;
  if (stat(tx_check_path(L, 1, "file_stamp"), &info) != 0 || !S_ISREG(info.st_mode)) return 0;
  lua_pushinteger(L, (lua_Integer)info.st_size);
  lua_pushinteger(L, (lua_Integer)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec);
  return 2;
}

/* input_text(seconds) -> what has come on standard input, "" where nothing has; nil at its end | nil, message */
static int l_input_text(lua_State *L) {
  char text[4096];
  struct pollfd wanted = {.events = POLLIN};
  if (poll(&wanted, 1, (int)(check_seconds(L, 1, "input_text") * 1e3)) <= 0) {
    lua_pushliteral(L, "");
    return 1;
  }
  const ssize_t got = read(0, text, sizeof text);
  if (got == 0) return 0;
  if (got < 0) return tx_raise(L, tx_fail(TX_EWORLD, "standard input: %s", strerror(errno)));
  lua_pushlstring(L, text, (size_t)got);
  return 1;
}

/* pause(seconds): waits; a signal ends it */
static int l_pause(lua_State *L) {
  poll(NULL, 0, (int)(check_seconds(L, 1, "pause") * 1e3));
  return 0;
}

/* -- Outlet ---------------------------------------------------------------------------------------------------------- */

/* Pushes a closed outlet and returns where it goes. */
static tx_outlet *new_outlet(lua_State *L) {
  tx_outlet *outlet = lua_newuserdatauv(L, sizeof *outlet, 0);
  *outlet = (tx_outlet){.descriptor = -1};
  luaL_setmetatable(L, OUTLET_TYPE);
  return outlet;
}

/* outlet_file(path) -> Outlet | nil, message */
static int l_outlet_file(lua_State *L) {
  const char *path = tx_check_path(L, 1, "line.to_file");
  tx_status status = tx_outlet_file(path, new_outlet(L));
  return status == TX_OK ? 1 : tx_raise(L, status);
}

/* outlet_command(command) -> Outlet | nil, message */
static int l_outlet_command(lua_State *L) {
  const char *command = tx_check_path(L, 1, "line.to_command");
  tx_status status = tx_outlet_command(command, new_outlet(L));
  return status == TX_OK ? 1 : tx_raise(L, status);
}

/* outlet_stdout() -> Outlet over standard output, past Lua's buffer */
static int l_outlet_stdout(lua_State *L) {
  *new_outlet(L) = tx_outlet_descriptor(1);
  return 1;
}

static tx_outlet *check_outlet(lua_State *L) {
  tx_outlet *outlet = tx_check_object(L, 1, OUTLET_TYPE, "write", "an outlet");
  if (outlet->descriptor < 0) tx_error(L, "write: the outlet is closed");
  return outlet;
}

/* outlet:write(text, from) -> bytes that were taken of text from byte `from` (1-based) on, or these and a message */
static int l_write(lua_State *L) {
  tx_outlet *outlet = check_outlet(L);
  const char *text = tx_check_string(L, 2, "write", "the text");
  const int64_t from = tx_check_int(L, 3, "write", "from");
  const size_t length = lua_rawlen(L, 2);
  if (from < 1 || (uint64_t)from > length + 1) return tx_error(L, "write: from is outside of the text");
  size_t written = 0;
  tx_status status = tx_outlet_write(outlet, text + from - 1, length - (size_t)from + 1, &written);
  lua_pushinteger(L, (lua_Integer)written);
  if (status == TX_OK) return 1;
  lua_pushstring(L, tx_message());
  return 2;
}

/* outlet:is_at(path) -> whether the path leads to the file that is written to */
static int l_is_at(lua_State *L) {
  lua_pushboolean(L, tx_outlet_is_at(check_outlet(L), tx_check_path(L, 2, "is_at")));
  return 1;
}

/* outlet:close(seconds) -> true | nil, message */
static int l_close_outlet(lua_State *L) {
  tx_outlet *outlet = tx_check_object(L, 1, OUTLET_TYPE, "close", "an outlet");
  const double seconds = lua_type(L, 2) == LUA_TNUMBER ? check_seconds(L, 2, "close") : 0;
  return tx_return_true(L, tx_outlet_close(outlet, seconds));
}

/* The collector's: a command that was forgotten is not waited for. */
static int l_drop_outlet(lua_State *L) {
  tx_status status = tx_outlet_close(tx_check_object(L, 1, OUTLET_TYPE, "close", "an outlet"), 0);
  (void)status;
  return 0;
}

/* -- tables ---------------------------------------------------------------------------------------------------------- */

static const luaL_Reg frames_methods[] = {
    {"take", l_take},         {"counts", l_counts},        {"stop", l_stop}, {"close", l_close_frames},
    {"__gc", l_close_frames}, {"__close", l_close_frames}, {NULL, NULL},
};

static const luaL_Reg watch_methods[] = {
    {"is_told", l_is_told},  {"wait", l_wait},           {"close", l_close_watch},
    {"__gc", l_close_watch}, {"__close", l_close_watch}, {NULL, NULL},
};

static const luaL_Reg outlet_methods[] = {
    {"write", l_write},      {"is_at", l_is_at},         {"close", l_close_outlet},
    {"__gc", l_drop_outlet}, {"__close", l_drop_outlet}, {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"raw_frames", l_raw_frames},
    {"watch_folder", l_watch_folder},
    {"file_stamp", l_file_stamp},
    {"input_text", l_input_text},
    {"pause", l_pause},
    {"outlet_file", l_outlet_file},
    {"outlet_command", l_outlet_command},
    {"outlet_stdout", l_outlet_stdout},
    {NULL, NULL},
};

static void make_type(lua_State *L, const char *name, const luaL_Reg *methods) {
  luaL_newmetatable(L, name);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

void tx_lua_open_line(lua_State *L) {
  make_type(L, FRAMES_TYPE, frames_methods);
  make_type(L, FOLDER_WATCH_TYPE, watch_methods);
  make_type(L, OUTLET_TYPE, outlet_methods);
  luaL_setfuncs(L, functions, 0);
}
