/* loader.h - batches of images, decoded, augmented and normalized ahead of their use by worker threads.
 *
 * A loader is the recipe: which images of a source, their labels, how they are shuffled, changed, normalized. An epoch is one
 * run through an epoch:
 *
 *     order of the epoch   7 2 5 | 0 6 1 | 4 3          from (seed, epoch)
 *     batch                  0   |   1   |  2           each {n,H,W,C} f32 and n labels
 *     ring of slots        [ 1 being filled ] [ 2 being filled ] [ free ]
 *
 * Workers fill slots in pieces of a few samples; tx_epoch_next hands the batches out in order. There are never more than
 * `workers + 1` batches under way, and the memory of each that is let go is used again. With no workers, the calling thread
 * does the same work when it asks for a batch. Everything a batch holds is a function of (seed, epoch, batch) and the
 * recipe: the same bits for any number of workers.
 *
 * With skip_bad, a sample whose file can't be read (or, where a defect is pasted, that of the other sample) is left out of its
 * batch, which is then shorter, or empty; tx_epoch_trouble says why. Without it, that is a failure.
 *
 * With `paste` in the augmentation, a sample of the class `good` gets, with its probability, the defect of another sample of
 * the loader and that one's label, before it is augmented (data/paste.h).
 *
 * Of a training on several processes each hands out its own part. A batch of n images is cut into shards by its size alone, the
 * largest power of two of them (at most TX_MAX_SHARDS) that leaves `shard` images to each; rank r of `ranks` has those from
 * shards * r / ranks on. They come one by one in place of the batches, and are mixed each by itself.
 *
 * Workers read images, and nothing else, from what the recipe points to: it must outlive the epochs (an epoch keeps a
 * reference to the loader).
 */
#ifndef TX_DATA_LOADER_H
#define TX_DATA_LOADER_H

#include "data/augment.h"
#include "data/source.h"

enum { TX_MAX_WORKERS = 64, TX_MAX_SHARDS = 64 };

typedef enum tx_sampling {
  TX_SAMPLE_IN_ORDER = 0,
  TX_SAMPLE_SHUFFLED, /* every sample once */
  TX_SAMPLE_BALANCED, /* classes in equal numbers; the samples of each shuffled, used again when they run out */
  TX_SAMPLE_WEIGHTED  /* as many draws as samples, with replacement, in proportion to the weights */
} tx_sampling;

typedef struct tx_loader {
  tx_source *source; /* owned, as are masks and the arrays */
  tx_source *masks;  /* of one channel, in step with source, or NULL */
  bool give_masks;   /* hand them out, too */
  int64_t good;      /* label, 0-based, of the cloth that defects are pasted on; -1: there is none */
  int64_t *donor;    /* [donors] samples whose defects are pasted, where the augmentation does that */
  int64_t donors;
  int64_t count;     /* samples */
  int64_t *position; /* [count] in the source, 0-based */
  int64_t *label;    /* [count] 0-based */
  double *weight;    /* [count] for TX_SAMPLE_WEIGHTED, else NULL */
  int64_t classes;
  tx_sampling sampling;
  int64_t batch;
  bool drop_last; /* leave out the last batch when it is short */
  bool skip_bad;  /* leave out what can't be read */
  uint64_t seed;
  float scale; /* what pixels are multiplied by, before they are augmented */
  tx_augment augment;
  tx_size2 size;             /* of the images of a batch: tx_loader_check finds it out */
  float *mean, *inverse_std; /* [channels] or NULL: value = (pixel - mean) * inverse_std */
  int workers;
  int64_t shard; /* images of a shard, at least; 0: batches are not cut */
  int rank, ranks;
  atomic_int refs;
} tx_loader;

/* Whether the fields of a new loader make sense; a batch larger than the set is cut down to it. A loader is a block of
 * tx_alloc whose refs were set to 1 by who made it, as are its arrays. */
tx_status tx_loader_check(tx_loader *loader);
tx_loader *tx_loader_ref(tx_loader *loader);
void tx_loader_unref(tx_loader *loader); /* NULL is ignored */

int64_t tx_loader_batches(const tx_loader *loader);

/* How a batch is cut, and the shards of this rank: from first up to, but not with, end. A batch that is not cut is one shard. */
typedef struct tx_shards {
  int64_t images, count, first, end;
} tx_shards;
tx_shards tx_loader_shards(const tx_loader *loader, int64_t batch);

/* The samples of an epoch in order: order and turn have room for loader->count; turn tells the repeated draws of a sample
 * apart, 0 for the first. */
tx_status tx_loader_order(const tx_loader *loader, uint64_t epoch, int64_t *order, int64_t *turn);

typedef struct tx_epoch tx_epoch;

typedef struct tx_batch {
  tx_tensor *images;       /* f32 {n,H,W,C}, of the size of the loader */
  tx_tensor *labels;       /* i64 {n}, 1-based */
  tx_tensor *masks;        /* f32 {n,H,W,1}, moved and mixed as the images are; NULL: there are none */
  tx_tensor *other_labels; /* i64 {n} of the images mixed in; NULL: nothing was mixed */
  double lambda;           /* share of `labels` */
} tx_batch;

/* Starts at batch `first` (0-based) of an epoch. */
tx_status tx_epoch_start(tx_loader *loader, uint64_t epoch, int64_t first, tx_epoch **out);
/* Waits until the next batch is complete; *end: there is none. */
tx_status tx_epoch_wait(tx_epoch *run, bool *end);
/* The places in the order of the epoch that the next batch has: from *first on, so many. */
int64_t tx_epoch_places(const tx_epoch *run, int64_t *first);
/* Why the sample (0-based) at a place of a batch that is complete was left out; NULL: it was not. */
const char *tx_epoch_trouble(const tx_epoch *run, int64_t place, int64_t *sample);
/* The next batch (new references), waiting for it if need be; *end after the last one. After a failure the same batch is next:
 * no batch is lost. */
tx_status tx_epoch_next(tx_epoch *run, tx_batch *batch, bool *end);
/* Where an epoch stands: its number, batches or shards handed out (those before `first` count), and all of them. */
void tx_epoch_place(const tx_epoch *run, uint64_t *epoch, int64_t *done, int64_t *batches);
/* Stops the workers, waits for them, frees the epoch; NULL is ignored. */
void tx_epoch_stop(tx_epoch *run);

/* Worker threads alive in this process: for tests. */
int tx_loader_threads(void);

#endif
