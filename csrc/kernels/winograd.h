/* winograd.h - the transforms of Winograd's F(4x4, 3x3) convolution.
 *
 * A 3x3 convolution of stride 1 is cut into tiles of 4x4 output pixels, each of which sees 6x6 input pixels. With
 *
 *     V = B^T x B  (6x6 pixels -> 36 numbers),   U = G w G^T  (3x3 -> 36),   y = A^T (U . V summed over channels) A  (36 -> 4x4)
 *
 * the sum over channels is 36 matrix products, tiles by channels times channels by filters, with a quarter of the direct
 * method's multiplications. The gradients use the same matrices:
 *
 *     to the input    the same method with filters turned by 180 degrees, and C and K exchanged
 *     to the weights  dw = G^T (sum over tiles of V^T (A dy A^T)) G
 *
 * The matrices come from interpolation at the points 0, +-3/4, +-3/2, infinity, which in f32 err about 2 to 4 times less
 * than the textbook's 0, +-1, +-2, infinity. Their 1-D forms, with a = 3/4, b = 3/2:
 *
 *     B^T = | a2b2     0  -a2-b2     0    1  0 |    G = |  1,  0,  0  | / a2b2         A^T = | 1  1   1   1   1   0 |
 *           |   0  -a b2   -b2     a    1  0 |          |  1,  a, a2  | / 2a2(a2-b2)         | 0  a  -a   b  -b   0 |
 *           |   0   a b2   -b2    -a    1  0 |          |  1, -a, a2  | / 2a2(a2-b2)         | 0  a2  a2  b2  b2  0 |
 *           |   0  -b a2   -a2     b    1  0 |          |  1,  b, b2  | / 2b2(b2-a2)         | 0  a3 -a3  b3 -b3  1 |
 *           |   0   b a2   -a2    -b    1  0 |          |  1, -b, b2  | / 2b2(b2-a2)
 *           |   0   a2b2     0  -a2-b2  0  1 |          |  0,  0,  1  |
 *
 * Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016 (arXiv:1509.09308).
 */
#ifndef TX_KERNELS_WINOGRAD_H
#define TX_KERNELS_WINOGRAD_H

enum {
  TX_WINO_OUT = 4,  /* rows and columns of an output tile */
  TX_WINO_IN = 6,   /* rows and columns of the input pixels it sees */
  TX_WINO_POINTS = 36 /* products per tile, channel and filter */
};

/* The interpolation points, their squares and so on, all exact in f32. */
#define TX_WINO_A 0.75f
#define TX_WINO_B 1.5f
#define TX_WINO_A2 (TX_WINO_A * TX_WINO_A)
#define TX_WINO_B2 (TX_WINO_B * TX_WINO_B)

#endif
