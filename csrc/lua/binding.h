/* binding.h - what every binding file shares: tensors as userdata, argument reading, errors, memory pacing.
 *
 * A tensor in Lua is a userdata that holds one `tx_tensor *` (NULL once closed).
 *
 * Owners first. Any call of Lua that may take memory may raise, and then what only a C variable holds is lost. So whatever
 * has to be given back - a tensor, a source, a block, a file, a lock, an archive - gets its userdata first, created closed and
 * with its metatable; the pointer goes into it as soon as there is one, with no call of Lua in between. Where C that owns
 * something calls back into Lua (a backward of texres.Function), that runs under lua_pcall. `make oom` tests both.
 *
 * Tables first, pointers last. A table's metamethods and the finalizers that the collector runs are Lua code, which can free
 * any tensor and change any table. So a binding reads in two phases. First everything that may run Lua code or allocate from
 * it: lists and options are read, what is found stays on the stack, in a list of our own or as C numbers, and the handles
 * of the results are made. Then the pointers: tx_check_tensor, tx_check_source. From the first of them to the end of the
 * computation nothing is called that reads a user's table or allocates a Lua object.
 *
 * Every concept has one file: static functions l_<name>, a table of them (tx_function) at the bottom, and tx_lua_open_<concept>(L),
 * which is called with the module table on top of the stack and is listed once, in core.c.
 */
#ifndef TX_LUA_BINDING_H
#define TX_LUA_BINDING_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

#include "tensor/tensor.h"

#define TX_TENSOR_TYPE "texres.Tensor"

/* Whether the calling thread is the one that the library belongs to; see core.c. */
bool tx_is_owner(void);
#define TX_OTHER_THREAD \
  "texres: it was loaded by another thread of this program: use it from one thread, or in processes of their own"
/* Raises TX_OTHER_THREAD when it is not. Whatever takes a tensor, source, loader, epoch or the generator asks it: a host may
 * hand a state on to another thread. */
void tx_check_owner(lua_State *L);

/* -- errors ---------------------------------------------------------------------------------------------------------- */

/* Turns a failed status into what the user sees. The caller's mistake raises and blames the line of the first function
 * outside the library; TX_EWORLD pushes nil and the message: `return tx_raise(L, status)`. */
int tx_raise(lua_State *L, tx_status status);
/* Raises a formatted message, blaming the user's line. */
int tx_error(lua_State *L, const char *format, ...);
/* Watches for Ctrl-C from here on (see base/threads.h), until tx_check_interrupt, tx_raise or tx_error, one of which must
 * come before anything else of Lua is called. For computations whose result nobody sees when they are cut short: what
 * changes a tensor that the caller has already (optimizer steps, writing in place) is not watched, and comes to its end. */
void tx_watch_interrupt(lua_State *L);
/* The same from the first millisecond of the call on, for calls most of which are over sooner: listening has its price. */
void tx_watch_interrupt_later(lua_State *L);
/* Ends the watch without a look: before a callback in Lua, which may set hooks and call the library. */
void tx_end_watch(void);
/* Ends the watch; raises "interrupted!" when Ctrl-C stopped what has just ended. */
void tx_check_interrupt(lua_State *L);
/* Whether Ctrl-C goes on raising in L, as the script at the prompt has caught it; see prompt.c. */
bool tx_prompt_insists(lua_State *L);
/* For who counts a first press and goes on: the prompt presses again when it lasts. */
void tx_prompt_pressed(void);

/* -- functions ------------------------------------------------------------------------------------------------------- */

/* A function of the module and what texres.help tells of it, as in tx_op: "name(arguments): what it gives, shapes, errors".
 * Without it the function is for the library alone. */
typedef struct tx_function {
  const char *name;
  lua_CFunction call;
  const char *doc;
} tx_function;

/* Puts functions, up to a row without a name, into the table on top of the stack. */
void tx_set_functions(lua_State *L, const tx_function *functions);
/* Pushes what is told of the function at `arg`, nil where nothing is. */
void tx_push_doc(lua_State *L, int arg);

/* -- tensors --------------------------------------------------------------------------------------------------------- */

/* Pushes a closed tensor userdata and returns where its pointer goes. */
tx_tensor **tx_new_handle(lua_State *L);
/* Turns the handle on top of the stack, and the status of what was to fill it, into return values. Handles come first, as
 * making one may raise:
 *     tx_tensor **handle = tx_new_handle(L);
 *     return tx_return_tensor(L, tx_load_npy(path, mapped, handle), handle); */
int tx_return_tensor(lua_State *L, tx_status status, tx_tensor **handle);
/* The same where success is all there is to return: true. */
int tx_return_true(lua_State *L, tx_status status);
/* The tensor at `arg` (borrowed); raises when it is something else or closed. */
tx_tensor *tx_check_tensor(lua_State *L, int arg);
/* The same, NULL when it is not a tensor; raises when closed. */
tx_tensor *tx_test_tensor(lua_State *L, int arg);
/* Makes a leaf require a gradient, or not; raises for integers and for computed tensors. */
void tx_set_requires_grad(lua_State *L, tx_tensor *t, bool wanted);
/* Makes the tape record or not as the no_grad and enable_grad of the coroutines that run say; whatever takes a tensor
 * does it first, through tx_test_tensor. */
void tx_sync_grad_mode(lua_State *L);
/* Recording on or off until the C function that calls this returns, by whatever way; takes slot 1 of its stack. */
void tx_open_grad_scope(lua_State *L, bool enabled);
/* Pushes an owner for a block of tx_alloc and returns where its pointer goes: freed by the collector, whatever happens. */
void **tx_new_block(lua_State *L);
/* Lets the collector know of the memory behind handles, of which it sees nothing; to be called once per result. */
void tx_pace_collector(lua_State *L);

