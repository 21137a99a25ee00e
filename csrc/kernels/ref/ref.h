/* ref.h - declarations of the reference kernels: tx_<name>_ref, plain C that defines what each kernel computes. */
#ifndef TX_KERNELS_REF_REF_H
#define TX_KERNELS_REF_REF_H

#include "kernels/list.h"

#define TX_KERNEL(name, result, arguments) result tx_##name##_ref arguments;
TX_KERNELS(TX_KERNEL)
#undef TX_KERNEL

#endif
