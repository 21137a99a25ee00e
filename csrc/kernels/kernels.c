/* kernels.c - the dispatch table. */
#include "kernels/kernels.h"

tx_kernel_table tx_kernels;
static tx_isa isa_in_use = TX_ISA_REF;

tx_isa tx_kernels_isa(void) { return isa_in_use; }

void tx_kernels_fill(tx_isa isa, tx_kernel_table *table) {
  tx_kernels_fill_ref(table);
#if defined(__x86_64__)
  if (isa == TX_ISA_AVX2) tx_kernels_fill_avx2(table, tx_isa_has_dot(isa));
  if (isa == TX_ISA_AVX512) tx_kernels_fill_avx512(table, tx_isa_has_dot(isa));
#elif defined(__aarch64__)
  if (isa == TX_ISA_NEON) tx_kernels_fill_neon(table, tx_isa_has_dot(isa));
#else
  (void)isa;
#endif
}

tx_status tx_kernels_init(void) {
  static bool filled; /* by another state, whose loaders' threads may be reading it */
  if (filled) return TX_OK;
  TX_TRY(tx_isa_choose(&isa_in_use));
  tx_kernels_fill(isa_in_use, &tx_kernels);
  filled = true;
  return TX_OK;
}
