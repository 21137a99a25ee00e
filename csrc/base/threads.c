/* threads.c - the thread pool behind tx_parallel.
 *
 * The blocks of a job are laid out in as many shares as threads take part, the calling thread's first. A thread takes the
 * blocks of its own share one at a time, and when they have run out those that are left of the other shares. So the same
 * part of the data goes to the same core from job to job, as long as nothing disturbs it: where cores don't share a cache,
 * memory that another core has just written takes three times as long to read. The caller waits for blocks that others still
 * compute, but not for workers that have not woken up: on a busy machine, where a worker may be off the CPU for
 * milliseconds, the caller does the work itself. (An OpenMP region ends in a barrier of all threads, which costs a time
 * slice whenever one of them is not scheduled.)
 *
 * The counter of a share carries the job's number in its upper half, so a worker that comes late finds that its job is over
 * and can neither take a block of the next one by mistake nor hold it up.
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

#include "base/interrupt.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

enum {
  WORTH_A_THREAD = 32768,     /* operations that a block should have */
  LONG = 64,                  /* blocks of a job that may take a millisecond */
  SPINS_BEFORE_SLEEP = 20000, /* of an idle worker, some 0.1 to 0.4 ms: the next job of a training step comes sooner */
  SPINS_BEFORE_YIELD = 2000   /* of a caller that waits for the last blocks */
};

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

/* -- the pool -------------------------------------------------------------------------------------------------------- */

/* The job in hand. Its number is published when everything else is in place. */
static struct {
  atomic_uint number;
  atomic_uint blocks;
  atomic_uint done;
  atomic_int threads; /* how many may take part, the caller included */
  atomic_bool stop;   /* the blocks that are left are skipped */
  tx_block_fn *fn;
  void *context;
  bool reversed;
} job;

/* Share i of the job in hand: `ticket` is the job's number << 32 | next block. Between jobs the next block is CLOSED, which
 * is beyond any job's blocks. Each share has a cache line of its own. */
#define CLOSED UINT32_MAX
static struct { _Alignas(64) _Atomic uint64_t ticket; } shares[TX_MAX_THREADS];

static pthread_mutex_t caller_lock = PTHREAD_MUTEX_INITIALIZER; /* one job at a time */
static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static atomic_int sleepers;
static int workers;               /* started; guarded by caller_lock */
static _Thread_local bool inside; /* this thread is running a block */
static _Thread_local bool works;  /* this thread is a worker */

/* First block of a share; of the share after the last: the number of blocks. */
static uint32_t share_block(int share, int threads) {
  return (uint32_t)((uint64_t)atomic_load(&job.blocks) * (uint64_t)share / (uint64_t)threads);
}

/* Takes the next block of a share of job `number`; false when there is none left or another job runs. */
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

/* Polls for all threads of the job. */
static void poll_job(void) {
  if (tx_poll_interrupt()) atomic_store_explicit(&job.stop, true, memory_order_relaxed);
}

/* Does blocks of job `number` until none is left. While one is taken the job cannot end: its fields are stable. */
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

/* Sleeps, after a while of watching, until there is another job than `number`. */
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

/* Has `wanted` workers running, or as many as the system allows. Signals stay the host's business. */
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

/* A forked process has none of the threads, and finds nothing locked. */
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
  if (blocks >= LONG) tx_ask_interrupt(); /* who is asked may have to begin to listen */
  int threads = tx_num_threads();
  if (blocks < threads) threads = (int)blocks;
  uint64_t before = flush_denormals();
  inside = true;
  /* Another thread of the host may be in here, too: one of both has the workers. */
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

bool tx_should_stop(void) { return works ? atomic_load_explicit(&job.stop, memory_order_relaxed) : tx_ask_interrupt(); }
