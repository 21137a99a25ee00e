/* file.c - see file.h; POSIX. */
#define _GNU_SOURCE /* MAP_NORESERVE, O_CLOEXEC, flock */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

/* "operation: path: what the system says"; memory that ran out is that */
static tx_status fail_with(int error, const char *operation, const char *path) {
  tx_status status = error == ENOMEM ? TX_ENOMEM : TX_EWORLD;
  if (operation == NULL) return tx_fail(status, "%s: %s", path, strerror(error));
  return tx_fail(status, "%s: %s: %s", operation, path, strerror(error));
}

static tx_status fail_errno(const char *operation, const char *path) { return fail_with(errno, operation, path); }

tx_status tx_fail_at(tx_status status, const char *operation, const char *path) {
  tx_fail_in(status, path);
  return operation != NULL ? tx_fail_in(status, operation) : status;
}

/* -- reading ----------------------------------------------------------------------------------------------------------- */

/* What a path is that is no regular file. */
static const char *kind_of(mode_t mode) {
  return S_ISDIR(mode) ? "a folder" : S_ISFIFO(mode) ? "a named pipe" : S_ISSOCK(mode) ? "a socket" : "a device";
}

/* What can't be opened; of a socket, or a pipe that nobody reads, the system says no more than "no such device". */
static tx_status fail_open(const char *operation, const char *path, const char *wanted) {
  const int error = errno;
  struct stat info;
  if (error != ENXIO || stat(path, &info) != 0) return fail_with(error, operation, path);
  return tx_fail_at(tx_fail(TX_EWORLD, "is %s, %s", kind_of(info.st_mode), wanted), operation, path);
}

tx_status tx_file_open(const char *operation, const char *path, int *descriptor, int64_t *bytes) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer would be waited for */
  if (fd < 0) return fail_open(operation, path, "a file is wanted");
  struct stat info;
  tx_status status = TX_OK;
  if (fstat(fd, &info) != 0) {
    status = fail_errno(operation, path);
  } else if (!S_ISREG(info.st_mode)) {
    status = tx_fail_at(tx_fail(TX_EWORLD, "is %s, a file is wanted", kind_of(info.st_mode)), operation, path);
  }
  if (status != TX_OK) {
    close(fd);
    return status;
  }
  *descriptor = fd;
  *bytes = info.st_size;
  return TX_OK;
}

void tx_file_close(int descriptor) { close(descriptor); }

tx_file_kind tx_file_kind_of(const char *path) {
  struct stat info;
  if (stat(path, &info) != 0) return errno == ENOENT || errno == ENOTDIR ? TX_FILE_NONE : TX_FILE_OTHER;
  return S_ISREG(info.st_mode) ? TX_FILE_REGULAR : S_ISDIR(info.st_mode) ? TX_FILE_FOLDER : TX_FILE_OTHER;
}

tx_status tx_file_read_at(int descriptor, int64_t offset, void *data, size_t bytes) {
  size_t done = 0;
  while (done < bytes) {
    ssize_t got = pread(descriptor, (char *)data + done, bytes - done, (off_t)(offset + (int64_t)done));
    if (got > 0) {
      done += (size_t)got;
    } else if (got == 0) {
      return tx_fail(TX_EWORLD, "the file ends at byte %lld, data up to byte %lld was expected",
                     (long long)(offset + (int64_t)done), (long long)(offset + (int64_t)bytes));
    } else if (errno != EINTR) {
      return tx_fail(TX_EWORLD, "%s", strerror(errno));
    }
  }
  return TX_OK;
}

tx_status tx_file_read(const char *operation, const char *path, tx_file *file) {
  int fd = -1;
  int64_t bytes = 0;
  *file = (tx_file){0};
  TX_TRY(tx_file_open(operation, path, &fd, &bytes));
  tx_status status = TX_OK;
  if (bytes > 0) {
    file->data = tx_alloc((size_t)bytes);
    file->bytes = (size_t)bytes;
    status = file->data == NULL ? TX_ENOMEM : tx_file_read_at(fd, 0, file->data, file->bytes);
  }
  close(fd);
  if (status == TX_OK) return TX_OK;
  tx_file_release(file);
  return tx_fail_at(status, operation, path);
}

void tx_file_release(tx_file *file) {
  tx_dealloc(file->data);
  *file = (tx_file){0};
}

