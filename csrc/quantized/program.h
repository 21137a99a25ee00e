/* program.h - a network in 8 bits as one list of steps, from images of floats to floats.
 *
 * Value 0 is the input, images {h,w,c} of f32; a step reads values that were made before it and makes one of bytes, the
 * last one floats. All sizes are planned once: the border of each value (passes/quantized.h), and its place in an arena,
 * where values that are not needed at the same time share their memory.
 *
 * A run of many images gives each thread groups of them, which it takes through all steps: weights and activations stay in
 * its cache, and threads don't wait for each other. With fewer images than threads, each step is cut into parts.
 */
#ifndef TX_QUANTIZED_PROGRAM_H
#define TX_QUANTIZED_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "passes/quantized.h"

typedef enum tx_qop {
  TX_Q_QUANTIZE, /* f32 to bytes; only of value 0 */
  TX_Q_CONV,     /* and dense layers */
  TX_Q_POOL,
  TX_Q_ADD,
  TX_Q_MULTIPLY,
  TX_Q_COPY, /* channels [at, at + c) of the output: one for each value of a concatenation */
  TX_Q_LOOKUP,
  TX_Q_FLATTEN,
  TX_Q_DEQUANTIZE /* bytes to f32; the last */
} tx_qop;

typedef struct tx_qstep {
  tx_qop op;
  int number;               /* for messages */
  int input, other, output; /* values; other: residual, second operand, or -1 */
  bool floats;              /* of a convolution, the last step: no bytes are made */
  int64_t at;
  float factor; /* of a product, a copy; 1 / scale or scale of the way in and out */
  tx_qconv conv;
  tx_qwindow window;
  tx_qsum sum;
  uint8_t table[256];
} tx_qstep;

typedef struct tx_qplace {
  tx_qlayout layout; /* h, w, c and zero are given; the rest is planned */
  bool flat;         /* {c}, not {1,1,c}; nothing here depends on it */
  int64_t offset;    /* in the arena, bytes for one image */
} tx_qplace;

typedef struct tx_qprogram {
  int steps, values, room; /* steps that are there, and how many there is room for */
  tx_qstep *step;
  tx_qplace *place;
  int64_t arena, scratch; /* bytes for one image, 0 until it is planned; for the parts of a step */
} tx_qprogram;

/* So many values, all zeros, as *program is before. */
tx_status tx_qprogram_open(tx_qprogram *program, int values);
/* A further step, all zeros; what its convolution packs belongs to the program. */
tx_status tx_qprogram_add(tx_qprogram *program, tx_qstep **step);
void tx_qprogram_close(tx_qprogram *program);

/* Checks that the steps fit each other, and plans borders and memory. */
tx_status tx_qprogram_plan(tx_qprogram *program);

/* The last value, which is floats. x {images,h,w,c}, y {images} of those. */
const tx_qplace *tx_qprogram_output(const tx_qprogram *program);
tx_status tx_qprogram_run(const tx_qprogram *program, int64_t images, const float *x, float *y);

#endif
