/* folder_watch.c - see folder_watch.h; inotify. */
#define _GNU_SOURCE
#include "base/folder_watch.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

#if defined(__linux__)
#include <sys/inotify.h>

tx_status tx_folder_watch_open(const char *operation, const char *path, int *watch) {
  const uint32_t wanted = IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
  *watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (*watch >= 0 && inotify_add_watch(*watch, path, wanted) >= 0) return TX_OK;
  const int error = errno;
  tx_folder_watch_close(*watch);
  *watch = -1;
  /* the user's limit of watches, and kernels that are emulated: the caller looks for itself */
  if (error == EMFILE || error == ENFILE || error == ENOSPC || error == ENOSYS) return TX_OK;
  return tx_fail_at(tx_fail(TX_EWORLD, "%s", strerror(error)), operation, path);
}

/* Takes one event in. */
static void note(const struct inotify_event *event, tx_folder_news *news) {
  if ((event->mask & IN_Q_OVERFLOW) != 0) news->missed = true;
  if ((event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)) != 0) news->gone = true;
  if ((event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) == 0 || (event->mask & IN_ISDIR) != 0 || event->len == 0) return;
  const size_t length = strlen(event->name) + 1; /* shorter than its event: there is room for it */
  memcpy(news->names + news->bytes, event->name, length);
  news->bytes += length;
}

tx_status tx_folder_watch_wait(int watch, double seconds, char *names, tx_folder_news *news) {
  _Alignas(struct inotify_event) char events[TX_FOLDER_WATCH_BYTES];
  *news = (tx_folder_news){.names = names};
  struct pollfd wanted = {.fd = watch, .events = POLLIN};
  if (poll(&wanted, 1, (int)(seconds * 1e3)) <= 0) return TX_OK; /* a signal is for the caller to see */
  const ssize_t got = read(watch, events, sizeof events);
  if (got < 0 && errno != EAGAIN && errno != EINTR) return tx_fail(TX_EWORLD, "%s", strerror(errno));
  for (ssize_t at = 0; at < got;) {
    const struct inotify_event *event = (const struct inotify_event *)(events + at);
    note(event, news);
    at += (ssize_t)(sizeof *event + event->len);
  }
  return TX_OK;
}

#else

tx_status tx_folder_watch_open(const char *operation, const char *path, int *watch) {
  (void)operation;
  (void)path;
  *watch = -1;
  return TX_OK;
}

tx_status tx_folder_watch_wait(int watch, double seconds, char *names, tx_folder_news *news) {
  (void)watch;
  *news = (tx_folder_news){.names = names};
  return poll(NULL, 0, (int)(seconds * 1e3)) < 0 && errno != EINTR ? tx_fail(TX_EWORLD, "%s", strerror(errno)) : TX_OK;
}

#endif

void tx_folder_watch_close(int watch) {
  if (watch >= 0) close(watch);
}