tx_status tx_file_map(const char *operation, const char *path, tx_file_use use, tx_mapped_file *file) {
  int fd = -1;
  int64_t bytes = 0;
  *file = (tx_mapped_file){0};
  TX_TRY(tx_file_open(operation, path, &fd, &bytes));
  int protection = use == TX_FILE_COPY ? PROT_READ | PROT_WRITE : PROT_READ;
  void *pages = bytes > 0 ? mmap(NULL, (size_t)bytes, protection, MAP_PRIVATE | MAP_NORESERVE, fd, 0) : NULL;
  if (pages == NULL || pages == MAP_FAILED) {
    tx_status status = pages == NULL ? TX_OK : fail_errno(operation, path);
    close(fd);
    return status;
  }
  *file = (tx_mapped_file){.data = pages, .bytes = (size_t)bytes, .descriptor = fd, .path = strdup(path)};
  if (file->path != NULL) return TX_OK;
  tx_file_unmap(file);
  return tx_fail_at(tx_fail(TX_ENOMEM, "not enough memory to open it"), operation, path);
}

tx_status tx_file_check(const tx_mapped_file *file) {
  struct stat info;
  if (file->data == NULL || (fstat(file->descriptor, &info) == 0 && (uint64_t)info.st_size >= file->bytes)) {
    return TX_OK;
  }
  return tx_fail(TX_EWORLD, "the file has become shorter since it was opened");
}

void tx_file_unmap(tx_mapped_file *file) {
  if (file->data != NULL) {
    munmap(file->data, file->bytes);
    close(file->descriptor);
    free(file->path);
  }
  *file = (tx_mapped_file){0};
}

/* -- writing ----------------------------------------------------------------------------------------------------------- */

struct tx_writer {
  FILE *file;
  int error; /* the first errno; 0: none */
  const char *operation;
  char *path;
  char *temporary; /* NULL: written to directly */
};

static void close_writer(tx_writer *writer) {
  if (writer->file != NULL) fclose(writer->file);
  free(writer->path);
  free(writer->temporary);
  free(writer);
}

/* -- temporary files: "best.safetensors.tmp-0" beside the target
 *
 * Their writer holds a lock on them, which ends with its process, however that ends: a temporary file that can be locked
 * was left behind by a dead one and is removed. Process ids say nothing: in a container each run may be number 1. */

enum { TEMPORARY_MAX = 1000 }; /* so many may write to one target at a time */

/* Removes a temporary file unless its writer lives; false when it can't be or isn't a file. */
static bool remove_dead(int folder, const char *name) {
  int fd = openat(folder, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  struct stat info;
  bool removed = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
                 unlinkat(folder, name, 0) == 0;
  close(fd);
  return removed;
}

/* Creates and locks the temporary file `name`; -1 with errno when that fails, EEXIST when somebody else has it. */
static int create_locked(const char *name) {
  int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (fd < 0) return -1;
  struct stat info;
  /* whoever looked for dead files may have come between the two */
  if (flock(fd, LOCK_EX | LOCK_NB) == 0 ? fstat(fd, &info) == 0 && info.st_nlink > 0 : errno != EWOULDBLOCK) return fd;
  close(fd);
  errno = EEXIST;
  return -1;
}

/* Opens a temporary file beside writer->path and stores its name. */
static int open_temporary(tx_writer *writer) {
  size_t size = strlen(writer->path) + 16;
  writer->temporary = malloc(size);
  if (writer->temporary == NULL) return -1;
  int fd = -1;
  errno = EEXIST;
  for (int i = 0; i < TEMPORARY_MAX && fd < 0 && errno == EEXIST; i++) {
    snprintf(writer->temporary, size, "%s.tmp-%d", writer->path, i);
    fd = create_locked(writer->temporary);
    if (fd < 0 && errno == EEXIST) {
      if (remove_dead(AT_FDCWD, writer->temporary)) fd = create_locked(writer->temporary);
      if (fd < 0) errno = EEXIST;
    }
  }
  return fd;
}

/* A device or a pipe is written to as it is; a pipe that nobody reads is not waited for. */
static int open_direct(const char *path) {
  int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd >= 0) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  return fd;
}

tx_status tx_writer_open(const char *operation, const char *path, tx_writer **out) {
  tx_writer *writer = calloc(1, sizeof *writer);
  if (writer == NULL) return tx_fail(TX_ENOMEM, "%s: not enough memory to write it", path);
  writer->operation = operation;
  writer->path = strdup(path);
  struct stat info;
  bool direct = stat(path, &info) == 0 && !S_ISREG(info.st_mode);
  int fd = -1;
  if (writer->path != NULL) fd = direct ? open_direct(path) : open_temporary(writer);
  if (fd >= 0) writer->file = fdopen(fd, "wb");
  if (writer->file != NULL) {
    *out = writer;
    return TX_OK;
  }
  bool no_memory = writer->path == NULL || (!direct && writer->temporary == NULL) || errno == ENOMEM;
  tx_status status = no_memory ? tx_fail(TX_ENOMEM, "%s: not enough memory to write it", path)
                               : fail_open(operation, path, "which nobody reads");
  if (fd >= 0) {
    close(fd);
    if (!direct) unlink(writer->temporary);
  }
  close_writer(writer);
  return status;
}

