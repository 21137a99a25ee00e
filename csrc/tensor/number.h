/* number.h - what a dtype can hold: one rule for every number that is written into a tensor.
 *
 *     u8, i64     whole numbers within the range; a fraction, NaN and infinities are refused
 *     f32, f64    the nearest number there is; f32 refuses a finite number that would become infinite
 *
 * Where a whole tensor is converted, floats first lose their fraction (towards 0): (x * 255):to "u8" makes pixels. Results of
 * arithmetic are not numbers that are written: integers wrap around, as in Lua, and floats overflow to infinity.
 *
 * Messages lack the operation's name; it is put before them where it is known (tx_fail_by).
 */
#ifndef TX_TENSOR_NUMBER_H
#define TX_TENSOR_NUMBER_H

#include "tensor/tensor.h"

/* "9007199254740993", "0.5" into buffer; returns buffer. */
#define TX_NUMBER_TEXT 32
const char *tx_number_text(tx_number n, char buffer[TX_NUMBER_TEXT]);

/* TX_OK when the dtype can hold the number; else "300 does not fit u8 (integers 0..255)". */
tx_status tx_holds(tx_dtype dtype, tx_number n);
/* Writes the number to one element, if the dtype can hold it. */
tx_status tx_store(tx_dtype dtype, void *element, tx_number n);
/* Element i (0-based) of contiguous memory. */
tx_number tx_load(tx_dtype dtype, const void *data, int64_t i);
/* The same of an operand that was typed as a number (weak); TX_OK of other tensors. */
tx_status tx_holds_typed(tx_dtype dtype, const tx_tensor *t);
/* TX_OK when the dtype can hold all elements of t without their fractions; else a message about the first that it cannot. */
tx_status tx_holds_all(tx_dtype dtype, const tx_tensor *t);

#endif
