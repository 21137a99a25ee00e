/* layer_norm.c - reference kernels on rows, each normalized by itself, in f32 and f64. */
#include <math.h>
#include <stddef.h>

#include "kernels/plain.h"
#include "kernels/ref/ref.h"

#define REAL float
#define NAME(name) tx_##name##_f32_ref
#include "kernels/ref/layer_norm_body.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(name) tx_##name##_f64
#include "kernels/ref/layer_norm_body.h"
