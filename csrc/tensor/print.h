/* print.h - tensors as text, in the manner of NumPy.
 *
 *     [[ 1.0000, 20.5000],
 *      [ 3.0000,  4.0000]]
 *     f32 {2,2}
 *
 * Columns are aligned; a tensor of more than 1000 elements shows the first and last three of every dimension with ...
 * between; very large or small numbers turn to scientific notation; the last line gives dtype and shape.
 */
#ifndef TX_TENSOR_PRINT_H
#define TX_TENSOR_PRINT_H

#include "tensor/tensor.h"

/* *text is a zero-terminated string that the caller gives back with tx_dealloc (base/memory.h). */
tx_status tx_print(const tx_tensor *t, char **text);

#endif
