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

/* Puts "operation: path: " before the message of this thread, without operation where that is NULL; returns `status`. */
tx_status tx_fail_at(tx_status status, const char *operation, const char *path);

/* -- reading ------------------------------------------------------------------------------------------------------------
 *
 * Only regular files are read: a pipe would be waited for, and a device has no end. All readers open their files here.
 */

/* Opens a file; `bytes` is its size at present. */
tx_status tx_file_open(const char *operation, const char *path, int *descriptor, int64_t *bytes);
void tx_file_close(int descriptor);

/* What stands at a path, whether it can be read or not. */
typedef enum tx_file_kind {
  TX_FILE_NONE,
  TX_FILE_REGULAR,
  TX_FILE_FOLDER,
  TX_FILE_OTHER /* a pipe or the like, or something that can't be looked at, as in a folder of somebody else's */
} tx_file_kind;

tx_file_kind tx_file_kind_of(const char *path);

/* Reads exactly `bytes` bytes that begin at `offset`; a file that ends before them is a failure. The message holds the
 * reason only. */
tx_status tx_file_read_at(int descriptor, int64_t offset, void *data, size_t bytes);

/* A whole file in memory; whatever becomes of the file, this stays. */
typedef struct tx_file {
  uint8_t *data; /* NULL when the file is empty */
  size_t bytes;
} tx_file;

tx_status tx_file_read(const char *operation, const char *path, tx_file *file);
void tx_file_release(tx_file *file);

typedef enum tx_file_use {
  TX_FILE_READ, /* read only: clean pages can be given back to the system at any time */
  TX_FILE_COPY  /* may be written to; what is written stays in memory and never reaches the file */
} tx_file_use;

/* A mapped file: pages are read when they are touched, so a file may be larger than memory. */
typedef struct tx_mapped_file {
  uint8_t *data; /* page-aligned; NULL when the file is empty */
  size_t bytes;
  int descriptor; /* open as long as the file is mapped; meaningless without data */
  char *path;     /* as it was given */
} tx_mapped_file;

tx_status tx_file_map(const char *operation, const char *path, tx_file_use use, tx_mapped_file *file);
void tx_file_unmap(tx_mapped_file *file);

/* Fails, with the reason only, when others have shortened the file: touching pages behind its end would end the process. To be
 * called before the pages are used; only who shortens it in that very moment is not noticed. */
tx_status tx_file_check(const tx_mapped_file *file);

/* -- writing ----------------------------------------------------------------------------------------------------------- */

/* Writes beside the target; commit brings that to the disk and renames it: whoever opens the path finds the old contents
 * or the new, also after a crash. What a killed writer left beside the same target is removed by the next one. A target
 * that is not a regular file (a device, a pipe that is being read) is written to directly. */
typedef struct tx_writer tx_writer;

/* `operation` begins the messages; NULL: the path does. */
tx_status tx_writer_open(const char *operation, const char *path, tx_writer **out);
/* After a failed write, further ones do nothing and commit fails with the first reason. */
void tx_writer_put(tx_writer *writer, const void *data, size_t bytes);
tx_status tx_writer_commit(tx_writer *writer); /* ends the writer, whatever it returns */
void tx_writer_abandon(tx_writer *writer);     /* ends it and leaves no trace; NULL is ignored */

/* Removes what dead writers, of whatever number, left beside a target. Goes through its folder once. */
void tx_remove_leftovers(const char *path);

/* One piece of a file to be written. */
typedef struct tx_piece {
  const void *data;
  size_t bytes;
} tx_piece;

/* Writes the pieces, one after another, as a writer does. */
tx_status tx_write_file(const char *path, int64_t count, const tx_piece *pieces);

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
