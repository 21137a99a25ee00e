/* pool.c - reference kernels on windows of pixels: the largest, the sum; in f32 and f64. */
#include "kernels/plain.h"
#include "kernels/ref/ref.h"

#define REAL float
#define NAME(name) tx_##name##_f32_ref
#include "kernels/ref/pool_body.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(name) tx_##name##_f64
#include "kernels/ref/pool_body.h"
