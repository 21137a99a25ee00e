/* interrupt.c - one watch per thread. */
#define _GNU_SOURCE /* CLOCK_MONOTONIC */
#include "base/interrupt.h"

#include <stddef.h>
#include <time.h>

static _Thread_local struct {
  tx_poll_fn *poll; /* NULL: nobody watches */
  void *context;
  double polled; /* when; 0: not yet */
  bool interrupted;
} watch;

double tx_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void tx_watch(tx_poll_fn *poll, void *context) {
  watch.poll = poll;
  watch.context = context;
  watch.polled = 0;
  watch.interrupted = false;
}

void tx_unwatch(void) { tx_watch(NULL, NULL); }

bool tx_interrupted(void) { return watch.interrupted; }

bool tx_ask_interrupt(void) {
  if (watch.poll != NULL && !watch.interrupted) watch.interrupted = watch.poll(watch.context);
  return watch.interrupted;
}

bool tx_poll_interrupt(void) {
  if (watch.poll == NULL || watch.interrupted) return watch.interrupted;
  const double now = tx_clock();
  if (watch.polled == 0) watch.polled = now;
  if (now - watch.polled < 1e-3) return false;
  watch.polled = now;
  return tx_ask_interrupt();
}
