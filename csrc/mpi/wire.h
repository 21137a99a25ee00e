/* wire.h - bytes between the processes of a job: what the rest of this floor knows of MPI.
 *
 * Every process calls the same functions in the same order, but for transfers, which are told apart by their tags. What
 * MPI itself finds wrong ends the job. So does a process that comes to its end while another one waits for it: that would
 * never end. Each tells the others at its end in how many calls it has taken part.
 */
#ifndef TX_MPI_WIRE_H
#define TX_MPI_WIRE_H

#include <stdbool.h>
#include <stdint.h>

/* Joins the job, once. From then on a process that ends with another status than 0 ends all others. Before a job ends
 * because this process waits for a rank that has come to its end (`ended`), or that makes another call, `tell` is called. */
typedef void tx_wire_teller(int rank, bool ended);
void tx_wire_open(int *rank, int *size, tx_wire_teller *tell);
/* The library, as it names itself: all processes of a job have the same. Asked at any time. */
const char *tx_wire_library(void);

/* How long this process has waited for others so far, in seconds. */
double tx_wire_waited(void);

void tx_wire_barrier(void);
/* `kind`: a number of what these bytes are, which has to be the same on all processes. */
void tx_wire_broadcast(void *data, int64_t bytes, uint64_t kind, int root);
/* `bytes` of each process, in the order of their ranks. */
void tx_wire_all_gather(const void *own, int64_t bytes, uint64_t kind, void *all);
/* The same of different lengths: bytes[r] of rank r, which is the own length where r is the own rank. */
void tx_wire_all_gather_some(const void *own, const int64_t *bytes, void *all);
/* Ends all processes of the job, this one included. */
void tx_wire_abort(int code);

/* Transfers begin in which all take part: one more call, as those above are. */
void tx_wire_begin(void);
/* Transfers that are under way: at most so many at a time, of at most so many bytes each. */
typedef struct tx_wire tx_wire;
tx_wire *tx_wire_new(int most, int64_t bytes); /* NULL: no memory */
void tx_wire_free(tx_wire *w);                 /* of which none is under way */
void tx_wire_send(tx_wire *w, const void *data, int64_t bytes, int to, int tag);
void tx_wire_receive(tx_wire *w, void *data, int64_t bytes, int from, int tag);
/* Whether all have come to their end; `wait`: not before. */
bool tx_wire_is_done(tx_wire *w, bool wait);

#endif
