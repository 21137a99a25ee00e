/* layer.c - checks that the functions of texres.nn.functional share.
 *
 * Messages name the function, the argument as its signature has it, and what was given:
 *
 *     batch_norm: gamma is {4}, but there are 3 channels in the last dimension of x: {3} is needed (x {2,4,4,3})
 */
#include "autograd/layer.h"

#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 32 };

/* The name of an input as op->inputs has it, without the question mark. */
static const char *name_of(const tx_call *call, int input, char name[NAME_SIZE]) {
  const char *at = call->op->inputs;
  for (int i = 0; i < input; i++) at += strcspn(at, " ") + 1;
  snprintf(name, NAME_SIZE, "%.*s", (int)strcspn(at, " ?"), at);
  return name;
}

tx_status tx_want_float(const tx_call *call, int input) {
  const tx_tensor *t = call->in[input];
  char name[NAME_SIZE];
  if (tx_dtype_is_float(t->dtype)) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: %s is %s %s: f32 or f64 is needed", call->op->name, name_of(call, input, name),
                 tx_dtype_name(t->dtype), tx_shape_of(t));
}

tx_status tx_want_dtype_of(const tx_call *call, int input, int other) {
  const tx_tensor *t = call->in[input], *like = call->in[other];
  char name[NAME_SIZE], like_name[NAME_SIZE];
  if (t == NULL || t->dtype == like->dtype) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: %s is %s, %s is %s: both must be the same", call->op->name, name_of(call, input, name),
                 tx_dtype_name(t->dtype), name_of(call, other, like_name), tx_dtype_name(like->dtype));
}

tx_status tx_want_shape_of(const tx_call *call, int input, int other) {
  const tx_tensor *t = call->in[input], *like = call->in[other];
  char name[NAME_SIZE], like_name[NAME_SIZE];
  if (tx_same_shape(t, like)) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: %s is %s, %s %s: the same shape is needed", call->op->name,
                 name_of(call, other, like_name), tx_shape_of(like), name_of(call, input, name), tx_shape_of(t));
}

tx_status tx_want_vector(const tx_call *call, int input, int other, int64_t n, const char *counted) {
  const tx_tensor *t = call->in[input];
  char name[NAME_SIZE], like_name[NAME_SIZE];
  if (t == NULL) return TX_OK;
  if (t->dims != 1 || t->shape[0] != n) {
    return tx_fail(TX_EINVAL, "%s: %s is %s, but there are %lld %s: {%lld} is needed (%s %s)", call->op->name,
                   name_of(call, input, name), tx_shape_of(t), (long long)n, counted, (long long)n,
                   name_of(call, other, like_name), tx_shape_of(call->in[other]));
  }
  return tx_want_dtype_of(call, input, other);
}

tx_status tx_want_images(const tx_call *call, int input) {
  const tx_tensor *t = call->in[input];
  char name[NAME_SIZE];
  if (t->dims == 4) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: %s is %s: images {N,H,W,C} are needed", call->op->name, name_of(call, input, name),
                 tx_shape_of(t));
}
