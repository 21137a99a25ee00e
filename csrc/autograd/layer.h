/* layer.h - checks that the functions of texres.nn.functional share. */
#ifndef TX_AUTOGRAD_LAYER_H
#define TX_AUTOGRAD_LAYER_H

#include "autograd/op.h"

/* Input `input` must be f32 or f64: "linear: x is i64 {4,3}: f32 or f64 is needed". */
tx_status tx_want_float(const tx_call *call, int input);
/* Input `input`, when it is there, must have the dtype of input `other`. */
tx_status tx_want_dtype_of(const tx_call *call, int input, int other);
/* Input `input` must have the shape of input `other`. */
tx_status tx_want_shape_of(const tx_call *call, int input, int other);
/* Input `input`, when it is there, must be {n}, the dtype of input `other`; `counted` says what n counts, such as
 * "channels of x". */
tx_status tx_want_vector(const tx_call *call, int input, int other, int64_t n, const char *counted);
/* Input `input` must be {N,H,W,C}. */
tx_status tx_want_images(const tx_call *call, int input);

#endif
