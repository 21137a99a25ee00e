/* random.c - filling tensors with the numbers of passes/random.h. */
#include "tensor/random.h"

#include <math.h>

#include "base/rng.h"
#include "tensor/number.h"

/* What is drawn into: t itself where it is contiguous and of that dtype, else a tensor of its shape, from which finish fills
 * it. */
static tx_status begin(tx_tensor *t, tx_dtype dtype, tx_tensor **to) {
  TX_TRY(tx_elements_apart(t));
  if (t->dtype == dtype && tx_is_contiguous(t)) {
    *to = tx_ref(t);
    return TX_OK;
  }
  return tx_empty(dtype, t->dims, t->shape, to);
}

static tx_status finish(tx_tensor *t, tx_tensor *to) {
  const tx_status status = to == t ? TX_OK : tx_copy(t, to);
  tx_unref(to);
  return status;
}

static tx_status check_float(const char *operation, const tx_tensor *t) {
  if (tx_dtype_is_float(t->dtype)) return TX_OK;
  return tx_fail(TX_EINVAL, "%s: a tensor of %s; f32 or f64 is wanted", operation, tx_dtype_name(t->dtype));
}

tx_key tx_next_key(void) {
  tx_generator *g = tx_default_generator();
  return (tx_key){g->seed, g->next_stream++};
}

tx_status tx_fill_uniform(tx_tensor *t, tx_key key, double low, double high) {
  TX_TRY(check_float("uniform", t));
  if (!(low <= high) || !isfinite(high - low)) return tx_fail(TX_EINVAL, "uniform: no range from %g to %g", low, high);
  TX_TRY(tx_holds(t->dtype, tx_real(low)));
  TX_TRY(tx_holds(t->dtype, tx_real(high)));
  tx_tensor *to;
  TX_TRY(begin(t, t->dtype, &to));
  tx_draw_uniform(to->dtype, key, low, high, tx_numel(to), tx_data(to));
  return finish(t, to);
}

tx_status tx_fill_normal(tx_tensor *t, tx_key key, double mean, double deviation) {
  TX_TRY(check_float("normal", t));
  if (!isfinite(mean) || !isfinite(deviation) || deviation < 0) {
    return tx_fail(TX_EINVAL, "normal: no distribution has mean %g and deviation %g", mean, deviation);
  }
  TX_TRY(tx_holds(t->dtype, tx_real(mean)));
  TX_TRY(tx_holds(t->dtype, tx_real(deviation)));
  tx_tensor *to;
  TX_TRY(begin(t, t->dtype, &to));
  tx_draw_normal(to->dtype, key, mean, deviation, tx_numel(to), tx_data(to));
  return finish(t, to);
}

tx_status tx_fill_bernoulli(tx_tensor *t, tx_key key, double p, double value) {
  if (!(p >= 0 && p <= 1)) return tx_fail(TX_EINVAL, "bernoulli: probability %g is not in 0..1", p);
  tx_tensor *to;
  TX_TRY(begin(t, t->dtype == TX_F32 ? TX_F32 : TX_F64, &to));
  tx_draw_bernoulli(to->dtype, key, p, value, tx_numel(to), tx_data(to));
  return finish(t, to);
}

tx_status tx_fill_integers(tx_tensor *t, tx_key key, int64_t low, int64_t high) {
  if (low > high) return tx_fail(TX_EINVAL, "randint: no integers from %lld to %lld", (long long)low, (long long)high);
  const int64_t exact =
      t->dtype == TX_F32 ? INT64_C(1) << 24 : INT64_C(1) << 53; /* up to here a float has every integer */
  if (tx_dtype_is_float(t->dtype) && (low < -exact || high > exact)) {
    return tx_fail(TX_EINVAL, "randint: %s does not have every integer from %lld to %lld", tx_dtype_name(t->dtype),
                   (long long)low, (long long)high);
  }
  TX_TRY(tx_holds(t->dtype, tx_integer(low)));
  TX_TRY(tx_holds(t->dtype, tx_integer(high)));
  tx_tensor *to;
  TX_TRY(begin(t, TX_I64, &to));
  tx_draw_integers(key, low, high, tx_numel(to), tx_i64(to));
  return finish(t, to);
}

tx_status tx_randperm(tx_key key, int64_t n, tx_tensor **out) {
  TX_TRY(tx_empty(TX_I64, 1, &n, out));
  for (int64_t i = 0; i < n; i++) tx_i64(*out)[i] = i + 1;
  tx_rng rng = tx_rng_make(key.seed, key.stream);
  tx_rng_shuffle(&rng, tx_i64(*out), n);
  return TX_OK;
}

tx_status tx_resample(tx_key key, tx_tensor *unit, int64_t rows, int64_t samples, tx_tensor **out) {
  if (unit->dtype != TX_I64 || unit->dims != 1 || unit->shape[0] == 0 || rows < 1 || samples < 1) {
    return tx_fail(TX_EINVAL, "resample: units i64 {n}, rows and samples of at least 1 wanted, got %s %s, %lld, %lld",
                   tx_dtype_name(unit->dtype), tx_shape_of(unit), (long long)rows, (long long)samples);
  }
  const int64_t n = unit->shape[0], shape[2] = {samples, rows};
  tx_tensor *dense, *from0;
  TX_TRY(tx_contiguous(unit, &dense));
  tx_status status = tx_empty(TX_I64, 1, &n, &from0);
  for (int64_t i = 0; i < n && status == TX_OK; i++) {
    const int64_t row = tx_i64(dense)[i];
    if (row < 1 || row > rows)
      status = tx_fail(TX_EINVAL, "resample: unit %lld is of row %lld, there are %lld", (long long)i + 1,
                       (long long)row, (long long)rows);
    tx_i64(from0)[i] = row - 1;
    if (status != TX_OK) tx_unref(from0);
  }
  tx_unref(dense);
  TX_TRY(status);
  status = tx_empty(TX_F64, 2, shape, out);
  if (status == TX_OK) tx_draw_resamples(key, n, tx_i64(from0), samples, rows, tx_f64(*out));
  tx_unref(from0);
  return status;
}
