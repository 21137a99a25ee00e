/* scale.h - what a stored pixel is worth: one rule for every reader, however the file is read.
 *
 *     floats, bool      the value itself
 *     u8, u16           divided by the largest value of the type: 255, 65535
 *     other integers    divided by 255 where all values of the set lie within 0..255, by 65535 where within 0..65535; other
 *                       values don't show what they are worth: the user has to say it
 *
 * A scale that the user gives takes the place of all that. Types are those of the file, written as NumPy does: a kind, 'b' bool,
 * 'u' and 'i' integers without and with sign, 'f' floats, and the bytes of an element.
 */
#ifndef TX_DATA_SCALE_H
#define TX_DATA_SCALE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* The factor for a type; false where the values decide. */
bool tx_scale_of_type(char kind, int bytes, double *scale);

/* Makes *low the smallest, *high the largest of them and of `values`. */
void tx_widen_range(const int64_t *values, int64_t count, int64_t *low, int64_t *high);

/* The factor for integers that lie within low..high. The message of a failure holds the reason only. */
tx_status tx_scale_of_range(int64_t low, int64_t high, double *scale);

#endif
