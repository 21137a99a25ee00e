/* reduce.c - reference kernels on rows: one result per row, in f32 and f64. */
#include <math.h>
#include <stddef.h>

#include "kernels/plain.h"
#include "kernels/ref/ref.h"

#define REAL float
#define NAME(name) tx_##name##_f32_ref
#include "kernels/ref/reduce_body.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(name) tx_##name##_f64
#include "kernels/ref/reduce_body.h"
