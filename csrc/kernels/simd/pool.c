/* pool.c - kernels on windows of pixels: the channels of a vector together, tap by tap.
 *
 * A tap is a pixel of the window, c channels next to each other in memory. The result of a vector of channels stays
 * in registers over all taps; an index is a 16-bit number in memory and a 32-bit one in registers.
 */
#include "kernels/simd/simd.h"

typedef uint16_t vindex __attribute__((vector_size(VF * 2)));

TX_INLINE vint load_index(const uint16_t *p, int64_t n) {
  vindex v = {0};
  memcpy(&v, p, (n < VF ? (size_t)n : VF) * sizeof *p);
  return __builtin_convertvector(v, vint);
}

TX_INLINE void store_index(uint16_t *p, vint v, int64_t n) {
  vindex narrow = __builtin_convertvector(v, vindex);
  memcpy(p, &narrow, (n < VF ? (size_t)n : VF) * sizeof *p);
}

TX_INLINE vint vi_select(vint condition, vint a, vint b) { return (a & condition) | (b & ~condition); }

/* n channels (VF, or what is left) of one window; a NaN counts as larger than all numbers, the first one stays. */
TX_INLINE void max_part(int64_t n, int64_t rows, int64_t columns, int64_t row_step, int64_t c, const float *x,
                        int64_t first, int64_t index_step, float *y, uint16_t *index) {
  vfloat most = vf_load_part(x, n);
  vint at = vi_set((int32_t)first);
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t s = 0; s < columns; s++) {
      vfloat tap = vf_load_part(x + r * row_step + s * c, n);
      vint better = (tap > most) | ((tap != tap) & (most == most));
      most = vf_select(better, tap, most);
      at = vi_select(better, vi_set((int32_t)(first + r * index_step + s)), at);
    }
  }
  vf_store_part(y, most, n);
  store_index(index, at, n);
}

void TX_SIMD_NAME(max_window_f32)(int64_t rows, int64_t columns, int64_t row_step, int64_t c, const float *x,
                                  int64_t first, int64_t index_step, float *y, uint16_t *index) {
  int64_t j = 0;
  for (; j + VF <= c; j += VF) max_part(VF, rows, columns, row_step, c, x + j, first, index_step, y + j, index + j);
  if (j < c) max_part(c - j, rows, columns, row_step, c, x + j, first, index_step, y + j, index + j);
}

/* n channels of one pixel, over the windows that cover it: the taps here are windows. */
TX_INLINE void max_grad_part(int64_t n, int64_t rows, int64_t columns, int64_t row_step, int64_t c, const float *dy,
                             const uint16_t *index, int64_t first, int64_t index_step, int64_t column_step, float *dx) {
  vfloat sum = vf_set(0);
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t s = 0; s < columns; s++) {
      int64_t at = r * row_step + s * c, wanted = first - r * index_step - s * column_step;
      vint mine = load_index(index + at, n) == (int32_t)wanted;
      sum += vf_select(mine, vf_loaded(vf_load_part(dy + at, n)), vf_set(0));
    }
  }
  vf_store_part(dx, sum, n);
}

void TX_SIMD_NAME(max_window_grad_f32)(int64_t rows, int64_t columns, int64_t row_step, int64_t c, const float *dy,
                                       const uint16_t *index, int64_t first, int64_t index_step, int64_t column_step,
                                       float *dx) {
  int64_t j = 0;
  for (; j + VF <= c; j += VF) {
    max_grad_part(VF, rows, columns, row_step, c, dy + j, index + j, first, index_step, column_step, dx + j);
  }
  if (j < c)
    max_grad_part(c - j, rows, columns, row_step, c, dy + j, index + j, first, index_step, column_step, dx + j);
}

TX_INLINE void sum_part(int64_t n, int64_t rows, int64_t columns, int64_t row_step, int64_t c, const float *x,
                        float factor, bool accumulate, float *y) {
  vfloat sum = vf_set(0);
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t s = 0; s < columns; s++) sum += vf_load_part(x + r * row_step + s * c, n);
  }
  sum *= factor;
  if (accumulate) sum += vf_load_part(y, n);
  vf_store_part(y, sum, n);
}

void TX_SIMD_NAME(sum_window_f32)(int64_t rows, int64_t columns, int64_t row_step, int64_t c, const float *x,
                                  float factor, bool accumulate, float *y) {
  int64_t j = 0;
  for (; j + VF <= c; j += VF) sum_part(VF, rows, columns, row_step, c, x + j, factor, accumulate, y + j);
  if (j < c) sum_part(c - j, rows, columns, row_step, c, x + j, factor, accumulate, y + j);
}
