/* source.h - the Source userdata: the pixels of a data set (data/source.h) as Lua sees them. */
#ifndef TX_LUA_SOURCE_H
#define TX_LUA_SOURCE_H

#include "data/source.h"
#include "lua/binding.h"

#define TX_SOURCE_TYPE "texres.Source"

/* Pushes an empty source userdata and returns where its pointer goes. */
tx_source **tx_new_source(lua_State *L);
/* Turns that, on top of the stack, and the status of what was to fill it into return values. */
int tx_return_source(lua_State *L, tx_status status, tx_source **handle);
/* What stored pixels are to be multiplied by, at `arg`: a positive number; 0 where there is none. */
double tx_check_scale(lua_State *L, int arg);
/* The source at `arg` (borrowed); raises when it is something else. */
tx_source *tx_check_source(lua_State *L, int arg);

#endif
