/* npy.c - feeds the .npy reader: as a tensor, mapped, and as a source of images. */
#include "data/npy.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tx_npy npy;
  tx_tensor *t;
  tx_status status = tx_npy_tensor(data, size, &npy, &t);
  if (status != TX_OK) {
    fuzz_check_failure(status);
    return 0;
  }
  fuzz_read_tensor(t);
  const char *path = fuzz_file(data, size);
  status = tx_load_npy(path, true, &t);
  if (status != TX_OK) {
    fuzz_check_failure(status);
  } else {
    fuzz_read_tensor(t);
  }
  tx_source *source;
  status = tx_npy_source(path, 0, &source);
  if (status != TX_OK) {
    fuzz_check_failure(status);
  } else {
    fuzz_read_source(source);
  }
  return 0;
}
