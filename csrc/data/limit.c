/* limit.c - see limit.h. */
#include "data/limit.h"

#include <inttypes.h>

static const uint64_t FLOOR = (uint64_t)1 << 30;
enum { RATIO = 16 };

uint64_t tx_most_unpacked(uint64_t file_bytes, int64_t max_bytes) {
  if (max_bytes > 0) return (uint64_t)max_bytes;
  return file_bytes > FLOOR / RATIO ? file_bytes * RATIO : FLOOR;
}

tx_status tx_check_most(uint64_t bytes, uint64_t most) {
  if (bytes <= most) return TX_OK;
  return tx_fail(TX_EWORLD,
                 "unpacked it has %" PRIu64 " bytes, at most %" PRIu64 " are made of this file; max_bytes raises that",
                 bytes, most);
}

tx_status tx_check_unpacked(uint64_t bytes, uint64_t file_bytes, int64_t max_bytes) {
  return tx_check_most(bytes, tx_most_unpacked(file_bytes, max_bytes));
}
