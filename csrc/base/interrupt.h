/* interrupt.h - Ctrl-C inside long C calls.
 *
 * For the time of one call, the binding has the calling thread watch: `poll` is asked between blocks of work. Once that
 * answered true, tx_interrupted() is true, the blocks that are left in this and later jobs of the thread are skipped, and
 * results are meaningless, until the binding ends the watch, which it does before the call returns or raises. Without a
 * watch nothing is ever skipped. All of it is this thread's own.
 */
#ifndef TX_BASE_INTERRUPT_H
#define TX_BASE_INTERRUPT_H

#include <stdbool.h>

typedef bool tx_poll_fn(void *context);
void tx_watch(tx_poll_fn *poll, void *context);
void tx_unwatch(void);
bool tx_interrupted(void);

/* For base/threads.c: asks now, or once a millisecond, for the first time after one: asking has its price, and most calls
 * are over sooner. Both return tx_interrupted(). */
bool tx_ask_interrupt(void);
bool tx_poll_interrupt(void);

/* Seconds of a monotonic clock. */
double tx_clock(void);

#endif
