/* dtype.c - names and sizes of the types of elements. */
#include "base/dtype.h"

#include <string.h>

static const struct {
  const char *name;
  size_t size;
} dtypes[TX_DTYPE_COUNT] = {{"u8", 1}, {"i64", 8}, {"f32", 4}, {"f64", 8}};

size_t tx_dtype_size(tx_dtype dtype) { return dtypes[dtype].size; }
const char *tx_dtype_name(tx_dtype dtype) { return dtypes[dtype].name; }
bool tx_dtype_is_float(tx_dtype dtype) { return dtype == TX_F32 || dtype == TX_F64; }

bool tx_dtype_from_name(const char *name, tx_dtype *dtype) {
  for (int d = 0; d < TX_DTYPE_COUNT; d++) {
    if (strcmp(name, dtypes[d].name) == 0) {
      *dtype = (tx_dtype)d;
      return true;
    }
  }
  return false;
}