/* -- arguments ------------------------------------------------------------------------------------------------------- */

/* The userdata of that type at `arg`; raises "<operation>: <what> is expected as argument <n>, got <what>". What is closed is
 * for the caller to see: finalizers take it, too. `operation` NULL: the name by which the function was called. */
void *tx_check_object(lua_State *L, int arg, const char *type, const char *operation, const char *what);
/* A string, or a number as one: raises "<operation>: <name> must be a string, got <what>". */
const char *tx_check_string(lua_State *L, int arg, const char *operation, const char *name);
/* The same, NULL where there is none or nil. */
const char *tx_opt_string(lua_State *L, int arg, const char *operation, const char *name);
/* A text that the system takes for a path whole: raises where it holds a zero byte, at which the system would stop. */
const char *tx_check_path(lua_State *L, int arg, const char *operation);
/* Raises "<operation>: <name> must be a table, got <what>" where it is none. */
void tx_check_table(lua_State *L, int arg, const char *operation, const char *name);

/* A Lua number with an integral value, else raises "<operation>: <name> must be an integer, got <what>". */
int64_t tx_check_int(lua_State *L, int arg, const char *operation, const char *name);
double tx_check_number(lua_State *L, int arg, const char *operation, const char *name);
/* The Lua number at `arg`, integer or double as it is. */
tx_number tx_to_number(lua_State *L, int arg);
/* The same as it is, integer or double: what goes into elements (tensor/number.h). */
tx_number tx_check_value(lua_State *L, int arg, const char *operation, const char *name);
/* The length of the list at `arg`, 0..INT_MAX; raises "<operation>: <what> must be a list, got <what>". */
int tx_check_list(lua_State *L, int arg, const char *operation, const char *what);
/* Pushes a userdata with room for n elements of `size` bytes (at least one); raises when there is no memory for them. */
void *tx_new_array(lua_State *L, int64_t n, size_t size);
/* Pushes a table of our own with the items 1..n of the list at `arg`, read once: they stay what they are. */
void tx_copy_list(lua_State *L, int arg, int n);
/* Tensor number i (from 1) of such a copy, which keeps it. */
tx_tensor *tx_list_tensor(lua_State *L, int list, int i, const char *operation);
/* 1-based or negative dimension of a tensor with `dims` dimensions to 0-based; raises when out of range. */
int tx_check_dim(lua_State *L, int64_t dim, int dims, const char *operation);
/* A shape from position `arg` on: a list {2,3} or the numbers 2, 3; *next is the first argument after it. */
int tx_check_shape(lua_State *L, int arg, const char *operation, int64_t shape[TX_MAX_DIMS], int *next);
/* The options table at `arg` (or none, nil) has no other names than those in `known`, "dtype requires_grad", and it is the
 * last argument. */
void tx_check_options(lua_State *L, int arg, const char *operation, const char *known);
/* The key below the top of the stack, as lua_next leaves it in a table of options. */
const char *tx_option_name(lua_State *L, const char *operation);
/* Raises "<operation>: unknown option '<name>'; there are <known>". */
int tx_unknown_option(lua_State *L, const char *operation, const char *name, const char *known);
/* Field `name` of the options table at `arg` (none, nil: default_value). */
tx_dtype tx_option_dtype(lua_State *L, int arg, const char *operation, tx_dtype default_value);
bool tx_option_bool(lua_State *L, int arg, const char *operation, const char *name, bool default_value);
double tx_option_number(lua_State *L, int arg, const char *operation, const char *name, double default_value);
int64_t tx_option_int(lua_State *L, int arg, const char *operation, const char *name, int64_t default_value);
/* The only option max_bytes, how much a file may become in memory: 0 where it is not given (data/limit.h). */
int64_t tx_option_bytes(lua_State *L, int arg, const char *operation);
/* Sets field `name` of the table on top to a list of n numbers, which lie `stride` bytes apart. */
void tx_set_numbers(lua_State *L, const char *name, const double *values, int64_t n, size_t stride);
/* What stands at `arg`, for messages: "a tensor f32 {2,3}", "nil", "a string". */
const char *tx_describe(lua_State *L, int arg);

/* -- concepts (listed in core.c) ------------------------------------------------------------------------------------- */

void tx_lua_open_create(lua_State *L);
void tx_lua_open_tensor(lua_State *L);
void tx_lua_open_ops(lua_State *L);
void tx_lua_open_autograd(lua_State *L);
void tx_lua_open_system(lua_State *L);
void tx_lua_open_build(lua_State *L);
void tx_lua_open_kernels(lua_State *L);
void tx_lua_open_file(lua_State *L);
void tx_lua_open_optim(lua_State *L);
void tx_lua_open_process(lua_State *L);
void tx_lua_open_prompt(lua_State *L);
void tx_lua_open_source(lua_State *L);
void tx_lua_open_fabric(lua_State *L);
void tx_lua_open_loader(lua_State *L);
void tx_lua_open_npy(lua_State *L);
void tx_lua_open_data(lua_State *L);
void tx_lua_open_image(lua_State *L);
void tx_lua_open_hdf5(lua_State *L);
void tx_lua_open_table(lua_State *L);
void tx_lua_open_text(lua_State *L);
void tx_lua_open_quantized(lua_State *L);
void tx_lua_open_line(lua_State *L);

#endif
