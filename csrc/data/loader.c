/* loader.c - see loader.h. */
#define _POSIX_C_SOURCE 200809L /* pthread_sigmask, getpid */
#include "data/loader.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/integers.h"
#include "base/memory.h"
#include "data/paste.h"

enum { STREAM_ORDER = 0x10AD, STREAM_PASTE, PIECE = 16 }; /* samples that a worker takes at a time */

/* -- the recipe ------------------------------------------------------------------------------------------------------ */

/* Finds the samples whose defects can be pasted. */
static tx_status find_donors(tx_loader *l) {
  if (l->masks == NULL) return tx_fail(TX_EINVAL, "loader: paste needs masks: the set has none");
  if (l->good < 0 || l->good >= l->classes)
    return tx_fail(TX_EINVAL, "loader: paste puts defects on good cloth: say which class that is with `good`");
  l->donor = tx_alloc_array(l->count, sizeof *l->donor);
  if (l->donor == NULL) return TX_ENOMEM;
  for (int64_t i = 0; i < l->count; i++)
    if (l->label[i] != l->good) l->donor[l->donors++] = i;
  return TX_OK;
}

tx_status tx_loader_check(tx_loader *loader) {
  const tx_loader *l = loader;
  if (l->batch < 1) return tx_fail(TX_EINVAL, "loader: batch is %" PRId64 ", 1 or more wanted", l->batch);
  if (l->classes < 0 || l->classes > INT32_MAX)
    return tx_fail(TX_EINVAL, "loader: classes is %" PRId64 ": 0..%d are possible", l->classes, INT32_MAX);
  if (l->shard < 0 || (l->shard > 0 && (l->rank < 0 || l->rank >= l->ranks)))
    return tx_fail(TX_EINVAL, "loader: rank %d of %d, shards of %" PRId64 " images", l->rank, l->ranks, l->shard);
  if (l->workers < 0 || l->workers > TX_MAX_WORKERS)
    return tx_fail(TX_EINVAL, "loader: workers is %d: 0..%d are possible", l->workers, TX_MAX_WORKERS);
  for (int64_t i = 0; i < l->count; i++) {
    if (l->position[i] < 0 || l->position[i] >= l->source->count)
      return tx_fail(TX_EINVAL, "loader: sample %" PRId64 " is image %" PRId64 ": the source has 1..%" PRId64, i + 1,
                     l->position[i] + 1, l->source->count);
    if (l->label[i] < 0 || l->label[i] >= l->classes)
      return tx_fail(TX_EINVAL, "loader: label %" PRId64 " of sample %" PRId64 ": classes are 1..%" PRId64,
                     l->label[i] + 1, i + 1, l->classes);
  }
  TX_TRY(tx_augment_size(&l->augment, (tx_size2){l->source->height, l->source->width}, &loader->size));
  if (l->masks != NULL && (l->masks->count != l->source->count || l->masks->height != l->source->height ||
                           l->masks->width != l->source->width || l->masks->channels != 1))
    return tx_fail(TX_EINVAL,
                   "loader: masks are %" PRId64 " of %" PRId64 "x%" PRId64 "x%" PRId64 ", images %" PRId64
                   " of %" PRId64 "x%" PRId64,
                   l->masks->count, l->masks->height, l->masks->width, l->masks->channels, l->source->count,
                   l->source->height, l->source->width);
  if (tx_augment_find(&l->augment, TX_PASTE) != NULL) TX_TRY(find_donors(loader));
  if (l->batch > l->count && l->count > 0 && !l->drop_last) loader->batch = l->count;
  return TX_OK;
}

tx_loader *tx_loader_ref(tx_loader *loader) {
  atomic_fetch_add(&loader->refs, 1);
  return loader;
}

void tx_loader_unref(tx_loader *loader) {
  if (loader == NULL || atomic_fetch_sub(&loader->refs, 1) != 1) return;
  tx_source_unref(loader->source);
  tx_source_unref(loader->masks);
  tx_dealloc(loader->donor);
  tx_dealloc(loader->position);
  tx_dealloc(loader->label);
  tx_dealloc(loader->weight);
  tx_dealloc(loader->mean);
  tx_dealloc(loader->inverse_std);
  tx_dealloc(loader);
}

