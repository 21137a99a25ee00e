/* hdf5.c - feeds the HDF5 reader. What it finds may be libhdf5's: look where the stack ends. */
#include "data/hdf5.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = fuzz_file(data, size);
  tx_hdf5_list list;
  tx_status status = tx_hdf5_list_datasets(path, &list);
  if (status != TX_OK) {
    fuzz_check_failure(status);
    return 0;
  }
  for (int64_t i = 0; i < list.count && i < 8; i++) {
    const tx_hdf5_dataset *d = &list.dataset[i];
    int64_t numel;
    tx_tensor *t;
    tx_source *source;
    if (tx_shape_numel("fuzz", d->dims, d->shape, &numel) == TX_OK && numel < 1 << 22) {
      status = tx_hdf5_load(path, d->path, 0, &t);
      if (status != TX_OK) {
        fuzz_check_failure(status);
      } else {
        fuzz_read_tensor(t);
      }
    }
    status = tx_hdf5_source(path, d->path, 0, 0, &source);
    if (status != TX_OK) {
      fuzz_check_failure(status);
    } else {
      fuzz_read_source(source);
    }
  }
  tx_hdf5_list_free(&list);
  return 0;
}
