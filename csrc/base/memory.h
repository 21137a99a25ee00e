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

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define TX_ALIGNMENT 64

/* Returns a block of `bytes` (0 gives a valid, empty block), or NULL with the message set. */
void *tx_alloc(size_t bytes);

/* The same, filled with zero bytes. */
void *tx_alloc_zero(size_t bytes);

/* Takes a block back; NULL is ignored. */
void tx_dealloc(void *block);

/* a * b into *product; TX_ENOMEM with a message when it overflows size_t or is above PTRDIFF_MAX. */
tx_status tx_size_mul(size_t a, size_t b, size_t *product);

/* Bytes handed out and not yet returned; the largest such number so far; bytes kept in the cache. */
size_t tx_live_bytes(void);
size_t tx_peak_bytes(void);
size_t tx_cached_bytes(void);

/* Gives all kept blocks back to the system and restarts the peak at the present live bytes. */
void tx_memory_trim(void);

#endif