int64_t tx_loader_batches(const tx_loader *loader) {
  int64_t whole = loader->count / loader->batch;
  return loader->drop_last || loader->count % loader->batch == 0 ? whole : whole + 1;
}

static int64_t batch_images(const tx_loader *loader, int64_t batch) {
  return tx_min(loader->count - batch * loader->batch, loader->batch);
}

tx_shards tx_loader_shards(const tx_loader *loader, int64_t batch) {
  tx_shards cut = {.images = batch_images(loader, batch), .count = 1, .first = 0, .end = 1};
  if (loader->shard == 0) return cut;
  while (cut.count < TX_MAX_SHARDS && cut.images / (2 * cut.count) >= loader->shard) cut.count *= 2;
  cut.first = cut.count * loader->rank / loader->ranks;
  cut.end = cut.count * (loader->rank + 1) / loader->ranks;
  return cut;
}

/* What an epoch hands out at once: a batch, or a shard of one. */
typedef struct portion {
  int64_t first, count; /* places in the order of the epoch */
  uint64_t number;      /* by which it is mixed */
} portion;

/* How many portions the batches before this one are. */
static int64_t portions_before(const tx_loader *loader, int64_t batch) {
  if (batch == 0) return 0;
  const tx_shards whole = tx_loader_shards(loader, 0); /* only the last batch can be another */
  const int64_t last = tx_loader_batches(loader) - 1;
  if (batch <= last) return batch * (whole.end - whole.first);
  const tx_shards rest = tx_loader_shards(loader, last);
  return last * (whole.end - whole.first) + rest.end - rest.first;
}

static portion portion_at(const tx_loader *loader, int64_t index) {
  const tx_shards whole = tx_loader_shards(loader, 0);
  const int64_t last = tx_loader_batches(loader) - 1, each = whole.end - whole.first;
  const int64_t batch = each == 0 ? last : tx_min(index / each, last);
  const tx_shards cut = tx_loader_shards(loader, batch);
  const int64_t shard = cut.first + index - batch * each;
  const int64_t first = cut.images * shard / cut.count, end = cut.images * (shard + 1) / cut.count;
  return (portion){.first = batch * loader->batch + first,
                   .count = end - first,
                   .number = (uint64_t)(loader->shard == 0 ? batch : batch * TX_MAX_SHARDS + shard)};
}

/* -- the order of an epoch ------------------------------------------------------------------------------------------- */

/* Samples sorted by class: those of class c stand at first[c] .. first[c + 1] - 1. */
static void sort_by_class(const tx_loader *loader, int64_t *first, int64_t *sorted) {
  memset(first, 0, (size_t)(loader->classes + 1) * sizeof *first);
  for (int64_t i = 0; i < loader->count; i++) first[loader->label[i] + 1]++;
  for (int64_t c = 0; c < loader->classes; c++) first[c + 1] += first[c];
  for (int64_t i = loader->count - 1; i >= 0; i--) sorted[--first[loader->label[i] + 1]] = i;
  /* each first[c + 1] has moved down to the start of class c */
  memmove(first, first + 1, (size_t)loader->classes * sizeof *first);
  first[loader->classes] = loader->count;
}

/* Rounds in which each class that has samples comes once, in random order. */
static tx_status balanced_order(const tx_loader *loader, tx_rng *rng, int64_t *order) {
  int64_t classes = loader->classes, present = 0, drawn = 0;
  int64_t *first = tx_alloc_array(3 * classes + 1 + loader->count, sizeof *first);
  if (first == NULL) return TX_ENOMEM;
  int64_t *round = first + classes + 1, *used = round + classes, *sorted = used + classes;
  sort_by_class(loader, first, sorted);
  for (int64_t c = 0; c < classes; c++) {
    used[c] = first[c];
    if (first[c + 1] > first[c]) round[present++] = c;
    tx_rng_shuffle(rng, sorted + first[c], first[c + 1] - first[c]);
  }
  while (drawn < loader->count) {
    tx_rng_shuffle(rng, round, present);
    for (int64_t k = 0; k < present && drawn < loader->count; k++) {
      int64_t c = round[k];
      if (used[c] == first[c + 1]) {
        used[c] = first[c];
        tx_rng_shuffle(rng, sorted + first[c], first[c + 1] - first[c]);
      }
      order[drawn++] = sorted[used[c]++];
    }
  }
  tx_dealloc(first);
  return TX_OK;
}

