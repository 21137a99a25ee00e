/* reduction.c - sums of gradients along the tree of shards. */
#include "mpi/reduction.h"

#include <stdlib.h>
#include <string.h>

#include "mpi/wire.h"

enum {
  IN_FLIGHT = 3,   /* buckets that are under way at a time: bucket i has the memory of i modulo so many */
  MOST_LEVELS = 7, /* of the tree over TX_REDUCTION_SHARDS */
};

/* What a bucket that is under way holds. */
typedef struct flight {
  int bucket; /* -1: none */
  bool gathering;
  char *
      sent; /* of this rank's blocks, for each other one its slice of each; when they are there, the sum of the bucket */
  char *received; /* everyone's blocks of the own slice, in the order of shards */
  tx_wire *wire;
} flight;

typedef struct bucket {
  int first, count; /* gradients */
  int64_t elements;
  int missing; /* gradients that are not there yet */
} bucket;

struct tx_reduction {
  int rank, size, shards;
  bool f64;
  int count;
  int64_t *elements;
  char **data; /* of gradient i, since it is ready */
  int buckets;
  bucket *bucket;
  int next; /* the bucket that sets out next: they do so in their order */
  int done;
  int *blocks;    /* of each rank */
  int all_blocks; /* of all ranks */
  int *level;     /* of each of them: 2^level shards */
  void *const *const *before;
  int parts, completed; /* of the shards before the last one of this rank */
  int kept;             /* blocks of this rank that the last shard has no part in */
  flight flight[IN_FLIGHT];
};

_Static_assert(TX_REDUCTION_SHARDS == 1 << (MOST_LEVELS - 1), "a level for each power of two");

/* -- the tree ----------------------------------------------------------------------------------------------------------- */

/* The shards of a rank: from first up to, but not with, end. */
static void shards_of(int rank, int size, int shards, int *first, int *end) {
  *first = (int)((int64_t)rank * shards / size);
  *end = (int)((int64_t)(rank + 1) * shards / size);
}

/* The largest part of the tree that begins with shard `first` and ends before `end`. */
static int level_at(int first, int end) {
  int level = 0;
  while (first % (2 << level) == 0 && first + (2 << level) <= end) level++;
  return level;
}

/* Cuts shards into parts of the tree: their levels, from left to right. */
static int cut(int first, int end, int *level) {
  int count = 0;
  for (int at = first; at < end; at += 1 << level[count - 1]) level[count++] = level_at(at, end);
  return count;
}

int tx_reduction_parts(int first, int n) {
  int level[2 * MOST_LEVELS];
  return cut(first, first + n, level);
}

int tx_reduction_completed(int first, int n) {
  return tx_reduction_parts(first, n) + 1 - tx_reduction_parts(first, n + 1);
}

/* a[i] += b[i] */
static void add(bool f64, int64_t n, void *a, const void *b) {
  if (f64) {
    double *restrict x = a;
    const double *restrict y = b;
    for (int64_t i = 0; i < n; i++) x[i] += y[i];
  } else {
    float *restrict x = a;
    const float *restrict y = b;
    for (int64_t i = 0; i < n; i++) x[i] += y[i];
  }
}

/* Adds up n elements of all blocks, which lie one after the other, along the tree; the sum is in the first one then. */
static void add_blocks(const tx_reduction *r, char *blocks, int64_t n) {
  const int64_t bytes = n * (r->f64 ? 8 : 4);
  int level[2 * MOST_LEVELS + 1], top = 0;
  char *at[2 * MOST_LEVELS + 1];
  for (int b = 0; b < r->all_blocks; b++) {
    at[top] = blocks + b * bytes;
    level[top++] = r->level[b];
    for (; top > 1 && level[top - 1] == level[top - 2]; top--) {
      add(r->f64, n, at[top - 2], at[top - 1]);
      level[top - 2]++;
    }
  }
}

/* -- slices ------------------------------------------------------------------------------------------------------------- */

static size_t size_of(const tx_reduction *r) { return r->f64 ? 8 : 4; }

/* The slice of a bucket of n elements that a rank adds up. */
static int64_t slice_first(const tx_reduction *r, int64_t n, int rank) { return n * rank / r->size; }
static int64_t slice_count(const tx_reduction *r, int64_t n, int rank) {
  return slice_first(r, n, rank + 1) - slice_first(r, n, rank);
}

/* Copies elements [first, first + n) of a bucket out of gradients, gradient i of which is at data[i]. */
static void collect(const tx_reduction *r, const bucket *b, char *const *data, int64_t first, int64_t n, char *to) {
  const int64_t size = (int64_t)size_of(r);
  for (int i = b->first; n > 0; i++) {
    if (first >= r->elements[i]) {
      first -= r->elements[i];
      continue;
    }
    const int64_t some = n < r->elements[i] - first ? n : r->elements[i] - first;
    memcpy(to, data[i] + first * size, (size_t)(some * size));
    to += some * size;
    n -= some;
    first = 0;
  }
}

