/* frames.c - see frames.h. */
#define _GNU_SOURCE /* O_CLOEXEC, pthread_condattr_setclock */
#include "base/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/interrupt.h"
#include "base/memory.h"

enum {
  LOOK_MS = 100, /* how often a thread that waits for bytes looks whether it is to stop */
  LAST_LOOKS = 5 /* for how many of these a frame that has begun may stand still then */
};

typedef struct queued {
  uint8_t *data;
  tx_frame frame;
} queued;

struct tx_frames {
  int descriptor;
  tx_frames_options options;
  pthread_t thread;
  bool runs; /* the thread has been started */
  atomic_bool stops, closes;

  pthread_mutex_t lock; /* of all that follows */
  pthread_cond_t came, left;
  uint8_t *memory; /* room + 1 buffers */
  uint8_t *spare;  /* the reader's */
  queued *queue;   /* `count` frames from `first` on, around the end */
  int first, count;
  bool ended;
  int error;
  tx_frames_counts counts;
};

/* -- the thread that reads ------------------------------------------------------------------------------------------- */

/* Whether to read no further bytes. A frame that has begun is read to its end, so that who reads the pipe next begins with a
 * whole one; `still`: for how many looks nothing has come. */
static bool is_to_stop(tx_frames *f, size_t done, int still) {
  if (atomic_load(&f->closes)) return true;
  return atomic_load(&f->stops) && (done == 0 || still >= LAST_LOOKS);
}

/* Reads up to `bytes` bytes: how many came, fewer at the end of the stream, after a failure, and when it is to stop. */
static size_t read_whole(tx_frames *f, uint8_t *to, size_t bytes) {
  size_t done = 0;
  for (int still = 0; done < bytes && !is_to_stop(f, done, still);) {
    struct pollfd wanted = {.fd = f->descriptor, .events = POLLIN};
    int ready = poll(&wanted, 1, LOOK_MS);
    if (ready == 0) still += atomic_load(&f->stops);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    ssize_t got = ready < 0 ? -1 : read(f->descriptor, to + done, bytes - done);
    if (got > 0) {
      still = 0;
      done += (size_t)got;
    } else if (got == 0) {
      break;
    } else if (errno != EINTR && errno != EAGAIN) {
      f->error = errno;
      break;
    }
  }
  return done;
}

/* Swaps the spare buffer for the next one of the queue. */
static void append(tx_frames *f, tx_frame frame) {
  queued *slot = &f->queue[(f->first + f->count++) % f->options.room];
  uint8_t *unused = slot->data;
  *slot = (queued){f->spare, frame};
  f->spare = unused;
  pthread_cond_signal(&f->came);
}

/* Puts the spare buffer, which holds a whole frame, into the queue. Also who is to stop waits for room: what has come whole
 * is not lost. */
static void enqueue(tx_frames *f) {
  const double arrived = tx_clock();
  pthread_mutex_lock(&f->lock);
  tx_frames_counts *counts = &f->counts;
  counts->read++;
  const bool full = f->count == f->options.room;
  if (full && f->options.drop) {
    counts->dropped++;
  } else {
    while (f->count == f->options.room && !atomic_load(&f->closes)) pthread_cond_wait(&f->left, &f->lock);
    const double waited = full ? tx_clock() - arrived : 0;
    counts->delayed += full;
    counts->waited += waited;
    if (waited > counts->longest) counts->longest = waited;
    if (f->count < f->options.room) append(f, (tx_frame){counts->read, arrived, waited});
  }
  pthread_mutex_unlock(&f->lock);
}

static void *read_frames(void *argument) {
  tx_frames *f = argument;
  size_t got;
  while ((got = read_whole(f, f->spare, f->options.bytes)) == f->options.bytes) enqueue(f);
  pthread_mutex_lock(&f->lock);
  f->counts.rest = got;
  if (f->error != 0) f->counts.failure = strerror(f->error);
  f->ended = true;
  pthread_cond_signal(&f->came);
  pthread_mutex_unlock(&f->lock);
  return NULL;
}

/* -- the caller ------------------------------------------------------------------------------------------------------ */