static tx_status weighted_order(const tx_loader *loader, tx_rng *rng, int64_t *order) {
  double *sum = tx_alloc_array(loader->count, sizeof *sum), total = 0;
  if (sum == NULL) return TX_ENOMEM;
  for (int64_t i = 0; i < loader->count; i++) sum[i] = total += loader->weight[i];
  for (int64_t k = 0; k < loader->count; k++) {
    double at = tx_rng_range(rng, 0, total);
    int64_t low = 0, high = loader->count - 1; /* the first sample whose running sum is above `at` */
    while (low < high) {
      int64_t middle = low + (high - low) / 2;
      if (sum[middle] > at)
        high = middle;
      else
        low = middle + 1;
    }
    order[k] = low;
  }
  tx_dealloc(sum);
  return TX_OK;
}

tx_status tx_loader_order(const tx_loader *loader, uint64_t epoch, int64_t *order, int64_t *turn) {
  tx_rng rng = tx_rng_make(loader->seed, tx_mix(STREAM_ORDER, epoch));
  for (int64_t i = 0; i < loader->count; i++) order[i] = i;
  if (loader->sampling == TX_SAMPLE_SHUFFLED) tx_rng_shuffle(&rng, order, loader->count);
  if (loader->sampling == TX_SAMPLE_BALANCED) TX_TRY(balanced_order(loader, &rng, order));
  if (loader->sampling == TX_SAMPLE_WEIGHTED) TX_TRY(weighted_order(loader, &rng, order));
  int64_t *seen = tx_alloc_zero((size_t)loader->count * sizeof *seen);
  if (seen == NULL) return TX_ENOMEM;
  for (int64_t i = 0; i < loader->count; i++) turn[i] = seen[order[i]]++;
  tx_dealloc(seen);
  return TX_OK;
}

/* -- an epoch ---------------------------------------------------------------------------------------------------------- */

/* A place in the ring. Batch b uses slot b % slots. What fails in it is told when the batch is asked for, so that the batches
 * before it come out; the batch is filled anew when it is asked for once more. */
typedef struct slot {
  tx_tensor *images, *labels, *masks; /* masks: NULL where there are none */
  int64_t samples;
  int64_t taken;  /* samples that a worker has begun with */
  int64_t done;   /* samples that are in place, or have failed */
  int64_t failed; /* the earliest sample that has failed, if status is not TX_OK */
  tx_status status;
  char message[TX_MESSAGE_SIZE];
} slot;

struct tx_epoch {
  tx_loader *loader;
  uint64_t epoch;
  int64_t *order, *turn; /* [count] */
  char **trouble;        /* [count] with skip_bad: why the sample at a place of the order is left out, or NULL */
  int64_t batches;       /* or shards, of which what follows speaks as of batches */
  int64_t next;          /* batch that tx_epoch_next hands out next */
  int64_t opened;        /* batches before this one have their slots prepared */
  int slots;
  slot *slot;
  float *scratch; /* per worker, in images of the source: one for augmenting, one that is larger than in the batch; for
                   * pasting another image, its mask, and two that say how much of each pixel it covers */
  int workers;
  pthread_t thread[TX_MAX_WORKERS];
  pid_t process; /* that began the epoch: a child of it has none of the threads */

  pthread_mutex_t lock; /* of what follows, of opened, and of the slots' counts */
  pthread_cond_t work;  /* there is something to fill, or `stop` */
  pthread_cond_t ready; /* a batch is complete, or has failed */
  bool stop;
};

