/* unary.c - y = f(x), clamp and where over whole tensors.
 *
 * Functions whose result is not an integer work on f32 when they are given integers; the others keep the dtype.
 */
#include <math.h>

#include "kernels/kernels.h"
#include "tensor/loop.h"
#include "tensor/math.h"
#include "tensor/number.h"

#define BODY(op, dtype, type, expression)                                     \
  static void op##_##dtype(const void *context, int64_t n, void *const *at) { \
    (void)context;                                                            \
    const type *a = at[1];                                                    \
    type *y = at[0];                                                          \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                     \
      type x = a[i];                                                          \
      y[i] = (type)(expression);                                              \
    }                                                                         \
  }

/* The dispatched kernel of the same name. */
#define KERNEL_BODY(op)                                                   \
  static void op##_f32(const void *context, int64_t n, void *const *at) { \
    (void)context;                                                        \
    tx_kernels.op##_f32(n, at[1], at[0]);                                 \
  }

#define FLOAT_BODIES(dtype, type, suffix) \
  BODY(neg, dtype, type, -x)              \
  BODY(abs, dtype, type, fabs##suffix(x)) \
  BODY(sign, dtype, type, x > 0 ? 1 : x < 0 ? -1 : x)

#define INTEGER_BODIES(dtype, type)       \
  BODY(neg, dtype, type, 0 - (uint64_t)x) \
  BODY(same, dtype, type, x)

FLOAT_BODIES(f32, float, f)
FLOAT_BODIES(f64, double, )
KERNEL_BODY(sqrt)
KERNEL_BODY(floor)
KERNEL_BODY(ceil)
KERNEL_BODY(round)
KERNEL_BODY(exp)
KERNEL_BODY(log)
KERNEL_BODY(tanh)
KERNEL_BODY(sigmoid)
KERNEL_BODY(erf)
BODY(sqrt, f64, double, sqrt(x))
BODY(floor, f64, double, floor(x))
BODY(ceil, f64, double, ceil(x))
BODY(round, f64, double, rint(x))
BODY(exp, f64, double, exp(x))
BODY(log, f64, double, log(x))
BODY(tanh, f64, double, tanh(x))
BODY(sigmoid, f64, double, 1 / (1 + exp(-x)))
BODY(erf, f64, double, erf(x))

INTEGER_BODIES(u8, uint8_t)
INTEGER_BODIES(i64, int64_t)
BODY(abs, i64, int64_t, x < 0 ? 0 - (uint64_t)x : (uint64_t)x)
BODY(sign, u8, uint8_t, x > 0)
BODY(sign, i64, int64_t, (x > 0) - (x < 0))

#define INTEGER_ROW(op) \
  { op##_u8, op##_i64, op##_f32, op##_f64 }
#define FLOAT_ROW(op) \
  { NULL, NULL, op##_f32, op##_f64 }

static tx_loop_body *const bodies[][TX_DTYPE_COUNT] = {
    [TX_NEG] = INTEGER_ROW(neg),
    [TX_EXP] = FLOAT_ROW(exp),
    [TX_LOG] = FLOAT_ROW(log),
    [TX_SQRT] = FLOAT_ROW(sqrt),
    [TX_ABS] = {same_u8, abs_i64, abs_f32, abs_f64},
    [TX_SIGN] = INTEGER_ROW(sign),
    [TX_TANH] = FLOAT_ROW(tanh),
    [TX_SIGMOID] = FLOAT_ROW(sigmoid),
    [TX_FLOOR] = {same_u8, same_i64, floor_f32, floor_f64},
    [TX_CEIL] = {same_u8, same_i64, ceil_f32, ceil_f64},
    [TX_ROUND] = {same_u8, same_i64, round_f32, round_f64},
    [TX_ERF] = FLOAT_ROW(erf),
};

static int64_t cost_of(tx_unary_op op, tx_dtype dtype) {
  bool cheap = bodies[op][TX_I64] != NULL || op == TX_SQRT;
  return cheap ? 1 : dtype == TX_F32 ? 4 : 32;
}

tx_status tx_unary(tx_unary_op op, const tx_tensor *t, tx_tensor **out) {
  tx_dtype dtype = bodies[op][t->dtype] != NULL ? t->dtype : TX_F32;
  TX_TRY(tx_empty(dtype, t->dims, t->shape, out));
  const tx_tensor *const operand[] = {*out, t};
  const tx_dtype as[] = {dtype, dtype};
  tx_loop(2, operand, as, bodies[op][dtype], NULL, cost_of(op, dtype));
  return TX_OK;
}

/* -- clamp ------------------------------------------------------------------------------------------------------------- */

/* Limits in the type of the elements; NaN stays. */
#define CLAMP(dtype, type)                                                     \
  typedef struct range_##dtype {                                               \
    type low, high;                                                            \
  } range_##dtype;                                                             \
  static void clamp_##dtype(const void *context, int64_t n, void *const *at) { \
    const range_##dtype range = *(const range_##dtype *)context;               \
    const type *a = at[1];                                                     \
    type *y = at[0];                                                           \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                      \
      type x = a[i] < range.low ? range.low : a[i];                            \
      y[i] = x > range.high ? range.high : x;                                  \
    }                                                                          \
  }