static void spread(const tx_reduction *r, const bucket *b, const char *sum) {
  for (int i = b->first; i < b->first + b->count; i++) {
    const size_t bytes = (size_t)r->elements[i] * size_of(r);
    memcpy(r->data[i], sum, bytes);
    sum += bytes;
  }
}

static int first_block(const tx_reduction *r, int rank) { return rank == 0 ? 0 : r->blocks[rank - 1]; }

/* -- on the way --------------------------------------------------------------------------------------------------------- */

/* The parts of the tree that the last shard completes are added to its gradients. */
static void complete(const tx_reduction *r, const bucket *b) {
  for (int k = 0; k < r->completed; k++) {
    void *const *part = r->before[r->parts - 1 - k];
    for (int i = b->first; i < b->first + b->count; i++) add(r->f64, r->elements[i], r->data[i], part[i]);
  }
}

static void depart(tx_reduction *r, flight *f, int index) {
  const bucket *b = &r->bucket[index];
  const int64_t n = b->elements, size = (int64_t)size_of(r);
  const int own_first = first_block(r, r->rank), own = r->blocks[r->rank] - own_first;
  const int64_t own_slice = slice_count(r, n, r->rank) * size;
  f->bucket = index;
  f->gathering = false;
  for (int q = 0; q < r->size; q++) {
    const int first = first_block(r, q);
    if (q == r->rank) continue;
    tx_wire_receive(f->wire, f->received + first * own_slice, (r->blocks[q] - first) * own_slice, q, 2 * index);
  }
  char *to = f->sent;
  for (int q = 0; q < r->size; q++) {
    const int64_t first = slice_first(r, n, q), count = slice_count(r, n, q);
    char *slice = q == r->rank ? f->received + own_first * own_slice : to;
    for (int k = 0; k < own; k++) {
      char *const *data = k < r->kept ? (char *const *)r->before[k] : r->data;
      collect(r, b, data, first, count, slice + k * count * size);
    }
    if (q == r->rank) continue;
    tx_wire_send(f->wire, to, own * count * size, q, 2 * index);
    to += own * count * size;
  }
}

static void gather(tx_reduction *r, flight *f) {
  const bucket *b = &r->bucket[f->bucket];
  const int64_t n = b->elements, size = (int64_t)size_of(r), count = slice_count(r, n, r->rank);
  char *own = f->sent + slice_first(r, n, r->rank) * size;
  add_blocks(r, f->received, count);
  memcpy(own, f->received, (size_t)(count * size));
  f->gathering = true;
  for (int q = 0; q < r->size; q++) {
    if (q == r->rank) continue;
    tx_wire_receive(f->wire, f->sent + slice_first(r, n, q) * size, slice_count(r, n, q) * size, q, 2 * f->bucket + 1);
    tx_wire_send(f->wire, own, count * size, q, 2 * f->bucket + 1);
  }
}

/* Brings a bucket on by what has arrived; whether it has come to its end. */
static bool advance(tx_reduction *r, flight *f, bool wait) {
  while (tx_wire_is_done(f->wire, wait)) {
    if (f->gathering) {
      spread(r, &r->bucket[f->bucket], f->sent);
      f->bucket = -1;
      r->done++;
      return true;
    }
    gather(r, f);
  }
  return false;
}

/* What bucket `index` goes in; NULL while another one is under way in there. */
static flight *flight_of(tx_reduction *r, int index) {
  flight *f = &r->flight[index % IN_FLIGHT];
  return f->bucket < 0 ? f : NULL;
}

/* The flight of the bucket that set out first. */
static flight *oldest(tx_reduction *r) {
  flight *first = NULL;
  for (int k = 0; k < IN_FLIGHT; k++) {
    flight *f = &r->flight[k];
    if (f->bucket >= 0 && (first == NULL || f->bucket < first->bucket)) first = f;
  }
  return first;
}

static void set_out(tx_reduction *r) {
  flight *f;
  while (r->next < r->buckets && r->bucket[r->next].missing == 0 && (f = flight_of(r, r->next)) != NULL) {
    const int index = r->next++;
    complete(r, &r->bucket[index]);
    if (r->size == 1) {
      r->done++;
    } else {
      depart(r, f, index);
    }
  }
}

void tx_reduction_poll(tx_reduction *r) {
  for (int k = 0; k < IN_FLIGHT; k++) {
    if (r->flight[k].bucket >= 0) advance(r, &r->flight[k], false);
  }
  set_out(r);
}

void tx_reduction_finish(tx_reduction *r) {
  while (r->done < r->buckets) {
    tx_reduction_poll(r);
    flight *f = oldest(r);
    if (f != NULL) advance(r, f, true);
  }
  r->before = NULL;
}