static atomic_int threads_alive;

int tx_loader_threads(void) { return atomic_load(&threads_alive); }

static void multiply(const tx_loader *loader, float *image) {
  if (loader->scale == 1) return;
  int64_t values = tx_source_pixels(loader->source);
  for (int64_t i = 0; i < values; i++) image[i] *= loader->scale;
}

/* (pixel - mean) / std in place. */
static void normalize(const tx_loader *loader, float *image) {
  int64_t channels = loader->source->channels, pixels = loader->size.height * loader->size.width;
  if (loader->mean == NULL) return;
  if (channels == 1) {
    float mean = loader->mean[0], inverse = loader->inverse_std[0];
    for (int64_t i = 0; i < pixels; i++) image[i] = (image[i] - mean) * inverse;
    return;
  }
  for (int64_t i = 0; i < pixels; i++, image += channels)
    for (int64_t c = 0; c < channels; c++) image[c] = (image[c] - loader->mean[c]) * loader->inverse_std[c];
}

/* What is pasted into a sample: a defect of sample `donor`, whose mask is `mask`. */
typedef struct paste {
  tx_pasted at;
  int64_t donor;
  const float *mask;
} paste;

/* Pastes a defect into a sample that is good, if that is drawn. */
static tx_status paste_defect(const tx_loader *loader, int64_t sample, tx_rng rng, float *image, float *scratch,
                              paste *p) {
  const tx_transform *t = tx_augment_find(&loader->augment, TX_PASTE);
  tx_source *source = loader->source;
  rng = tx_rng_make(rng.seed, tx_mix(rng.stream, STREAM_PASTE));
  if (t == NULL || loader->label[sample] != loader->good || loader->donors == 0) return TX_OK;
  if (tx_rng_uniform(&rng) >= t->p) return TX_OK;
  int64_t pixels = tx_source_pixels(source);
  float *other = scratch + 2 * pixels, *mask = scratch + 3 * pixels;
  p->donor = loader->donor[tx_rng_below(&rng, loader->donors)];
  p->mask = mask;
  TX_TRY(tx_source_read(source, loader->position[p->donor], other));
  TX_TRY(tx_source_read(loader->masks, loader->position[p->donor], mask));
  multiply(loader, other);
  p->at = tx_paste(image, other, mask, (tx_size2){source->height, source->width}, source->channels, t->value[0], rng,
                   scratch + 4 * pixels);
  return TX_OK;
}

/* The image of a sample, changed and normalized, as `wanted` values at `kept`. */
static tx_status fill_image(const tx_loader *loader, int64_t sample, tx_rng rng, float *kept, int64_t wanted,
                            float *scratch, paste *p) {
  tx_source *source = loader->source;
  int64_t pixels = tx_source_pixels(source);
  float *image = wanted < pixels ? scratch + pixels : kept;
  TX_TRY(tx_source_read(source, loader->position[sample], image));
  multiply(loader, image);
  TX_TRY(paste_defect(loader, sample, rng, image, scratch, p));
  tx_augment_image(&loader->augment, rng, (tx_size2){source->height, source->width}, source->channels, image, scratch);
  normalize(loader, image);
  if (image != kept) memcpy(kept, image, (size_t)wanted * sizeof *image);
  return TX_OK;
}

/* The same for its mask. */
static tx_status fill_mask(const tx_loader *loader, int64_t sample, tx_rng rng, float *kept, int64_t wanted,
                           float *scratch, const paste *p) {
  tx_source *masks = loader->masks;
  int64_t pixels = tx_source_pixels(masks);
  float *mask = wanted < pixels ? scratch + pixels : kept;
  TX_TRY(tx_source_read(masks, loader->position[sample], mask));
  if (p->at.done) tx_paste_mask(mask, p->mask, (tx_size2){masks->height, masks->width}, p->at);
  tx_augment_mask(&loader->augment, rng, (tx_size2){masks->height, masks->width}, 1, mask, scratch);
  if (mask != kept) memcpy(kept, mask, (size_t)wanted * sizeof *mask);
  return TX_OK;
}

