/* scale.c - see scale.h. */
#include "data/scale.h"

#include <inttypes.h>

#include "base/integers.h"

bool tx_scale_of_type(char kind, int bytes, double *scale) {
  bool known = kind == 'f' || kind == 'b' || (kind == 'u' && bytes <= 2);
  if (known) *scale = kind != 'u' ? 1.0 : bytes == 1 ? 1.0 / 255 : 1.0 / 65535;
  return known;
}

void tx_widen_range(const int64_t *values, int64_t count, int64_t *low, int64_t *high) {
  for (int64_t i = 0; i < count; i++) {
    *low = tx_min(*low, values[i]);
    *high = tx_max(*high, values[i]);
  }
}

tx_status tx_scale_of_range(int64_t low, int64_t high, double *scale) {
  if (low < 0 || high > 65535) {
    return tx_fail(TX_EWORLD,
                   "pixels are integers within %" PRId64 "..%" PRId64 ": say with `scale` what to multiply them by",
                   low, high);
  }
  *scale = high > 255 ? 1.0 / 65535 : 1.0 / 255;
  return TX_OK;
}
