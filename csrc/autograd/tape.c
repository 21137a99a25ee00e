/* tape.c - nodes, and the walk back over them.
 *
 * Neither backward nor the release of a graph recurses: backward takes the latest node from a heap, release works off a
 * list, so a chain of any length is fine.
 */
#include "autograd/tape.h"

#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"

/* -- nodes ----------------------------------------------------------------------------------------------------------- */

static tx_node *pending; /* nodes without references that wait to be freed */
static bool releasing;
static int replays; /* nodes that stand for calls whose leaves nobody knows yet */

/* Lets go of everything that backward needed. */
static void clear(tx_node *node) {
  for (int s = 0; s < TX_MAX_SAVED; s++) {
    tx_unref(node->saved[s]);
    node->saved[s] = NULL;
  }
  for (int o = 0; o < TX_MAX_OUTPUTS; o++) {
    tx_unref(node->dout[o]);
    node->dout[o] = NULL;
  }
  for (int i = 0; i < node->n_in; i++) {
    if (node->edges[i].leaf != NULL) node->edges[i].leaf->edges--;
    tx_unref(node->edges[i].leaf);
    tx_node_unref(node->edges[i].node);
  }
  node->n_in = 0;
  tx_dealloc(node->edges);
  tx_dealloc(node->params);
  node->edges = NULL;
  node->params = NULL;
  if (node->release_context != NULL) node->release_context(node->context);
  node->release_context = NULL;
  if (node->replay != NULL) replays--;
  node->replay = NULL;
}

void tx_node_unref(tx_node *node) {
  if (node == NULL || --node->refs > 0) return;
  node->next = pending;
  pending = node;
  if (releasing) return; /* an outer call works the list off */
  releasing = true;
  while (pending != NULL) {
    tx_node *first = pending;
    pending = first->next;
    clear(first);
    tx_dealloc(first);
  }
  releasing = false;
}

static void release(tx_node_base *base) { tx_node_unref((tx_node *)base); }

static void set_meta(tx_meta *meta, const tx_tensor *t) {
  meta->dtype = t->dtype;
  meta->dims = t->dims;
  memcpy(meta->shape, t->shape, sizeof meta->shape);
}

tx_status tx_node_make(const char *name, int n_in, tx_tensor *const *in, tx_node **out) {
  static uint64_t last_sequence;
  size_t n = (size_t)n_in;
  tx_node *node = tx_alloc_zero(sizeof *node);
  /* one block holds the three arrays */
  char *arrays = tx_alloc_zero(n * (sizeof(tx_edge) + sizeof(tx_meta) + sizeof(bool)));
  if (node == NULL || arrays == NULL) {
    tx_dealloc(node);
    tx_dealloc(arrays);
    return TX_ENOMEM;
  }
  node->base.release = release;
  node->refs = 1;
  node->sequence = ++last_sequence;
  node->name = name;
  node->n_in = n_in;
  node->edges = (tx_edge *)(void *)arrays;
  node->in_meta = (tx_meta *)(void *)(arrays + n * sizeof(tx_edge));
  node->needs = (bool *)(arrays + n * (sizeof(tx_edge) + sizeof(tx_meta)));
  for (int i = 0; i < n_in; i++) {
    if (in[i] == NULL) continue;
    set_meta(&node->in_meta[i], in[i]);
    node->needs[i] = tx_requires_grad(in[i]);
    if (!node->needs[i]) continue;
    if (in[i]->node != NULL) {
      node->edges[i].node = (tx_node *)in[i]->node;
      node->edges[i].node->refs++;
      node->edges[i].output = in[i]->node_output;
    } else {
      tx_tensor *leaf = in[i]->stand_in != NULL ? in[i]->stand_in : in[i];
      node->edges[i].leaf = tx_ref(leaf);
      leaf->edges++;
    }
  }
  *out = node;
  return TX_OK;
}

void tx_node_make_replay(tx_node *node, tx_replay *run) {
  node->replay = run;
  replays++;
}

void tx_node_attach(tx_node *node, int output, tx_tensor *t) {
  set_meta(&node->out_meta[output], t);
  if (!tx_dtype_is_float(t->dtype)) return;
  t->requires_grad = true;
  if (!tx_graph_kept()) return;
  node->refs++;
  t->node = &node->base;
  t->node_output = output;
}

/* -- gradients ------------------------------------------------------------------------------------------------------- */

