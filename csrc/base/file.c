/* file.c - see file.h. */
#define _POSIX_C_SOURCE 200809L

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static tx_status fail_on(const char *path, const char *what) {
  return tx_fail(TX_EWORLD, "%s: %s: %s", path, what, strerror(errno));
}

/* -- reading --------------------------------------------------------------------------------------------------------- */

tx_status tx_read_file(const char *path, int64_t offset, void *data, size_t bytes) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return tx_fail(TX_EWORLD, "%s: %s", path, strerror(errno));
  tx_status status = TX_OK;
  size_t done = 0;
  while (done < bytes && status == TX_OK) {
    ssize_t got = pread(file, (char *)data + done, bytes - done, (off_t)(offset + (int64_t)done));
    if (got > 0) {
      done += (size_t)got;
    } else if (got == 0) {
      status = tx_fail(TX_EWORLD, "%s: the file ends at byte %lld, data up to byte %lld was expected", path,
                       (long long)(offset + (int64_t)done), (long long)(offset + (int64_t)bytes));
    } else if (errno != EINTR) {
      status = fail_on(path, "cannot read");
    }
  }
  close(file);
  return status;
}

/* -- writing --------------------------------------------------------------------------------------------------------- */

static tx_status write_all(int file, const char *path, const tx_piece *piece) {
  size_t done = 0;
  while (done < piece->bytes) {
    ssize_t put = write(file, (const char *)piece->data + done, piece->bytes - done);
    if (put >= 0) {
      done += (size_t)put;
    } else if (errno != EINTR) {
      return fail_on(path, "cannot write");
    }
  }
  return TX_OK;
}

/* The rename itself is on the disk only when the folder is; folders that cannot be opened or synced are let pass. */
static void sync_folder(const char *path) {
  char folder[4096];
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) + 1 : 0;
  if (length >= sizeof folder) return;
  memcpy(folder, path, length);
  folder[length] = '\0';
  int file = open(slash ? folder : ".", O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  (void)fsync(file);
  close(file);
}

tx_status tx_write_file(const char *path, int count, const tx_piece *pieces) {
  size_t size = strlen(path) + 32;
  char *temporary = malloc(size);
  if (temporary == NULL) return tx_fail(TX_ENOMEM, "%s: out of memory", path);
  (void)snprintf(temporary, size, "%s.%ld.tmp", path, (long)getpid());

  int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  tx_status status = file < 0 ? fail_on(path, "cannot write") : TX_OK;
  for (int i = 0; i < count && status == TX_OK; i++) status = write_all(file, path, &pieces[i]);
  if (status == TX_OK && fsync(file) != 0 && errno != EINVAL) status = fail_on(path, "cannot write");
  if (file >= 0 && close(file) != 0 && status == TX_OK) status = fail_on(path, "cannot write");
  if (status == TX_OK && rename(temporary, path) != 0) status = fail_on(path, "cannot replace");
  if (status == TX_OK) sync_folder(path);
  if (status != TX_OK && file >= 0) (void)unlink(temporary);
  free(temporary);
  return status;
}
