/* quantized.c - reference kernels of networks in 8 bits: kernels/quantized.h. */
#include "kernels/quantized.h"

#include <math.h>
#include <stddef.h>

#include "kernels/blocks.h"
#include "kernels/ref/ref.h"

enum { PANEL = tx_panel_ref };

/* The nearest of 0..255, halves to even; 0 where x is not a number. The largest floats have no fraction that is added. */
static uint8_t nearest(float x) {
  x = x > 0 ? x : 0;
  x = x < 255 ? x : 255;
  return (uint8_t)nearbyintf(x);
}

/* From t, which holds factor and shift, on; j is the place of the value in y and in the residual. */
static float follow(const tx_requantize *q, float t, int64_t j) {
  if (q->relu && q->residual_last) t = t > 0 ? t : 0;
  if (q->residual != NULL) t = t + ((float)q->residual[j] - q->residual_zero) * q->residual_factor;
  if (q->relu && !q->residual_last) t = t > 0 ? t : 0;
  return t;
}

void tx_gemm_u8_ref(const tx_gemm_u8 *g) {
  for (int64_t i = 0; i < g->m; i++) {
    for (int64_t k = 0; k < g->n; k++) {
      int32_t sum = g->start[k];
      for (int64_t t = 0; t < g->taps; t++) {
        const uint8_t *a = g->a + i * g->a_row + g->offset[t];
        const int8_t *b = g->b + (k / PANEL * g->taps + t) * g->depth * PANEL + k % PANEL * 4;
        for (int64_t d = 0; d < g->depth; d++) sum += a[d] * b[d / 4 * PANEL * 4 + d % 4];
      }
      const int64_t j = i * g->y_row + k;
      float scaled = (float)sum * g->after->factor[k];
      float t = follow(g->after, scaled + g->after->shift[k], j);
      if (g->y != NULL) {
        g->y[j] = nearest(t + g->after->zero);
      } else {
        g->floats[j] = t;
      }
    }
  }
}

void tx_gemm_i16_ref(const tx_gemm_i16 *g) {
  for (int64_t i = 0; i < g->m; i++) {
    for (int64_t k = 0; k < g->n; k++) {
      const int16_t *a = g->a + i * g->a_row;
      const int16_t *b = g->b + k / PANEL * g->depth * PANEL + k % PANEL * 2;
      int32_t sum = 0;
      for (int64_t d = 0; d < g->depth; d++) sum += a[d] * b[d / 2 * PANEL * 2 + d % 2];
      g->c[i * g->c_row + k] = sum;
    }
  }
}

double tx_peak_u8_ref(int64_t rounds) {
  volatile uint8_t a = 3; /* or the loop would be left out */
  uint32_t sum = 0;
  for (int64_t r = 0; r < rounds; r++) sum += (uint32_t)(a * (int8_t)sum);
  return (double)rounds;
}

double tx_peak_i16_ref(int64_t rounds) {
  volatile int16_t a = 3;
  uint32_t sum = 0;
  for (int64_t r = 0; r < rounds; r++) sum += (uint32_t)(a * (int16_t)sum);
  return (double)rounds;
}

void tx_pack_u8_weight_ref(int64_t taps, int64_t depth, int64_t n, const int8_t *w, int8_t *b) {
  for (int64_t k0 = 0; k0 < n; k0 += PANEL) {
    for (int64_t t = 0; t < taps; t++) {
      for (int64_t d = 0; d < depth; d += 4) {
        for (int64_t k = k0; k < k0 + PANEL; k++) {
          for (int64_t e = d; e < d + 4; e++) *b++ = k < n ? w[(t * depth + e) * n + k] : 0;
        }
      }
    }
  }
}

void tx_pack_i16_weight_ref(int64_t depth, int64_t n, const int16_t *w, int16_t *b) {
  for (int64_t k0 = 0; k0 < n; k0 += PANEL) {
    for (int64_t d = 0; d < depth; d += 2) {
      for (int64_t k = k0; k < k0 + PANEL; k++) {
        for (int64_t e = d; e < d + 2; e++) *b++ = k < n ? w[e * n + k] : 0;
      }
    }
  }
}

/* y = B^T x of six numbers `step` apart. */
static void input_axis(const int32_t *x, int32_t *y, int step) {
  const int32_t x0 = x[0], x1 = x[step], x2 = x[2 * step], x3 = x[3 * step], x4 = x[4 * step], x5 = x[5 * step];
  y[0] = 4 * x0 - 5 * x2 + x4;
  y[step] = x3 + x4 - 4 * (x1 + x2);
  y[2 * step] = x4 - x3 + 4 * (x1 - x2);
  y[3 * step] = x4 - x2 + 2 * (x3 - x1);
  y[4 * step] = x4 - x2 - 2 * (x3 - x1);
  y[5 * step] = 4 * x1 - 5 * x3 + x5;
}

void tx_winograd_u8_input_ref(const tx_winograd_u8_input *w) {
  for (int64_t t = 0; t < w->tiles; t++) {
    for (int64_t d = 0; d < w->c; d++) {
      int32_t e[36];
      for (int p = 0; p < 36; p++) {
        e[p] = w->x[(p / 6) * w->x_row + (4 * t + p % 6) * w->c + d] - w->zero;
      }
      for (int j = 0; j < 6; j++) input_axis(e + j, e + j, 6);
      for (int i = 0; i < 6; i++) input_axis(e + 6 * i, e + 6 * i, 1);
      for (int p = 0; p < 36; p++) w->v[p * w->v_element + t * w->v_tile + d] = (int16_t)e[p];
    }
  }
}

/* y = A^T x: six numbers `step` apart to the first four of them. */
static void output_axis(float *x, int step) {
  const float a = x[step] + x[2 * step], b = x[step] - x[2 * step];
  const float c = x[3 * step] + x[4 * step], d = x[3 * step] - x[4 * step];
  x[0] = (x[0] + a) + c;
  x[step] = b + 2 * d;
  x[2 * step] = a + 4 * c;
  x[3 * step] = (b + 8 * d) + x[5 * step];
}

void tx_winograd_u8_output_ref(const tx_winograd_u8_output *w) {
  for (int64_t t = 0; 4 * t < w->columns; t++) {
    for (int64_t k = 0; k < w->n; k++) {
      float e[36];
      for (int p = 0; p < 36; p++) {
        e[p] = (float)w->m[p * w->m_element + t * w->m_tile + k] * w->factor[p * w->n + k];
      }
      for (int j = 0; j < 6; j++) output_axis(e + j, 6);
      for (int i = 0; i < 4; i++) output_axis(e + 6 * i, 1);
      for (int64_t i = 0; i < w->rows; i++) {
        for (int64_t j = 0; j < 4 && 4 * t + j < w->columns; j++) {
          const int64_t at = i * w->y_row + (4 * t + j) * w->y_pixel + k;
          const float y = follow(w->after, e[6 * i + j] + w->after->shift[k], at);
          w->y[at] = nearest(y + w->after->zero);
        }
      }
    }
  }
}

void tx_quantize_f32_ref(int64_t n, float inverse, float zero, const float *x, uint8_t *y) {
  for (int64_t i = 0; i < n; i++) {
    const float scaled = x[i] * inverse;
    y[i] = nearest(scaled + zero);
  }
}
