/* memory.c - the block cache behind tx_alloc.
 *
 * Large blocks are cut from mmapped runs of huge pages and carry a 64-byte header. Freed blocks stand in one free list,
 * in the order of their addresses, and neighbours are merged. A request takes the smallest block that is large enough
 * (best fit), and what it does not need stays in the list. So the 32 MB of one layer's activations can become twice 16
 * MB for the next layer.
 *
 *     address  ->   [ in use ][ free ][ in use ][       free       ]      [ free ]
 *
 * A size is rounded up by 1/256 and then to whole pages. That leaves room for the header, and lets a block of twice the
 * size be cut into two of this one.
 */
#define _GNU_SOURCE /* MAP_ANONYMOUS, madvise */
#include "base/memory.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/threads.h"

enum { HEADER = TX_ALIGNMENT };
#if defined(__SANITIZE_ADDRESS__) || defined(TX_FUZZING)
#define LARGE ((size_t)PTRDIFF_MAX) /* nothing is cached, so that the sanitizer sees a use after free */
#else
#define LARGE ((size_t)64 * 1024)
#endif
static const bool caches = LARGE < (size_t)PTRDIFF_MAX;
#define HUGE_PAGE ((size_t)2 * 1024 * 1024)

/* Stands in the 64 bytes before every block. */
typedef struct block {
  size_t bytes;       /* as asked for */
  size_t capacity;    /* held from the system, header included; 0 for a small block */
  struct block *next; /* in the free list: the next block, at a higher address */
  void *start;        /* of a small block: what malloc gave */
} block;

_Static_assert(sizeof(block) <= HEADER, "the header must fit before the block");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static block *free_list; /* in the order of addresses */
static size_t live, small, peak, mapped, cached;

/* A forked process finds the cache whole and not locked. */
static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }
static void begin_child(void) { pthread_mutex_init(&lock, NULL); }
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(before_fork, after_fork, begin_child); }

static size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }
static size_t round_to_pages(size_t bytes) { return round_up(bytes, (size_t)sysconf(_SC_PAGESIZE)); }

/* The end of b, where its neighbour begins. */
static block *end_of(block *b) { return (block *)(void *)((char *)b + b->capacity); }

/* Takes a block out of the free list: the one that the link `at` points to. */
static block *take_out(block **at) {
  block *b = *at;
  *at = b->next;
  cached -= b->capacity;
  return b;
}

/* Cuts b down to `capacity` and returns the rest, which is not in the free list yet. */
static block *split(block *b, size_t capacity) {
  const size_t left = b->capacity - capacity;
  b->capacity = capacity;
  block *rest = end_of(b);
  rest->capacity = left;
  return rest;
}

/* Merges b with the next block of the free list where they are neighbours. */
static void merge_next(block *b) {
  if (b->next == NULL || end_of(b) != b->next) return;
  b->capacity += b->next->capacity;
  b->next = b->next->next;
}

static void insert_free(block *b) {
  block *before = NULL;
  for (block *at = free_list; at != NULL && at < b; at = at->next) before = at;
  block **link = before != NULL ? &before->next : &free_list;
  b->next = *link;
  *link = b;
  cached += b->capacity;
  merge_next(b);
  if (before != NULL) merge_next(before);
}

/* The link to the smallest free block of at least `capacity`, or to the largest one where all are smaller; NULL for an
 * empty list. */
static block **best_fit(size_t capacity) {
  block **best = NULL;
  for (block **at = &free_list; *at != NULL; at = &(*at)->next) {
    const size_t have = (*at)->capacity;
    if (best == NULL ||
        (have >= capacity ? (*best)->capacity < capacity || have < (*best)->capacity : (*best)->capacity < have)) {
      best = at;
    }
  }
  return best;
}

static block *take_free(size_t capacity) {
  block **at = best_fit(capacity);
  if (at == NULL || (*at)->capacity < capacity) return NULL;
  block *b = take_out(at);
  if (b->capacity - capacity >= LARGE) insert_free(split(b, capacity));
  return b;
}

