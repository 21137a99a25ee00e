/* group_norm.c - y = (x - mean) / sqrt(var + eps) * gamma + beta, mean and variance being those of an image's group of
 * channels; gradients in passes/group_norm.h. */
#include "passes/group_norm.h"

#include "autograd/list.h"
#include "autograd/own_norm.h"

enum { X };

typedef struct params {
  int64_t groups;
  double eps;
} params;

/* The same mean stands beside each channel of a group. */
static int64_t count(const tx_tensor *x) { return x->shape[0] * x->shape[x->dims - 1]; }

static tx_group_norm describe(const params *p, const tx_own_norm_operands *o) {
  const tx_tensor *x = o->x;
  tx_group_norm g = {.dtype = x->dtype, .n = x->shape[0], .pixels = 1, .c = x->shape[x->dims - 1]};
  for (int d = 1; d < x->dims - 1; d++) g.pixels *= x->shape[d];
  g.groups = p->groups;
  g.eps = p->eps;
  g.x = tx_data(x);
  g.gamma = tx_data(o->gamma);
  g.beta = tx_data_or_null(o->beta);
  g.mean = o->mean;
  g.invstd = o->invstd;
  return g;
}

static tx_status run(const void *p, const tx_own_norm_operands *o, void *y) {
  const tx_group_norm g = describe(p, o);
  return tx_group_norm_forward(&g, y);
}

static tx_status grad(const void *p, const tx_own_norm_operands *o, const void *dy, void *dx, void *dgamma,
                      void *dbeta) {
  const tx_group_norm g = describe(p, o);
  return tx_group_norm_backward(&g, dy, dx, dgamma, dbeta);
}

static const tx_own_norm of_groups = {count, run, grad};

static tx_status forward(tx_call *call) {
  const tx_tensor *x = call->in[X];
  const params *p = call->params;
  TX_TRY(tx_want_float(call, X));
  if (x->dims < 2) return tx_fail(TX_EINVAL, "group_norm: x is %s: {N,C} or {N,...,C} is needed", tx_shape_of(x));
  const int64_t c = x->shape[x->dims - 1];
  TX_TRY(tx_own_norm_check(call, p->eps));
  if (p->groups < 1 || c % p->groups != 0) {
    return tx_fail(TX_EINVAL, "group_norm: %lld groups do not divide the %lld channels of x %s", (long long)p->groups,
                   (long long)c, tx_shape_of(x));
  }
  return tx_own_norm_run(call, &of_groups);
}

static tx_status backward(tx_call *call) { return tx_own_norm_grad(call, &of_groups); }

static const tx_param parameters[] = {
    TX_PARAM(params, groups, TX_PARAM_INT, NULL), TX_PARAM(params, eps, TX_PARAM_NUMBER, "1e-5"), {NULL}};

const tx_op tx_op_group_norm = {
    .name = "group_norm",
    .inputs = "x gamma beta",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "group_norm(x, gamma, beta, groups, {eps=1e-5}): normalizes every image of x {N,...,C} by itself, over groups "
        "of "
        "C / groups neighbouring channels, by the group's own mean and (biased) variance, times gamma {C} plus beta "
        "{C}; "
        "the same in training and evaluation.",
};