CLAMP(u8, uint8_t)
CLAMP(i64, int64_t)
CLAMP(f64, double)

typedef struct range_f32 {
  float low, high;
} range_f32;
static void clamp_f32(const void *context, int64_t n, void *const *at) {
  const range_f32 *range = context;
  tx_kernels.clamp_f32(n, range->low, range->high, at[1], at[0]);
}

/* The limits in the dtype of the elements; an infinite one is none. */
static tx_status limits(tx_dtype dtype, tx_number low, tx_number high, void *to_low, void *to_high) {
  char one[TX_NUMBER_TEXT], two[TX_NUMBER_TEXT];
  if (low.real != low.real || high.real != high.real) return tx_fail(TX_EINVAL, "clamp: a limit is NaN");
  if (low.real > high.real || (low.integral && high.integral && low.integer > high.integer)) {
    return tx_fail(TX_EINVAL, "clamp: min %s is above max %s", tx_number_text(low, one), tx_number_text(high, two));
  }
  bool integers = !tx_dtype_is_float(dtype);
  if (integers && low.real == -(double)INFINITY) low = tx_integer(dtype == TX_U8 ? 0 : INT64_MIN);
  if (integers && high.real == (double)INFINITY) high = tx_integer(dtype == TX_U8 ? UINT8_MAX : INT64_MAX);
  TX_TRY(tx_store(dtype, to_low, low));
  return tx_store(dtype, to_high, high);
}

tx_status tx_clamp(const tx_tensor *t, tx_number low, tx_number high, tx_tensor **out) {
  static tx_loop_body *const clamp[] = {clamp_u8, clamp_i64, clamp_f32, clamp_f64};
  double range[2]; /* room for the two of any dtype */
  TX_TRY(limits(t->dtype, low, high, range, (char *)range + tx_dtype_size(t->dtype)));
  TX_TRY(tx_empty_like(t, out));
  const tx_tensor *const operand[] = {*out, t};
  const tx_dtype as[] = {t->dtype, t->dtype};
  tx_loop(2, operand, as, clamp[t->dtype], range, 1);
  return TX_OK;
}

/* -- where ------------------------------------------------------------------------------------------------------------- */

/* Both operands are read before the choice: then it is a blend, not a branch. */
#define WHERE(dtype, type)                                                     \
  static void where_##dtype(const void *context, int64_t n, void *const *at) { \
    (void)context;                                                             \
    const uint8_t *condition = at[1];                                          \
    const type *a = at[2], *b = at[3];                                         \
    type *y = at[0];                                                           \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                      \
      const type yes = a[i], no = b[i];                                        \
      y[i] = condition[i] != 0 ? yes : no;                                     \
    }                                                                          \
  }
WHERE(u8, uint8_t)
WHERE(i64, int64_t)
WHERE(f32, float)
WHERE(f64, double)

/* The shape that all three share. */
static tx_status common_shape(const tx_tensor *condition, const tx_tensor *a, const tx_tensor *b, tx_dtype dtype,
                              tx_tensor **out) {
  tx_tensor ab = {.dtype = dtype}; /* only its shape is looked at */
  int dims;
  int64_t shape[TX_MAX_DIMS];
  TX_TRY(tx_broadcast("where", a, b, &ab.dims, ab.shape));
  TX_TRY(tx_broadcast("where", condition, &ab, &dims, shape));
  return tx_empty(dtype, dims, shape, out);
}

tx_status tx_where(const tx_tensor *condition, const tx_tensor *a, const tx_tensor *b, tx_tensor **out) {
  static tx_loop_body *const where[] = {where_u8, where_i64, where_f32, where_f64};
  tx_dtype dtype = tx_promote(a, b);
  TX_TRY(tx_holds_typed(dtype, a));
  TX_TRY(tx_holds_typed(dtype, b));
  tx_tensor *mask = NULL;
  if (condition->dtype != TX_U8) { /* 0.5 and 256 are true, and must not become the u8 0 */
    tx_tensor *zero;
    TX_TRY(tx_scalar(TX_U8, tx_integer(0), true, &zero));
    tx_status status = tx_binary("where", TX_NE, condition, zero, &mask);
    tx_unref(zero);
    if (status != TX_OK) return status;
    condition = mask;
  }
  tx_status status = common_shape(condition, a, b, dtype, out);
  if (status == TX_OK) {
    const tx_tensor *const operand[] = {*out, condition, a, b};
    const tx_dtype as[] = {dtype, TX_U8, dtype, dtype};
    tx_loop(4, operand, as, where[dtype], NULL, 1);
  }
  tx_unref(mask);
  return status;
}
