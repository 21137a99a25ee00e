/* dtype.h - the types of elements. */
#ifndef TX_BASE_DTYPE_H
#define TX_BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In ascending order of promotion: u8 < i64 < f32 < f64. Comparisons give u8 (0 or 1). */
typedef enum tx_dtype { TX_U8 = 0, TX_I64, TX_F32, TX_F64, TX_DTYPE_COUNT } tx_dtype;

size_t tx_dtype_size(tx_dtype dtype);
const char *tx_dtype_name(tx_dtype dtype);
bool tx_dtype_is_float(tx_dtype dtype);
bool tx_dtype_from_name(const char *name, tx_dtype *dtype);

/* Element i of f32 or f64 memory, read and written as a double. */
static inline double tx_get_real(tx_dtype dtype, const void *data, int64_t i) {
  return dtype == TX_F32 ? (double)((const float *)data)[i] : ((const double *)data)[i];
}

static inline void tx_set_real(tx_dtype dtype, void *data, int64_t i, double value) {
  if (dtype == TX_F32) {
    ((float *)data)[i] = (float)value;
  } else {
    ((double *)data)[i] = value;
  }
}

#endif
