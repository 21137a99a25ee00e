/* support.c - see fuzz.h; linked with every target. */
#define _GNU_SOURCE /* memfd_create */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "fuzz.h"
#include "kernels/kernels.h"

/* The fast kernels are left out of the build: they take minutes to compile with sanitizers, and no reader needs them. */
void tx_kernels_fill_avx2(tx_kernel_table *table) { (void)table; }
void tx_kernels_fill_avx512(tx_kernel_table *table) { (void)table; }
void tx_kernels_fill_neon(tx_kernel_table *table) { (void)table; }

const char *fuzz_file(const uint8_t *data, size_t size) {
  static int fd = -1;
  static char path[64];
  if (fd < 0) {
    fd = memfd_create("fuzz", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  }
  if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size) abort();
  return path;
}

void fuzz_check_failure(tx_status status) {
  if ((status == TX_EWORLD || status == TX_ENOMEM) && tx_message()[0] != '\0') return;
  fprintf(stderr, "status %d: %s\n", (int)status, tx_message());
  abort();
}

void fuzz_read_tensor(tx_tensor *t) {
  static volatile uint8_t sink;
  int64_t n = tx_numel(t);
  const uint8_t *bytes = tx_data(t);
  if (tx_is_contiguous(t)) {
    for (size_t i = 0; i < (size_t)n * tx_dtype_size(t->dtype); i++) sink = (uint8_t)(sink ^ bytes[i]);
  }
  tx_unref(t);
}

void fuzz_read_source(tx_source *source) {
  size_t bytes;
  if (tx_size_mul((size_t)tx_source_pixels(source), sizeof(float), &bytes) == TX_OK && bytes <= (size_t)64 << 20) {
    float *pixels = malloc(bytes);
    for (int64_t i = 0; i < source->count && i < 4; i++) {
      tx_status status = tx_source_read(source, i < 3 ? i : source->count - 1, pixels);
      if (status != TX_OK) fuzz_check_failure(status);
    }
    free(pixels);
  }
  tx_source_unref(source);
}
