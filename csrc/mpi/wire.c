/* wire.c - bytes between the processes of a job, by MPI: the one file that includes mpi.h. */
#include "mpi/wire.h"

#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* MPICH declares that arrays of statuses are filled in, but takes MPI_STATUSES_IGNORE for one. */
#if defined __GNUC__ && !defined __clang__
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#endif

enum {
  PIECE = 1 << 28,  /* bytes of one call: MPI counts in int */
  MARKED = 1 << 16, /* bytes that travel together with the mark of their call */
};
enum { BARRIER, BROADCAST, GATHER, CALLS };

/* -- the job ------------------------------------------------------------------------------------------------------------ */

static struct {
  int rank, size;
  MPI_Comm talk;      /* all else; both are ours alone, whatever a script or its host does with MPI beside us */
  MPI_Comm farewells; /* what processes tell at their ends: the number of their calls */
  int64_t calls;      /* in which this one has taken part */
  int64_t *calls_of;  /* of those that have come to their ends; -1: not yet */
  double waited;
  tx_wire_teller *tell;
} job;

/* What a process wrote just before is lost where mpirun, MPICH's above all, ends the job before it has read it. */
void tx_wire_abort(int code) {
  nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
  MPI_Abort(MPI_COMM_WORLD, code);
}

/* Ends a job in which this process and that one can't go on together. */
static void give_up(int rank, bool ended) {
  job.tell(rank, ended);
  tx_wire_abort(1);
}

static void *allocate(size_t bytes) {
  void *block = malloc(bytes);
  if (block == NULL) tx_wire_abort(1);
  return block;
}

/* Takes note of a process that has come to its end. Does it lack a call in which this one is, that would wait for ever. */
static void note_farewells(void) {
  int came = 1;
  while (came) {
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, 0, job.farewells, &came, &status);
    if (came) {
      MPI_Recv(&job.calls_of[status.MPI_SOURCE], 1, MPI_INT64_T, status.MPI_SOURCE, 0, job.farewells,
               MPI_STATUS_IGNORE);
    }
  }
  for (int r = 0; r < job.size; r++) {
    if (job.calls_of[r] < 0 || job.calls_of[r] >= job.calls) continue;
    give_up(r, true);
  }
}

/* Waits until all of these are done. */
static void wait_for(int count, MPI_Request *request) {
  const double start = MPI_Wtime();
  int done = 0;
  for (int turn = 0; !done; turn++) {
    MPI_Testall(count, request, &done, MPI_STATUSES_IGNORE);
    if (!done && turn % 64 == 63) {
      note_farewells();
      sched_yield(); /* which MPICH leaves to us: a rank that is waited for may lack a core */
    }
  }
  job.waited += MPI_Wtime() - start;
}

/* Of one that came to its end in order: it waits for the others to do so, too. */
static void say_farewell(void) {
  MPI_Request *sent = allocate((size_t)job.size * sizeof *sent);
  for (int r = 0; r < job.size; r++) MPI_Isend(&job.calls, 1, MPI_INT64_T, r, 0, job.farewells, &sent[r]);
  for (int r = 0; r < job.size; r++) {
    if (job.calls_of[r] >= 0) continue;
    MPI_Recv(&job.calls_of[r], 1, MPI_INT64_T, r, 0, job.farewells, MPI_STATUS_IGNORE);
  }
  MPI_Waitall(job.size, sent, MPI_STATUSES_IGNORE);
  free(sent);
}

/* Says on standard error why the job ends. No Lua is left that could do so, and what Open MPI says of it is lost now and
 * then. */
static void tell_status(int status) {
  char text[96];
  const int length =
      snprintf(text, sizeof text, "texres: rank %d has ended with status %d: so do all others\n", job.rank, status);
  if (write(STDERR_FILENO, text, (size_t)length) < 0) return; /* nobody listens */
}

/* At the end of the process. One that failed leaves the others waiting for it: it ends them. */
static void leave(int status) {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized) return;
  if (status != 0) {
    tell_status(status);
    tx_wire_abort(status);
  }
  say_farewell();
  MPI_Finalize();
}

