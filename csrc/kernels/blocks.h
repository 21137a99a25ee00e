/* blocks.h - block sizes of the matrix product (kernels/gemm.h) per instruction set.
 *
 *     vector      floats in a register
 *     tile_rows   rows of the tile of c that stays in registers; the reference has no tile
 *     panel       columns of that tile, and of a panel of packed b: tx_kernels.panel
 *
 * A tile takes 2 registers per row, 2 for b and 1 for a: 31 of AVX-512's 32, 15 of AVX2's 16.
 *
 * Blocks in csrc/passes/ follow the caches, not these. Of 112 rows AVX-512 makes 8 tiles of 14 and AVX2 17 of 6 and 2 of
 * 5; blocks of 108 or 114 rows, whole tiles of 6, gained at most 3 % of a convolution on AVX2 and lost up to 7 % of a product.
 */
#ifndef TX_KERNELS_BLOCKS_H
#define TX_KERNELS_BLOCKS_H

/* clang-format off */
#define TX_BLOCKS(ROW) \
  /*  isa     vector  tile_rows  panel */ \
  ROW(ref,         1,         1,     8) \
  ROW(avx2,        8,         6,    16) \
  ROW(avx512,     16,        14,    32) \
  ROW(neon,        4,         8,     8)
/* clang-format on */

#define ROW(isa, vector, tile_rows, panel) \
  enum { tx_vector_##isa = vector, tx_tile_rows_##isa = tile_rows, tx_panel_##isa = panel };
TX_BLOCKS(ROW)
#undef ROW

#endif