/* Puts sample number `at` of a batch in place. */
static tx_status fill_sample(const tx_epoch *run, const slot *s, int64_t batch, int64_t at, float *scratch) {
  const tx_loader *loader = run->loader;
  int64_t place = portion_at(loader, batch).first + at, sample = run->order[place];
  int64_t pixels = loader->size.height * loader->size.width, values = pixels * loader->source->channels;
  tx_rng rng = tx_augment_rng(loader->seed, run->epoch, (uint64_t)sample, (uint64_t)run->turn[place]);
  paste p = {.donor = sample};
  TX_TRY(fill_image(loader, sample, rng, tx_f32(s->images) + at * values, values, scratch, &p));
  if (s->masks != NULL) TX_TRY(fill_mask(loader, sample, rng, tx_f32(s->masks) + at * pixels, pixels, scratch, &p));
  tx_i64(s->labels)[at] = loader->label[p.at.done ? p.donor : sample] + 1;
  return TX_OK;
}

/* Keeps this thread's message as that of a place, whose sample is left out. */
static tx_status keep_trouble(char **trouble) {
  *trouble = tx_alloc(strlen(tx_message()) + 1);
  if (*trouble == NULL) return TX_ENOMEM;
  strcpy(*trouble, tx_message());
  return TX_OK;
}

/* The same, or notes that it can't be read. */
static tx_status try_sample(const tx_epoch *run, const slot *s, int64_t batch, int64_t at, float *scratch) {
  if (run->trouble == NULL) return fill_sample(run, s, batch, at, scratch);
  char **trouble = &run->trouble[portion_at(run->loader, batch).first + at];
  tx_dealloc(*trouble); /* of a time before */
  *trouble = NULL;
  tx_status status = fill_sample(run, s, batch, at, scratch);
  return status == TX_EWORLD ? keep_trouble(trouble) : status;
}

/* On failure *from has become the sample that failed. */
static tx_status fill_piece(const tx_epoch *run, const slot *s, int64_t batch, int64_t *from, int64_t count,
                            float *scratch) {
  for (int64_t end = *from + count; *from < end; ++*from) TX_TRY(try_sample(run, s, batch, *from, scratch));
  return TX_OK;
}

/* Takes a piece of the earliest batch that has some left; false: nothing to do now. Called with the lock held. */
static bool take_piece(tx_epoch *run, int64_t *batch, int64_t *from, int64_t *count) {
  for (int64_t b = run->next; b < run->opened; b++) {
    slot *s = &run->slot[b % run->slots];
    if (s->taken == s->samples) continue;
    *batch = b;
    *from = s->taken;
    *count = tx_min(s->samples - s->taken, PIECE);
    s->taken += *count;
    return true;
  }
  return false;
}

/* Keeps this thread's message as that of a sample, unless an earlier one has failed too. Called with the lock held. */
static void note_failure(slot *s, int64_t sample, tx_status status) {
  if (s->status != TX_OK && s->failed < sample) return;
  s->status = status;
  s->failed = sample;
  snprintf(s->message, sizeof s->message, "%s", tx_message());
}

/* Lets a batch that has failed be filled from its start. Called with the lock held. */
static void start_over(tx_epoch *run, slot *s) {
  s->taken = s->done = 0;
  s->status = TX_OK;
  pthread_cond_broadcast(&run->work);
}

typedef struct worker {
  tx_epoch *run;
  float *scratch;
} worker;

static void *work(void *argument) {
  worker me = *(worker *)argument;
  tx_epoch *run = me.run;
  int64_t batch, from, count;
  tx_dealloc(argument);
  pthread_mutex_lock(&run->lock);
  while (!run->stop) {
    if (!take_piece(run, &batch, &from, &count)) {
      pthread_cond_wait(&run->work, &run->lock);
      continue;
    }
    slot *s = &run->slot[batch % run->slots];
    pthread_mutex_unlock(&run->lock);
    tx_status status = fill_piece(run, s, batch, &from, count, me.scratch);
    pthread_mutex_lock(&run->lock);
    s->done += count;
    if (status != TX_OK) note_failure(s, from, status);
    if (s->done == s->samples) pthread_cond_signal(&run->ready);
  }
  pthread_mutex_unlock(&run->lock);
  atomic_fetch_sub(&threads_alive, 1);
  return NULL;
}

