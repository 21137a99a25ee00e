/* winograd.h - the transforms of Winograd's convolution: F(4x4, 3x3), and a form of it for stride 2.
 *
 * Stride 1. A 3x3 convolution is cut into tiles of 4x4 output pixels, each of which sees 6x6 input pixels. With
 *
 *     V = B^T x B  (6x6 pixels -> 36 elements),   U = G w G^T  (3x3 -> 36),   y = A^T (U . V summed over channels) A  (36 -> 4x4)
 *
 * the sum over channels is 36 matrix products, tiles by channels times channels by filters, with a quarter of the direct
 * method's multiplications. The gradients use the same matrices:
 *
 *     to the input    the same method with filters rotated by 180 degrees, and C and K exchanged
 *     to the weights  dw = G^T (sum over tiles of V^T (A dy A^T)) G
 *
 * The matrices come from interpolation at the points 0, +-3/4, +-3/2, infinity, which in f32 err about 2 to 4 times less
 * than the textbook's 0, +-1, +-2, infinity. With a = 3/4, b = 3/2:
 *
 *     B^T = | a2b2     0  -a2-b2     0    1  0 |    G = |  1,  0,  0  | / a2b2         A^T = | 1  1   1   1   1   0 |
 *           |   0  -a b2   -b2     a    1  0 |          |  1,  a, a2  | / 2a2(a2-b2)         | 0  a  -a   b  -b   0 |
 *           |   0   a b2   -b2    -a    1  0 |          |  1, -a, a2  | / 2a2(a2-b2)         | 0  a2  a2  b2  b2  0 |
 *           |   0  -b a2   -a2     b    1  0 |          |  1,  b, b2  | / 2b2(b2-a2)         | 0  a3 -a3  b3 -b3  1 |
 *           |   0   b a2   -a2    -b    1  0 |          |  1, -b, b2  | / 2b2(b2-a2)
 *           |   0   a2b2     0  -a2-b2  0  1 |          |  0,  0,  1  |
 *
 * Stride 2. Along one axis y[i] = x[2i] w0 + x[2i+1] w1 + x[2i+2] w2: the even samples are convolved with the two taps
 * w0, w2 at stride 1, which takes F(4, 2) with 5 products for 4 outputs (points +-1/2, +-5/4, infinity), and the odd samples
 * with the one tap w1, 4 products. In 2-D that makes (5+4)^2 = 81 products where the direct method has 144. A tile of 4x4
 * outputs sees 9x9 inputs; the nine elements per axis are the five of the even samples, then the four odd samples. All four
 * meet the same weight, so that U has 6x6 matrices here too: element (i, j) of V meets U (min(i,5), min(j,5)). With
 * a = 1/2, b = 5/4 and even samples e:
 *
 *     B^T = | -a b2  -b2     a    1  0 |    G = |  1, a | / 2a(a2-b2)    A^T = | 1   1   1   1  0 |   (then + the odd part)
 *           |  a b2  -b2    -a    1  0 |        | -1, a | / 2a(a2-b2)          | a  -a   b  -b  0 |
 *           | -b a2  -a2     b    1  0 |        |  1, b | / 2b(b2-a2)          | a2  a2  b2  b2 0 |
 *           |  b a2  -a2    -b    1  0 |        | -1, b | / 2b(b2-a2)          | a3 -a3  b3 -b3 1 |
 *           |  a2b2   0  -a2-b2   0   1 |       |  0, 1 |
 *
 * The gradient to the input turns this about: two of three taps reach every second input pixel, the other one reaches those
 * between. 5x5 pixels of dy make 9x9 elements, and 9x9 products make 8x8 pixels of dx, alternating odd part and F(4, 2).
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
