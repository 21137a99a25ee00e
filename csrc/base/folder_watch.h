/* folder_watch.h - names of files that have just been closed after writing in a folder, or moved into it.
 *
 * Linux tells them (inotify); where that is missing, and of folders that others write to over a network, the caller looks
 * through the folder itself now and then.
 */
#ifndef TX_BASE_FOLDER_WATCH_H
#define TX_BASE_FOLDER_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum { TX_FOLDER_WATCH_BYTES = 1 << 16 }; /* of names that are told at a time: at least 240 of them */

/* Begins to watch; *watch is -1 where the system tells of no files. */
tx_status tx_folder_watch_open(const char *operation, const char *path, int *watch);

typedef struct tx_folder_news {
  char *names; /* `bytes` bytes: names, each with a zero byte behind it */
  size_t bytes;
  bool missed; /* more came than the system keeps: the folder is to be looked through */
  bool gone;   /* the folder was removed, moved or unmounted: nothing more will come */
} tx_folder_news;

/* Waits no longer than `seconds` for names, which are written to `names`, TX_FOLDER_WATCH_BYTES large. */
tx_status tx_folder_watch_wait(int watch, double seconds, char *names, tx_folder_news *news);
void tx_folder_watch_close(int watch); /* -1 is ignored */

#endif
