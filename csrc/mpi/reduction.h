/* reduction.h - sums of gradients over shards, whose bits do not depend on who held which shard.
 *
 * The batch of a step is cut into S shards, a power of two, and the ranks hold them in order: rank r of R those from
 * r*S/R up to (r+1)*S/R. Sums go along the complete binary tree over the shards, here with 3 ranks and S = 8:
 *
 *     shard      0   1   2   3   4   5   6   7
 *     rank       0   0   1   1   1   2   2   2
 *                 \ /     \ /     \ /     \ /
 *                  +       +       +       +       blocks: the largest parts of the tree that one rank has whole:
 *                   \_   _/         \_   _/        rank 0 {0,1}, rank 1 {2,3} {4}, rank 2 {5} {6,7}
 *                     \ /             \ /
 *                      +_____     ____+
 *                            \   /
 *                              +
 *
 * Each rank adds up its blocks. The gradients, one after the other, are cut into buckets, and a bucket into slices, one for
 * each rank: it receives everyone's blocks of its slice, adds them along the tree, and sends the sum to everyone. A bucket
 * sets out when its last gradient is there, while backward goes on with the layers before.
 */
#ifndef TX_MPI_REDUCTION_H
#define TX_MPI_REDUCTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TX_REDUCTION_SHARDS = 64 }; /* at most */

typedef struct tx_reduction tx_reduction;

/* For `count` gradients of so many elements each, f64 or f32, in the order in which they are expected; a bucket is full
 * with `bucket` elements. NULL: no memory. */
tx_reduction *tx_reduction_new(int rank, int size, int shards, bool f64, int count, const int64_t *elements,
                               int64_t bucket);
void tx_reduction_free(tx_reduction *r);

/* Begins the last shard of this rank. before[k][i]: gradient i of what was added up of the shards before: the parts of the
 * tree, from left to right (tx_reduction_parts tells how many). They stay until tx_reduction_finish. */
void tx_reduction_begin(tx_reduction *r, void *const *const *before);
/* How many parts of the tree the first n shards of a rank make, and how many of them the next shard completes: with each of
 * those it is added up, the last one first. */
int tx_reduction_parts(int first, int n);
int tx_reduction_completed(int first, int n);

/* Gradient i of the last shard is at `data`, where the sum over all shards will stand. */
void tx_reduction_ready(tx_reduction *r, int i, void *data);
/* Goes on with what is under way; never waits. */
void tx_reduction_poll(tx_reduction *r);
/* All gradients are ready: waits for all sums. */
void tx_reduction_finish(tx_reduction *r);

#endif
