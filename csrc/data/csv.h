/* csv.h - tables of text: the Kaggle index of the textile set, lists of paths and labels.
 *
 *     index,angle,indication_type,indication_value,split
 *     0,100,thread,4,train
 *
 * RFC 4180: cells separated by commas, quoted with "..." when they hold commas, line ends or quotes ("" stands for one);
 * lines end with LF or CRLF; a UTF-8 byte order mark is skipped, as are lines of blanks. The first line names the columns.
 * Semicolons or tabs separate cells where the first line holds those and, outside of quotes, no comma.
 */
#ifndef TX_DATA_CSV_H
#define TX_DATA_CSV_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct tx_csv {
  int64_t rows, columns; /* rows: without the first line */
  char *text;            /* all cells, without quotes, each ended by a zero byte */
  size_t *cell;          /* [(rows + 1) * columns] where a cell starts in text; row 0 is the first line */
  int64_t *line;         /* [rows + 1] the line of the file on which a row starts, from 1 */
} tx_csv;

/* What a table takes in memory, as lists of text and lists of values in Lua: about this for each column, and this and its text
 * for each cell. A byte of the file can become hundreds; data/limit.h says how much it may. */
enum { TX_CSV_COLUMN_BYTES = 400, TX_CSV_CELL_BYTES = 48 };

/* Parses a file that lies in memory; messages hold the reason and the line, not the path. `max_bytes`: see data/limit.h. */
tx_status tx_csv_parse(const uint8_t *bytes, size_t size, int64_t max_bytes, tx_csv *csv);

tx_status tx_csv_read(const char *path, int64_t max_bytes, tx_csv *csv);

void tx_csv_free(tx_csv *csv);

/* Text of a cell; row -1 is the column's name. */
static inline const char *tx_csv_cell(const tx_csv *csv, int64_t row, int64_t column) {
  return csv->text + csv->cell[(row + 1) * csv->columns + column];
}

#endif
