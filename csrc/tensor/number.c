/* number.c - what a dtype can hold. */
#include "tensor/number.h"

#include <math.h>
#include <stdio.h>

#include "base/integers.h"
#include "base/text.h"
#include "tensor/loop.h"

/* Bounds of what a float may be: I64_END and U8_END are the first that are too large, F32_END is rounded to infinity. */
#define I64_END 0x1p63
#define U8_END 256.0
#define F32_END 0x1.ffffffp127

static const char *const ranges[TX_DTYPE_COUNT] = {
    [TX_U8] = "integers 0..255",
    [TX_I64] = "integers -2^63..2^63-1",
    [TX_F32] = "up to 3.4e38",
    [TX_F64] = "any number",
};

const char *tx_number_text(tx_number n, char buffer[TX_NUMBER_TEXT]) {
  if (n.integral) {
    snprintf(buffer, TX_NUMBER_TEXT, "%lld", (long long)n.integer);
  } else if (isnan(n.real)) {
    snprintf(buffer, TX_NUMBER_TEXT, "nan"); /* whatever its sign, which is chance */
  } else {
    tx_format(buffer, TX_NUMBER_TEXT, "%.14g", n.real);
  }
  return buffer;
}

/* -- one number -------------------------------------------------------------------------------------------------------- */

/* NaN is in no range. */
static bool fits_u8(double v) { return v > -1 && v < U8_END; }
static bool fits_i64(double v) { return v >= -I64_END && v < I64_END; }
static bool fits_f32(double v) { return fabs(v) < F32_END || !isfinite(v); }

static bool holds(tx_dtype dtype, tx_number n) {
  bool whole = n.integral || n.real == trunc(n.real);
  switch (dtype) {
    case TX_U8:
      return n.integral ? n.integer >= 0 && n.integer <= UINT8_MAX : whole && fits_u8(n.real);
    case TX_I64:
      return n.integral || (whole && fits_i64(n.real));
    case TX_F32:
      return n.integral || fits_f32(n.real);
    default:
      return true;
  }
}

tx_status tx_holds(tx_dtype dtype, tx_number n) {
  if (holds(dtype, n)) return TX_OK;
  char text[TX_NUMBER_TEXT];
  return tx_fail(TX_EINVAL, "%s does not fit %s (%s)", tx_number_text(n, text), tx_dtype_name(dtype), ranges[dtype]);
}

tx_status tx_store(tx_dtype dtype, void *element, tx_number n) {
  TX_TRY(tx_holds(dtype, n));
  switch (dtype) {
    case TX_U8:
      *(uint8_t *)element = n.integral ? (uint8_t)n.integer : (uint8_t)n.real;
      break;
    case TX_I64:
      *(int64_t *)element = n.integral ? n.integer : (int64_t)n.real;
      break;
    case TX_F32:
      *(float *)element = n.integral ? (float)n.integer : (float)n.real;
      break;
    default:
      *(double *)element = n.integral ? (double)n.integer : n.real;
  }
  return TX_OK;
}

tx_number tx_load(tx_dtype dtype, const void *data, int64_t i) {
  if (dtype == TX_U8) return tx_integer(((const uint8_t *)data)[i]);
  if (dtype == TX_I64) return tx_integer(((const int64_t *)data)[i]);
  return tx_real(tx_get_real(dtype, data, i));
}

tx_status tx_holds_typed(tx_dtype dtype, const tx_tensor *t) {
  return t->weak ? tx_holds(dtype, tx_load(t->dtype, tx_data(t), 0)) : TX_OK;
}

/* -- whole tensors ------------------------------------------------------------------------------------------------------ */

/* Whether all of n elements from number `first` on fit. */
#define FITS(from, type, to, condition)                                       \
  static bool from##_in_##to(const void *data, int64_t first, int64_t n) {    \
    const type *x = (const type *)data + first;                               \
    int beyond = 0;                                                           \
    _Pragma("omp simd reduction(|:beyond)") for (int64_t i = 0; i < n; i++) { \
      const type v = x[i];                                                    \
      beyond |= !(condition);                                                 \
    }                                                                         \
    return beyond == 0;                                                       \
  }
FITS(i64, int64_t, u8, (v >= 0) & (v <= UINT8_MAX))
FITS(f32, float, u8, (v > -1) & (v < (float)U8_END))
FITS(f64, double, u8, (v > -1) & (v < U8_END))
FITS(f32, float, i64, (v >= (float)-I64_END) & (v < (float)I64_END))
FITS(f64, double, i64, (v >= -I64_END) & (v < I64_END))
FITS(f64, double, f32, (fabs(v) < F32_END) | (v != v) | (fabs(v) == (double)INFINITY))

/* NULL: every number fits. */
static tx_test_fn *const fits[TX_DTYPE_COUNT][TX_DTYPE_COUNT] = {
    [TX_I64] = {[TX_U8] = i64_in_u8},
    [TX_F32] = {[TX_U8] = f32_in_u8, [TX_I64] = f32_in_i64},
    [TX_F64] = {[TX_U8] = f64_in_u8, [TX_I64] = f64_in_i64, [TX_F32] = f64_in_f32},
};

/* The message about the first element that does not fit. */
static tx_status refuse(tx_dtype dtype, const tx_tensor *t, tx_test_fn *fit) {
  tx_tensor *x;
  TX_TRY(tx_as_contiguous(t, &x));
  int64_t i = 0;
  while (fit(tx_data(x), i, 1)) i++;
  char text[TX_NUMBER_TEXT];
  const tx_number number = tx_load(t->dtype, tx_data(x), i);
  tx_unref(x);
  return tx_fail(TX_EINVAL, "%s (element %lld of %s) does not fit %s (%s)", tx_number_text(number, text),
                 (long long)i + 1, tx_shape_of(t), tx_dtype_name(dtype), ranges[dtype]);
}

tx_status tx_holds_all(tx_dtype dtype, const tx_tensor *t) {
  tx_test_fn *fit = fits[t->dtype][dtype];
  if (fit == NULL) return TX_OK;
  bool all;
  TX_TRY(tx_all(t, fit, &all));
  return all ? TX_OK : refuse(dtype, t, fit);
}
