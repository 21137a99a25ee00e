/* outlet.c - see outlet.h. */
#define _GNU_SOURCE /* pipe2, sigtimedwait, POSIX_SPAWN_SETSIGDEF */
#include "base/outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/integers.h"
#include "base/interrupt.h"

extern char **environ;

/* A pipe that poll says can be written to takes this much without waiting. */
enum { PIECE = 4096 };

tx_outlet tx_outlet_descriptor(int descriptor) { return (tx_outlet){.descriptor = descriptor}; }

/* -- a file ---------------------------------------------------------------------------------------------------------- */

/* Ends the line at the end of a file where it was left unfinished. */
static void end_line(int descriptor, off_t size) {
  char last = '\n';
  if (size == 0 || pread(descriptor, &last, 1, size - 1) != 1 || last == '\n') return;
  ssize_t written = write(descriptor, "\n", 1);
  (void)written; /* on a full disk the first result fails, and says so */
}

tx_status tx_outlet_file(const char *path, tx_outlet *out) {
  struct stat info;
  int file = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
  /* what can only be written to, as some devices; a pipe is opened so that its reader can be told to be gone */
  bool is_pipe = file >= 0 && fstat(file, &info) == 0 && S_ISFIFO(info.st_mode);
  if (is_pipe) close(file);
  if (is_pipe || (file < 0 && errno == EACCES)) file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK);
  if (file < 0 || fstat(file, &info) != 0) {
    const char *reason = errno == ENXIO ? "is a named pipe that nobody reads" : strerror(errno);
    tx_status status = tx_fail(TX_EWORLD, "%s: %s", path, reason);
    if (file >= 0) close(file);
    return status;
  }
  if (S_ISREG(info.st_mode)) end_line(file, info.st_size);
  *out = (tx_outlet){.descriptor = file, .owned = true, .device = info.st_dev, .inode = info.st_ino};
  return TX_OK;
}

bool tx_outlet_is_at(const tx_outlet *outlet, const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && info.st_dev == outlet->device && info.st_ino == outlet->inode;
}

/* -- a command ------------------------------------------------------------------------------------------------------- */

/* The command is started as if by the shell: no signal is blocked or ignored. */
static int spawn(const char *command, int input, pid_t *child) {
  char *const words[] = {"sh", "-c", (char *)command, NULL};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  sigaddset(&defaults, SIGINT);
  sigaddset(&defaults, SIGTERM);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, 0);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  int error = posix_spawn(child, "/bin/sh", &actions, &attributes, words, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

tx_status tx_outlet_command(const char *command, tx_outlet *out) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return tx_fail(TX_EWORLD, "%s", strerror(errno));
  pid_t child = 0;
  int error = spawn(command, ends[0], &child);
  close(ends[0]);
  if (error != 0) {
    close(ends[1]);
    return tx_fail(TX_EWORLD, "%s", strerror(error));
  }
  *out = (tx_outlet){.descriptor = ends[1], .owned = true, .child = child};
  return TX_OK;
}

static tx_status tell_end(int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return TX_OK;
  if (WIFEXITED(status)) return tx_fail(TX_EWORLD, "it ended with status %d", WEXITSTATUS(status));
  return tx_fail(TX_EWORLD, "it was ended by signal %d", WTERMSIG(status));
}

/* Waits for the end of a command; false: it runs still after `seconds`. */
static bool wait_for(pid_t child, double seconds, int *status) {
  const double until = tx_clock() + seconds;
  for (;;) {
    pid_t ended = waitpid(child, status, WNOHANG);
    if (ended == child) return true;
    if (ended < 0 && errno != EINTR) { /* the host waits for all of its children by itself */
      *status = 0;
      return true;
    }
    if (tx_clock() >= until) return false;
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  }
}

/* -- writing --------------------------------------------------------------------------------------------------------- */

/* write() without the signal that the reader's end would bring: -1 and EPIPE stay. */
static ssize_t write_quietly(int descriptor, const char *data, size_t bytes) {
  sigset_t broken, before, waiting;
  sigemptyset(&broken);
  sigaddset(&broken, SIGPIPE);
  sigpending(&waiting);
  const bool pending = sigismember(&waiting, SIGPIPE) == 1;
  pthread_sigmask(SIG_BLOCK, &broken, &before);
  const ssize_t written = write(descriptor, data, bytes);
  const int error = errno;
  if (written < 0 && error == EPIPE && !pending) sigtimedwait(&broken, NULL, &(struct timespec){0});
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = error;
  return written;
}

tx_status tx_outlet_write(tx_outlet *outlet, const char *data, size_t bytes, size_t *written) {
  struct stat info;
  const bool is_file = fstat(outlet->descriptor, &info) == 0 && S_ISREG(info.st_mode);
  for (*written = 0; *written < bytes;) {
    struct pollfd wanted = {.fd = outlet->descriptor, .events = POLLOUT};
    if (!is_file && poll(&wanted, 1, 0) <= 0) return TX_OK;
    const size_t some = is_file ? bytes - *written : (size_t)tx_min((int64_t)(bytes - *written), PIECE);
    const ssize_t got = write_quietly(outlet->descriptor, data + *written, some);
    if (got > 0) {
      *written += (size_t)got;
    } else if (got < 0 && errno == EAGAIN) {
      return TX_OK;
    } else if (got < 0 && errno != EINTR) {
      return tx_fail(TX_EWORLD, "%s", errno == EPIPE ? "nobody reads it any more" : strerror(errno));
    }
  }
  return TX_OK;
}

tx_status tx_outlet_close(tx_outlet *outlet, double seconds) {
  tx_status result = TX_OK;
  /* what the system finds out late, as over a network; a file that could not take all has said so */
  if (outlet->owned && outlet->descriptor >= 0 && close(outlet->descriptor) != 0 && errno != EINTR)
    result = tx_fail(TX_EWORLD, "%s", strerror(errno));
  outlet->descriptor = -1;
  if (outlet->child == 0) return result;
  const pid_t child = outlet->child;
  int status = 0;
  outlet->child = 0;
  if (wait_for(child, seconds, &status)) return tell_end(status);
  kill(-child, SIGKILL);
  wait_for(child, 1, &status);
  return tx_fail(TX_EWORLD, "it did not end within %d s of the end of its input, and was killed", (int)seconds);
}
