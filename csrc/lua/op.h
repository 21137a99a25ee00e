/* op.h - functions of autograd/list.h by name, for the bindings that map operators to them. */
#ifndef TX_LUA_OP_H
#define TX_LUA_OP_H

#include "autograd/op.h"
#include "lua/binding.h"

/* Pushes the Lua function of an op; false, with nothing pushed, when there is none of that name. */
bool tx_push_op(lua_State *L, const char *name);

/* Reads the arguments on the stack as a call of the op (not one that takes a list): its inputs, borrowed, NULL where absent,
 * and its parameter struct. */
void tx_read_call(lua_State *L, const tx_op *op, tx_tensor *in[TX_MAX_INPUTS], void *params);

#endif
