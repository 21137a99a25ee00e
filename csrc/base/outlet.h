/* outlet.h - where results go: a descriptor, the end of a file, the standard input of a command.
 *
 * Writing never waits: what a pipe or a full disk does not take stays with the caller, who tries again later. A reader that
 * has gone is a failure of the write, not a signal.
 */
#ifndef TX_BASE_OUTLET_H
#define TX_BASE_OUTLET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/status.h"

typedef struct tx_outlet {
  int descriptor; /* -1: closed */
  bool owned;     /* it is closed with the outlet */
  pid_t child;    /* of a command; 0: none */
  dev_t device;   /* which file a path led to */
  ino_t inode;
} tx_outlet;

/* A descriptor that stays the caller's. */
tx_outlet tx_outlet_descriptor(int descriptor);

/* Opens a file for appending, and makes it where there is none. A line that a dead writer left unfinished at its end is
 * ended. Messages begin with the path. */
tx_status tx_outlet_file(const char *path, tx_outlet *out);
/* Whether the path leads to the file that is being written to still: who rotates logs moves it away. */
bool tx_outlet_is_at(const tx_outlet *outlet, const char *path);

/* Starts a command (sh -c) in a process group of its own: Ctrl-C on the terminal is not for it, it sees the end of its
 * input. */
tx_status tx_outlet_command(const char *command, tx_outlet *out);

/* Writes what is taken at once; *written tells how much of it. The message holds the reason only. */
tx_status tx_outlet_write(tx_outlet *outlet, const char *data, size_t bytes, size_t *written);

/* Closes it. A command is given `seconds` to end by itself, then its group is killed; the message tells how it ended
 * where that is not status 0. */
tx_status tx_outlet_close(tx_outlet *outlet, double seconds);

#endif