/* Nobody else sees this tensor's memory, and it may be written to. */
static bool is_sole_owner(const tx_tensor *t) {
  return atomic_load(&t->refs) == 1 && atomic_load(&t->storage->refs) == 1 && tx_is_contiguous(t) && !t->expanded;
}

static tx_tensor *take(tx_tensor *t) { return t != NULL && is_sole_owner(t) ? tx_ref(t) : NULL; }

tx_tensor *tx_take_dout(tx_call *call, int output) { return take(call->dout[output]); }
tx_tensor *tx_take_saved(tx_call *call, int slot) { return take(tx_saved(call, slot)); }

tx_tensor *tx_take_accumulated(tx_call *call, int input) {
  const tx_edge *edge = &call->node->edges[input];
  if (edge->node == NULL || edge->node->freed) return NULL; /* a leaf keeps its sum where a user can see it */
  tx_tensor **from = &edge->node->dout[edge->output];
  for (int i = 0; i < call->n_in; i++) {
    const tx_edge *other = &call->node->edges[i];
    if (i != input && call->din[i] != NULL && other->node == edge->node && other->output == edge->output) {
      from = &call->din[i];
    }
  }
  tx_tensor *gradient = *from;
  *from = NULL;
  return gradient;
}

/* *sum += gradient; takes over the reference to gradient. */
static tx_status accumulate(tx_tensor **sum, tx_tensor *gradient) {
  if (*sum == NULL) {
    *sum = gradient;
    return TX_OK;
  }
  tx_status status;
  if (!is_sole_owner(*sum) && is_sole_owner(gradient)) { /* add to the one that may be changed */
    tx_tensor *other = *sum;
    *sum = gradient;
    gradient = other;
  }
  if (is_sole_owner(*sum)) {
    status = tx_axpy(*sum, 1, gradient);
  } else {
    tx_tensor *both;
    status = tx_binary("backward", TX_ADD, *sum, gradient, &both);
    if (status == TX_OK) {
      tx_unref(*sum);
      *sum = both;
    }
  }
  tx_unref(gradient);
  return status;
}

/* A file that has become shorter raises: who calls backward looks at no result. */
static tx_status check_readable(const tx_tensor *t) {
  return tx_readable(t) == TX_OK ? TX_OK : tx_fail(TX_EINVAL, "%s", tx_message());
}

/* leaf.grad += gradient; takes over the reference. leaf.grad is memory of its own, so that a user may change it. */
static tx_status accumulate_leaf(tx_tensor *leaf, tx_tensor *gradient) {
  if (leaf->grad != NULL) {
    tx_touch(leaf->grad);
    tx_status status = check_readable(leaf->grad);
    if (status == TX_OK) status = tx_axpy(leaf->grad, 1, gradient);
    tx_unref(gradient);
    return status;
  }
  if (is_sole_owner(gradient)) {
    leaf->grad = gradient;
    return TX_OK;
  }
  tx_status status = tx_clone(gradient, &leaf->grad);
  tx_unref(gradient);
  return status;
}

/* -- the walk -------------------------------------------------------------------------------------------------------- */

/* A binary heap of nodes, the latest call on top; owns a reference to each. */
typedef struct heap {
  tx_node **node;
  size_t count, room;
} heap;

