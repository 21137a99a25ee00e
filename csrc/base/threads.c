/* threads.c - the thread pool behind tx_parallel.
 *
 * Workers take the blocks of a job one at a time from a shared counter; so does the calling thread. When the counter has
 * run out, the caller waits for blocks that others still compute, but not for workers that have not woken up: on a busy
 * machine, where a worker may be off the CPU for milliseconds, the caller does the work itself. (An OpenMP region ends in
 * a barrier of all threads, which costs a time slice whenever one of them is not scheduled.)
 *
 * The counter carries the job's number in its upper half, so a worker that comes late finds that its job is over and can
 * neither take a block of the next one by mistake nor hold it up.
 */
#define _GNU_SOURCE /* sched_getaffinity, CLOCK_MONOTONIC */
#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

enum {
  WORTH_A_THREAD = 32768,     /* operations that a block should have */
  SPINS_BEFORE_SLEEP = 20000, /* of an idle worker, some 0.1 to 0.4 ms: the next job of a training step comes sooner */
  SPINS_BEFORE_YIELD = 2000   /* of a caller that waits for the last blocks */
};

static atomic_bool interrupted;
static tx_poll_fn *poll_fn;
static void *poll_context;
static atomic_int thread_count; /* 0: not chosen yet */

/* -- the CPU --------------------------------------------------------------------------------------------------------- */

/* Flush denormal results and inputs to zero on this thread; returns what to restore. */
static uint64_t flush_denormals(void) {
#if defined(__SSE__)
  unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040u); /* FTZ and DAZ */
  return before;
#elif defined(__aarch64__)
  uint64_t before;
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  __asm__ volatile("msr fpcr, %0" : : "r"(before | (UINT64_C(1) << 24)));
  return before;
#else
  return 0;
#endif
}

static void restore_denormals(uint64_t before) {
#if defined(__SSE__)
  _mm_setcsr((unsigned)before);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
  (void)before;
#endif
}

static void pause_cpu(void) {
#if defined(__SSE__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

double tx_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* -- the pool -------------------------------------------------------------------------------------------------------- */

/* The job in hand. `ticket` is number << 32 | next block. While the other fields are being written, the next block is
 * CLOSED, which is beyond any job's blocks. */
#define CLOSED UINT32_MAX
static struct {
  _Atomic uint64_t ticket;
  atomic_uint blocks;
  atomic_uint done;
  atomic_int threads; /* how many may take part, the caller included */
  tx_block_fn *fn;
  void *context;
} job;

static pthread_mutex_t caller_lock = PTHREAD_MUTEX_INITIALIZER; /* one job at a time */
static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static atomic_int sleepers;
static int workers;               /* started; guarded by caller_lock */
static pid_t owner;               /* the process that started them: they don't follow a fork */
static _Thread_local bool inside; /* this thread is running a block */

static uint32_t number_of(uint64_t ticket) { return (uint32_t)(ticket >> 32); }

/* Takes the next block of job `number`; false when there is none left or another job runs. */
static bool take(uint32_t number, uint32_t *block) {
  uint64_t ticket = atomic_load(&job.ticket);
  while (number_of(ticket) == number && (uint32_t)ticket < atomic_load(&job.blocks)) {
    if (atomic_compare_exchange_weak(&job.ticket, &ticket, ticket + 1)) {
      *block = (uint32_t)ticket;
      return true;
    }
  }
  return false;
}

static void run_block(tx_block_fn *fn, void *context, int64_t block, int worker) {
  if (!atomic_load_explicit(&interrupted, memory_order_relaxed)) fn(context, block, worker);
}

/* Sleeps, after a while of watching, until the ticket shows another job than `number`. */
static void wait_for_job(uint32_t number) {
  for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++) {
    if (number_of(atomic_load_explicit(&job.ticket, memory_order_relaxed)) != number) return;
    pause_cpu();
  }
  pthread_mutex_lock(&sleep_lock);
  atomic_fetch_add(&sleepers, 1);
  while (number_of(atomic_load(&job.ticket)) == number) pthread_cond_wait(&wake, &sleep_lock);
  atomic_fetch_sub(&sleepers, 1);
  pthread_mutex_unlock(&sleep_lock);
}

