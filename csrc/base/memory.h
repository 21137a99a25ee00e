/* memory.h - aligned, counted, cached memory for tensor data and working memory.
 *
 * A block is aligned to 64 bytes (one cache line, one AVX-512 vector) and starts uninitialized. Freed blocks of 64 KiB
 * or more are cached and handed out again: a training step asks for the same sizes over and over, and a fresh page
 * costs more than the arithmetic on it. Before it asks the system for more, the library gives cached blocks back until
 *
 *     live bytes (handed out)  +  cached bytes (freed)   <=   9/8 of the most live bytes there have been
 *
 * All functions may be called from any thread.
 */
#ifndef TX_BASE_MEMORY_H
#define TX_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define TX_ALIGNMENT 64

/* Returns a block of `bytes` (0 gives a valid, empty block), or NULL with the message set. */
void *tx_alloc(size_t bytes);

/* The same, filled with zero bytes. */
void *tx_alloc_zero(size_t bytes);

/* n elements of `size` bytes: NULL with the message set also where n is negative or their product overflows. */
void *tx_alloc_array(int64_t n, size_t size);

/* Frees a block; NULL is ignored. */
void tx_dealloc(void *block);

/* Scratch: working memory for the threads of a tx_parallel, one part for each.
 *
 *     parts  ->  | part of worker 0 | part of worker 1 | part of worker 2 | ...
 *
 * One scratch is cached, so that a thread finds the same part in job after job. Memory from tx_alloc would move from
 * core to core, and where cores don't share a cache it is slow to write what another core has written last. The cached
 * scratch grows to the largest size that was asked for and stays until tx_memory_trim, whatever the bound above says:
 * use it in jobs that are frequent and need little. From open to close it belongs to the caller. If it is in use, open
 * allocates another. */
typedef struct tx_scratch {
  char *parts;
  size_t part_bytes;
  bool cached; /* close puts it back; else close frees it */
} tx_scratch;

/* Opens a scratch with at least `bytes` for each thread, uninitialized. */
tx_status tx_scratch_open(tx_scratch *scratch, size_t bytes);
/* Closes it; {0} is ignored. */
void tx_scratch_close(tx_scratch *scratch);
/* The part of worker number `worker`; 64-byte aligned. */
static inline void *tx_scratch_of(const tx_scratch *scratch, int worker) {
  return scratch->parts + (size_t)worker * scratch->part_bytes;
}

/* *product = a * b; TX_ENOMEM with a message when that is above PTRDIFF_MAX. */
tx_status tx_size_mul(size_t a, size_t b, size_t *product);

/* Bytes handed out and not yet freed; the most there have been so far; bytes freed and cached. */
size_t tx_live_bytes(void);
size_t tx_small_bytes(void); /* of the live ones: in blocks below 64 KiB, which are not cached but go back to malloc */
size_t tx_peak_bytes(void);
size_t tx_cached_bytes(void);

/* Gives all cached memory back to the system and resets the peak to the present live bytes. */
void tx_memory_trim(void);

#endif
