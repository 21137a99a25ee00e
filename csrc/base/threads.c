/* threads.c - the thread pool behind tx_parallel.
 *
 * A job is one call of tx_parallel. Its blocks are divided into shares, one for each thread:
 *
 *     blocks   0 1 2 3 4 | 5 6 7 8 9 | 10 11 12 13 14
 *     share        0     |     1     |       2             share 0 is the calling thread's, the others are the workers'
 *
 * A thread takes the blocks of its own share one at a time; when none is left there, it takes from the other shares.
 * So, unless something holds a thread up, the same part of the data goes to the same core in job after job. That
 * matters where cores don't share a cache: reading memory that another core has just written takes three times as long.
 *
 * The caller waits for blocks that workers are computing, but not for workers that have yet to wake up. On a busy
 * machine a worker may be off the CPU for milliseconds; the caller then does the work itself.
 *
 * A worker may wake up when its job is over and the next has begun. So the counter of each share holds the job's number
 * next to the block's, and a thread takes a block only by a compare-and-swap that finds the number it expects.
 */
#define _GNU_SOURCE /* sched_getaffinity */
#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/integers.h"
#include "base/interrupt.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

enum {
  WORTH_A_THREAD = 32768,     /* elementary operations per block, about: with fewer, taking it costs too much */
  LONG = 64,                  /* a job of so many blocks may take longer than a millisecond */
  SPINS_BEFORE_SLEEP = 20000, /* of an idle worker, 0.1 to 0.4 ms: in a training step the next job comes sooner */
  SPINS_BEFORE_YIELD = 2000   /* of a caller that waits for the last blocks */
};

static atomic_int thread_count; /* 0: not chosen yet */

/* -- the CPU --------------------------------------------------------------------------------------------------------- */

/* Has denormal inputs and results flushed to zero on this thread; returns the setting before, to be restored. */
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

/* -- the pool -------------------------------------------------------------------------------------------------------- */

/* The current job. Its number is stored last: who sees the number sees the rest. */
static struct {
  atomic_uint number;
  atomic_uint blocks; /* how many there are */
  atomic_uint done;   /* how many are finished: the job is over when all are */
  atomic_int threads; /* how many may take part, the caller included */
  atomic_bool stop;   /* interrupted: blocks that have not begun are skipped */
  tx_block_fn *fn;
  void *context;
  bool reversed;
} job;

/* Share i of the current job: `ticket` is the job's number << 32 | the next block to take. Between jobs the block is
 * CLOSED, which is beyond the blocks of any job. Each share has a cache line of its own. */
#define CLOSED UINT32_MAX
static struct { _Alignas(64) _Atomic uint64_t ticket; } shares[TX_MAX_THREADS];

static pthread_mutex_t caller_lock = PTHREAD_MUTEX_INITIALIZER; /* one job at a time */
static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static atomic_int sleepers;
static int workers;               /* how many have been started; guarded by caller_lock */
static _Thread_local bool inside; /* this thread is running a block */
static _Thread_local bool works;  /* this thread is a worker */

/* First block of a share; for share number `threads`, the number of blocks. */
static uint32_t share_block(int share, int threads) {
  return (uint32_t)((uint64_t)atomic_load(&job.blocks) * (uint64_t)share / (uint64_t)threads);
}

/* Takes the next block of a share of job `number`; false when none is left or that job is over. */
static bool take_from(int share, int threads, uint32_t number, uint32_t *block) {
  uint64_t ticket = atomic_load(&shares[share].ticket);
  while ((uint32_t)(ticket >> 32) == number && (uint32_t)ticket < share_block(share + 1, threads)) {
    if (atomic_compare_exchange_weak(&shares[share].ticket, &ticket, ticket + 1)) {
      *block = (uint32_t)ticket;
      return true;
    }
  }
  return false;
}

/* Looks for an interrupt, on the calling thread, for all threads of the job. */
static void poll_job(void) {
  if (tx_poll_interrupt()) atomic_store_explicit(&job.stop, true, memory_order_relaxed);
}

/* Takes and runs blocks of job `number` until none is left. Between taking a block and counting it as done, the job
 * cannot end, so its fields don't change. */
static void run_shares(uint32_t number, int threads, int worker) {
  uint32_t block;
  for (int i = 0; i < threads; i++) {
    const int share = (worker + i) % threads;
    while (take_from(share, threads, number, &block)) {
      if (job.reversed) block = share_block(share, threads) + share_block(share + 1, threads) - 1 - block;
      if (!atomic_load_explicit(&job.stop, memory_order_relaxed)) job.fn(job.context, block, worker);
      atomic_fetch_add(&job.done, 1);
      if (worker == 0) poll_job();
    }
  }
}

/* Waits until there is another job than `number`: spins at first, then sleeps. */
static void wait_for_job(uint32_t number) {
  for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++) {
    if (atomic_load_explicit(&job.number, memory_order_relaxed) != number) return;
    pause_cpu();
  }
  pthread_mutex_lock(&sleep_lock);
  atomic_fetch_add(&sleepers, 1);
  while (atomic_load(&job.number) == number) pthread_cond_wait(&wake, &sleep_lock);
  atomic_fetch_sub(&sleepers, 1);
  pthread_mutex_unlock(&sleep_lock);
}