static tx_status push(heap *h, tx_node *node) {
  if (h->count == h->room) {
    size_t room = h->room > 0 ? 2 * h->room : 64;
    tx_node **wider = tx_alloc(room * sizeof *wider);
    if (wider == NULL) return TX_ENOMEM;
    if (h->count > 0) memcpy(wider, h->node, h->count * sizeof *wider);
    tx_dealloc(h->node);
    h->node = wider;
    h->room = room;
  }
  size_t at = h->count++;
  while (at > 0 && h->node[(at - 1) / 2]->sequence < node->sequence) {
    h->node[at] = h->node[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  h->node[at] = node;
  node->refs++;
  node->queued = true;
  return TX_OK;
}

static tx_node *pop(heap *h) {
  tx_node *top = h->node[0], *moved = h->node[--h->count];
  size_t at = 0;
  for (;;) {
    size_t child = 2 * at + 1;
    if (child >= h->count) break;
    if (child + 1 < h->count && h->node[child + 1]->sequence > h->node[child]->sequence) child++;
    if (h->node[child]->sequence < moved->sequence) break;
    h->node[at] = h->node[child];
    at = child;
  }
  h->node[at] = moved;
  top->queued = false;
  return top;
}

static tx_status already_freed(const tx_node *node) {
  return tx_fail(
      TX_EINVAL,
      "backward: the graph behind this tensor was already used by a backward (at %s) and is freed: compute the "
      "value anew",
      node->name);
}

/* Brings a gradient to where an edge leads; takes over the reference. */
static tx_status deliver(heap *h, const tx_edge *edge, tx_tensor *gradient) {
  if (edge->leaf != NULL) return accumulate_leaf(edge->leaf, gradient);
  if (edge->node->freed) {
    tx_unref(gradient);
    return already_freed(edge->node);
  }
  TX_TRY(accumulate(&edge->node->dout[edge->output], gradient));
  return edge->node->queued ? TX_OK : push(h, edge->node);
}

static tx_status check_saved(const tx_node *node) {
  for (int s = 0; s < TX_MAX_SAVED; s++) {
    if (node->saved[s] == NULL) continue;
    TX_TRY(check_readable(node->saved[s]));
    if (node->saved[s]->storage->version == node->version[s]) continue;
    return tx_fail(
        TX_EINVAL,
        "%s: a tensor %s saved for backward was changed in place after %s was computed: change a clone() of it "
        "instead",
        node->name, tx_shape_of(node->saved[s]), node->name);
  }
  return TX_OK;
}

static bool is_like(const tx_tensor *t, const tx_meta *want) {
  return t->dtype == want->dtype && t->dims == want->dims &&
         memcmp(t->shape, want->shape, (size_t)want->dims * sizeof want->shape[0]) == 0;
}

/* A gradient has the shape and dtype of what it is the gradient of. */
static tx_status check_gradient(const tx_node *node, int input, const tx_tensor *gradient) {
  const tx_meta *want = &node->in_meta[input];
  if (is_like(gradient, want)) return TX_OK;
  char text[TX_SHAPE_TEXT];
  return tx_fail(TX_EINVAL, "%s: backward gave a gradient %s %s for input %d, which is %s %s", node->name,
                 tx_dtype_name(gradient->dtype), tx_shape_of(gradient), input + 1, tx_dtype_name(want->dtype),
                 tx_shape_text(want->dims, want->shape, text));
}

static tx_status run_backward(tx_node *node, tx_tensor **din) {
  if (node->custom != NULL) return node->custom(node->context, node->n_out, node->dout, node->n_in, din);
  tx_call call = {
      .op = node->op, .n_in = node->n_in, .params = node->params, .needs = node->needs, .din = din, .node = node};
  memcpy(call.dout, node->dout, sizeof call.dout);
  return node->op->backward(&call);
}

/* The input of a node that keeps it: the same data, and its gradient goes where that of the input goes. */
static tx_status input_again(const tx_node *node, tx_tensor **x) {
  const tx_edge *edge = &node->edges[0];
  if (edge->leaf != NULL) {
    *x = tx_ref(edge->leaf);
    return TX_OK;
  }
  TX_TRY(tx_alias(node->saved[0], x));
  if (edge->node == NULL) return TX_OK;
  edge->node->refs++;
  (*x)->node = &edge->node->base;
  (*x)->node_output = edge->output;
  (*x)->requires_grad = true;
  return TX_OK;
}

static tx_status check_replayed(const tx_node *node, const tx_tensor *y) {
  const tx_meta *want = &node->out_meta[0];
  if (is_like(y, want)) return TX_OK;
  char text[TX_SHAPE_TEXT];
  return tx_fail(TX_EINVAL, "%s: computed again in backward, the result is %s %s; before, it was %s %s", node->name,
                 tx_dtype_name(y->dtype), tx_shape_of(y), tx_dtype_name(want->dtype),
                 tx_shape_text(want->dims, want->shape, text));
}

/* Puts in the place of a node the graph that it stands for. The calls in there are the latest of all, so that the walk comes by
 * all of them next, in the order in which it would have done so had they been recorded at first. */
static tx_status replay(heap *h, tx_node *node) {
  tx_tensor *x, *y = NULL;
  node->freed = true;
  TX_TRY(input_again(node, &x));
  tx_status status = node->replay(node->context, x, &y);
  if (status == TX_OK) status = check_replayed(node, y);
  tx_unref(x);
  if (status == TX_OK && y->requires_grad) {
    const tx_edge edge = {.leaf = y->node == NULL ? y : NULL, .node = (tx_node *)y->node, .output = y->node_output};
    tx_tensor *dy = node->dout[0];
    node->dout[0] = NULL;
    status = deliver(h, &edge, dy);
  }
  tx_unref(y);
  clear(node);
  return status;
}

static tx_leaf_listener *listener;
static void *listening;

void tx_listen_to_leaves(tx_leaf_listener *f, void *context) {
  listener = f;
  listening = context;
}

/* Tells of the leaves that no other call leads to than this one, which has delivered. */
static void tell_leaves(const tx_node *node) {
  if (listener == NULL || replays > 0) return;
  for (int i = 0; i < node->n_in; i++) {
    tx_tensor *leaf = node->edges[i].leaf;
    int own = 0, later = 0;
    for (int k = 0; leaf != NULL && k < node->n_in; k++) {
      own += node->edges[k].leaf == leaf;
      later += k > i && node->edges[k].leaf == leaf;
    }
    if (leaf != NULL && later == 0 && leaf->edges == own && leaf->grad != NULL) listener(listening, leaf);
  }
}

/* Runs one node's backward, hands its gradients on and frees it. From its beginning on the node counts as freed: a backward
 * in Lua may call backward again, which must not come by here. */
static tx_status visit(heap *h, tx_node *node) {
  TX_TRY(check_saved(node));
  if (node->replay != NULL) return replay(h, node);
  tx_tensor *few[TX_MAX_INPUTS] = {NULL}, **din = few;
  int n_in = node->n_in;
  if (n_in > TX_MAX_INPUTS) {
    din = tx_alloc_zero((size_t)n_in * sizeof din[0]);
    if (din == NULL) return TX_ENOMEM;
  }
  node->freed = true;
  tx_status status = run_backward(node, din);
  if (status == TX_OK && tx_interrupted())
    status = tx_fail(TX_EINVAL, "interrupted!"); /* leaves get whole gradients only */
  for (int i = 0; i < n_in; i++) {
    if (din[i] == NULL) continue;
    if (status == TX_OK && node->needs[i]) status = check_gradient(node, i, din[i]);
    if (status == TX_OK && node->needs[i]) {
      status = deliver(h, &node->edges[i], din[i]);
    } else {
      tx_unref(din[i]);
    }
  }
  if (din != few) tx_dealloc(din);
  if (status == TX_OK) tell_leaves(node);
  clear(node);
  return status;
}

/* The gradient that backward starts from: as given, or 1 for a single number. */
static tx_status seed(const tx_tensor *t, tx_tensor *given, tx_tensor **out) {
  if (given == NULL) {
    if (tx_numel(t) != 1) {
      return tx_fail(TX_EINVAL,
                     "backward: the tensor is %s: give a gradient of that shape, or reduce it to one number first",
                     tx_shape_of(t));
    }
    return tx_full(t->dtype, t->dims, t->shape, tx_integer(1), out);
  }
  if (!tx_same_shape(t, given)) {
    return tx_fail(TX_EINVAL, "backward: the gradient is %s, the tensor %s", tx_shape_of(given), tx_shape_of(t));
  }
  return tx_to(given, t->dtype, out);
}

tx_status tx_backward(tx_tensor *t, tx_tensor *gradient) {
  if (!tx_graph_kept()) {
    return tx_fail(TX_EINVAL,
                   "backward: not inside of a layer that backward computes again: take it out of `checkpoint`");
  }
  if (!t->requires_grad) {
    return tx_fail(TX_EINVAL, "backward: this tensor %s does not depend on any tensor that requires a gradient",
                   tx_shape_of(t));
  }
  tx_node *root = (tx_node *)t->node;
  if (root != NULL && root->freed) return already_freed(root);
  tx_tensor *first;
  TX_TRY(seed(t, gradient, &first));
  heap h = {0};
  tx_edge start = {.leaf = root == NULL ? t : NULL, .node = root, .output = t->node_output};
  bool enabled = tx_grad_enabled();
  tx_set_grad_enabled(false);
  tx_status status = deliver(&h, &start, first);
  while (h.count > 0) {
    tx_node *node = pop(&h);
    if (status == TX_OK) status = visit(&h, node);
    if (status != TX_OK) { /* gradients on their way are dropped */
      for (int o = 0; o < TX_MAX_OUTPUTS; o++) {
        tx_unref(node->dout[o]);
        node->dout[o] = NULL;
      }
    }
    tx_node_unref(node);
  }
  tx_dealloc(h.node);
  tx_set_grad_enabled(enabled);
  return status;
}