static void *work(void *argument) {
  const int worker = (int)(intptr_t)argument;
  uint32_t number = 0, block;
  inside = true;
  flush_denormals();
  for (;;) {
    wait_for_job(number);
    number = number_of(atomic_load(&job.ticket));
    if (worker >= atomic_load(&job.threads)) continue;
    while (take(number, &block)) { /* while a block is taken, the job cannot end: its fields are stable */
      run_block(job.fn, job.context, block, worker);
      atomic_fetch_add(&job.done, 1);
    }
  }
  return NULL;
}

/* Has `wanted` workers running, or as many as the system allows. Signals stay the host's business. */
static void start_workers(int wanted) {
  if (owner != getpid()) {
    owner = getpid();
    workers = 0;
    atomic_store(&sleepers, 0);
  }
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (workers < wanted) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, (void *)(intptr_t)(workers + 1)) != 0) break;
    pthread_detach(thread);
    workers++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Asks the binding, on the calling thread only, at most once a millisecond. */
static void poll(void) {
  static _Thread_local double last;
  double now = tx_clock();
  if (now - last < 1e-3) return;
  last = now;
  if (poll_fn(poll_context)) atomic_store(&interrupted, true);
}

static void run_serial(int64_t blocks, tx_block_fn *fn, void *context, bool may_poll) {
  for (int64_t b = 0; b < blocks; b++) {
    run_block(fn, context, b, 0);
    if (may_poll && poll_fn != NULL) poll();
  }
}

static void run_shared(uint32_t blocks, int threads, tx_block_fn *fn, void *context) {
  start_workers(threads - 1);
  uint32_t number = number_of(atomic_load(&job.ticket)) + 1, block;
  atomic_store(&job.ticket, ((uint64_t)(number - 1) << 32) | CLOSED);
  job.fn = fn;
  job.context = context;
  atomic_store(&job.blocks, blocks);
  atomic_store(&job.done, 0);
  atomic_store(&job.threads, threads);
  atomic_store(&job.ticket, (uint64_t)number << 32);
  if (atomic_load(&sleepers) > 0) {
    pthread_mutex_lock(&sleep_lock);
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&sleep_lock);
  }
  while (take(number, &block)) {
    run_block(fn, context, block, 0);
    atomic_fetch_add(&job.done, 1);
    if (poll_fn != NULL) poll();
  }
  for (int spin = 0; atomic_load(&job.done) != blocks; spin++) {
    if (spin < SPINS_BEFORE_YIELD) {
      pause_cpu();
    } else {
      sched_yield();
    }
  }
}

void tx_parallel(int64_t blocks, tx_block_fn *fn, void *context) {
  if (blocks <= 0) return;
  if (inside) {
    run_serial(blocks, fn, context, false);
    return;
  }
  int threads = tx_num_threads();
  if (blocks < threads) threads = (int)blocks;
  uint64_t before = flush_denormals();
  inside = true;
  /* Another thread of the host may be in here, too: one of both has the workers. */
  if (threads > 1 && blocks < CLOSED && pthread_mutex_trylock(&caller_lock) == 0) {
    run_shared((uint32_t)blocks, threads, fn, context);
    pthread_mutex_unlock(&caller_lock);
  } else {
    run_serial(blocks, fn, context, true);
  }
  inside = false;
  restore_denormals(before);
}

int64_t tx_block_size(int64_t count, int64_t cost) {
  int64_t size = WORTH_A_THREAD / (cost < 1 ? 1 : cost);
  if (size < 1) size = 1;
  return size < count || count < 1 ? size : count;
}

/* -- settings -------------------------------------------------------------------------------------------------------- */

/* TEXRES_NUM_THREADS, else the number of CPUs that this process may run on. */
static int default_threads(void) {
  const char *wanted = getenv("TEXRES_NUM_THREADS");
  int threads = wanted != NULL ? (int)strtol(wanted, NULL, 10) : 0;
  cpu_set_t cpus;
  if (threads < 1) threads = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
  return threads;
}

int tx_num_threads(void) {
  int threads = atomic_load(&thread_count);
  if (threads == 0) {
    tx_set_num_threads(default_threads());
    threads = atomic_load(&thread_count);
  }
  return threads;
}

void tx_set_num_threads(int threads) {
  atomic_store(&thread_count, threads < 1 ? 1 : threads > TX_MAX_THREADS ? TX_MAX_THREADS : threads);
}

void tx_set_poll(tx_poll_fn *fn, void *context) {
  poll_fn = fn;
  poll_context = context;
}

bool tx_interrupted(void) { return atomic_load(&interrupted); }
void tx_clear_interrupt(void) { atomic_store(&interrupted, false); }