static void *work(void *argument) {
  const int worker = (int)(intptr_t)argument;
  uint32_t number = 0;
  inside = works = true;
  flush_denormals();
  for (;;) {
    wait_for_job(number);
    number = atomic_load(&job.number);
    const int threads = atomic_load(&job.threads);
    if (worker < threads) run_shares(number, threads, worker);
  }
  return NULL;
}

/* Starts workers until `wanted` are running, or as many as the system allows. They block all signals, which are the
 * host's. */
static void start_workers(int wanted) {
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

/* A forked process has no workers. Both locks are held over the fork, so that it finds the pool between two jobs. */
static void before_fork(void) {
  pthread_mutex_lock(&caller_lock);
  pthread_mutex_lock(&sleep_lock);
}

static void after_fork(void) {
  pthread_mutex_unlock(&sleep_lock);
  pthread_mutex_unlock(&caller_lock);
}

static void begin_child(void) {
  pthread_mutex_init(&caller_lock, NULL);
  pthread_mutex_init(&sleep_lock, NULL);
  pthread_cond_init(&wake, NULL);
  atomic_store(&sleepers, 0);
  workers = 0;
}

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(before_fork, after_fork, begin_child); }

static void run_serial(int64_t blocks, tx_block_fn *fn, void *context, bool reversed) {
  for (int64_t b = 0; b < blocks && !tx_interrupted(); b++) {
    fn(context, reversed ? blocks - 1 - b : b, 0);
    tx_poll_interrupt();
  }
}

static void run_shared(uint32_t blocks, int threads, tx_block_fn *fn, void *context, bool reversed) {
  start_workers(threads - 1);
  const uint32_t number = atomic_load(&job.number) + 1;
  job.fn = fn;
  job.context = context;
  job.reversed = reversed;
  atomic_store(&job.stop, false);
  atomic_store(&job.blocks, blocks);
  atomic_store(&job.done, 0);
  atomic_store(&job.threads, threads);
  for (int i = 0; i < threads; i++) {
    atomic_store(&shares[i].ticket, (uint64_t)number << 32 | share_block(i, threads));
  }
  atomic_store(&job.number, number);
  if (atomic_load(&sleepers) > 0) {
    pthread_mutex_lock(&sleep_lock);
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&sleep_lock);
  }
  run_shares(number, threads, 0);
  for (int spin = 0; atomic_load(&job.done) != blocks; spin++) {
    if (spin < SPINS_BEFORE_YIELD) {
      pause_cpu();
    } else {
      sched_yield();
      poll_job();
    }
  }
  for (int i = 0; i < threads; i++) atomic_store(&shares[i].ticket, (uint64_t)number << 32 | CLOSED);
}

static void run(int64_t blocks, tx_block_fn *fn, void *context, bool reversed) {
  if (blocks <= 0 || tx_interrupted()) return;
  if (inside) {
    run_serial(blocks, fn, context, reversed);
    return;
  }
  if (blocks >= LONG) tx_ask_interrupt(); /* asked for the first time, the host begins to listen for Ctrl-C */
  const int threads = (int)tx_min(blocks, tx_num_threads());
  uint64_t before = flush_denormals();
  inside = true;
  /* Another thread of the host may be here at the same time: one of the two gets the workers, the other runs alone. */
  if (threads > 1 && blocks < CLOSED && pthread_mutex_trylock(&caller_lock) == 0) {
    run_shared((uint32_t)blocks, threads, fn, context, reversed);
    pthread_mutex_unlock(&caller_lock);
  } else {
    run_serial(blocks, fn, context, reversed);
  }
  inside = false;
  restore_denormals(before);
}

void tx_parallel(int64_t blocks, tx_block_fn *fn, void *context) { run(blocks, fn, context, false); }
void tx_parallel_reversed(int64_t blocks, tx_block_fn *fn, void *context) { run(blocks, fn, context, true); }

int64_t tx_block_size(int64_t count, int64_t cost) {
  const int64_t size = tx_max(1, WORTH_A_THREAD / tx_max(1, cost));
  return count < 1 ? size : tx_min(size, count);
}

/* -- settings -------------------------------------------------------------------------------------------------------- */

/* The number of CPUs that this process may run on; where the system does not tell that, of all. */
static int usable_cpus(void) {
#ifdef __linux__
  cpu_set_t cpus;
  return sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
#else
  return (int)sysconf(_SC_NPROCESSORS_ONLN);
#endif
}

/* TEXRES_NUM_THREADS, else a thread for each CPU. */
static int default_threads(void) {
  const char *wanted = getenv("TEXRES_NUM_THREADS");
  int threads = wanted != NULL ? (int)strtol(wanted, NULL, 10) : 0;
  return threads < 1 ? usable_cpus() : threads;
}

int tx_num_threads(void) {
  int threads = atomic_load(&thread_count);
  if (threads == 0) {
    tx_set_num_threads(default_threads());
    threads = atomic_load(&thread_count);
  }
  return threads;
}

void tx_set_num_threads(int threads) { atomic_store(&thread_count, (int)tx_max(1, tx_min(threads, TX_MAX_THREADS))); }

bool tx_should_stop(void) { return works ? atomic_load_explicit(&job.stop, memory_order_relaxed) : tx_ask_interrupt(); }
