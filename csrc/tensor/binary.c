/* binary.c - y = a op b over whole tensors, with broadcasting and promotion.
 *
 * The work is done in one dtype: the promoted one, f32 for / and ^ of integers, i64 for comparisons of integers. The
 * bodies below see contiguous runs in that dtype (see loop.h).
 *
 * Integers wrap. % and // round towards minus infinity as in Lua, and an integer zero divisor is refused up front.
 */
#include <math.h>

#include "kernels/kernels.h"
#include "tensor/loop.h"
#include "tensor/math.h"

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

static tx_dtype working_dtype(tx_binary_op op, const tx_tensor *a, const tx_tensor *b) {
  tx_dtype dtype = tx_promote(a, b);
  if (tx_dtype_is_float(dtype)) return dtype;
  if (op == TX_DIV || op == TX_POW) return TX_F32;
  return is_comparison(op) ? TX_I64 : dtype; /* u8 == 300 is false, not 44 == 44 */
}

static int64_t cost_of(tx_binary_op op) { return op == TX_POW || op == TX_MOD ? 32 : op == TX_IDIV ? 8 : 1; }

/* % and // of integers by zero have no answer. */
static tx_status check_divisor(const char *operation, tx_binary_op op, tx_dtype dtype, const tx_tensor *b) {
  if ((op != TX_MOD && op != TX_IDIV) || tx_dtype_is_float(dtype)) return TX_OK;
  tx_tensor *divisor;
  TX_TRY(tx_empty(dtype, b->dims, b->shape, &divisor));
  tx_status status = tx_copy(divisor, b); /* as the body will see it: 256 is a zero of u8 */
  int64_t n = tx_numel(divisor);
  for (int64_t i = 0; i < n && status == TX_OK; i++) {
    if (dtype == TX_U8 ? tx_u8(divisor)[i] != 0 : tx_i64(divisor)[i] != 0) continue;
    status = tx_fail(TX_EINVAL, "%s: division of integers by zero", operation);
  }
  tx_unref(divisor);
  return status;
}

static void run(tx_binary_op op, tx_dtype dtype, const tx_tensor *out, const tx_tensor *a, const tx_tensor *b) {
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
  tx_tensor *apart = NULL;
  if (tx_overlaps(dst, src)) TX_TRY(tx_clone(src, &apart));
  const tx_tensor *const operand[] = {dst, apart != NULL ? apart : src};
  const tx_dtype as[] = {dst->dtype, dst->dtype};
  tx_loop(2, operand, as, dst->dtype == TX_F32 ? axpy_f32 : axpy_f64, &alpha, 1);
  tx_unref(apart);
  return TX_OK;
}