/* Images that a thread needs memory for. */
static int64_t images_of_scratch(const tx_loader *loader) {
  return tx_augment_find(&loader->augment, TX_PASTE) != NULL ? 6 : 2;
}

static void *one_scratch(const tx_epoch *run, int number) {
  return run->scratch + images_of_scratch(run->loader) * number * tx_source_pixels(run->loader->source);
}

/* Signals such as Ctrl-C are for the thread that runs Lua. */
static tx_status start_worker(tx_epoch *run) {
  worker *w = tx_alloc(sizeof *w);
  if (w == NULL) return TX_ENOMEM;
  *w = (worker){.run = run, .scratch = one_scratch(run, run->workers)};
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failure = pthread_create(&run->thread[run->workers], NULL, work, w);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failure != 0) {
    tx_dealloc(w);
    return tx_fail(TX_ENOMEM, "loader: thread %d can't be started: %s", run->workers + 1, strerror(failure));
  }
  atomic_fetch_add(&threads_alive, 1);
  run->workers++;
  return TX_OK;
}

static void empty_slot(slot *s) {
  tx_unref(s->images);
  tx_unref(s->labels);
  tx_unref(s->masks);
  s->images = s->labels = s->masks = NULL;
}

static tx_status make_slot(const tx_loader *loader, int64_t samples, slot *fresh) {
  int64_t shape[] = {samples, loader->size.height, loader->size.width, loader->source->channels};
  *fresh = (slot){.samples = samples};
  tx_status status = tx_empty(TX_F32, 4, shape, &fresh->images);
  if (status == TX_OK) status = tx_empty(TX_I64, 1, shape, &fresh->labels);
  shape[3] = 1;
  if (status == TX_OK && loader->give_masks) status = tx_empty(TX_F32, 4, shape, &fresh->masks);
  if (status != TX_OK) empty_slot(fresh);
  return status;
}

/* Gives the slots that are free to the next batches. */
static tx_status open_slots(tx_epoch *run) {
  tx_loader *loader = run->loader;
  while (run->opened < run->batches && run->opened < run->next + run->slots) {
    slot fresh;
    TX_TRY(make_slot(loader, portion_at(loader, run->opened).count, &fresh));
    pthread_mutex_lock(&run->lock);
    run->slot[run->opened % run->slots] = fresh;
    run->opened++;
    pthread_cond_broadcast(&run->work);
    pthread_mutex_unlock(&run->lock);
  }
  return TX_OK;
}

static tx_status prepare(tx_epoch *run) {
  tx_loader *loader = run->loader;
  int scratches = (int)tx_max(loader->workers, 1);
  run->slots = loader->workers + 1;
  size_t bytes;
  TX_TRY(tx_size_mul((size_t)scratches * (size_t)images_of_scratch(loader) * sizeof(float),
                     (size_t)tx_source_pixels(loader->source), &bytes));
  run->scratch = tx_alloc(bytes);
  run->slot = tx_alloc_zero((size_t)run->slots * sizeof *run->slot);
  run->order = tx_alloc_array(loader->count, sizeof *run->order);
  run->turn = tx_alloc_array(loader->count, sizeof *run->turn);
  if (run->scratch == NULL || run->slot == NULL || run->order == NULL || run->turn == NULL) return TX_ENOMEM;
  if (loader->skip_bad) {
    run->trouble = tx_alloc_zero((size_t)loader->count * sizeof *run->trouble);
    if (run->trouble == NULL) return TX_ENOMEM;
  }
  TX_TRY(tx_loader_order(loader, run->epoch, run->order, run->turn));
  TX_TRY(open_slots(run));
  for (int i = 0; i < loader->workers && run->next < run->batches; i++) TX_TRY(start_worker(run));
  return TX_OK;
}

