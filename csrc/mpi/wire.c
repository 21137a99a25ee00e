/* wire.c - bytes between the processes of a job, by MPI: the one file that includes mpi.h. */
#include "mpi/wire.h"

#include <limits.h>
#include <mpi.h>
#include <stdlib.h>

enum { PIECE = 1 << 28 }; /* bytes of one call: MPI counts in int */

/* -- the job ------------------------------------------------------------------------------------------------------------ */

/* At the end of the process. One that failed leaves the others waiting for it: it ends them. */
static void leave(int status, void *unused) {
  (void)unused;
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized) return;
  if (status != 0) {
    MPI_Abort(MPI_COMM_WORLD, status);
  } else {
    MPI_Finalize();
  }
}

void tx_wire_open(int *rank, int *size) {
  int initialized = 0, provided;
  MPI_Initialized(&initialized);
  if (!initialized) {
    MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    on_exit(leave, NULL);
  }
  MPI_Comm_rank(MPI_COMM_WORLD, rank);
  MPI_Comm_size(MPI_COMM_WORLD, size);
}

const char *tx_wire_library(void) {
  static char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length;
  MPI_Get_library_version(text, &length);
  for (char *p = text; *p != '\0'; p++) {
    if (*p == ',' || *p == '\n') *p = '\0'; /* "Open MPI v4.1.4", and no more of it */
  }
  return text;
}

void tx_wire_abort(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

/* -- all together ------------------------------------------------------------------------------------------------------- */

static int piece_of(int64_t left) { return left < PIECE ? (int)left : PIECE; }

void tx_wire_barrier(void) { MPI_Barrier(MPI_COMM_WORLD); }

void tx_wire_broadcast(void *data, int64_t bytes, int root) {
  char *at = data;
  for (int64_t left = bytes; left > 0;) {
    const int n = piece_of(left);
    MPI_Bcast(at, n, MPI_BYTE, root, MPI_COMM_WORLD);
    at += n;
    left -= n;
  }
}

void tx_wire_all_gather_some(const void *own, const int64_t *bytes, void *all) {
  int rank, size;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  char *at = all;
  for (int r = 0; r < size; r++) { /* one after the other: no table of offsets has to fit into int */
    if (r == rank && bytes[r] > 0) {
      for (int64_t i = 0; i < bytes[r]; i++) at[i] = ((const char *)own)[i];
    }
    tx_wire_broadcast(at, bytes[r], r);
    at += bytes[r];
  }
}

void tx_wire_all_gather(const void *own, int64_t bytes, void *all) {
  if (bytes <= PIECE) {
    MPI_Allgather(own, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, MPI_COMM_WORLD);
    return;
  }
  int size;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  int64_t *same = malloc((size_t)size * sizeof *same);
  if (same == NULL) tx_wire_abort(1);
  for (int r = 0; r < size; r++) same[r] = bytes;
  tx_wire_all_gather_some(own, same, all);
  free(same);
}

/* -- transfers ---------------------------------------------------------------------------------------------------------- */

struct tx_wire {
  int count, most;
  MPI_Request request[];
};

tx_wire *tx_wire_new(int most) {
  tx_wire *w = malloc(sizeof *w + (size_t)most * sizeof w->request[0]);
  if (w != NULL) w->count = 0, w->most = most;
  return w;
}

void tx_wire_free(tx_wire *w) { free(w); }

void tx_wire_send(tx_wire *w, const void *data, int64_t bytes, int to, int tag) {
  if (bytes > 0) MPI_Isend(data, (int)bytes, MPI_BYTE, to, tag, MPI_COMM_WORLD, &w->request[w->count++]);
}

void tx_wire_receive(tx_wire *w, void *data, int64_t bytes, int from, int tag) {
  if (bytes > 0) MPI_Irecv(data, (int)bytes, MPI_BYTE, from, tag, MPI_COMM_WORLD, &w->request[w->count++]);
}

bool tx_wire_is_done(tx_wire *w, bool wait) {
  if (w->count == 0) return true;
  int done = 1;
  if (wait) {
    MPI_Waitall(w->count, w->request, MPI_STATUSES_IGNORE);
  } else {
    MPI_Testall(w->count, w->request, &done, MPI_STATUSES_IGNORE);
  }
  if (done) w->count = 0;
  return done != 0;
}
