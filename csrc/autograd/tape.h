/* tape.h - the graph that recorded calls form; only call.c and tape.c look inside.
 *
 * A node stands for one recorded call. It owns, per input, an edge to where the input's gradient goes: a leaf tensor, or
 * an output of an earlier node, or nowhere. The tensor that was the input is not kept alive by an edge to a node: only
 * what forward saved is.
 *
 * A replay is a node for many calls that were made without a graph. It keeps their input, and backward has them made again,
 * recorded this time; the nodes that this gives take its place.
 */
#ifndef TX_AUTOGRAD_TAPE_H
#define TX_AUTOGRAD_TAPE_H

#include "autograd/op.h"

typedef struct tx_edge {
  tx_tensor *leaf;      /* owned; a leaf that requires a gradient */
  struct tx_node *node; /* owned; or the node that made the input ... */
  int output;           /* ... and which of its outputs it was */
} tx_edge;

typedef struct tx_node {
  tx_node_base base;
  int refs;
  uint64_t sequence; /* later calls have higher numbers: the order of backward */
  const char *name;
  const tx_op *op; /* NULL for a custom node and a replay */
  void *params;    /* a copy of the op's parameter struct */
  int n_in, n_out;
  tx_edge *edges;   /* [n_in] */
  bool *needs;      /* [n_in] */
  tx_meta *in_meta; /* [n_in] */
  tx_meta out_meta[TX_MAX_OUTPUTS];
  tx_tensor *saved[TX_MAX_SAVED];
  uint64_t version[TX_MAX_SAVED];
  tx_tensor *dout[TX_MAX_OUTPUTS]; /* gradients that have arrived during backward */
  bool queued;                     /* stands in the queue of the running backward */
  bool freed;                      /* backward has passed and let everything go */
  bool incomplete;                 /* memory ran out while forward was saving */
  struct tx_node *next;            /* in the list of nodes that wait to be freed */

  tx_custom_backward *custom; /* texres.Function */
  tx_replay *replay;          /* computes the one output again, of the input, which is saved[0] */
  void (*release_context)(void *context);
  void *context; /* of either */
} tx_node;

/* A node for n_in inputs with its edges, `needs` and shapes filled in. */
tx_status tx_node_make(const char *name, int n_in, tx_tensor *const *in, tx_node **out);
/* Makes `t` output number `output` of the node; where no graph is kept, only one that requires a gradient. */
void tx_node_attach(tx_node *node, int output, tx_tensor *t);
/* Makes it a replay. */
void tx_node_make_replay(tx_node *node, tx_replay *run);
void tx_node_unref(tx_node *node);

#endif
