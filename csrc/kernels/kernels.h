/* kernels.h - the dispatch table of leaf numerical code.
 *
 * The table is first filled with the portable kernels of kernels/ref/ (plain C, the definition of what each kernel
 * computes), then overwritten by those of the CPU's instruction set. The sources in kernels/simd/ are written once, in
 * the vector types of kernels/simd/simd.h, and compiled once per instruction set (avx2, avx512, neon).
 */
#ifndef TX_KERNELS_KERNELS_H
#define TX_KERNELS_KERNELS_H

#include <stdint.h>

#include "base/cpu.h"
#include "base/status.h"
#include "kernels/list.h"

typedef struct tx_kernel_table {
#define TX_KERNEL(name, result, arguments) result(*name) arguments;
  TX_KERNELS(TX_KERNEL)
#undef TX_KERNEL
  int64_t panel; /* columns of a panel: kernels/blocks.h */
} tx_kernel_table;

/* The table in use; filled by tx_kernels_init(), read only afterwards. */
extern tx_kernel_table tx_kernels;

/* Chooses the instruction set (see base/cpu.h) and fills the table. May be called again. */
tx_status tx_kernels_init(void);

/* The instruction set in use. */
tx_isa tx_kernels_isa(void);

/* Fills a table with the kernels of one instruction set that this machine supports (tx_isa_supported). */
void tx_kernels_fill(tx_isa isa, tx_kernel_table *table);

/* The same, one by one; those of another architecture are not in the binary. dot: for a CPU with tx_isa_has_dot. */
void tx_kernels_fill_ref(tx_kernel_table *table);
void tx_kernels_fill_avx2(tx_kernel_table *table, bool dot);
void tx_kernels_fill_avx512(tx_kernel_table *table, bool dot);
void tx_kernels_fill_neon(tx_kernel_table *table, bool dot);

#endif
