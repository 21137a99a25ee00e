/* fill.c - puts every kernel of this instruction set into a table. */
#include "kernels/kernels.h"
#include "kernels/simd/simd.h"

void TX_SIMD_NAME(kernels_fill)(tx_kernel_table *table) {
#define TX_KERNEL(name, result, arguments) table->name = TX_SIMD_NAME(name);
  TX_KERNELS(TX_KERNEL)
#undef TX_KERNEL
  table->panel = TX_SIMD_NAME(panel);
}
