/* threads.h - one way to run work on several cores, with the same result for any number of them.
 *
 * The caller cuts its work into blocks by the shape of the problem alone, never by the number of threads. A block
 * writes to its own part of the output, or to its own slot of a partial result, and the caller reduces the slots in
 * order. Any thread may compute any block, so results have the same bits for 1, 2 or 8 threads. As a rule, though, the
 * first of T threads computes the first T-th of the blocks, and so on: jobs that cut the same data in the same order
 * find it in the core's cache.
 *
 * Why not OpenMP: its regions end in a barrier of all threads. On two cores that other programs used too, regions that take
 * 15 us alone took 60 to 2000 us, on average; jobs of this pool, 17 us alone, took 35 to 80. Threads that wait asleep
 * (OMP_WAIT_POLICY=passive) stand that, with 30 to 55 us, but the fastest of 4000 regions took 26 us then, and 13 otherwise.
 *
 * Denormal numbers are flushed to zero inside a parallel region (on the calling thread too, restored on return).
 * Parallel regions don't nest: tx_parallel called from inside a block runs its blocks in turn on that thread.
 */
#ifndef TX_BASE_THREADS_H
#define TX_BASE_THREADS_H

#include <stdbool.h>
#include <stdint.h>

/* Does block number `block`; `worker` (0 <= worker < tx_num_threads()) says whose scratch space it may use (tx_scratch
 * in base/memory.h). */
typedef void tx_block_fn(void *context, int64_t block, int worker);

/* Runs fn(context, b, worker) for every b in [0, blocks). Blocks that stand after an interrupt are skipped. */
void tx_parallel(int64_t blocks, tx_block_fn *fn, void *context);

/* The same, but each thread goes from its last block to its first: for data that the job before went through forward,
 * as the caches still hold the end of it. */
void tx_parallel_reversed(int64_t blocks, tx_block_fn *fn, void *context);

/* For loops over `count` items of about `cost` elementary operations each: the number of items per block, so that a
 * block has about 32,768 operations. Depends on the problem only. */
int64_t tx_block_size(int64_t count, int64_t cost);

/* Number of threads that tx_parallel uses; set clamps to 1..TX_MAX_THREADS. The default is TEXRES_NUM_THREADS, or the
 * number of CPUs that the process may run on. */
#define TX_MAX_THREADS 256
int tx_num_threads(void);
void tx_set_num_threads(int threads);

/* For blocks that take long, to be asked on any thread of the job: true when the block should give up. */
bool tx_should_stop(void);

#endif
