/* copies.c - the same values in other memory or of another dtype; dx = dy, in the dtype of x.
 *
 *     contiguous(x)    x itself when its elements lie in row-major order, else a copy
 *     clone(x)         always a copy
 *     to(x, "f64")     x itself when it has the dtype, else a converted copy; only floats carry gradients
 */
#include "autograd/formula.h"
#include "autograd/list.h"

static tx_status backward(tx_call *call) {
  tx_formula f = tx_formula_begin(call);
  tx_f_gradient(&f, 0, call->dout[0]);
  return tx_formula_end(&f);
}

static tx_status contiguous_forward(tx_call *call) { return tx_contiguous(call->in[0], &call->out[0]); }

const tx_op tx_op_contiguous = {
    .name = "contiguous",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .forward = contiguous_forward,
    .backward = backward,
    .doc = "contiguous(x): x with its elements in row-major order in memory: x when they are, else a copy.",
};

static tx_status clone_forward(tx_call *call) { return tx_clone(call->in[0], &call->out[0]); }

const tx_op tx_op_clone = {
    .name = "clone",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .forward = clone_forward,
    .backward = backward,
    .doc = "clone(x): a copy of x in memory of its own.",
};

typedef struct to_params {
  tx_dtype dtype;
} to_params;

static const tx_param to_parameters[] = {TX_PARAM(to_params, dtype, TX_PARAM_DTYPE, NULL), {0}};

static tx_status to_forward(tx_call *call) {
  const to_params *p = call->params;
  return tx_to(call->in[0], p->dtype, &call->out[0]);
}

const tx_op tx_op_to = {
    .name = "to",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(to_params),
    .params = to_parameters,
    .forward = to_forward,
    .backward = backward,
    .doc =
        "to(x, dtype): x as u8, i64, f32 or f64; x itself when it is. Floats lose their fraction in u8 and i64 "
        "(towards 0) "
        "and are rounded to the nearest in f32; what does not fit the dtype then is an error: beyond its range, NaN or "
        "infinite in an integer. copy_from, t[i] = x and tensor(x, {dtype =}) convert in the same way.",
};