tx_status tx_epoch_start(tx_loader *loader, uint64_t epoch, int64_t first, tx_epoch **out) {
  int64_t batches = tx_loader_batches(loader);
  if (first < 0 || first > batches)
    return tx_fail(TX_EINVAL, "loader: batch %" PRId64 ": an epoch has %" PRId64, first + 1, batches);
  tx_epoch *run = tx_alloc_zero(sizeof *run);
  if (run == NULL) return TX_ENOMEM;
  run->loader = tx_loader_ref(loader);
  run->process = getpid();
  run->epoch = epoch;
  run->batches = portions_before(loader, batches);
  run->next = run->opened = portions_before(loader, first);
  pthread_mutex_init(&run->lock, NULL);
  pthread_cond_init(&run->work, NULL);
  pthread_cond_init(&run->ready, NULL);
  tx_status status = prepare(run);
  if (status != TX_OK) {
    tx_epoch_stop(run);
    return status;
  }
  *out = run;
  return TX_OK;
}

/* Fills the batch on this thread, unless it is complete. */
static tx_status fill_here(const tx_epoch *run, slot *s) {
  int64_t from = 0;
  if (s->done == s->samples) return TX_OK;
  TX_TRY(fill_piece(run, s, run->next, &from, s->samples, run->scratch));
  s->done = s->samples;
  return TX_OK;
}

static tx_status wait_for(tx_epoch *run, slot *s) {
  if (run->workers == 0) return fill_here(run, s);
  pthread_mutex_lock(&run->lock);
  while (s->done < s->samples) pthread_cond_wait(&run->ready, &run->lock);
  tx_status status = s->status;
  if (status != TX_OK) {
    tx_fail(status, "%s", s->message);
    start_over(run, s);
  }
  pthread_mutex_unlock(&run->lock);
  return status;
}

/* Mixes the images of a batch that is complete, as the recipe asks. */
static tx_status mix(const tx_epoch *run, tx_batch *batch) {
  const tx_loader *loader = run->loader;
  int64_t n = batch->images->shape[0], height = loader->size.height, width = loader->size.width;
  tx_mix_plan plan = tx_augment_plan_mix(&loader->augment, loader->seed, run->epoch,
                                         portion_at(loader, run->next).number, n, height, width);
  if (!plan.wanted) return TX_OK;
  tx_tensor *scratch;
  TX_TRY(tx_empty_like(batch->images, &scratch));
  tx_status status = tx_empty_like(batch->labels, &batch->other_labels);
  if (status == TX_OK) {
    tx_augment_mix(&plan, n, height, width, loader->source->channels, tx_f32(batch->images), tx_f32(scratch));
    plan.masks = true;
    if (batch->masks != NULL) tx_augment_mix(&plan, n, height, width, 1, tx_f32(batch->masks), tx_f32(scratch));
    for (int64_t i = 0; i < n; i++) tx_i64(batch->other_labels)[i] = tx_i64(batch->labels)[(i + plan.shift) % n];
    batch->lambda = plan.lambda;
  }
  tx_unref(scratch);
  return status;
}

tx_status tx_epoch_wait(tx_epoch *run, bool *end) {
  if (run->workers > 0 && run->process != getpid())
    return tx_fail(TX_EINVAL, "loader: this epoch was begun by another process, before a fork: begin it anew");
  *end = run->next >= run->batches;
  if (*end) return TX_OK;
  TX_TRY(open_slots(run));
  return wait_for(run, &run->slot[run->next % run->slots]);
}

int64_t tx_epoch_places(const tx_epoch *run, int64_t *first) {
  const portion next = portion_at(run->loader, run->next);
  *first = next.first;
  return next.count;
}

const char *tx_epoch_trouble(const tx_epoch *run, int64_t place, int64_t *sample) {
  *sample = run->order[place];
  return run->trouble != NULL ? run->trouble[place] : NULL;
}

