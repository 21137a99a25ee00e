/* list.h - the one list of kernels that are chosen at run time.
 *
 * A row is TX_KERNEL(name, return type, (arguments)). It gives the dispatch table a member, the header of each instruction
 * set a declaration (tx_<name>_<isa>), and the specs and the benchmark a row to walk. All kernels work on raw pointers,
 * know nothing of tensors, allocate nothing and start no threads.
 */
#ifndef TX_KERNELS_LIST_H
#define TX_KERNELS_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/bicubic.h"
#include "kernels/gemm.h"
#include "kernels/quantized.h"

/* What the optimizer steps multiply with; see tensor/optim.h for the rules they come from. */
typedef struct tx_sgd_factors {
  double lr, decay;                /* decay is of the weights, added to the gradient */
  double keep, fresh;              /* velocity = keep * velocity + fresh * gradient */
  double of_gradient, of_velocity; /* the direction of the step */
} tx_sgd_factors;

typedef struct tx_adam_factors {
  double beta1, beta2, eps;
  double step;          /* lr / (1 - beta1^t) */
  double correction;    /* 1 / sqrt(1 - beta2^t) */
  double decay, shrink; /* gradient += decay * p; p *= shrink */
} tx_adam_factors;

/* The functions that the kernels activate and activate_grad know. */
typedef enum tx_activation {
  TX_ACT_RELU,       /* max(x, 0) */
  TX_ACT_LEAKY_RELU, /* x > 0 ? x : slope * x */
  TX_ACT_SILU,       /* x / (1 + e^-x) */
  TX_ACT_GELU,       /* x (1 + erf(x / sqrt 2)) / 2 */
  TX_ACT_GELU_TANH,  /* x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 */
  TX_ACT_SOFTPLUS,   /* log(1 + e^x) */
  TX_ACT_ELU,        /* x > 0 ? x : slope * (e^x - 1) */
  TX_ACT_HARD_SWISH  /* x min(max(x + 3, 0), 6) / 6 */
} tx_activation;

