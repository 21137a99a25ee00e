/* threads.h - one way to run work on several cores, with the same result for any number of them.
 *
 * Work is cut into blocks by the shape of the problem alone, never by the number of threads; a block writes to its own
 * part of the output, or to its own slot of a partial result that the caller then reduces in order. Which thread computes
 * which block is left open, so results are the same bits for 1, 2 or 8 threads. As a rule the first of T threads computes
 * the first T-th of the blocks and so on: jobs that cut the same data in the same order find it in their core's cache.
 *
 * Denormal numbers are flushed to zero inside a parallel region (on the calling thread too, restored on return).
 * Parallel regions don't nest: tx_parallel called from inside a block runs its blocks in turn on that thread.
 */
#ifndef TX_BASE_THREADS_H
#define TX_BASE_THREADS_H

#include <stdbool.h>
#include <stdint.h>

/* Does block number `block`; `worker` (0 <= worker < tx_num_threads()) says whose scratch space it may use (tx_scratch in
 * base/memory.h). */
typedef void tx_block_fn(void *context, int64_t block, int worker);

/* Runs fn(context, b, worker) for every b in [0, blocks). Blocks that stand after an interrupt are skipped. */
void tx_parallel(int64_t blocks, tx_block_fn *fn, void *context);

/* The same, each thread from the last of its blocks to the first: for a pass over data that the job before went through
 * forward, the end of which the caches still hold. */
void tx_parallel_reversed(int64_t blocks, tx_block_fn *fn, void *context);

/* For loops over `count` items that each cost about `cost` elementary operations: the number of items to put into one
 * block so that a block is worth a thread's while (about 32,768 operations). Depends on the problem only. */
int64_t tx_block_size(int64_t count, int64_t cost);

/* Number of threads that tx_parallel uses; set clamps to 1..TX_MAX_THREADS. The default is what the process may run on. */
#define TX_MAX_THREADS 256
int tx_num_threads(void);
void tx_set_num_threads(int threads);

/* For a block that takes long, asked on any thread of the job: true when it should give up. */
bool tx_should_stop(void);

#endif
