/* optim.c - pieces of parameters handed to the kernels sgd and adam. */
#include "passes/optim.h"

#include "base/memory.h"
#include "passes/passes.h"

enum { PIECE = 16384 };

/* A part of one parameter. */
typedef struct piece {
  const tx_update *update;
  tx_range range;
} piece;

typedef struct job {
  piece *pieces;
  const tx_sgd_factors *sgd; /* one of both */
  const tx_adam_factors *adam;
} job;

static void update_piece(void *context, int64_t block, int worker) {
  (void)worker;
  const job *j = context;
  const tx_update *u = j->pieces[block].update;
  const int64_t first = j->pieces[block].range.first, n = j->pieces[block].range.count;
  void *p = tx_at_out(u->dtype, u->parameter, first), *state = tx_at_out(u->dtype, u->state[0], first),
       *square = tx_at_out(u->dtype, u->state[1], first);
  const void *gradient = tx_at(u->dtype, u->gradient, first);
  if (j->sgd != NULL) {
    TX_KERNEL_OF(u->dtype, sgd, n, p, gradient, state, j->sgd);
  } else {
    TX_KERNEL_OF(u->dtype, adam, n, p, gradient, state, square, j->adam);
  }
}

static tx_status run(int64_t count, const tx_update *updates, job j) {
  int64_t pieces = 0;
  for (int64_t i = 0; i < count; i++) pieces += tx_ceil_div(updates[i].n, PIECE);
  j.pieces = tx_alloc_array(pieces, sizeof(piece));
  if (j.pieces == NULL) return TX_ENOMEM;
  piece *p = j.pieces;
  for (int64_t i = 0; i < count; i++) {
    for (int64_t b = 0; b * PIECE < updates[i].n; b++) {
      *p++ = (piece){&updates[i], tx_block_range(updates[i].n, PIECE, b)};
    }
  }
  tx_parallel(pieces, update_piece, &j);
  tx_dealloc(j.pieces);
  return TX_OK;
}

tx_status tx_sgd_pass(int64_t count, const tx_update *updates, const tx_sgd_factors *factors) {
  return run(count, updates, (job){.sgd = factors});
}

tx_status tx_adam_pass(int64_t count, const tx_update *updates, const tx_adam_factors *factors) {
  return run(count, updates, (job){.adam = factors});
}
