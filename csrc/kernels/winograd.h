/* winograd.h - the transforms of Winograd's convolution: F(4x4, 3x3), and a form of it for stride 2.
 *
 * Stride 1. A 3x3 convolution is cut into tiles of 4x4 output pixels, which see 6x6 input pixels each. Along one axis:
 *
 *     x   0  1  2  3  4  5  6  7  8  9        y   0  1  2  3   4  5  6  7
 *         |--- tile 0 ---|                        | tile 0 |   | tile 1 |
 *                     |--- tile 1 ---|
 *
 * The 6x6 pixels of a tile, of one channel, are transformed to 6x6 elements, and so are the 3x3 weights of one filter:
 *
 *     V = B^T x B  (6x6 pixels -> 36 elements)       M = sum over channels of V * U, element by element
 *     U = G w G^T  (3x3 weights -> 36 elements)      y = A^T M A  (36 elements -> 4x4 pixels)
 *
 * For each of the 36 elements, M of all tiles and filters is a matrix product, {tiles, C} times {C, K}: a quarter of
 * the direct method's multiplications (36 instead of 16 * 9 = 144 for each tile). The gradients use the same matrices:
 *
 *     to the input    the same method with filters rotated by 180 degrees, and C and K exchanged
 *     to the weights  dw = G^T dU G, where for each element dU {C, K} = V^T D {tiles, K}, and D = A dy A^T  (4x4 -> 36)
 *
 * The matrices come from interpolation at the points 0, +-3/4, +-3/2, infinity, which in f32 err about 2 to 4 times
 * less than the textbook's 0, +-1, +-2, infinity. With a = 3/4, b = 3/2:
 *
 *     B^T = | a2b2     0  -a2-b2     0    1  0 |    G = |  1,  0,  0  | / a2b2         A^T = | 1  1   1   1   1   0 |
 *           |   0  -a b2   -b2     a    1  0 |          |  1,  a, a2  | / 2a2(a2-b2)         | 0  a  -a   b  -b   0 |
 *           |   0   a b2   -b2    -a    1  0 |          |  1, -a, a2  | / 2a2(a2-b2)         | 0  a2  a2  b2  b2  0 |
 *           |   0  -b a2   -a2     b    1  0 |          |  1,  b, b2  | / 2b2(b2-a2)         | 0  a3 -a3  b3 -b3  1 |
 *           |   0   b a2   -a2    -b    1  0 |          |  1, -b, b2  | / 2b2(b2-a2)
 *           |   0   a2b2     0  -a2-b2  0  1 |          |  0,  0,  1  |
 *
 * Stride 2. Along one axis y[i] = x[2i] w0 + x[2i+1] w1 + x[2i+2] w2: the even samples are convolved with the two taps
 * w0, w2 at stride 1, which takes F(4, 2) with 5 products for 4 outputs (points +-1/2, +-5/4, infinity), and the odd
 * samples with the one tap w1, 4 products. In 2-D that makes (5+4)^2 = 81 products where the direct method has 144. A
 * tile of 4x4 outputs sees 9x9 inputs; the nine elements per axis are the five of the even samples, then the four odd
 * samples. All four meet the same weight w1, so that U has 6x6 matrices here too: element (i, j) of V meets U
 * (min(i,5), min(j,5)), which the sources call u(i). With a = 1/2, b = 5/4 and even samples e:
 *
 *     B^T = | -a b2  -b2     a    1  0 |    G = |  1, a | / 2a(a2-b2)    A^T = | 1   1   1   1  0 |   (then + the odd part)
 *           |  a b2  -b2    -a    1  0 |        | -1, a | / 2a(a2-b2)          | a  -a   b  -b  0 |
 *           | -b a2  -a2     b    1  0 |        |  1, b | / 2b(b2-a2)          | a2  a2  b2  b2 0 |
 *           |  b a2  -a2    -b    1  0 |        | -1, b | / 2b(b2-a2)          | a3 -a3  b3 -b3 1 |
 *           |  a2b2   0  -a2-b2   0   1 |       |  0, 1 |
 *
 * The gradient to the input goes the other way: taps w0 and w2 reach every second pixel of dx, w1 those in between. 5x5
 * pixels of dy make 9x9 elements, and 9x9 products make 8x8 pixels of dx: along an axis, in turn one from w1 and one
 * from F(4, 2).
 *
 * Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016 (arXiv:1509.09308).
 */
#ifndef TX_KERNELS_WINOGRAD_H
#define TX_KERNELS_WINOGRAD_H

enum {
  TX_WINO_WEIGHTS = 36 /* matrices of U, for both strides */
};

/* The interpolation points and their squares, all exact in f32: of stride 1, of stride 2. */
#define TX_WINO_A 0.75f
#define TX_WINO_B 1.5f
#define TX_WINO2_A 0.5f
#define TX_WINO2_B 1.25f

#endif
