/* dropout.c - y = x / (1 - p) with probability 1 - p, else 0; dx = dy, treated alike.
 *
 * The decision for an element is a pure function of the generator's seed, the number of the call and the element's
 * place, so it is the same on any number of threads, and backward makes it again instead of keeping a mask.
 *
 * Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout", JMLR 2014.
 */
#include "autograd/layer.h"
#include "autograd/list.h"
#include "passes/dropout.h"
#include "tensor/random.h"

enum { SAVED_DRAW }; /* i64 {2}: seed and stream */

typedef struct params {
  double p;
  bool training;
} params;

static tx_status run(const tx_call *call, tx_tensor *from, const tx_tensor *draw, tx_tensor **to) {
  const params *given = call->params;
  if (given->p == 1) return tx_zeros(from->dtype, from->dims, from->shape, to); /* there is no factor 1 / (1 - p) */
  tx_tensor *x;
  TX_TRY(tx_contiguous(from, &x));
  tx_status status = tx_empty_like(x, to);
  if (status == TX_OK) {
    const tx_key key = {(uint64_t)tx_i64(draw)[0], (uint64_t)tx_i64(draw)[1]};
    tx_dropout(x->dtype, key, given->p, tx_numel(x), tx_data(x), tx_data(*to));
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
  const int64_t two = 2;
  tx_tensor *draw;
  TX_TRY(tx_empty(TX_I64, 1, &two, &draw));
  const tx_key key = tx_next_key();
  tx_i64(draw)[0] = (int64_t)key.seed;
  tx_i64(draw)[1] = (int64_t)key.stream;
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
