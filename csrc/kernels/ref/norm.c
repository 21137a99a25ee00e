/* norm.c - reference kernels on channels: sums, normalization and its gradient, in f32 and f64. */
#include <stddef.h>

#include "kernels/plain.h"
#include "kernels/ref/ref.h"

#define REAL float
#define NAME(name) tx_##name##_f32_ref
#include "kernels/ref/norm_body.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(name) tx_##name##_f64
#include "kernels/ref/norm_body.h"
