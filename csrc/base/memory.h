/* memory.h - aligned, counted, cached memory for tensor data and scratch space.
 *
 * Every block is 64-byte aligned (one cache line, one AVX-512 vector) and starts uninitialized. Large blocks (64 KiB and
 * more) that are freed are kept and handed out again: a training step asks for the same sizes over and over, and a fresh
 * page costs more than the arithmetic on it. The cache is bounded: the memory held from the system (live + kept) is not
 * allowed to grow above the largest number of live bytes seen so far, plus an eighth, before kept blocks are given back.
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

/* Takes a block back; NULL is ignored. */
void tx_dealloc(void *block);

/* Working memory for the threads of tx_parallel, a part for each. A part stays with its thread from job to job: what another
 * core has written takes long to write where the cores don't share a cache, and blocks of tx_alloc, cut anew for every size,
 * go from one core to the other. For jobs that come again and again and need little: what has been asked for at most stays
 * until tx_memory_trim, beyond the bound above. Between open and close it is the caller's; if it is in use already, open makes
 * another. */
typedef struct tx_scratch {
  char *parts;
  size_t part_bytes;
  bool cached; /* stays when closed */
} tx_scratch;

/* At least `bytes` for each thread, uninitialized. */
tx_status tx_scratch_open(tx_scratch *scratch, size_t bytes);
/* Lets it go; {0} is ignored. */
void tx_scratch_close(tx_scratch *scratch);
/* What worker number `worker` of a tx_parallel may use; 64-byte aligned. */
static inline void *tx_scratch_of(const tx_scratch *scratch, int worker) {
  return scratch->parts + (size_t)worker * scratch->part_bytes;
}

/* a * b into *product; TX_ENOMEM with a message when it overflows size_t or is above PTRDIFF_MAX. */
tx_status tx_size_mul(size_t a, size_t b, size_t *product);

/* Bytes handed out and not yet returned; the largest such number so far; bytes kept for later. */
size_t tx_live_bytes(void);
size_t tx_peak_bytes(void);
size_t tx_cached_bytes(void);

/* Gives all kept blocks back to the system and restarts the peak at the present live bytes. */
void tx_memory_trim(void);

#endif
