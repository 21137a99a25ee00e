/* csv.c - feeds the CSV reader. */
#include "data/csv.h"

#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tx_csv csv;
  tx_status status = tx_csv_parse(data, size, 0, &csv);
  if (status != TX_OK) {
    fuzz_check_failure(status);
    return 0;
  }
  static volatile size_t sink;
  for (int64_t r = -1; r < csv.rows; r++) {
    for (int64_t c = 0; c < csv.columns; c++) sink = strlen(tx_csv_cell(&csv, r, c));
  }
  tx_csv_free(&csv);
  return 0;
}
