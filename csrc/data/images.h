/* images.h - what is done to many images of a source at once, on all threads: gather, measure, save.
 *
 * `index` lists n positions in the source, 0-based, in the order wanted; a position may come twice. When images fail to
 * be read, the message is that of the first of them in this order, for any number of threads.
 */
#ifndef TX_DATA_IMAGES_H
#define TX_DATA_IMAGES_H

#include "data/source.h"

/* A batch f32 {n,H,W,C}. */
tx_status tx_images_read(tx_source *source, const int64_t *index, int64_t n, tx_tensor **out);

/* The same as a source in memory with the same pixels: of u8 where the source is of u8, else of f32. No more than `max_bytes`,
 * by default what the source may become. */
tx_status tx_images_cache(tx_source *source, const int64_t *index, int64_t n, int64_t max_bytes, tx_source **out);

/* Where the statistics of each channel go, [C] each. */
typedef struct tx_statistics {
  double *mean, *std, *low, *high; /* std: of the population */
} tx_statistics;

/* Over all pixels of each channel, in f64; n >= 1. A pixel that is NaN or infinite is a failure that names its image and
 * channel. */
tx_status tx_images_statistics(tx_source *source, const int64_t *index, int64_t n, const tx_statistics *out);

/* The same in two steps, so that several processes may take the first one together: the moments of each channel in the blocks
 * [first, end) of TX_IMAGES_BLOCK images, and the statistics of all blocks in their order. */
enum { TX_IMAGES_BLOCK = 16 };

/* Mean, sum of squared deviations, smallest and largest of a number of values. */
typedef struct tx_moments {
  double count, mean, deviations, low, high;
} tx_moments;

tx_status tx_images_moments(tx_source *source, const int64_t *index, int64_t n, int64_t first, int64_t end,
                            tx_moments *out); /* [end - first][C] */
void tx_images_join(const tx_moments *moments, int64_t blocks, int64_t channels, const tx_statistics *out);

/* Writes them as {n,H,W,C} of a type that a reader takes for the same pixels: u8 where those are (0..255)/255, else f32. Holds
 * 32 MiB of them at a time. */
tx_status tx_images_save_npy(tx_source *source, const int64_t *index, int64_t n, const char *path);

/* Several sources with images of the same size, one behind the other; keeps references to them. */
tx_status tx_source_concat(tx_source *const *parts, int64_t count, tx_source **out);

/* -- first failure of parallel work ------------------------------------------------------------------------------------ */

/* Keeps the failure with the lowest index; start with TX_FAILURE_NONE. */
typedef struct tx_failure {
  atomic_int_least64_t index; /* INT64_MAX: none yet */
  tx_status status;
  char message[TX_MESSAGE_SIZE];
} tx_failure;

void tx_failure_init(tx_failure *failure);
/* Stores this thread's message as that of item `index`, unless an earlier item has failed. */
void tx_failure_note(tx_failure *failure, int64_t index, tx_status status);
/* Whether an item before `index` has failed, so that its result doesn't matter any more. */
bool tx_failure_before(tx_failure *failure, int64_t index);
/* Makes the kept failure this thread's; TX_OK when there is none. */
tx_status tx_failure_status(tx_failure *failure);

#endif
