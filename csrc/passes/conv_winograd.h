/* conv_winograd.h - what conv_winograd.c and conv_winograd_gradient.c share: tiles, where their pixels stand, and the first
 * step of both, pixels to elements. See kernels/winograd.h for the method.
 */
#ifndef TX_PASSES_CONV_WINOGRAD_H
#define TX_PASSES_CONV_WINOGRAD_H

#include "base/integers.h"
#include "kernels/kernels.h"
#include "kernels/winograd.h"
#include "passes/conv_internal.h"

enum {
  TX_WINO_PIXELS = 81, /* the most pixels of a tile, in the source or the result */
  TX_WINO_PAD = 16     /* unused floats between V[i] and V[i + 1]: keep them off the same cache sets */
};

/* -- shapes -------------------------------------------------------------------------------------------------------------- */

/* The geometry of one pass, from a source with C channels to a result with K: forward goes from x to y, the gradient to
 * the input from dy to dx. Along one axis (stride 1: in 6, in_step 4, out 4):
 *
 *     source   |-- tile 0: in --|                      result   |- tile 0: out -|- tile 1: out -| ...
 *              <- in_step ->|-- tile 1: in --|
 *              ^ in_w, in_h                                     ^ out_w, out_h: not above 0
 */
typedef struct tx_wino {
  int64_t n, h, w, c;       /* source */
  int64_t p, q, k;          /* result */
  int side;                 /* elements per axis of a tile: 6 or 9 */
  int in, out;              /* source and result pixels per axis of a tile */
  int in_step;              /* source pixels from tile to tile */
  int64_t in_h, in_w;       /* where the first tile begins in the source: negative where there is padding */
  int64_t out_h, out_w;     /* where it begins in the result */
  int64_t tiles_h, tiles_w; /* per image */
  void (*input)(int64_t, const float *const *, int, int, float *, int64_t);
  void (*output)(int64_t, const float *, int64_t, float *const *);
  void (*output_adjoint)(int64_t, const float *const *, int, int, float *, int64_t); /* forward only */
  void (*weight)(int64_t, const float *, int64_t, float *, int64_t);
  void (*weight_adjoint)(int64_t, const float *, int64_t, float *, int64_t);
} tx_wino;

/* From x to y. */
tx_wino tx_wino_forward(const tx_conv_shape *v);
/* From dy to dx; weights rotated by 180 degrees and transposed. */
tx_wino tx_wino_backward(const tx_conv_shape *v);

/* Elements per tile; rows of tiles of all images. */
static inline int64_t tx_wino_elements(const tx_wino *g) { return (int64_t)g->side * g->side; }
static inline int64_t tx_wino_rows(const tx_wino *g) { return g->n * g->tiles_h; }

/* Panels of k columns. */
static inline int64_t tx_wino_panels(int64_t k) { return tx_ceil_div(k, tx_kernels.panel); }

/* The elements i with u(i) = u, which are multiplied with matrix u of U: rows [i0, i1) by columns [j0, j1) of a tile's
 * square of elements. With stride 1 that is element u; with stride 2 it may be up to 4x4 elements. */
typedef struct tx_wino_rect {
  int i0, i1, j0, j1;
} tx_wino_rect;

tx_wino_rect tx_wino_elements_of(const tx_wino *g, int64_t u);

/* -- tiles --------------------------------------------------------------------------------------------------------------- */

/* A tile, counted over all images: its image, its row and column of tiles. */
typedef struct tx_wino_position {
  int64_t image, row, column;
} tx_wino_position;

tx_wino_position tx_wino_tile(const tx_wino *g, int64_t tile);
void tx_wino_next(const tx_wino *g, tx_wino_position *at);

/* pixel[...]: where the size x size pixels from (row, column) of an image {h, w, channels} stand, row by row; `outside`
 * for those outside the image. */
void tx_wino_pixels(const float *image, int64_t h, int64_t w, int64_t channels, int64_t row, int64_t column, int size,
                    const float *outside, const float **pixel);

/* V of `tiles` tiles from `tile` on; of each tile's square of elements, the rows [row0, row1). Element i of tile t
 * comes to v + i * v_step + t * C. `zeros`: C zeros, to be read outside the image. */
void tx_wino_input(const tx_wino *g, const float *x, const float *zeros, int64_t tile, int64_t tiles, int row0,
                   int row1, float *v, int64_t v_step);

/* -- memory to prefetch ---------------------------------------------------------------------------------------------- */

/* A range of memory. */
typedef struct tx_memory_range {
  const char *at;
  int64_t bytes;
} tx_memory_range;

/* About the part of an array of `floats` that the rows of tiles [first, last) read or write. */
tx_memory_range tx_wino_memory_range(const float *array, int64_t floats, const tx_wino *g, int64_t first, int64_t last);

/* Part `i` of `parts` of a range. */
tx_memory_range tx_memory_range_part(tx_memory_range s, int64_t i, int64_t parts);

#endif
