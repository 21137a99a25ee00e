/* optim.c - optimizer steps: the reference's loops, vectorized by the compiler for this instruction set. */
#include "kernels/simd/simd.h"

#define REAL float
#define SQRT sqrtf
#define NAME(name) TX_SIMD_NAME(name##_f32)
#include "kernels/ref/optim_body.h"
