/* data.h - sources of images as Lua userdata, shared by the bindings of readers, loader and generator.
 *
 * A source in Lua is a userdata that holds one `tx_source *` (NULL once closed). Its functions stand in the table
 * texres.data_core, which the sets of lua/texres/data are built on; users see sets, not sources.
 */
#ifndef TX_LUA_DATA_H
#define TX_LUA_DATA_H

#include "data/source.h"
#include "lua/binding.h"

#define TX_SOURCE_TYPE "texres.Source"

/* Pushes a source; takes over the reference. */
void tx_push_source(lua_State *L, tx_source *source);
/* The source at `arg` (borrowed); raises when it is something else or closed. */
tx_source *tx_check_source(lua_State *L, int arg);
/* Positions in a source, 0-based, from what stands at `arg`: a list of positions from 1, or a tensor i64 {n} of them.
 * Pushes a buffer that must stay on the stack while the positions are used. Raises when one is out of range. */
const int64_t *tx_check_positions(lua_State *L, int arg, const char *operation, const tx_source *source, int64_t *n);
/* Pushes the table texres.data_core, which is made when it is missing; the module table is on top of the stack. */
void tx_push_data_table(lua_State *L);

#endif