/* Only glibc tells with which status a process ends. Elsewhere one that failed says farewell, too, which ends the others
 * that wait for it. */
#ifdef __GLIBC__
static void leave_with(int status, void *unused) {
  (void)unused;
  leave(status);
}
static void leave_at_exit(void) { on_exit(leave_with, NULL); }
#else
static void leave_in_order(void) { leave(0); }
static void leave_at_exit(void) { atexit(leave_in_order); }
#endif

/* Open MPI brings a message over TCP on only while it is called, which backward does seldom: what goes to the kernel at
 * once needs no second call. The user's own setting stands. */
static void send_at_once(void) { setenv("OMPI_MCA_btl_tcp_eager_limit", "4194304", 0); }

void tx_wire_open(int *rank, int *size, tx_wire_teller *tell) {
  int initialized = 0, provided;
  MPI_Initialized(&initialized);
  if (!initialized) {
    send_at_once();
    MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
  }
  if (job.calls_of == NULL) {
    MPI_Comm_rank(MPI_COMM_WORLD, &job.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &job.size);
    MPI_Comm_dup(MPI_COMM_WORLD, &job.talk);
    MPI_Comm_dup(MPI_COMM_WORLD, &job.farewells);
    job.calls_of = allocate((size_t)job.size * sizeof *job.calls_of);
    for (int r = 0; r < job.size; r++) job.calls_of[r] = -1;
    if (!initialized) leave_at_exit();
  }
  job.tell = tell;
  *rank = job.rank;
  *size = job.size;
}

double tx_wire_waited(void) { return job.waited; }

/* "Open MPI v4.1.4" or "MPICH 4.0.2", and no more of what it tells of itself. */
const char *tx_wire_library(void) {
  static char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length;
  MPI_Get_library_version(text, &length);
  text[strcspn(text, ",\n")] = '\0';
  static const char label[] = " Version:";
  char *found = strstr(text, label);
  if (found != NULL) {
    const char *version = found + strlen(label);
    version += strspn(version, " \t");
    memmove(found + 1, version, strlen(version) + 1);
  }
  return text;
}

/* -- all together ------------------------------------------------------------------------------------------------------- */

static int piece_of(int64_t left) { return left < PIECE ? (int)left : PIECE; }

/* Begins a call in which all take part. */
void tx_wire_begin(void) {
  job.calls++;
  note_farewells();
}

static void end_call(MPI_Request request) { wait_for(1, &request); }

static void gather(const void *own, size_t bytes, void *all) {
  MPI_Request request;
  tx_wire_begin();
  MPI_Iallgather(own, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, job.talk, &request);
  end_call(request);
}

/* What a call is, with how many bytes, and of what kind: marks that all processes have to share. Where one sends less, this is what
 * comes of it first, and the process that waits for the most sees it. */
static uint64_t mark_of(int call, int64_t bytes, uint64_t kind) {
  return ((uint64_t)bytes * CALLS + (uint64_t)call) ^ kind;
}

/* Of a row of marks, `stride` bytes apart. */
static void check_marks(const char *marks, size_t stride, uint64_t own) {
  for (int r = 0; r < job.size; r++) {
    uint64_t mark;
    memcpy(&mark, marks + (size_t)r * stride, sizeof mark);
    if (mark != own) give_up(r, false);
  }
}

static void check_same(int call, int64_t bytes, uint64_t kind) {
  const uint64_t own = mark_of(call, bytes, kind);
  char *all = allocate((size_t)job.size * sizeof own);
  gather(&own, sizeof own, all);
  check_marks(all, sizeof own, own);
  free(all);
}

void tx_wire_barrier(void) { check_same(BARRIER, 0, 0); }

static void broadcast(void *data, int64_t bytes, int root) {
  char *at = data;
  for (int64_t left = bytes; left > 0;) {
    const int n = piece_of(left);
    MPI_Request request;
    tx_wire_begin();
    MPI_Ibcast(at, n, MPI_BYTE, root, job.talk, &request);
    end_call(request);
    at += n;
    left -= n;
  }
}

void tx_wire_broadcast(void *data, int64_t bytes, uint64_t kind, int root) {
  check_same(BROADCAST, bytes * job.size + root, kind);
  broadcast(data, bytes, root);
}

