/* file.c - see file.h; POSIX. */
#define _GNU_SOURCE /* MAP_NORESERVE, O_CLOEXEC */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* "operation: path: what the system says" */
static tx_status fail_with(int error, const char *operation, const char *path) {
  if (operation == NULL) return tx_fail(TX_EWORLD, "%s: %s", path, strerror(error));
  return tx_fail(TX_EWORLD, "%s: %s: %s", operation, path, strerror(error));
}

static tx_status fail_errno(const char *operation, const char *path) { return fail_with(errno, operation, path); }

tx_status tx_fail_at(tx_status status, const char *operation, const char *path) {
  tx_fail_in(status, path);
  return tx_fail_in(status, operation);
}

/* -- reading ----------------------------------------------------------------------------------------------------------- */

tx_status tx_file_map(const char *operation, const char *path, tx_file_use use, tx_file *file) {
  file->data = NULL;
  file->bytes = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return fail_errno(operation, path);
  struct stat info;
  tx_status status = TX_OK;
  if (fstat(fd, &info) != 0) {
    status = fail_errno(operation, path);
  } else if (!S_ISREG(info.st_mode)) {
    status =
        tx_fail(TX_EWORLD, "%s: %s: %s", operation, path, S_ISDIR(info.st_mode) ? "is a folder" : "not a regular file");
  } else if (info.st_size > 0) {
    int protection = use == TX_FILE_COPY ? PROT_READ | PROT_WRITE : PROT_READ;
    void *pages = mmap(NULL, (size_t)info.st_size, protection, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    if (pages == MAP_FAILED) {
      status = fail_errno(operation, path);
    } else {
      file->data = pages;
      file->bytes = (size_t)info.st_size;
      file->descriptor = fd;
      return TX_OK;
    }
  }
  close(fd);
  return status;
}

void tx_file_unmap(tx_file *file) {
  if (file->data != NULL) {
    munmap(file->data, file->bytes);
    close(file->descriptor);
  }
  file->data = NULL;
  file->bytes = 0;
}

tx_status tx_read_file(const char *path, int64_t offset, void *data, size_t bytes) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return fail_errno(NULL, path);
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
      status = fail_errno(NULL, path);
    }
  }
  close(file);
  return status;
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

/* A name beside `path` that no other writer, here or in another process, uses at the same time. */
static char *temporary_name(const char *path) {
  static atomic_uint counter;
  size_t size = strlen(path) + 48;
  char *name = malloc(size);
  if (name != NULL) snprintf(name, size, "%s.tmp-%ld-%u", path, (long)getpid(), atomic_fetch_add(&counter, 1));
  return name;
}

tx_status tx_writer_open(const char *operation, const char *path, tx_writer **out) {
  tx_writer *writer = calloc(1, sizeof *writer);
  if (writer == NULL) return tx_fail(TX_ENOMEM, "%s: not enough memory to write it", path);
  writer->operation = operation;
  writer->path = strdup(path);
  struct stat info;
  bool direct = stat(path, &info) == 0 && !S_ISREG(info.st_mode);
  if (!direct) writer->temporary = temporary_name(path);
  if (writer->path == NULL || (!direct && writer->temporary == NULL)) {
    close_writer(writer);
    return tx_fail(TX_ENOMEM, "%s: not enough memory to write it", path);
  }
  int fd = direct ? open(path, O_WRONLY | O_CLOEXEC)
                  : open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd >= 0) writer->file = fdopen(fd, "wb");
  if (writer->file == NULL) {
    tx_status status = fail_errno(operation, path);
    if (fd >= 0) close(fd);
    close_writer(writer);
    return status;
  }
  *out = writer;
  return TX_OK;
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
  if (writer->error == 0 && fflush(file) != 0) writer->error = errno;
  if (writer->error == 0 && writer->temporary != NULL && fsync(fileno(file)) != 0) writer->error = errno;
  writer->file = NULL;
  if (fclose(file) != 0 && writer->error == 0) writer->error = errno;
  if (writer->error == 0 && writer->temporary != NULL && rename(writer->temporary, writer->path) != 0) {
    writer->error = errno;
  }
  tx_status status = TX_OK;
  if (writer->error != 0) {
    status = fail_with(writer->error, writer->operation, writer->path);
    if (writer->temporary != NULL) unlink(writer->temporary);
  } else if (writer->temporary != NULL) {
    sync_folder(writer->path);
  }
  close_writer(writer);
  return status;
}

void tx_writer_abandon(tx_writer *writer) {
  if (writer == NULL) return;
  if (writer->temporary != NULL) unlink(writer->temporary);
  close_writer(writer);
}

tx_status tx_write_file(const char *path, int count, const tx_piece *pieces) {
  tx_writer *writer;
  TX_TRY(tx_writer_open(NULL, path, &writer));
  for (int i = 0; i < count; i++) tx_writer_put(writer, pieces[i].data, pieces[i].bytes);
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