/* clang-format off */
#define TX_KERNELS(TX_KERNEL) \
  /* -- elementwise: y may be one of the inputs -------------------------------------------------------------------- */ \
  TX_KERNEL(add_f32, void, (int64_t n, const float *a, const float *b, float *y)) \
  TX_KERNEL(sub_f32, void, (int64_t n, const float *a, const float *b, float *y)) \
  TX_KERNEL(mul_f32, void, (int64_t n, const float *a, const float *b, float *y)) \
  TX_KERNEL(div_f32, void, (int64_t n, const float *a, const float *b, float *y)) \
  /* a - floor(a / b) * b, as Lua's % */ \
  TX_KERNEL(mod_f32, void, (int64_t n, const float *a, const float *b, float *y)) \
  TX_KERNEL(sqrt_f32, void, (int64_t n, const float *x, float *y)) \
  TX_KERNEL(floor_f32, void, (int64_t n, const float *x, float *y)) \
  TX_KERNEL(ceil_f32, void, (int64_t n, const float *x, float *y)) \
  TX_KERNEL(round_f32, void, (int64_t n, const float *x, float *y)) \
  TX_KERNEL(clamp_f32, void, (int64_t n, float low, float high, const float *x, float *y)) \
  TX_KERNEL(u8_to_f32, void, (int64_t n, const uint8_t *x, float *y)) \
  /* y += alpha * x */ \
  TX_KERNEL(axpy_f32, void, (int64_t n, float alpha, const float *x, float *y)) \
  TX_KERNEL(exp_f32, void, (int64_t n, const float *x, float *y)) \
  TX_KERNEL(log_f32, void, (int64_t n, const float *x, float *y)) \
  TX_KERNEL(tanh_f32, void, (int64_t n, const float *x, float *y)) \
  TX_KERNEL(sigmoid_f32, void, (int64_t n, const float *x, float *y)) \
  TX_KERNEL(erf_f32, void, (int64_t n, const float *x, float *y)) \
  TX_KERNEL(pow_f32, void, (int64_t n, const float *x, const float *exponent, float *y)) \
  \
  /* -- rows x n, one result per row; NULL centres are zeros ------------------------------------------------------- */ \
  /* sum of x; of (x - centre)^2; of e^(x - centre); the largest and the smallest x (a NaN wins), n >= 1 */ \
  TX_KERNEL(sum_rows_f32, void, (int64_t rows, int64_t n, const float *x, double *sum)) \
  TX_KERNEL(square_rows_f32, void, (int64_t rows, int64_t n, const float *x, const double *centre, double *sum)) \
  TX_KERNEL(exp_rows_f32, void, (int64_t rows, int64_t n, const float *x, const double *centre, double *sum)) \
  TX_KERNEL(max_rows_f32, void, (int64_t rows, int64_t n, const float *x, double *most)) \
  TX_KERNEL(min_rows_f32, void, (int64_t rows, int64_t n, const float *x, double *least)) \
  \
  /* -- channels: x, y, dy ... are rows x c, one row after the other; other arrays have c elements ---------------- */ \
  /* sum[j] = sum over rows of x[., j] */ \
  TX_KERNEL(channel_sum_f32, void, (int64_t rows, int64_t c, const float *x, double *sum)) \
  /* square[j] = sum over rows of (x[., j] - sum[j] / rows)^2 */ \
  TX_KERNEL(channel_square_f32, void, (int64_t rows, int64_t c, const float *x, const double *sum, double *square)) \
  /* y = x * scale + shift (+ residual, unless NULL), then max(y, 0) when relu; y may be x or residual. residual_last: the */ \
  /* residual is added after that, not before */ \
  TX_KERNEL(norm_apply_f32, void, (int64_t rows, int64_t c, const float *x, const float *scale, const float *shift, \
                                   const float *residual, bool relu, bool residual_last, float *y)) \
  /* dz is dy where y > 0, else 0; with y NULL: where x * scale + shift > 0; with scale NULL too: dy everywhere. */ \
  /* sum[j] = sum of dz, product[j] = sum of dz * (x - mean) */ \
  TX_KERNEL(norm_grad_sums_f32, void, (int64_t rows, int64_t c, const float *x, const float *mean, const float *dy, \
                                       const float *y, const float *scale, const float *shift, double *sum, \
                                       double *product)) \
  /* dx = dz * of_dz + x * of_x + constant and dresidual = dz, with the same dz; NULL targets are left out */ \
  TX_KERNEL(norm_grad_f32, void, (int64_t rows, int64_t c, const float *x, const float *dy, const float *y, \
                                  const float *scale, const float *shift, const float *of_dz, const float *of_x, \
                                  const float *constant, float *dx, float *dresidual)) \
  \
  /* -- rows x n, each normalized by itself: xhat = (x - mean) * invstd ------------------------------------------- */ \
  /* mean and invstd = 1 / sqrt(var + eps) of each row, y = xhat * gamma + beta */ \
  TX_KERNEL(layer_norm_f32, void, (int64_t rows, int64_t n, double eps, const float *x, const float *gamma, \
                                   const float *beta, double *mean, double *invstd, float *y)) \
  /* with g = gamma * dy: dx = invstd * (g - mean of g - xhat * mean of g * xhat), unless dx is NULL; dgamma += the sum \
   * of dy * xhat over the rows, dbeta += that of dy */ \
  TX_KERNEL(layer_norm_grad_f32, void, (int64_t rows, int64_t n, const float *x, const float *dy, const float *gamma, \
                                        const double *mean, const double *invstd, float *dx, double *dgamma, \
                                        double *dbeta)) \
  \
  /* -- optimizer steps: parameter p, gradient, state; velocity may be NULL -------------------------------------- */ \
  TX_KERNEL(sgd_f32, void, (int64_t n, float *p, const float *gradient, float *velocity, const tx_sgd_factors *f)) \
  TX_KERNEL(adam_f32, void, (int64_t n, float *p, const float *gradient, float *mean, float *square, \
                             const tx_adam_factors *f)) \
  \
  /* -- activation functions: y = f(x); dx = f'(x) * dy (for ReLU x may be y) ------------------------------------- */ \
  TX_KERNEL(activate_f32, void, (tx_activation kind, int64_t n, float slope, const float *x, float *y)) \
  TX_KERNEL(activate_grad_f32, void, (tx_activation kind, int64_t n, float slope, const float *x, const float *dy, \
                                      float *dx)) \
  \
  /* -- rows of class scores: x is rows x n ------------------------------------------------------------------------ */ \
  /* y = e^x / sum of the row's e^x, or its logarithm */ \
  TX_KERNEL(softmax_f32, void, (int64_t rows, int64_t n, bool logarithm, const float *x, float *y)) \
  /* dx = y (dy - sum of y dy), or with logarithm dx = dy - e^y sum of dy */ \
  TX_KERNEL(softmax_grad_f32, void, (int64_t rows, int64_t n, bool logarithm, const float *y, const float *dy, \
                                     float *dx)) \
  /* highest[i] = max of row i, logsum[i] = log of the sum of e^(x - highest): log softmax is x - highest - logsum */ \
  TX_KERNEL(log_sum_exp_f32, void, (int64_t rows, int64_t n, const float *x, float *highest, float *logsum)) \
  /* y = factor[i] e^(x - highest[i] - logsum[i]): softmax, times a factor per row */ \
  TX_KERNEL(scaled_softmax_f32, void, (int64_t rows, int64_t n, const float *x, const float *highest, \
                                       const float *logsum, const float *factor, float *y)) \
  /* sum of (a - b)^2 */ \
  TX_KERNEL(squared_distance_f32, double, (int64_t n, const float *a, const float *b)) \
  \
  /* -- windows: `rows` x `columns` taps of c channels; x at the first tap, the next row of taps is row_step after -- */ \
  /* y = the largest tap (a NaN wins), index = first + row * index_step + column of the first such tap */ \
  TX_KERNEL(max_window_f32, void, (int64_t rows, int64_t columns, int64_t row_step, int64_t c, const float *x, \
                                   int64_t first, int64_t index_step, float *y, uint16_t *index)) \
  /* dx = sum of those dy whose index is first - row * index_step - column * column_step: of dy's windows over one pixel, */ \
  /* those that have it as their largest */ \
  TX_KERNEL(max_window_grad_f32, void, (int64_t rows, int64_t columns, int64_t row_step, int64_t c, const float *dy, \
                                        const uint16_t *index, int64_t first, int64_t index_step, int64_t column_step, \
                                        float *dx)) \
  /* y (+)= factor * sum of the taps; added to y when `accumulate` */ \
  TX_KERNEL(sum_window_f32, void, (int64_t rows, int64_t columns, int64_t row_step, int64_t c, const float *x, \
                                   float factor, bool accumulate, float *y)) \
  \
  /* -- random numbers: n and first are multiples of 64 ------------------------------------------------------------ */ \
  /* word[i] is the one of element first + i; of element 64 g + 16 w + l: word w of tx_philox(seed, stream, 16 g + l) */ \
  TX_KERNEL(random_words, void, (int64_t n, int64_t first, uint64_t seed, uint64_t stream, uint32_t *word)) \
  /* y[i] and y[i + 16] (i % 32 < 16) are normal deviates of word[i] and word[i + 16]: Box and Muller's */ \
  TX_KERNEL(normal_f32, void, (int64_t n, const uint32_t *word, float mean, float deviation, float *y)) \
  /* y[i] = x[i] * scale where the random word of element first + i is `threshold` or more, else 0; any n */ \
  TX_KERNEL(dropout_f32, void, (int64_t n, int64_t first, uint64_t seed, uint64_t stream, uint32_t threshold, float scale, \
                                const float *x, float *y)) \
  \
  /* y = bicubic values of pixels first .. first + count - 1 of a row (kernels/bicubic.h), whose 4x4 pixels lie in the image; \
   * the same bits under every instruction set */ \
  TX_KERNEL(bicubic_f32, void, (int64_t first, int64_t count, const tx_bicubic_row *r, float *y)) \
  \
  /* found[k] = the positions, in order, of words that differ from `wanted` in at most `bits` bits; how many. n < 2^31; \
   * found has room for n */ \
  TX_KERNEL(near_u64, int64_t, (int64_t n, const uint64_t *words, uint64_t wanted, int bits, int32_t *found)) \
  \
  /* -- convolution: passes/conv.h ---------------------------------------------------------------------------------- */ \
  /* matrix product: kernels/gemm.h */ \
  TX_KERNEL(gemm_f32,    void, (const tx_gemm *g)) \
  /* x(s, j) = x[s * x_row + j * x_column], k by n, into panels (kernels/gemm.h), the last padded with zeros */ \
  TX_KERNEL(pack_f32,    void, (int64_t k, int64_t n, const float *x, int64_t x_row, int64_t x_column, float *y)) \
  /* does nothing but multiply-adds in registers; returns their number times two */ \
  TX_KERNEL(fma_peak_f32, double, (int64_t rounds)) \
  /* Winograd transforms of one tile, over `channels` adjacent channels: kernels/winograd.h. `pixel` points to the first \
   * channel of each pixel of the tile, row by row; a NULL output pixel is not written. Stride 1: 6x6 pixels to 36 elements, \
   * 36 to 4x4, 4x4 to 36, of which rows [row0, row1) are made; 9 weights at w[i * w_step + c] to 36 at u[i * u_step + c], \
   * and the adjoint back. */ \
  TX_KERNEL(wino_input_f32, void, (int64_t channels, const float *const *pixel, int row0, int row1, float *v, \
                                   int64_t v_step)) \
  TX_KERNEL(wino_output_f32, void, (int64_t channels, const float *m, int64_t m_step, float *const *pixel)) \
  TX_KERNEL(wino_output_adjoint_f32, void, (int64_t channels, const float *const *pixel, int row0, int row1, float *m, \
                                            int64_t m_step)) \
  TX_KERNEL(wino_weight_f32, void, (int64_t channels, const float *w, int64_t w_step, float *u, int64_t u_step)) \
  TX_KERNEL(wino_weight_adjoint_f32, void, (int64_t channels, const float *u, int64_t u_step, float *w, int64_t w_step)) \
  /* the same for stride 2: 9x9 pixels to 81 elements, 81 to 4x4, 4x4 to 81; of the gradient to the input: 5x5 pixels to 81 \
   * elements, 81 to 8x8 */ \
  TX_KERNEL(wino2_input_f32, void, (int64_t channels, const float *const *pixel, int row0, int row1, float *v, \
                                    int64_t v_step)) \
  TX_KERNEL(wino2_output_f32, void, (int64_t channels, const float *m, int64_t m_step, float *const *pixel)) \
  TX_KERNEL(wino2_output_adjoint_f32, void, (int64_t channels, const float *const *pixel, int row0, int row1, float *m, \
                                             int64_t m_step)) \
  TX_KERNEL(wino2_back_input_f32, void, (int64_t channels, const float *const *pixel, int row0, int row1, float *v, \
                                         int64_t v_step)) \
  TX_KERNEL(wino2_back_output_f32, void, (int64_t channels, const float *m, int64_t m_step, float *const *pixel)) \
  TX_KERNEL(wino2_weight_f32, void, (int64_t channels, const float *w, int64_t w_step, float *u, int64_t u_step)) \
  TX_KERNEL(wino2_weight_adjoint_f32, void, (int64_t channels, const float *u, int64_t u_step, float *w, int64_t w_step)) \
  /* y = x * scale + shift (+ residual), then max(0, .) when relu; scale, shift per column, NULL: 1, 0; y == x is allowed; */ \
  /* residual_last: the residual is added after max */ \
  TX_KERNEL(epilogue_f32, void, (int64_t rows, int64_t columns, const float *x, const float *scale, const float *shift, \
                                 const float *residual, bool relu, bool residual_last, float *y, int64_t row)) \
  /* per column: the sum, and the sum of squares, of x - x[first row] */ \
  TX_KERNEL(moments_f32, void, (int64_t rows, int64_t columns, const float *x, int64_t row, float *sum, float *square)) \
  /* y[c] = sum over t < taps of x[t][c] * w[t * w_row + c]; and the gradient of w: dw[t * w_row + c] += x[t][c] * dy[c] */ \
  TX_KERNEL(depthwise_f32, void, (int64_t channels, int64_t taps, const float *const *x, const float *w, int64_t w_row, \
                                  float *y)) \
  TX_KERNEL(depthwise_grad_f32, void, (int64_t channels, int64_t taps, const float *const *x, const float *dy, float *dw, \
                                       int64_t w_row)) \
  \
  /* -- networks in 8 bits: kernels/quantized.h --------------------------------------------------------------------- */ \
  TX_KERNEL(gemm_u8, void, (const tx_gemm_u8 *g)) \
  TX_KERNEL(gemm_i16, void, (const tx_gemm_i16 *g)) \
  /* do nothing but the multiply-adds of gemm_u8 and gemm_i16 in registers; return their number */ \
  TX_KERNEL(peak_u8, double, (int64_t rounds)) \
  TX_KERNEL(peak_i16, double, (int64_t rounds)) \
  /* w {taps, depth, n} and w {depth, n} into the panels that they read */ \
  TX_KERNEL(pack_u8_weight, void, (int64_t taps, int64_t depth, int64_t n, const int8_t *w, int8_t *b)) \
  TX_KERNEL(pack_i16_weight, void, (int64_t depth, int64_t n, const int16_t *w, int16_t *b)) \
  TX_KERNEL(winograd_u8_input, void, (const tx_winograd_u8_input *w)) \
  TX_KERNEL(winograd_u8_output, void, (const tx_winograd_u8_output *w)) \
  /* y = nearest(min(max(x * inverse + zero, 0), 255)) */ \
  TX_KERNEL(quantize_f32, void, (int64_t n, float inverse, float zero, const float *x, uint8_t *y))

/* clang-format on */

#endif