static int bucket_of(const tx_reduction *r, int gradient) {
  int b = 0;
  while (gradient >= r->bucket[b].first + r->bucket[b].count) b++;
  return b;
}

void tx_reduction_ready(tx_reduction *r, int i, void *data) {
  if (r->data[i] != NULL) return;
  r->data[i] = data;
  r->bucket[bucket_of(r, i)].missing--;
  tx_reduction_poll(r);
}

/* -- life --------------------------------------------------------------------------------------------------------------- */

void tx_reduction_begin(tx_reduction *r, void *const *const *before) {
  if (r->size > 1) tx_wire_begin();
  r->before = before;
  r->next = r->done = 0;
  memset(r->data, 0, (size_t)r->count * sizeof r->data[0]);
  for (int b = 0; b < r->buckets; b++) r->bucket[b].missing = r->bucket[b].count;
}

/* A bucket is closed once it holds `full` elements: small gradients join the large one after them. */
static void make_buckets(tx_reduction *r, int64_t full) {
  for (int i = 0; i < r->count; i++) {
    bucket *b = r->buckets > 0 ? &r->bucket[r->buckets - 1] : NULL;
    if (b == NULL || b->elements >= full) {
      b = &r->bucket[r->buckets++];
      *b = (bucket){.first = i};
    }
    b->count++;
    b->elements += r->elements[i];
  }
}

static bool make_blocks(tx_reduction *r) {
  r->blocks = malloc((size_t)r->size * sizeof r->blocks[0]);
  r->level = malloc((size_t)(2 * r->shards) * sizeof r->level[0]);
  if (r->blocks == NULL || r->level == NULL) return false;
  for (int q = 0; q < r->size; q++) {
    int first, end;
    shards_of(q, r->size, r->shards, &first, &end);
    r->all_blocks += cut(first, end, r->level + r->all_blocks);
    r->blocks[q] = r->all_blocks; /* of this rank and those before */
  }
  int first, end;
  shards_of(r->rank, r->size, r->shards, &first, &end);
  if (end > first) {
    r->parts = tx_reduction_parts(first, end - first - 1);
    r->completed = tx_reduction_completed(first, end - first - 1);
    r->kept = r->parts - r->completed;
  }
  return true;
}

/* The most that flight k takes of a bucket. */
static int64_t widest_of(const tx_reduction *r, int k) {
  int64_t widest = 0;
  for (int b = k; b < r->buckets; b += IN_FLIGHT) {
    if (r->bucket[b].elements > widest) widest = r->bucket[b].elements;
  }
  return widest;
}

static bool make_flight(tx_reduction *r, flight *f, int64_t widest) {
  const size_t size = size_of(r), slice = (size_t)(widest / r->size + 1);
  const size_t others = (size_t)(r->kept + 1) * (size_t)(widest - widest / r->size), whole = (size_t)widest;
  const size_t sent = (others > whole ? others : whole) * size, received = (size_t)r->all_blocks * slice * size;
  f->sent = malloc(sent + 1);
  f->received = malloc(received);
  f->wire = tx_wire_new(2 * r->size, (int64_t)(sent + received));
  return f->sent != NULL && f->received != NULL && f->wire != NULL;
}

static bool make_flights(tx_reduction *r) {
  for (int k = 0; k < IN_FLIGHT; k++) {
    if (!make_flight(r, &r->flight[k], widest_of(r, k))) return false;
  }
  return true;
}

tx_reduction *tx_reduction_new(int rank, int size, int shards, bool f64, int count, const int64_t *elements,
                               int64_t bucket_elements) {
  tx_reduction *r = calloc(1, sizeof *r);
  if (r == NULL) return NULL;
  *r = (tx_reduction){.rank = rank, .size = size, .shards = shards, .f64 = f64, .count = count};
  for (int k = 0; k < IN_FLIGHT; k++) r->flight[k].bucket = -1;
  r->elements = malloc((size_t)count * sizeof r->elements[0] + 1);
  r->data = calloc((size_t)count + 1, sizeof r->data[0]);
  r->bucket = malloc((size_t)count * sizeof r->bucket[0] + 1);
  bool whole = r->elements != NULL && r->data != NULL && r->bucket != NULL;
  if (whole) {
    memcpy(r->elements, elements, (size_t)count * sizeof r->elements[0]);
    make_buckets(r, bucket_elements);
    whole = make_blocks(r) && (size == 1 || make_flights(r));
  }
  if (whole) return r;
  tx_reduction_free(r);
  return NULL;
}

void tx_reduction_free(tx_reduction *r) {
  if (r == NULL) return;
  for (int k = 0; k < IN_FLIGHT; k++) {
    free(r->flight[k].sent);
    free(r->flight[k].received);
    tx_wire_free(r->flight[k].wire);
  }
  free(r->elements);
  free(r->data);
  free(r->bucket);
  free(r->blocks);
  free(r->level);
  free(r);
}
