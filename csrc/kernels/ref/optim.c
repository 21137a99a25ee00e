/* optim.c - reference kernels of optimizer steps, in f32 and f64. */
#include <math.h>
#include <stddef.h>

#include "kernels/plain.h"
#include "kernels/ref/ref.h"

#define REAL float
#define SQRT sqrtf
#define NAME(name) tx_##name##_f32_ref
#include "kernels/ref/optim_body.h"
#undef REAL
#undef SQRT
#undef NAME

#define REAL double
#define SQRT sqrt
#define NAME(name) tx_##name##_f64
#include "kernels/ref/optim_body.h"
