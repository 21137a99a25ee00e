/* dropout.c - y = x / (1 - p) with probability 1 - p, else 0; dx = dy, treated alike.
 *
 * The decision for an element is a pure function of the generator's seed, the number of the call and the element's
 * place, so it is the same on any number of threads, and backward makes it again instead of keeping a mask.
 *
 * Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout", JMLR 2014.
 */
#include "autograd/layer.h"
#include "autograd/list.h"
#include "base/integers.h"
#include "base/rng.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "kernels/plain.h"

enum { SAVED_DRAW }; /* i64 {2}: seed and stream */
enum { GROUP = 64 }; /* elements that the kernel takes together */

typedef struct params {
  double p;
  bool training;
} params;

typedef struct pass {
  int64_t count, size;
  uint64_t seed, stream;
  uint32_t threshold;
  double scale;
  const tx_tensor *from;
  tx_tensor *to;
} pass;

static void run_block(void *context, int64_t block, int worker) {
  (void)worker;
  const pass *p = context;
  int64_t first = block * p->size, n = p->count - first < p->size ? p->count - first : p->size;
  if (p->to->dtype == TX_F32) {
    tx_kernels.dropout_f32(n, first, p->seed, p->stream, p->threshold, (float)p->scale, tx_f32(p->from) + first,
                           tx_f32(p->to) + first);
  } else {
    tx_dropout_f64(n, first, p->seed, p->stream, p->threshold, p->scale, tx_f64(p->from) + first,
                   tx_f64(p->to) + first);
  }
}

static tx_status run(const tx_call *call, tx_tensor *from, const tx_tensor *draw, tx_tensor **to) {
  const params *given = call->params;
  if (given->p == 1) return tx_zeros(from->dtype, from->dims, from->shape, to); /* there is no factor 1 / (1 - p) */
  tx_tensor *x;
  TX_TRY(tx_contiguous(from, &x));
  tx_status status = tx_empty_like(x, to);
  if (status == TX_OK) {
    pass p = {.count = tx_numel(x), .from = x, .to = *to, .scale = 1 / (1 - given->p)};
    p.size = tx_ceil_div(tx_block_size(p.count, 8), GROUP) * GROUP;
    p.seed = (uint64_t)tx_i64(draw)[0];
    p.stream = (uint64_t)tx_i64(draw)[1];
    p.threshold = (uint32_t)(given->p * 0x1p32);
    tx_parallel(tx_ceil_div(p.count, p.size), run_block, &p);
  }
  tx_unref(x);
  return status;
}

static tx_status forward(tx_call *call) {
  const params *given = call->params;
  TX_TRY(tx_want_float(call, 0));
  if (!(given->p >= 0 && given->p <= 1)) {
    return tx_fail(TX_EINVAL, "dropout: p is %g: a probability from 0 to 1 is needed", given->p);
  }
  if (!given->training || given->p == 0) {
    call->out[0] = tx_ref(call->in[0]);
    return TX_OK;
  }
  tx_generator *generator = tx_default_generator();
  const int64_t two = 2;
  tx_tensor *draw;
  TX_TRY(tx_empty(TX_I64, 1, &two, &draw));
  tx_i64(draw)[0] = (int64_t)generator->seed;
  tx_i64(draw)[1] = (int64_t)generator->next_stream++;
  tx_status status = run(call, call->in[0], draw, &call->out[0]);
  tx_save(call, SAVED_DRAW, draw);
  tx_unref(draw);
  return status;
}

static tx_status backward(tx_call *call) {
  const tx_tensor *draw = tx_saved(call, SAVED_DRAW);
  if (draw != NULL) return run(call, call->dout[0], draw, &call->din[0]);
  call->din[0] = tx_ref(call->dout[0]);
  return TX_OK;
}

static const tx_param parameters[] = {
    TX_PARAM(params, p, TX_PARAM_NUMBER, "0.5"), TX_PARAM(params, training, TX_PARAM_BOOL, "true"), {NULL}};

const tx_op tx_op_dropout = {
    .name = "dropout",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_FUNCTIONAL,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = forward,
    .backward = backward,
    .doc =
        "dropout(x, p=0.5, {training=true}): every element is zero with probability p, else divided by 1 - p "
        "(p=1: all are zero); without training x itself; any shape.",
};
