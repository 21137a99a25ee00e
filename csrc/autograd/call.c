/* call.c - one use of a function: run forward, and record it when a gradient may be asked for. */
#include <string.h>

#include "autograd/tape.h"
#include "base/memory.h"

static _Thread_local bool grad_disabled, graph_dropped;

bool tx_grad_enabled(void) { return !grad_disabled; }
void tx_set_grad_enabled(bool enabled) { grad_disabled = !enabled; }
bool tx_graph_kept(void) { return !graph_dropped; }
void tx_set_graph_kept(bool kept) { graph_dropped = !kept; }
bool tx_requires_grad(const tx_tensor *t) { return t != NULL && t->requires_grad; }
const char *tx_operation_of(const tx_tensor *t) { return t->node != NULL ? ((const tx_node *)t->node)->name : NULL; }

void tx_save(tx_call *call, int slot, tx_tensor *t) {
  tx_node *node = call->node;
  if (node == NULL || t == NULL) return;
  /* An alias: a node that owned its own output would never be freed. */
  if (tx_alias(t, &node->saved[slot]) == TX_OK) {
    node->version[slot] = t->storage->version;
  } else {
    node->incomplete = true;
  }
}

tx_tensor *tx_saved(tx_call *call, int slot) { return call->node->saved[slot]; }

const tx_meta *tx_input_meta(const tx_call *call, int input) { return &call->node->in_meta[input]; }

/* An output that is one of the inputs becomes a view of it: it gets a node of its own. */
static tx_status unalias(tx_call *call) {
  for (int o = 0; o < call->op->outputs; o++) {
    for (int i = 0; i < call->n_in; i++) {
      if (call->out[o] == NULL || call->out[o] != call->in[i]) continue;
      tx_tensor *view;
      TX_TRY(tx_alias(call->out[o], &view));
      tx_unref(call->out[o]);
      call->out[o] = view;
      break;
    }
  }
  return TX_OK;
}

static tx_status record(tx_call *call) {
  tx_node *node = call->node;
  if (node->incomplete) return TX_ENOMEM;
  node->op = call->op;
  node->n_out = call->op->outputs;
  if (call->op->params_size > 0) {
    node->params = tx_alloc(call->op->params_size);
    if (node->params == NULL) return TX_ENOMEM;
    memcpy(node->params, call->params, call->op->params_size);
  }
  for (int o = 0; o < node->n_out; o++) {
    if (call->out[o] != NULL) tx_node_attach(node, o, call->out[o]);
  }
  return TX_OK;
}

tx_status tx_call_op(const tx_op *op, int n_in, tx_tensor *const *in, const void *params, tx_tensor **out) {
  bool few[TX_MAX_INPUTS] = {false};
  tx_call call = {.op = op, .n_in = n_in, .in = (tx_tensor **)in, .params = params, .needs = few};
  for (int i = 0; i < n_in && !call.recording; i++) {
    call.recording = op->backward != NULL && !grad_disabled && tx_requires_grad(in[i]);
  }
  if (call.recording) {
    TX_TRY(tx_node_make(op->name, n_in, in, &call.node));
    call.needs = call.node->needs;
  } else if (n_in > TX_MAX_INPUTS) {
    call.needs = tx_alloc_zero((size_t)n_in * sizeof call.needs[0]);
    if (call.needs == NULL) return TX_ENOMEM;
  }
  tx_status status = op->forward(&call);
  if (status == TX_OK) status = unalias(&call);
  if (status == TX_OK && call.recording) status = record(&call);
  if (status != TX_OK) tx_fail_by(status, op->name);
  for (int o = 0; o < op->outputs; o++) {
    if (status == TX_OK) {
      out[o] = call.out[o];
    } else {
      tx_unref(call.out[o]);
    }
  }
  if (call.recording) {
    tx_node_unref(call.node);
  } else if (call.needs != few) {
    tx_dealloc(call.needs);
  }
  return status;
}

tx_status tx_record_custom(const char *name, int n_in, tx_tensor *const *in, int n_out, tx_tensor *const *out,
                           tx_custom_backward *run, void (*release)(void *context), void *context) {
  tx_node *node;
  if (n_out > TX_MAX_OUTPUTS) {
    return tx_fail(TX_EINVAL, "%s: %d results: a function returns at most %d tensors", name, n_out, TX_MAX_OUTPUTS);
  }
  TX_TRY(tx_node_make(name, n_in, in, &node));
  node->n_out = n_out;
  node->custom = run;
  node->release_context = release;
  node->context = context;
  for (int o = 0; o < n_out; o++) tx_node_attach(node, o, out[o]);
  tx_node_unref(node);
  return TX_OK;
}

tx_status tx_record_replay(const char *name, tx_tensor *x, tx_tensor *y, tx_replay *run, void (*release)(void *context),
                           void *context) {
  tx_node *node;
  TX_TRY(tx_node_make(name, 1, &x, &node));
  tx_status status = tx_alias(x, &node->saved[0]);
  if (status == TX_OK) {
    node->version[0] = x->storage->version;
    node->n_out = 1;
    tx_node_make_replay(node, run);
    node->release_context = release;
    node->context = context;
    tx_node_attach(node, 0, y);
  }
  tx_node_unref(node);
  return status;
}

tx_status tx_writable(const char *operation, tx_tensor *t) {
  if (!grad_disabled && t->requires_grad) {
    return tx_fail(TX_EINVAL,
                   "%s: this tensor %s is changed in place, but it %s: do it inside no_grad, or on a clone()",
                   operation, tx_shape_of(t),
                   t->node != NULL ? "was computed from one that requires a gradient" : "requires a gradient");
  }
  tx_status status = tx_elements_apart(t);
  if (status != TX_OK) return tx_fail_by(status, operation);
  tx_touch(t);
  return TX_OK;
}
