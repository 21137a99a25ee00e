/* half.h - 16-bit floating point numbers as they stand in files, widened to f32.
 *
 * f16:  1 sign, 5 exponent (bias 15), 10 fraction bits (IEEE 754 binary16).   bf16: the upper half of an f32.
 */
#ifndef TX_TENSOR_HALF_H
#define TX_TENSOR_HALF_H

#include <stdint.h>
#include <string.h>

static inline float tx_bits_f32(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline float tx_bf16_to_f32(uint16_t half) { return tx_bits_f32((uint32_t)half << 16); }

static inline float tx_f16_to_f32(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
  uint32_t exponent = (half >> 10) & 0x1fu;
  uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) { /* zero and subnormal: fraction * 2^-24 */
    float value = (float)fraction * 0x1p-24f;
    return sign ? -value : value;
  }
  uint32_t wide = exponent == 31 ? 255 : exponent + 112; /* infinity and NaN keep theirs */
  return tx_bits_f32(sign | wide << 23 | fraction << 13);
}

#endif
