/* memory.c - the block cache behind tx_alloc.
 *
 * Large blocks come from mmap in multiples of 64 KiB and carry a 64-byte header. Freed ones stand in one list per power
 * of two; a request takes the best fit of its own list or the next that wastes at most a quarter of the block.
 */
#define _GNU_SOURCE /* MAP_ANONYMOUS, madvise */
#include "base/memory.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HEADER = TX_ALIGNMENT, LISTS = 48 };
#if defined(__SANITIZE_ADDRESS__) || defined(TX_FUZZING)
#define LARGE ((size_t)PTRDIFF_MAX) /* no block is kept, so that the sanitizer sees a use after free */
#else
#define LARGE ((size_t)64 * 1024)
#endif
#define HUGE_PAGE ((size_t)2 * 1024 * 1024)

/* Stands in the 64 bytes before every block. */
typedef struct block {
  size_t bytes;    /* as asked for */
  size_t capacity; /* held from the system, header included; 0 for a small block */
  struct block *next;
} block;

_Static_assert(sizeof(block) <= HEADER, "the header must fit before the block");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static block *kept[LISTS];
static size_t live, peak, mapped, cached;

static int list_of(size_t capacity) {
  int list = 0;
  for (size_t c = capacity / LARGE; c > 1 && list < LISTS - 1; c >>= 1) list++;
  return list;
}

static void unmap(block *b) {
  mapped -= b->capacity;
  munmap(b, b->capacity);
}

/* Gives kept blocks back, largest first, until at most `target` bytes are mapped. */
static void shrink_to(size_t target) {
  for (int list = LISTS - 1; list >= 0 && mapped > target; list--) {
    while (kept[list] != NULL && mapped > target) {
      block *b = kept[list];
      kept[list] = b->next;
      cached -= b->capacity;
      unmap(b);
    }
  }
}

static block *take_kept(size_t capacity) {
  int first = list_of(capacity);
  for (int list = first; list <= first + 1 && list < LISTS; list++) {
    block **best = NULL;
    for (block **at = &kept[list]; *at != NULL; at = &(*at)->next) {
      size_t have = (*at)->capacity;
      if (have >= capacity && have - have / 4 <= capacity && (best == NULL || have < (*best)->capacity)) best = at;
    }
    if (best != NULL) {
      block *b = *best;
      *best = b->next;
      cached -= b->capacity;
      return b;
    }
  }
  return NULL;
}

static block *map_new(size_t capacity) {
  size_t bound = live + capacity > peak ? live + capacity : peak;
  bound += bound / 2;
  if (mapped + capacity > bound) shrink_to(bound > capacity ? bound - capacity : 0);
  void *pages = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) {
    shrink_to(0);
    pages = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return NULL;
  }
#ifdef MADV_HUGEPAGE
  if (capacity >= 2 * HUGE_PAGE) madvise(pages, capacity, MADV_HUGEPAGE);
#endif
  mapped += capacity;
  block *b = pages;
  b->capacity = capacity;
  return b;
}

void *tx_alloc(size_t bytes) {
  if (bytes > (size_t)PTRDIFF_MAX / 2) {
    tx_fail(TX_ENOMEM, "not enough memory: a block of %zu bytes was asked for", bytes);
    return NULL;
  }
  block *b;
  size_t need = bytes + HEADER;
  if (need >= LARGE) {
    size_t capacity = (need + LARGE - 1) / LARGE * LARGE;
    pthread_mutex_lock(&lock);
    b = take_kept(capacity);
    if (b == NULL) b = map_new(capacity);
  } else {
    b = aligned_alloc(TX_ALIGNMENT, (need + TX_ALIGNMENT - 1) / TX_ALIGNMENT * TX_ALIGNMENT);
    if (b != NULL) b->capacity = 0;
    pthread_mutex_lock(&lock);
  }
  if (b != NULL) {
    b->bytes = bytes;
    live += bytes;
    if (live > peak) peak = live;
  }
  pthread_mutex_unlock(&lock);
  if (b == NULL) {
    tx_fail(TX_ENOMEM, "not enough memory: a block of %zu bytes was asked for, %zu bytes are in use", bytes, live);
    return NULL;
  }
  return (char *)b + HEADER;
}

void *tx_alloc_zero(size_t bytes) {
  void *p = tx_alloc(bytes);
  if (p != NULL) memset(p, 0, bytes);
  return p;
}

void tx_dealloc(void *pointer) {
  if (pointer == NULL) return;
  block *b = (block *)(void *)((char *)pointer - HEADER);
  bool large = b->capacity != 0;
  pthread_mutex_lock(&lock);
  live -= b->bytes;
  if (large) {
    int list = list_of(b->capacity);
    b->next = kept[list];
    kept[list] = b;
    cached += b->capacity;
  }
  pthread_mutex_unlock(&lock);
  if (!large) free(b);
}

tx_status tx_size_mul(size_t a, size_t b, size_t *product) {
  if (b != 0 && a > (size_t)PTRDIFF_MAX / b) {
    return tx_fail(TX_ENOMEM, "size overflow: %zu x %zu is more than memory can address", a, b);
  }
  *product = a * b;
  return TX_OK;
}

static size_t read_counter(const size_t *counter) {
  pthread_mutex_lock(&lock);
  size_t value = *counter;
  pthread_mutex_unlock(&lock);
  return value;
}

size_t tx_live_bytes(void) { return read_counter(&live); }
size_t tx_peak_bytes(void) { return read_counter(&peak); }
size_t tx_cached_bytes(void) { return read_counter(&cached); }

void tx_memory_trim(void) {
  pthread_mutex_lock(&lock);
  shrink_to(0);
  peak = live;
  pthread_mutex_unlock(&lock);
}
