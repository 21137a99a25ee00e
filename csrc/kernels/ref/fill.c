/* fill.c - puts every reference kernel into a table. */
#include "kernels/blocks.h"
#include "kernels/kernels.h"
#include "kernels/ref/ref.h"

void tx_kernels_fill_ref(tx_kernel_table *table) {
#define TX_KERNEL(name, result, arguments) table->name = tx_##name##_ref;
  TX_KERNELS(TX_KERNEL)
#undef TX_KERNEL
  table->panel = tx_panel_ref;
}
