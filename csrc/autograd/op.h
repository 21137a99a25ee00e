/* op.h - what a differentiable function is, and the tape that records its calls.
 *
 * A function is one constant `tx_op` in one file of this folder: its inputs, its parameters, forward and backward side by
 * side. Listed in autograd/list.h it is callable from C (tx_call_op) and, through the generic binding csrc/lua/op.c, from
 * Lua; nothing else has to be written. autograd/mul.c is a short example, with its gradient written as a formula
 * (formula.h); autograd/clamp.c has parameters, autograd/conv2d.c is the longest. spec/README.md says which specs a new
 * function brings.
 *
 * A call (tx_call) stands for one use of a function. Forward reads in[] and params, sets out[], and keeps what backward
 * will need with tx_save(). When an input requires a gradient, the call becomes a node of the graph: outputs point to it,
 * it points to the nodes of its inputs. Backward reads dout[] (NULL: no gradient arrived, all zeros) and sets din[i] for
 * every i with needs[i].
 *
 *     y = relu(x) + x          y -> add -> relu -> x        (arrows: owned references)
 *                                     \------------> x
 */
#ifndef TX_AUTOGRAD_OP_H
#define TX_AUTOGRAD_OP_H

#include "tensor/math.h"
#include "tensor/tensor.h"

/* -- description of a function --------------------------------------------------------------------------------------- */

enum { TX_MAX_INPUTS = 8, TX_MAX_OUTPUTS = 3, TX_MAX_SAVED = 8 };

typedef enum tx_param_kind {
  TX_PARAM_INT,     /* int64_t */
  TX_PARAM_NUMBER,  /* double */
  TX_PARAM_VALUE,   /* tx_number: what becomes an element, or bounds one */
  TX_PARAM_BOOL,    /* bool */
  TX_PARAM_PAIR,    /* int64_t[2]: n or {rows, columns} */
  TX_PARAM_PADDING, /* tx_padding: n, {top,bottom,left,right}, "same", "valid" */
  TX_PARAM_DIM,     /* int: 1-based in Lua, negative from the end; 0-based here, TX_NO_DIM when absent */
  TX_PARAM_DIMS,    /* uint32_t mask: a dimension or a list; absent: all bits set */
  TX_PARAM_INTS,    /* tx_ints: a list, or the remaining arguments: reshape(2, 3) and reshape{2, 3} */
  TX_PARAM_INDEX,   /* int64_t: 1-based in Lua, negative from the end; here 0-based, negative left as it is */
  TX_PARAM_CHOICE,  /* int: position in `choices` */
  TX_PARAM_DTYPE    /* tx_dtype */
} tx_param_kind;

enum { TX_NO_DIM = 127 };

typedef struct tx_padding {
  enum { TX_PAD_EXPLICIT = 0, TX_PAD_SAME, TX_PAD_VALID } mode;
  int64_t top, bottom, left, right;
} tx_padding;

typedef struct tx_ints {
  int count;
  int64_t value[TX_MAX_DIMS];
} tx_ints;

typedef struct tx_param {
  const char *name;
  tx_param_kind kind;
  size_t offset;             /* in the function's parameter struct */
  const char *default_value; /* the default as text ("1", "0.1", "true", "none", "mean"); NULL: must be given */
  const char *choices;       /* TX_PARAM_CHOICE: "none mean sum" */
} tx_param;

