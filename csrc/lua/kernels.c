/* kernels.c - what the kernels do with a problem, and what this machine could do at best: for benchmarks and the curious. */
#include "kernels/kernels.h"

#include "autograd/conv2d.h"
#include "autograd/list.h"
#include "base/interrupt.h"
#include "base/threads.h"
#include "lua/binding.h"
#include "lua/op.h"

/* -- plans --------------------------------------------------------------------------------------------------------------- */

static void push_plan(lua_State *L, const tx_conv_shape *shape, tx_conv_pass pass) {
  const tx_conv_plan plan = tx_conv_choose(shape, pass);
  char why[TX_CONV_WHY];
  lua_createtable(L, 0, 2);
  lua_pushstring(L, tx_conv_algorithm_name(plan.algorithm));
  lua_setfield(L, -2, "algorithm");
  lua_pushstring(L, tx_conv_why(shape, &plan, why));
  lua_setfield(L, -2, "why");
}

static int l_conv2d_plan(lua_State *L) {
  tx_tensor *in[TX_MAX_INPUTS];
  union {
    tx_conv2d_params conv;
    char room[256];
  } params; /* those of the function begin with those of the convolution */
  tx_conv_shape shape;
  if (tx_op_conv2d.params_size > sizeof params) return tx_error(L, "conv2d_plan: no room for the parameters");
  tx_read_call(L, &tx_op_conv2d, in, &params);
  const tx_status status = tx_conv2d_shape("conv2d_plan", in[0], in[1], in[2], &params.conv, &shape);
  if (status != TX_OK) return tx_raise(L, status);
  lua_createtable(L, 0, 3);
  push_plan(L, &shape, TX_CONV_FORWARD);
  lua_setfield(L, -2, "forward");
  push_plan(L, &shape, TX_CONV_INPUT_GRADIENT);
  lua_setfield(L, -2, "input_gradient");
  push_plan(L, &shape, TX_CONV_WEIGHT_GRADIENT);
  lua_setfield(L, -2, "weight_gradient");
  return 1;
}

/* -- the machine ----------------------------------------------------------------------------------------------------------- */

enum { ROUNDS = 2000000 };

typedef struct peak {
  double (*kernel)(int64_t rounds);
  double operations[TX_MAX_THREADS];
} peak;

static void run_peak(void *context, int64_t block, int worker) {
  (void)worker;
  peak *p = context;
  p->operations[block] = p->kernel(ROUNDS);
}

static void push_peak(lua_State *L, double (*kernel)(int64_t rounds)) {
  peak p = {.kernel = kernel};
  const int threads = tx_num_threads();
  const double start = tx_clock();
  tx_parallel(threads, run_peak, &p);
  const double seconds = tx_clock() - start;
  double total = 0;
  for (int i = 0; i < threads; i++) total += p.operations[i];
  lua_pushnumber(L, total / seconds);
}

static int l_fma_peak(lua_State *L) {
  push_peak(L, tx_kernels.fma_peak_f32);
  return 1;
}

static int l_dot_peak(lua_State *L) {
  push_peak(L, tx_kernels.peak_u8);
  push_peak(L, tx_kernels.peak_i16);
  return 2;
}

static const tx_function functions[] = {
    {"conv2d_plan", l_conv2d_plan,
     "conv2d_plan(x, w, {options of conv2d}): how conv2d computes these f32 tensors: {forward =, input_gradient =, "
     "weight_gradient =}, each a table of its `algorithm` and `why`."},
    {"fma_peak", l_fma_peak,
     "fma_peak(): floating-point operations per second (a multiply-add counts as two) that the threads in use reach "
     "together when they do nothing else; takes some 10 ms."},
    {"dot_peak", l_dot_peak,
     "dot_peak(): what bounds networks in 8 bits: multiply-adds per second of bytes, and of 16-bit numbers, that the "
     "threads in "
     "use reach together when they do nothing else (a multiply-add counts as one); takes some 20 ms."},
    {NULL, NULL, NULL},
};

void tx_lua_open_kernels(lua_State *L) { tx_set_functions(L, functions); }
