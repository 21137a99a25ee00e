/* fuzz.h - what the fuzz targets share.
 *
 * A target is one file, fuzz/NAME.c, with a function LLVMFuzzerTestOneInput that feeds bytes to one reader. A reader must
 * take any bytes: return TX_OK with something that can be read to its end, or fail with TX_EWORLD and a message. `make
 * fuzz` runs all targets under AddressSanitizer and UndefinedBehaviorSanitizer, from the files of spec/fixtures/data on.
 */
#ifndef TX_FUZZ_FUZZ_H
#define TX_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "data/source.h"
#include "tensor/tensor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A file in memory with these bytes, for readers that want a path; the same path each time. */
const char *fuzz_file(const uint8_t *data, size_t size);

/* Stops the run unless a failure is the fault of the file, or of its size, and says why. */
void fuzz_check_failure(tx_status status);

/* Reads every byte of a tensor, and gives it back. */
void fuzz_read_tensor(tx_tensor *t);

/* Reads some images of a source, and gives it back. */
void fuzz_read_source(tx_source *source);

#endif
