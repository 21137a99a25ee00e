/* file.h - reading a part of a file, and writing a whole file so that nobody ever sees half of it.
 *
 * All failures are TX_EWORLD, and their messages begin with the path.
 */
#ifndef TX_BASE_FILE_H
#define TX_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Reads exactly `bytes` bytes that begin at `offset`; a file that ends before them is a failure. */
tx_status tx_read_file(const char *path, int64_t offset, void *data, size_t bytes);

/* One piece of a file to be written. */
typedef struct tx_piece {
  const void *data;
  size_t bytes;
} tx_piece;

/* Writes the pieces, one after another, to "<path>.<pid>.tmp", brings them to the disk (fsync) and renames that file to
 * `path`: whoever opens `path` finds the old contents or the new, also after a crash. On failure `path` is as it was. */
tx_status tx_write_file(const char *path, int count, const tx_piece *pieces);

#endif
