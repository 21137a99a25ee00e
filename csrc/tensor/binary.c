/* binary.c - y = a op b over whole tensors, with broadcasting and promotion.
 *
 * The work is done in one dtype: the promoted one, f32 for / and ^ of integers, i64 for comparisons of integers. (An integer
 * and a float are compared as they are.) The bodies below see contiguous runs in that dtype (see loop.h).
 *
 * Integers wrap. % and // round towards minus infinity as in Lua, and an integer zero divisor is refused up front.
 */
#include <math.h>

#include "kernels/kernels.h"
#include "tensor/loop.h"
#include "tensor/math.h"
#include "tensor/number.h"

/* static void <op>_<dtype>(...): y[i] = expression of the operands x and z. */
#define BODY(op, dtype, type, out_type, expression)                           \
  static void op##_##dtype(const void *context, int64_t n, void *const *at) { \
    (void)context;                                                            \
    const type *a = at[1], *b = at[2];                                        \
    out_type *y = at[0];                                                      \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                     \
      type x = a[i], z = b[i];                                                \
      y[i] = (out_type)(expression);                                          \
    }                                                                         \
  }

/* The dispatched f32 kernel of the same name. */
#define KERNEL_BODY(op)                                                   \
  static void op##_f32(const void *context, int64_t n, void *const *at) { \
    (void)context;                                                        \
    tx_kernels.op##_f32(n, at[1], at[2], at[0]);                          \
  }