/* Unmaps free memory, and no more of a block than necessary, until at most `target` bytes are mapped. */
static void shrink_to(size_t target) {
  while (mapped > target && free_list != NULL) {
    const size_t excess = round_to_pages(mapped - target);
    block *b = take_out(best_fit(excess));
    if (b->capacity >= excess + LARGE) {
      block *rest = split(b, b->capacity - excess);
      insert_free(b);
      b = rest;
    }
    mapped -= b->capacity;
    munmap(b, b->capacity);
  }
}

/* Maps `bytes`, a multiple of HUGE_PAGE, aligned to one; NULL when the system has none. */
static block *map_huge(size_t bytes) {
  char *pages = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return NULL;
  const size_t before = (HUGE_PAGE - (uintptr_t)pages % HUGE_PAGE) % HUGE_PAGE;
  if (before > 0) munmap(pages, before);
  if (before < HUGE_PAGE) munmap(pages + before + bytes, HUGE_PAGE - before);
#ifdef MADV_HUGEPAGE
  madvise(pages + before, bytes, MADV_HUGEPAGE);
#endif
  return (block *)(void *)(pages + before);
}

/* A block from the system. All memory comes in huge pages: Winograd's transforms write to 36 places at a time, and with
 * small pages they would wait for address translations. */
static block *map_new(size_t capacity) {
  const size_t bytes = round_up(capacity, HUGE_PAGE);
  size_t bound = live + bytes > peak ? live + bytes : peak;
  bound += bound / 8;
  if (mapped + bytes > bound) shrink_to(bound > bytes ? bound - bytes : 0);
  block *b = map_huge(bytes);
  if (b == NULL) {
    shrink_to(0);
    b = map_huge(bytes);
    if (b == NULL) return NULL;
  }
  mapped += bytes;
  b->capacity = bytes;
  if (bytes - capacity >= LARGE) insert_free(split(b, capacity));
  return b;
}

/* A block from malloc, aligned by hand: aligned_alloc of glibc (2.36) leaves the pieces that it cuts off where no later
 * call of it finds them, and a process that makes small tensors without end grows without end. */
static block *new_small(size_t bytes) {
  char *start = malloc(bytes + HEADER + TX_ALIGNMENT);
  if (start == NULL) return NULL;
  block *b = (block *)(void *)(start + (TX_ALIGNMENT - (uintptr_t)start % TX_ALIGNMENT) % TX_ALIGNMENT);
  b->capacity = 0;
  b->start = start;
  return b;
}

void *tx_alloc(size_t bytes) {
  if (bytes > (size_t)PTRDIFF_MAX / 2) {
    tx_fail(TX_ENOMEM, "not enough memory: a block of %zu bytes was asked for", bytes);
    return NULL;
  }
  block *b;
  if (bytes >= LARGE) {
    size_t capacity = round_to_pages(bytes + bytes / 256); /* bytes / 256 is at least the header */
    pthread_mutex_lock(&lock);
    b = take_free(capacity);
    if (b == NULL) b = map_new(capacity);
  } else {
    b = new_small(bytes);
    pthread_mutex_lock(&lock);
  }
  if (b != NULL) {
    b->bytes = bytes;
    live += bytes;
    if (b->capacity == 0) small += bytes;
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
    insert_free(b);
  } else {
    small -= b->bytes;
  }
  pthread_mutex_unlock(&lock);
  if (!large) free(b->start);
}

/* -- scratch ----------------------------------------------------------------------------------------------------------- */

/* The cached scratch; all zeros while there is none. Its bytes count as live while it is in use, else as cached. */
static struct {
  tx_scratch parts;
  int threads;
  bool in_use;
} cached_scratch;

