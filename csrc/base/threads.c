/* threads.c - tx_parallel over OpenMP. */
#define _GNU_SOURCE /* CLOCK_MONOTONIC */
#include "base/threads.h"

#include <omp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

enum { WORTH_A_THREAD = 32768 };

static atomic_int thread_count; /* 0: not chosen yet */
static atomic_bool interrupted;
static tx_poll_fn *poll_fn;
static void *poll_context;

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

double tx_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
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
  for (int64_t b = 0; b < blocks && !atomic_load_explicit(&interrupted, memory_order_relaxed); b++) {
    fn(context, b, 0);
    if (may_poll && poll_fn != NULL) poll();
  }
}

void tx_parallel(int64_t blocks, tx_block_fn *fn, void *context) {
  if (blocks <= 0) return;
  bool nested = omp_in_parallel();
  if (nested) {
    run_serial(blocks, fn, context, false);
    return;
  }
  int threads = tx_num_threads();
  if (blocks < threads) threads = (int)blocks;
  uint64_t before = flush_denormals();
  if (threads == 1) {
    run_serial(blocks, fn, context, true);
  } else {
#pragma omp parallel num_threads(threads)
    {
      int worker = omp_get_thread_num();
      if (worker != 0) flush_denormals(); /* a worker belongs to the pool: nothing to restore */
#pragma omp for schedule(dynamic, 1)
      for (int64_t b = 0; b < blocks; b++) {
        if (atomic_load_explicit(&interrupted, memory_order_relaxed)) continue;
        fn(context, b, worker);
        if (worker == 0 && poll_fn != NULL) poll();
      }
    }
  }
  restore_denormals(before);
}

int64_t tx_block_size(int64_t count, int64_t cost) {
  int64_t size = WORTH_A_THREAD / (cost < 1 ? 1 : cost);
  if (size < 1) size = 1;
  return size < count || count < 1 ? size : count;
}

int tx_num_threads(void) {
  int threads = atomic_load(&thread_count);
  if (threads == 0) {
    tx_set_num_threads(omp_get_max_threads());
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
