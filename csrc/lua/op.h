/* op.h - functions of autograd/list.h by name, for the bindings that map operators to them. */
#ifndef TX_LUA_OP_H
#define TX_LUA_OP_H

#include "lua/binding.h"

/* Pushes the Lua function of an op; false, with nothing pushed, when there is none of that name. */
bool tx_push_op(lua_State *L, const char *name);

#endif
