/* quantized_internal.h - what the layers in 8 bits share: from a sum to a byte (kernels/quantized.h), and borders. */
#ifndef TX_PASSES_QUANTIZED_INTERNAL_H
#define TX_PASSES_QUANTIZED_INTERNAL_H

#include <stddef.h>

#include "kernels/quantized.h"
#include "passes/quantized.h"

/* Beside 1.5 * 2^23 floats are a whole number apart, so that the sum is rounded as nearest asks: of plain loops the compiler
 * makes vectors then. */
static inline uint8_t tx_qnearest(float t, float zero) {
  t = t + zero;
  t = t > 0 ? t : 0;
  t = t < 255 ? t : 255;
  t = t + 0x1.8p23f;
  return (uint8_t)(int32_t)(t - 0x1.8p23f);
}

/* From t, which holds factor and shift by now, to what tx_qnearest takes. */
static inline float tx_qfollow(const tx_requantize *q, float t, uint8_t residual) {
  if (q->relu && q->residual_last) t = t > 0 ? t : 0;
  if (q->residual != NULL) t = t + ((float)residual - q->residual_zero) * q->residual_factor;
  if (q->relu && !q->residual_last) t = t > 0 ? t : 0;
  return t;
}

/* Writes the zero beside rows [first, end) of an image, and above and below it where they are its first and last. */
void tx_qfill_border(tx_qvalue y, int64_t image, int64_t first, int64_t end);

#endif