/* The thread blocks all signals, which are the host's. */
static void start(tx_frames *f) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  f->runs = pthread_create(&f->thread, NULL, read_frames, f) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (f->runs) return;
  f->ended = true;
  f->counts.failure = "no thread can be started that reads the frames";
}

static bool allocate(tx_frames *f) {
  const int room = f->options.room;
  f->queue = tx_alloc_zero((size_t)room * sizeof *f->queue);
  f->memory = tx_alloc_array((int64_t)room + 1, f->options.bytes);
  if (f->queue == NULL || f->memory == NULL) return false;
  for (int i = 0; i < room; i++) f->queue[i].data = f->memory + (size_t)i * f->options.bytes;
  f->spare = f->memory + (size_t)room * f->options.bytes;
  return true;
}

tx_status tx_frames_open(int descriptor, const tx_frames_options *options, tx_frames **out) {
  tx_frames *f = tx_alloc_zero(sizeof *f);
  if (f == NULL) return TX_ENOMEM;
  f->descriptor = descriptor;
  f->options = *options;
  pthread_mutex_init(&f->lock, NULL);
  pthread_condattr_t clock;
  pthread_condattr_init(&clock);
  pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
  pthread_cond_init(&f->came, &clock);
  pthread_condattr_destroy(&clock);
  pthread_cond_init(&f->left, NULL);
  if (!allocate(f)) {
    f->options.owned = false; /* it stays with the caller */
    tx_frames_close(f);
    return TX_ENOMEM;
  }
  *out = f;
  return TX_OK;
}

tx_frames_answer tx_frames_wait(tx_frames *f, double seconds) {
  if (!f->runs && !f->ended) start(f);
  const double until = tx_clock() + seconds;
  const struct timespec when = {(time_t)until, (long)((until - (double)(time_t)until) * 1e9)};
  pthread_mutex_lock(&f->lock);
  for (int late = 0; f->count == 0 && !f->ended && late == 0;) late = pthread_cond_timedwait(&f->came, &f->lock, &when);
  const tx_frames_answer answer = f->count > 0 ? TX_FRAMES_ONE : f->ended ? TX_FRAMES_END : TX_FRAMES_NONE;
  pthread_mutex_unlock(&f->lock);
  return answer;
}

tx_frame tx_frames_take(tx_frames *f, void *to) {
  pthread_mutex_lock(&f->lock);
  const queued next = f->queue[f->first];
  pthread_mutex_unlock(&f->lock);
  memcpy(to, next.data, f->options.bytes); /* its place in the queue is taken up to here */
  pthread_mutex_lock(&f->lock);
  f->first = (f->first + 1) % f->options.room;
  f->count--;
  pthread_cond_signal(&f->left);
  pthread_mutex_unlock(&f->lock);
  return next.frame;
}

tx_frames_counts tx_frames_count(tx_frames *f) {
  pthread_mutex_lock(&f->lock);
  const tx_frames_counts counts = f->counts;
  pthread_mutex_unlock(&f->lock);
  return counts;
}

void tx_frames_stop(tx_frames *f) { atomic_store(&f->stops, true); }

void tx_frames_close(tx_frames *f) {
  if (f == NULL) return;
  pthread_mutex_lock(&f->lock);
  atomic_store(&f->closes, true);
  pthread_cond_signal(&f->left);
  pthread_mutex_unlock(&f->lock);
  if (f->runs) pthread_join(f->thread, NULL);
  if (f->options.owned) close(f->descriptor);
  pthread_cond_destroy(&f->came);
  pthread_cond_destroy(&f->left);
  pthread_mutex_destroy(&f->lock);
  tx_dealloc(f->memory);
  tx_dealloc(f->queue);
  tx_dealloc(f);
}

tx_status tx_frames_open_path(const char *operation, const char *path, int *descriptor) {
  *descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe's writer is waited for where bytes are */
  struct stat info;
  if (*descriptor >= 0 && (fstat(*descriptor, &info) != 0 || !S_ISDIR(info.st_mode))) return TX_OK;
  const char *reason = *descriptor < 0 ? strerror(errno) : "is a folder, a file or a pipe of frames is wanted";
  if (*descriptor >= 0) close(*descriptor);
  *descriptor = -1;
  return tx_fail_at(tx_fail(TX_EWORLD, "%s", reason), operation, path);
}
