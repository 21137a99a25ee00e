/* file.h - files as memory, a part of a file, files written whole or not at all, names in a folder.
 *
 * Failures are TX_EWORLD and read "operation: path: reason", or "path: reason" where no operation is asked for.
 */
#ifndef TX_BASE_FILE_H
#define TX_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Puts "operation: path: " before the message of this thread; returns `status`. */
tx_status tx_fail_at(tx_status status, const char *operation, const char *path);

/* -- reading ----------------------------------------------------------------------------------------------------------- */

typedef enum tx_file_use {
  TX_FILE_READ, /* read only: clean pages can be given back to the system at any time */
  TX_FILE_COPY  /* may be written to; what is written stays in memory and never reaches the file */
} tx_file_use;

/* A mapped file: pages are read when they are touched, so a file may be larger than memory. */
typedef struct tx_file {
  uint8_t *data; /* page-aligned; NULL when the file is empty */
  size_t bytes;
  int descriptor; /* open as long as the file is mapped; meaningless without data */
} tx_file;

/* Maps a regular file. It must not be shortened by others while it is mapped. */
tx_status tx_file_map(const char *operation, const char *path, tx_file_use use, tx_file *file);
void tx_file_unmap(tx_file *file);

/* Reads exactly `bytes` bytes that begin at `offset`; a file that ends before them is a failure. */
tx_status tx_read_file(const char *path, int64_t offset, void *data, size_t bytes);

/* -- writing ----------------------------------------------------------------------------------------------------------- */

/* Writes beside the target; commit brings that to the disk and renames it: whoever opens the path finds the old contents
 * or the new, also after a crash. A target that is not a regular file (a device, a pipe) is written to directly. */
typedef struct tx_writer tx_writer;

/* `operation` begins the messages; NULL: the path does. */
tx_status tx_writer_open(const char *operation, const char *path, tx_writer **out);
/* After a failed write, further ones do nothing and commit fails with the first reason. */
void tx_writer_put(tx_writer *writer, const void *data, size_t bytes);
tx_status tx_writer_commit(tx_writer *writer); /* ends the writer, whatever it returns */
void tx_writer_abandon(tx_writer *writer);     /* ends it and leaves no trace; NULL is ignored */

/* One piece of a file to be written. */
typedef struct tx_piece {
  const void *data;
  size_t bytes;
} tx_piece;

/* Writes the pieces, one after another, as a writer does. */
tx_status tx_write_file(const char *path, int count, const tx_piece *pieces);

/* -- folders ----------------------------------------------------------------------------------------------------------- */

typedef struct tx_entry {
  char *name;
  bool folder; /* after following links */
} tx_entry;

typedef struct tx_folder {
  tx_entry *entry; /* sorted by name, byte by byte; names that start with a dot are left out */
  int64_t count;
} tx_folder;

tx_status tx_folder_list(const char *operation, const char *path, tx_folder *folder);
void tx_folder_free(tx_folder *folder);

#endif
