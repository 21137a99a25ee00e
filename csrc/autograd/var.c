/* var.c - variance and standard deviation of n elements with mean m:
 *
 *     var = sum (x - m)^2 / (n - correction)      dx = dy * 2 (x - m) / (n - correction)
 *     std = sqrt(var)                             dx = dy * (x - m) / ((n - correction) std), 0 where std = 0
 */
#include "autograd/list.h"
#include "autograd/reduction.h"

typedef struct params {
  tx_reduction over;
  double correction;
} params;

static const tx_param parameters[] = {
    TX_REDUCTION_PARAMS(params, over),
    TX_PARAM(params, correction, TX_PARAM_NUMBER, "1"),
    {0},
};

/* scale * (x - m) / (n - correction), where `scale` stands for what is left of the slope. */
static tx_tensor *slope(tx_formula *f, tx_tensor *scale, tx_tensor *x) {
  const params *p = f->call->params;
  const tx_meta *meta = tx_input_meta(f->call, 0);
  double n = (double)tx_reduced_count(meta, p->over.dim) - p->correction;
  scale = tx_f_unreduce(f, tx_f_scale(f, scale, 1 / n), meta, p->over.dim);
  return tx_f_mul(f, scale, tx_f_sub(f, x, tx_f_reduce(f, TX_MEAN, x, p->over.dim, true, 0)));
}

static tx_status var_forward(tx_call *call) {
  const params *p = call->params;
  tx_save(call, 0, call->in[0]);
  return tx_reduce("var", TX_VAR, call->in[0], p->over.dim, p->over.keepdim, p->correction, &call->out[0]);
}

static tx_status var_backward(tx_call *call) {
  tx_formula f = tx_formula_begin(call);
  tx_f_gradient(&f, 0, slope(&f, tx_f_scale(&f, call->dout[0], 2), tx_saved(call, 0)));
  return tx_formula_end(&f);
}

const tx_op tx_op_var = {
    .name = "var",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = var_forward,
    .backward = var_backward,
    .doc =
        "var(x, dim, keepdim=false, correction = 1): variance over a dimension, a list of them, or everything (keepdim "
        "leaves them, with size 1); the squares "
        "are "
        "divided by n - correction.",
};

static tx_status std_forward(tx_call *call) {
  const params *p = call->params;
  tx_formula f = tx_formula_begin(call);
  tx_tensor *variance = tx_f_reduce(&f, TX_VAR, call->in[0], p->over.dim, p->over.keepdim, p->correction);
  tx_f_output(&f, 0, tx_f_unary(&f, TX_SQRT, variance));
  tx_save(call, 0, call->in[0]);
  tx_save(call, 1, call->out[0]);
  return tx_formula_end(&f);
}

static tx_status std_backward(tx_call *call) {
  tx_formula f = tx_formula_begin(call);
  tx_tensor *y = tx_saved(call, 1), *zero = tx_f_number(&f, 0);
  tx_tensor *scale = tx_f_where(&f, tx_f_binary(&f, TX_EQ, y, zero), zero, tx_f_div(&f, call->dout[0], y));
  tx_f_gradient(&f, 0, slope(&f, scale, tx_saved(call, 0)));
  return tx_formula_end(&f);
}

const tx_op tx_op_std = {
    .name = "std",
    .inputs = "x",
    .outputs = 1,
    .where = TX_AS_METHOD | TX_AS_FUNCTION,
    .params_size = sizeof(params),
    .params = parameters,
    .forward = std_forward,
    .backward = std_backward,
    .doc = "std(x, dim, keepdim=false, correction = 1): square root of var; its gradient is 0 where it is 0.",
};
