/* fill.c - puts every kernel of this instruction set into a table. */
#include "kernels/kernels.h"
#include "kernels/simd/simd.h"

void TX_SIMD_NAME(kernels_fill)(tx_kernel_table *table, bool dot) {
#define TX_KERNEL(name, result, arguments) table->name = TX_SIMD_NAME(name);
  TX_KERNELS(TX_KERNEL)
#undef TX_KERNEL
  table->panel = TX_SIMD_NAME(panel);
  if (dot) {
    table->gemm_u8 = TX_SIMD_NAME(dot_gemm_u8);
    table->gemm_i16 = TX_SIMD_NAME(dot_gemm_i16);
    table->peak_u8 = TX_SIMD_NAME(dot_peak_u8);
    table->peak_i16 = TX_SIMD_NAME(dot_peak_i16);
  }
}
