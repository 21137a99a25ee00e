/* image.c - feeds the readers of image files, with and without conversion. */
#include "data/image.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const tx_image_options options[] = {{0, 0, 0, 0}, {1, 9, 7, 0}, {3, 0, 0, 0}, {4, 0, 0, 0}};
  tx_image_info info;
  tx_status status = tx_image_read_info(data, size, &options[0], &info);
  if (status != TX_OK) {
    fuzz_check_failure(status);
    return 0;
  }
  if (info.height * info.width > 1 << 16) return 0; /* large ones take long and are no different */
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    tx_tensor *image;
    status = tx_image_decode(data, size, &options[i], &image);
    if (status != TX_OK) {
      fuzz_check_failure(status);
    } else {
      fuzz_read_tensor(image);
    }
  }
  return 0;
}