/* Whether what follows a name is that of a temporary file: ".tmp-" and numbers. */
static bool is_temporary(const char *ending) {
  static const char mark[] = ".tmp-";
  if (strncmp(ending, mark, sizeof mark - 1) != 0) return false;
  const char *numbers = ending + sizeof mark - 1;
  return *numbers != '\0' && strspn(numbers, "0123456789-") == strlen(numbers);
}

void tx_remove_leftovers(const char *path) {
  const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
  size_t length = strlen(name);
  char *folder = strndup(path, (size_t)(name - path));
  DIR *dir = folder == NULL ? NULL : opendir(slash != NULL ? folder : ".");
  free(folder);
  if (dir == NULL) return;
  for (struct dirent *item = readdir(dir); item != NULL; item = readdir(dir)) {
    if (strncmp(item->d_name, name, length) == 0 && is_temporary(item->d_name + length)) {
      remove_dead(dirfd(dir), item->d_name);
    }
  }
  closedir(dir);
}

void tx_writer_put(tx_writer *writer, const void *data, size_t bytes) {
  if (writer->error != 0 || bytes == 0) return;
  if (fwrite(data, 1, bytes, writer->file) != bytes) writer->error = errno != 0 ? errno : EIO;
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

tx_status tx_writer_commit(tx_writer *writer) {
  FILE *file = writer->file;
  bool replaces = writer->temporary != NULL;
  if (writer->error == 0 && fflush(file) != 0) writer->error = errno;
  if (writer->error == 0 && replaces && fsync(fileno(file)) != 0) writer->error = errno;
  if (writer->error == 0 && replaces && rename(writer->temporary, writer->path) != 0) writer->error = errno;
  bool renamed = replaces && writer->error == 0;
  if (replaces && !renamed) unlink(writer->temporary);
  writer->file = NULL;
  if (fclose(file) != 0 && writer->error == 0) writer->error = errno; /* gives the lock back, so last */
  tx_status status = TX_OK;
  if (writer->error != 0) status = fail_with(writer->error, writer->operation, writer->path);
  if (renamed) sync_folder(writer->path);
  close_writer(writer);
  return status;
}

void tx_writer_abandon(tx_writer *writer) {
  if (writer == NULL) return;
  if (writer->temporary != NULL) unlink(writer->temporary);
  close_writer(writer);
}

tx_status tx_write_file(const char *path, int64_t count, const tx_piece *pieces) {
  tx_writer *writer;
  TX_TRY(tx_writer_open(NULL, path, &writer));
  for (int64_t i = 0; i < count; i++) tx_writer_put(writer, pieces[i].data, pieces[i].bytes);
  return tx_writer_commit(writer);
}

/* -- folders ----------------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
  return strcmp(((const tx_entry *)a)->name, ((const tx_entry *)b)->name);
}

static bool is_folder(int parent, const char *name) {
  struct stat info;
  return fstatat(parent, name, &info, 0) == 0 && S_ISDIR(info.st_mode);
}

/* Appends one name; false when memory runs out. */
static bool add_entry(tx_folder *folder, int64_t *room, const char *name, bool is_dir) {
  if (folder->count == *room) {
    int64_t larger = *room == 0 ? 64 : *room * 2;
    tx_entry *grown = realloc(folder->entry, (size_t)larger * sizeof *grown);
    if (grown == NULL) return false;
    folder->entry = grown;
    *room = larger;
  }
  char *copy = strdup(name);
  if (copy == NULL) return false;
  folder->entry[folder->count++] = (tx_entry){copy, is_dir};
  return true;
}

tx_status tx_folder_list(const char *operation, const char *path, tx_folder *folder) {
  *folder = (tx_folder){NULL, 0};
  DIR *dir = opendir(path);
  if (dir == NULL) return fail_errno(operation, path);
  int64_t room = 0;
  bool enough = true;
  for (struct dirent *item = readdir(dir); enough && item != NULL; item = readdir(dir)) {
    if (item->d_name[0] != '.') enough = add_entry(folder, &room, item->d_name, is_folder(dirfd(dir), item->d_name));
  }
  closedir(dir);
  if (!enough) {
    tx_folder_free(folder);
    return tx_fail(TX_ENOMEM, "%s: not enough memory to list %s", operation, path);
  }
  if (folder->count > 1) qsort(folder->entry, (size_t)folder->count, sizeof *folder->entry, by_name);
  return TX_OK;
}

void tx_folder_free(tx_folder *folder) {
  for (int64_t i = 0; i < folder->count; i++) free(folder->entry[i].name);
  free(folder->entry);
  *folder = (tx_folder){NULL, 0};
}