#define TX_PARAM(type, member, kind, default_value) \
  { #member, kind, offsetof(type, member), default_value, NULL }
/* The same of `field` of a struct that is a member of the parameter struct: what several functions share is one struct and one
 * list of rows, TX_<WHAT>_PARAMS(type, member), in which each row is one of these. */
#define TX_PARAM_IN(type, member, field, kind, default_value) \
  { #field, kind, offsetof(type, member.field), default_value, NULL }
#define TX_PARAM_CHOICES(type, member, default_value, choices) \
  { #member, TX_PARAM_CHOICE, offsetof(type, member), default_value, choices }

/* Where the function appears in Lua; a sum of these. */
enum {
  TX_AS_METHOD = 1,     /* t:name(...) */
  TX_AS_FUNCTION = 2,   /* texres.name(t, ...) */
  TX_AS_FUNCTIONAL = 4, /* texres.nn.functional.name(t, ...) */
  TX_INPUT_NUMBERS = 8, /* a Lua number may stand for a tensor input (as a weak 0-dimensional tensor) */
  TX_INPUT_LIST = 16    /* the tensor inputs come as one Lua list of any length: cat, stack */
};

typedef struct tx_call tx_call;

typedef struct tx_op {
  const char *name;       /* "conv2d": also the first word of every message */
  const char *inputs;     /* "x w bias?": names, in order; ? marks one that may be absent (in[i] is NULL) */
  int outputs;            /* how many tensors it returns; later ones may be absent (out[i] is NULL): max */
  unsigned where;         /* TX_AS_... */
  size_t params_size;     /* of the parameter struct; 0: none */
  const tx_param *params; /* ends with a row whose name is NULL; NULL: none */
  tx_status (*forward)(tx_call *call);
  tx_status (*backward)(tx_call *call); /* NULL: not differentiable, never recorded */
  const char *doc;                      /* one sentence, shapes, formula: shown by texres.help("name") */
} tx_op;

/* -- one call -------------------------------------------------------------------------------------------------------- */

struct tx_call {
  const tx_op *op;
  int n_in;
  tx_tensor **in;     /* forward: borrowed inputs, NULL where absent. backward: not available, use tx_saved */
  const void *params; /* the op's parameter struct */
  tx_tensor *out[TX_MAX_OUTPUTS];  /* forward sets them (new references) */
  bool recording;                  /* forward: backward may follow, so save what it needs */
  bool *needs;                     /* [n_in] whether a gradient of input i is wanted (valid in forward too) */
  tx_tensor *dout[TX_MAX_OUTPUTS]; /* backward: borrowed gradients of the outputs, NULL for zero */
  tx_tensor **din;                 /* backward sets those that are needed (new references) */
  struct tx_node *node;            /* autograd/tape.h: where tx_save keeps tensors; NULL when not recording */
};

/* Keeps a tensor for backward in slot 0..TX_MAX_SAVED-1 (no effect when not recording). t may be NULL. Backward fails with
 * "<op>: a tensor saved for backward was changed in place" when its storage was changed in between. */
void tx_save(tx_call *call, int slot, tx_tensor *t);
/* Backward: the saved tensor (borrowed), NULL when NULL or nothing was saved. */
tx_tensor *tx_saved(tx_call *call, int slot);
/* Keeps the shape and dtype of an input that backward needs without keeping its data; read with tx_input_meta. */
typedef struct tx_meta {
  tx_dtype dtype;
  int dims;
  int64_t shape[TX_MAX_DIMS];
} tx_meta;
const tx_meta *tx_input_meta(const tx_call *call, int input); /* of every input; valid in backward */

/* Backward: the gradient of an output, or a saved tensor, if nobody else holds it, to be overwritten with the gradient of an
 * input of that shape (a new reference); else NULL. */
tx_tensor *tx_take_dout(tx_call *call, int output);
tx_tensor *tx_take_saved(tx_call *call, int slot);
/* Backward: a gradient that has come to where that of an input goes, from a later call or from another input of this one
 * (a new reference); the call's din of this input is then the sum of both. NULL: none. */
tx_tensor *tx_take_accumulated(tx_call *call, int input);

/* Calls a function: runs forward, records when gradients are enabled and an input requires one. out[] gets
 * op->outputs new references. params may be NULL when the op has none. */
tx_status tx_call_op(const tx_op *op, int n_in, tx_tensor *const *in, const void *params, tx_tensor **out);

/* -- the tape ---------------------------------------------------------------------------------------------------------- */

bool tx_grad_enabled(void);
void tx_set_grad_enabled(bool enabled);
/* Off: calls compute what they would when recorded, bit for bit, and their outputs require a gradient, but nothing is kept for
 * backward. */
bool tx_graph_kept(void);
void tx_set_graph_kept(bool kept);
bool tx_requires_grad(const tx_tensor *t);
/* The name of the function that computed t; NULL for a leaf. */
const char *tx_operation_of(const tx_tensor *t);

/* Gradients of t to every leaf that requires one, added to leaf->grad; gradient NULL: t must hold one element, 1 is used.
 * Frees the graph as it goes; a second call says so. Iterative: any depth. */
tx_status tx_backward(tx_tensor *t, tx_tensor *gradient);

/* Is told of each leaf whose gradient is whole while a backward goes on with others; not of one to which another graph leads
 * that is still there, nor while layers stand in a graph that backward computes again. NULL: nobody is. */
typedef void tx_leaf_listener(void *context, tx_tensor *leaf);
void tx_listen_to_leaves(tx_leaf_listener *listener, void *context);

/* Refuses to change in place a tensor that a graph depends on through autograd ("fill: ..."), or whose elements share memory;
 * to be called by every in-place operation before it writes; counts the change. */
tx_status tx_writable(const char *operation, tx_tensor *t);

/* A node whose backward is not a tx_op: texres.Function in Lua. `run` gets gradients of the outputs and returns those of
 * the inputs; `release` lets `context` go. */
typedef tx_status tx_custom_backward(void *context, int n_out, tx_tensor *const *dout, int n_in, tx_tensor **din);
tx_status tx_record_custom(const char *name, int n_in, tx_tensor *const *in, int n_out, tx_tensor *const *out,
                           tx_custom_backward *run, void (*release)(void *context), void *context);

/* A node that keeps its input alone, so that nothing between x and y takes memory until backward: there `run` computes y from x
 * again, this time with a graph, and the walk goes on through that graph as if it had been recorded from the beginning. */
typedef tx_status tx_replay(void *context, tx_tensor *x, tx_tensor **y);
tx_status tx_record_replay(const char *name, tx_tensor *x, tx_tensor *y, tx_replay *run, void (*release)(void *context),
                           void *context);

#endif