#define FLOAT_BODIES(dtype, type, suffix)                      \
  BODY(maximum, dtype, type, type, (x > z) | (x != x) ? x : z) \
  BODY(minimum, dtype, type, type, (x < z) | (x != x) ? x : z) \
  BODY(idiv, dtype, type, type, floor##suffix(x / z))          \
  COMPARE_BODIES(dtype, type)

#define COMPARE_BODIES(dtype, type)      \
  BODY(eq, dtype, type, uint8_t, x == z) \
  BODY(ne, dtype, type, uint8_t, x != z) \
  BODY(lt, dtype, type, uint8_t, x < z)  \
  BODY(le, dtype, type, uint8_t, x <= z) \
  BODY(gt, dtype, type, uint8_t, x > z)  \
  BODY(ge, dtype, type, uint8_t, x >= z)

#define INTEGER_BODIES(dtype, type)                       \
  BODY(add, dtype, type, type, (uint64_t)x + (uint64_t)z) \
  BODY(sub, dtype, type, type, (uint64_t)x - (uint64_t)z) \
  BODY(mul, dtype, type, type, (uint64_t)x *(uint64_t)z)  \
  BODY(maximum, dtype, type, type, x > z ? x : z)         \
  BODY(minimum, dtype, type, type, x < z ? x : z)         \
  BODY(mod, dtype, type, type, integer_mod(x, z))         \
  BODY(idiv, dtype, type, type, integer_idiv(x, z))

/* As lua_Number % lua_Number: the result has the sign of the divisor. */
static double float_mod(double x, double z) {
  double m = fmod(x, z);
  return m != 0 && (m < 0) != (z < 0) ? m + z : m;
}

/* The divisor is not 0; -1 is apart because INT64_MIN / -1 overflows. */
static int64_t integer_idiv(int64_t x, int64_t z) {
  if (z == -1) return (int64_t)(0 - (uint64_t)x);
  return x / z - (x % z != 0 && (x % z < 0) != (z < 0));
}
static int64_t integer_mod(int64_t x, int64_t z) {
  if (z == -1) return 0;
  int64_t m = x % z;
  return m != 0 && (m < 0) != (z < 0) ? m + z : m;
}

FLOAT_BODIES(f32, float, f)
FLOAT_BODIES(f64, double, )
BODY(add, f64, double, double, x + z)
BODY(sub, f64, double, double, x - z)
BODY(mul, f64, double, double, x *z)
BODY(div, f64, double, double, x / z)
BODY(mod, f64, double, double, float_mod(x, z))
BODY(pow, f64, double, double, pow(x, z))
KERNEL_BODY(add)
KERNEL_BODY(sub)
KERNEL_BODY(mul)
KERNEL_BODY(div)
KERNEL_BODY(mod)
KERNEL_BODY(pow)

INTEGER_BODIES(u8, uint8_t)
INTEGER_BODIES(i64, int64_t)
COMPARE_BODIES(i64, int64_t)

#define INTEGER_ROW(op) \
  { op##_u8, op##_i64, op##_f32, op##_f64 }
#define FLOAT_ROW(op) \
  { NULL, NULL, op##_f32, op##_f64 }
#define COMPARE_ROW(op) \
  { NULL, op##_i64, op##_f32, op##_f64 }

static tx_loop_body *const bodies[][TX_DTYPE_COUNT] = {
    [TX_ADD] = INTEGER_ROW(add),         [TX_SUB] = INTEGER_ROW(sub), [TX_MUL] = INTEGER_ROW(mul),
    [TX_DIV] = FLOAT_ROW(div),           [TX_POW] = FLOAT_ROW(pow),   [TX_MAXIMUM] = INTEGER_ROW(maximum),
    [TX_MINIMUM] = INTEGER_ROW(minimum), [TX_MOD] = INTEGER_ROW(mod), [TX_IDIV] = INTEGER_ROW(idiv),
    [TX_EQ] = COMPARE_ROW(eq),           [TX_NE] = COMPARE_ROW(ne),   [TX_LT] = COMPARE_ROW(lt),
    [TX_LE] = COMPARE_ROW(le),           [TX_GT] = COMPARE_ROW(gt),   [TX_GE] = COMPARE_ROW(ge),
};

static bool is_comparison(tx_binary_op op) { return op >= TX_EQ; }

/* Comparisons are of values: u8 == 300 is false, not 44 == 44. A typed number is taken in the other operand's dtype where that
 * is f32 and can hold it: f32 == 0.1 asks for the f32 that is nearest to 0.1. */
static tx_dtype comparison_dtype(const tx_tensor *a, const tx_tensor *b) {
  if (!tx_dtype_is_float(a->dtype) && !tx_dtype_is_float(b->dtype)) return TX_I64;
  if (a->weak == b->weak) return tx_promote(a, b);
  const tx_tensor *typed = a->weak ? a : b, *other = a->weak ? b : a;
  return other->dtype == TX_F32 && tx_holds_typed(TX_F32, typed) == TX_OK ? TX_F32 : TX_F64;
}

static tx_dtype working_dtype(tx_binary_op op, const tx_tensor *a, const tx_tensor *b) {
  if (is_comparison(op)) return comparison_dtype(a, b);
  tx_dtype dtype = tx_promote(a, b);
  return !tx_dtype_is_float(dtype) && (op == TX_DIV || op == TX_POW) ? TX_F32 : dtype;
}

/* Whether an integer meets a float: compared as they are, as Lua does, since either may be rounded in the dtype of the other.
 * Not so a typed integer that the float dtype holds exactly: x > 0. */
static bool is_mixed(const tx_tensor *a, const tx_tensor *b) {
  const tx_tensor *integer = tx_dtype_is_float(a->dtype) ? b : a, *real = integer == a ? b : a;
  if (tx_dtype_is_float(integer->dtype) || !tx_dtype_is_float(real->dtype)) return false;
  if (!integer->weak) return true;
  double value = tx_item(integer);
  return fabs(value) >= (real->dtype == TX_F32 ? 0x1p24 : 0x1p53);
}

/* In arithmetic a typed number must fit the dtype of the work. */
static tx_status check_typed(tx_binary_op op, tx_dtype dtype, const tx_tensor *a, const tx_tensor *b) {
  if (is_comparison(op)) return TX_OK;
  TX_TRY(tx_holds_typed(dtype, a));
  return tx_holds_typed(dtype, b);
}

/* -1: a < b, 0: equal, 1: a > b, 2: b is NaN. */
static int order(int64_t a, double b) {
  if (b != b) return 2;
  if (b >= 0x1p63) return -1;
  if (b < -0x1p63) return 1;
  double whole = floor(b);
  int64_t z = (int64_t)whole;
  return a != z ? (a > z) - (a < z) : b > whole ? -1 : 0;
}

#define MIXED_BODY(op, condition)                                           \
  static void mixed_##op(const void *context, int64_t n, void *const *at) { \
    (void)context;                                                          \
    const int64_t *a = at[1];                                               \
    const double *b = at[2];                                                \
    uint8_t *y = at[0];                                                     \
    for (int64_t i = 0; i < n; i++) {                                       \
      const int o = order(a[i], b[i]);                                      \
      y[i] = condition;                                                     \
    }                                                                       \
  }
MIXED_BODY(eq, o == 0)
MIXED_BODY(ne, o != 0)
MIXED_BODY(lt, o < 0)
MIXED_BODY(le, o <= 0)
MIXED_BODY(gt, o == 1)
MIXED_BODY(ge, o == 0 || o == 1)

static void compare_mixed(tx_binary_op op, const tx_tensor *out, const tx_tensor *a, const tx_tensor *b) {
  static tx_loop_body *const mixed[] = {mixed_eq, mixed_ne, mixed_lt, mixed_le, mixed_gt, mixed_ge};
  static const tx_binary_op mirrored[] = {TX_EQ, TX_NE, TX_GT, TX_GE, TX_LT, TX_LE};
  bool mirror = tx_dtype_is_float(a->dtype);
  if (mirror) op = mirrored[op - TX_EQ];
  const tx_tensor *const operand[] = {out, mirror ? b : a, mirror ? a : b};
  const tx_dtype as[] = {TX_U8, TX_I64, TX_F64};
  tx_loop(3, operand, as, mixed[op - TX_EQ], NULL, 4);
}

static int64_t cost_of(tx_binary_op op) { return op == TX_POW || op == TX_MOD ? 32 : op == TX_IDIV ? 8 : 1; }

/* % and // of integers by zero have no answer. */
static tx_status check_divisor(const char *operation, tx_binary_op op, tx_dtype dtype, const tx_tensor *b) {
  if ((op != TX_MOD && op != TX_IDIV) || tx_dtype_is_float(dtype)) return TX_OK;
  tx_tensor *divisor;
  TX_TRY(tx_empty(dtype, b->dims, b->shape, &divisor));
  tx_status status = tx_copy(divisor, b);
  int64_t n = tx_numel(divisor);
  for (int64_t i = 0; i < n && status == TX_OK; i++) {
    if (dtype == TX_U8 ? tx_u8(divisor)[i] != 0 : tx_i64(divisor)[i] != 0) continue;
    status = tx_fail(TX_EINVAL, "%s: division of integers by zero", operation);
  }
  tx_unref(divisor);
  return status;
}

static void run(tx_binary_op op, tx_dtype dtype, const tx_tensor *out, const tx_tensor *a, const tx_tensor *b) {
  if (is_comparison(op) && is_mixed(a, b)) {
    compare_mixed(op, out, a, b);
    return;
  }
  tx_loop_body *body = bodies[op][dtype];
  if (op == TX_POW && b->dims == 0 && tx_item(b) == 2) { /* x ^ 2 is everywhere */
    body = bodies[TX_MUL][dtype];
    b = a;
    op = TX_MUL;
  }
  const tx_tensor *const operand[] = {out, a, b};
  const tx_dtype as[] = {is_comparison(op) ? TX_U8 : dtype, dtype, dtype};
  tx_loop(3, operand, as, body, NULL, cost_of(op));
}

tx_status tx_binary(const char *operation, tx_binary_op op, const tx_tensor *a, const tx_tensor *b, tx_tensor **out) {
  int dims;
  int64_t shape[TX_MAX_DIMS];
  TX_TRY(tx_broadcast(operation, a, b, &dims, shape));
  tx_dtype dtype = working_dtype(op, a, b);
  TX_TRY(check_typed(op, dtype, a, b));
  TX_TRY(check_divisor(operation, op, dtype, b));
  TX_TRY(tx_empty(is_comparison(op) ? TX_U8 : dtype, dims, shape, out));
  run(op, dtype, *out, a, b);
  return TX_OK;
}

tx_status tx_binary_into(const char *operation, tx_binary_op op, tx_tensor *dst, const tx_tensor *src) {
  int dims;
  int64_t shape[TX_MAX_DIMS];
  TX_TRY(tx_broadcast(operation, dst, src, &dims, shape));
  bool fits = dims == dst->dims;
  for (int d = 0; d < dims && fits; d++) fits = shape[d] == dst->shape[d];
  if (!fits) {
    return tx_fail(TX_EINVAL, "%s: %s does not fit into the shape %s of the destination", operation, tx_shape_of(src),
                   tx_shape_of(dst));
  }
  tx_dtype dtype = working_dtype(op, dst, src);
  if (tx_dtype_is_float(dtype) && !tx_dtype_is_float(dst->dtype)) {
    return tx_fail(TX_EINVAL, "%s: the result is %s and cannot be kept in a tensor of %s", operation,
                   tx_dtype_name(dtype), tx_dtype_name(dst->dtype));
  }
  TX_TRY(tx_elements_apart(dst));
  TX_TRY(check_typed(op, dtype, dst, src));
  TX_TRY(check_divisor(operation, op, dtype, src));
  tx_tensor *apart = NULL;
  if (tx_overlaps(dst, src)) TX_TRY(tx_clone(src, &apart));
  run(op, dtype, dst, dst, apart != NULL ? apart : src);
  tx_unref(apart);
  return TX_OK;
}

static void axpy_f32(const void *context, int64_t n, void *const *at) {
  tx_kernels.axpy_f32(n, (float)*(const double *)context, at[1], at[0]);
}

static void axpy_f64(const void *context, int64_t n, void *const *at) {
  const double alpha = *(const double *)context, *x = at[1];
  double *y = at[0];
#pragma omp simd
  for (int64_t i = 0; i < n; i++) y[i] += alpha * x[i];
}

tx_status tx_axpy(tx_tensor *dst, double alpha, const tx_tensor *src) {
  if (!tx_same_shape(dst, src) || !tx_dtype_is_float(dst->dtype)) {
    return tx_fail(TX_EINVAL, "axpy: %s of %s cannot take %s of %s", tx_shape_of(dst), tx_dtype_name(dst->dtype),
                   tx_shape_of(src), tx_dtype_name(src->dtype));
  }
  TX_TRY(tx_elements_apart(dst));
  tx_tensor *apart = NULL;
  if (tx_overlaps(dst, src)) TX_TRY(tx_clone(src, &apart));
  const tx_tensor *const operand[] = {dst, apart != NULL ? apart : src};
  const tx_dtype as[] = {dst->dtype, dst->dtype};
  tx_loop(2, operand, as, dst->dtype == TX_F32 ? axpy_f32 : axpy_f64, &alpha, 1);
  tx_unref(apart);
  return TX_OK;
}
