/* npz.c - feeds the .npz reader. */
#include "data/npz.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tx_npz npz;
  tx_status status = tx_npz_parse(data, size, &npz);
  if (status != TX_OK) {
    fuzz_check_failure(status);
    return 0;
  }
  for (int64_t m = 0; m < npz.count && m < 8; m++) {
    tx_npy npy;
    tx_tensor *t;
    status = tx_npz_tensor(&npz, m, &npy, &t);
    if (status != TX_OK) {
      fuzz_check_failure(status);
    } else {
      fuzz_read_tensor(t);
    }
  }
  tx_npz_free(&npz);
  return 0;
}