/* As tx_wire_all_gather_some, where offsets fit into int; else does nothing and gives false. */
static bool all_gather_at_once(const void *own, const int64_t *bytes, void *all) {
  int64_t total = 0;
  for (int r = 0; r < job.size; r++) total += bytes[r];
  if (total > PIECE) return false;
  int *count = allocate(2 * (size_t)job.size * sizeof *count), *offset = count + job.size, at = 0;
  for (int r = 0; r < job.size; r++) {
    offset[r] = at;
    at += count[r] = (int)bytes[r];
  }
  MPI_Request request;
  tx_wire_begin();
  MPI_Iallgatherv(own, count[job.rank], MPI_BYTE, all, count, offset, MPI_BYTE, job.talk, &request);
  end_call(request);
  free(count);
  return true;
}

void tx_wire_all_gather_some(const void *own, const int64_t *bytes, void *all) {
  if (all_gather_at_once(own, bytes, all)) return;
  char *at = all;
  for (int r = 0; r < job.size; r++) { /* one after the other: no table of offsets has to fit into int */
    if (r == job.rank && bytes[r] > 0) memcpy(at, own, (size_t)bytes[r]);
    broadcast(at, bytes[r], r);
    at += bytes[r];
  }
}

/* Few bytes travel with their mark. */
static void gather_marked(const void *own, size_t bytes, uint64_t kind, char *all) {
  const uint64_t mark = mark_of(GATHER, (int64_t)bytes, kind);
  const size_t stride = sizeof mark + bytes;
  char *sent = allocate((size_t)(job.size + 1) * stride), *received = sent + stride;
  memcpy(sent, &mark, sizeof mark);
  if (bytes > 0) memcpy(sent + sizeof mark, own, bytes);
  gather(sent, stride, received);
  check_marks(received, stride, mark);
  for (int r = 0; r < job.size && bytes > 0; r++) {
    memcpy(all + (size_t)r * bytes, received + (size_t)r * stride + sizeof mark, bytes);
  }
  free(sent);
}

void tx_wire_all_gather(const void *own, int64_t bytes, uint64_t kind, void *all) {
  if (bytes <= MARKED) {
    gather_marked(own, (size_t)bytes, kind, all);
    return;
  }
  check_same(GATHER, bytes, kind);
  int64_t *same = allocate((size_t)job.size * sizeof *same);
  for (int r = 0; r < job.size; r++) same[r] = bytes;
  tx_wire_all_gather_some(own, same, all);
  free(same);
}

/* -- transfers ---------------------------------------------------------------------------------------------------------- */

struct tx_wire {
  int count;
  MPI_Request request[];
};

tx_wire *tx_wire_new(int most, int64_t bytes) {
  const size_t pieces = (size_t)most * (size_t)(bytes / PIECE + 1);
  tx_wire *w = malloc(sizeof *w + pieces * sizeof w->request[0]);
  if (w != NULL) w->count = 0;
  return w;
}

void tx_wire_free(tx_wire *w) { free(w); }

void tx_wire_send(tx_wire *w, const void *data, int64_t bytes, int to, int tag) {
  const char *at = data;
  for (int n; bytes > 0; at += n, bytes -= n) {
    n = piece_of(bytes);
    MPI_Isend(at, n, MPI_BYTE, to, tag, job.talk, &w->request[w->count++]);
  }
}

void tx_wire_receive(tx_wire *w, void *data, int64_t bytes, int from, int tag) {
  char *at = data;
  for (int n; bytes > 0; at += n, bytes -= n) {
    n = piece_of(bytes);
    MPI_Irecv(at, n, MPI_BYTE, from, tag, job.talk, &w->request[w->count++]);
  }
}

bool tx_wire_is_done(tx_wire *w, bool wait) {
  if (w->count == 0) return true;
  int done = 1;
  if (wait) {
    wait_for(w->count, w->request);
  } else {
    MPI_Testall(w->count, w->request, &done, MPI_STATUSES_IGNORE);
  }
  if (done) w->count = 0;
  return done != 0;
}