/* Copies one row of a tensor into another one. */
static void copy_row(const tx_tensor *from, int64_t row, tx_tensor *to, int64_t at) {
  size_t bytes = tx_dtype_size(from->dtype);
  for (int d = 1; d < from->dims; d++) bytes *= (size_t)from->shape[d];
  memcpy((char *)tx_data(to) + (size_t)at * bytes, (const char *)tx_data(from) + (size_t)row * bytes, bytes);
}

/* A batch that is complete: what its slot holds or, where samples are left out, the others in new tensors. */
static tx_status take_batch(const tx_epoch *run, const slot *s, tx_batch *batch) {
  int64_t first, places = tx_epoch_places(run, &first), kept = 0;
  for (int64_t i = 0; i < places; i++) kept += run->trouble == NULL || run->trouble[first + i] == NULL;
  *batch = (tx_batch){.lambda = 1};
  if (kept == places) {
    batch->images = tx_ref(s->images);
    batch->labels = tx_ref(s->labels);
    batch->masks = tx_ref(s->masks);
    return TX_OK;
  }
  slot shorter;
  TX_TRY(make_slot(run->loader, kept, &shorter));
  kept = 0;
  for (int64_t i = 0; i < places; i++) {
    if (run->trouble[first + i] != NULL) continue;
    copy_row(s->images, i, shorter.images, kept);
    copy_row(s->labels, i, shorter.labels, kept);
    if (s->masks != NULL) copy_row(s->masks, i, shorter.masks, kept);
    kept++;
  }
  batch->images = shorter.images;
  batch->labels = shorter.labels;
  batch->masks = shorter.masks;
  return TX_OK;
}

static void drop_batch(tx_batch *batch) {
  tx_unref(batch->images);
  tx_unref(batch->labels);
  tx_unref(batch->masks);
  tx_unref(batch->other_labels);
}

tx_status tx_epoch_next(tx_epoch *run, tx_batch *batch, bool *end) {
  TX_TRY(tx_epoch_wait(run, end));
  if (*end) return TX_OK;
  slot *s = &run->slot[run->next % run->slots];
  TX_TRY(take_batch(run, s, batch));
  tx_status status = mix(run, batch);
  if (status != TX_OK) {
    drop_batch(batch);
    return status;
  }
  empty_slot(s);
  pthread_mutex_lock(&run->lock);
  run->next++;
  pthread_mutex_unlock(&run->lock);
  (void)open_slots(run); /* where memory runs out the next call tries again, and says so */
  return TX_OK;
}

static void stop_workers(tx_epoch *run) {
  pthread_mutex_lock(&run->lock);
  run->stop = true;
  pthread_cond_broadcast(&run->work);
  pthread_mutex_unlock(&run->lock);
  for (int i = 0; i < run->workers; i++) pthread_join(run->thread[i], NULL);
  pthread_cond_destroy(&run->ready);
  pthread_cond_destroy(&run->work);
  pthread_mutex_destroy(&run->lock);
}

void tx_epoch_place(const tx_epoch *run, uint64_t *epoch, int64_t *done, int64_t *batches) {
  *epoch = run->epoch;
  *done = run->next;
  *batches = run->batches;
}

void tx_epoch_stop(tx_epoch *run) {
  if (run == NULL) return;
  if (run->process == getpid()) {
    stop_workers(run);
  } else {
    atomic_fetch_sub(&threads_alive, run->workers); /* their lock may be held for ever */
  }
  for (int i = 0; run->slot != NULL && i < run->slots; i++) empty_slot(&run->slot[i]);
  for (int64_t i = 0; run->trouble != NULL && i < run->loader->count; i++) tx_dealloc(run->trouble[i]);
  tx_dealloc(run->trouble);
  tx_dealloc(run->slot);
  tx_dealloc(run->scratch);
  tx_dealloc(run->order);
  tx_dealloc(run->turn);
  tx_loader_unref(run->loader);
  tx_dealloc(run);
}