/* The caller holds the lock. */
static void set_scratch_in_use(bool in_use) {
  const size_t bytes = (size_t)cached_scratch.threads * cached_scratch.parts.part_bytes;
  live = in_use ? live + bytes : live - bytes;
  cached = in_use ? cached - bytes : cached + bytes;
  if (live > peak) peak = live;
  cached_scratch.in_use = in_use;
}

/* Takes the cached scratch, unless it is in use; then false. Whoever has taken it may replace it. */
static bool take_cached_scratch(void) {
  pthread_mutex_lock(&lock);
  const bool available = caches && !cached_scratch.in_use;
  if (available) set_scratch_in_use(true);
  pthread_mutex_unlock(&lock);
  return available;
}

static void return_cached_scratch(void) {
  pthread_mutex_lock(&lock);
  set_scratch_in_use(false);
  pthread_mutex_unlock(&lock);
}

static void free_cached_scratch(void) {
  tx_dealloc(cached_scratch.parts.parts);
  cached_scratch.parts = (tx_scratch){0};
  cached_scratch.threads = 0;
}

static tx_status make_scratch(tx_scratch *scratch, int threads, size_t part_bytes) {
  size_t bytes = 0;
  TX_TRY(tx_size_mul((size_t)threads, part_bytes, &bytes));
  scratch->parts = tx_alloc(bytes);
  if (scratch->parts == NULL) return TX_ENOMEM;
  scratch->part_bytes = part_bytes;
  return TX_OK;
}

/* Makes the cached scratch large enough, for threads and bytes; it never shrinks. */
static tx_status grow_cached_scratch(int threads, size_t part_bytes) {
  if (cached_scratch.threads >= threads && cached_scratch.parts.part_bytes >= part_bytes) return TX_OK;
  if (cached_scratch.threads > threads) threads = cached_scratch.threads;
  if (cached_scratch.parts.part_bytes > part_bytes) part_bytes = cached_scratch.parts.part_bytes;
  free_cached_scratch();
  TX_TRY(make_scratch(&cached_scratch.parts, threads, part_bytes));
  cached_scratch.parts.cached = true;
  cached_scratch.threads = threads;
  return TX_OK;
}

tx_status tx_scratch_open(tx_scratch *scratch, size_t bytes) {
  *scratch = (tx_scratch){0};
  const size_t part_bytes = round_to_pages(bytes);
  if (!take_cached_scratch()) return make_scratch(scratch, tx_num_threads(), part_bytes);
  const tx_status status = grow_cached_scratch(tx_num_threads(), part_bytes);
  if (status == TX_OK) {
    *scratch = cached_scratch.parts;
  } else {
    return_cached_scratch();
  }
  return status;
}

void tx_scratch_close(tx_scratch *scratch) {
  if (scratch->cached) {
    return_cached_scratch();
  } else {
    tx_dealloc(scratch->parts);
  }
  *scratch = (tx_scratch){0};
}

/* -- sizes and counters ------------------------------------------------------------------------------------------------ */

void *tx_alloc_array(int64_t n, size_t size) {
  size_t bytes = 0;
  if (n < 0) {
    tx_fail(TX_ENOMEM, "size overflow: an array of %lld elements", (long long)n);
    return NULL;
  }
  return tx_size_mul((size_t)n, size, &bytes) == TX_OK ? tx_alloc(bytes) : NULL;
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
size_t tx_small_bytes(void) { return read_counter(&small); }
size_t tx_peak_bytes(void) { return read_counter(&peak); }
size_t tx_cached_bytes(void) { return read_counter(&cached); }

void tx_memory_trim(void) {
  if (take_cached_scratch()) {
    free_cached_scratch();
    return_cached_scratch();
  }
  pthread_mutex_lock(&lock);
  shrink_to(0);
  peak = live;
  pthread_mutex_unlock(&lock);
#ifdef __GLIBC__
  malloc_trim(0); /* free pages between blocks that are in use, too */
#endif
}
