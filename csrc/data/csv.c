/* csv.c - a table of text, in two passes: one that cuts cells, one that checks that every row has as many as the first. */
#include "data/csv.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/limit.h"

/* Where the parser stands. */
typedef struct parser {
  const uint8_t *at, *end;
  char separator;
  int64_t line; /* of the file, from 1 */
  char *text;   /* as large as the file plus one: a cell never grows */
  size_t used;
  size_t *cell;
  size_t cells, room;
  int64_t *row_line;
  int64_t rows, rows_fit; /* the first line counts */
  uint64_t bytes, most;   /* that the table takes in memory by now; that it may take */
} parser;

/* Makes room for one more item; false when memory runs out. */
static bool grow(void **items, size_t *room, size_t used, size_t item) {
  if (used < *room) return true;
  size_t larger = *room == 0 ? 256 : *room * 2;
  void *grown = realloc(*items, larger * item);
  if (grown == NULL) return false;
  *items = grown;
  *room = larger;
  return true;
}

static bool at_line_end(const parser *p) { return p->at == p->end || *p->at == '\n' || *p->at == '\r'; }

static void skip_line_end(parser *p) {
  if (p->at < p->end && *p->at == '\r') p->at++;
  if (p->at < p->end && *p->at == '\n') p->at++;
  p->line++;
}

static tx_status put(parser *p, uint8_t c) {
  if (c == 0) return tx_fail(TX_EWORLD, "line %" PRId64 ": a zero byte: not a text file", p->line);
  p->text[p->used++] = (char)c;
  return TX_OK;
}

static tx_status quoted(parser *p) {
  int64_t opened = p->line;
  for (p->at++;; p->at++) {
    if (p->at == p->end) return tx_fail(TX_EWORLD, "line %" PRId64 ": a quote is not closed", opened);
    if (*p->at == '"') {
      p->at++;
      if (p->at == p->end || *p->at != '"') break;
    } else if (*p->at == '\n') {
      p->line++;
    }
    TX_TRY(put(p, *p->at));
  }
  if (!at_line_end(p) && *p->at != (uint8_t)p->separator) {
    return tx_fail(TX_EWORLD, "line %" PRId64 ": something follows a closing quote", p->line);
  }
  return TX_OK;
}

/* Counts what a cell takes beside its text, in the first line also what its column does. */
static tx_status count_cell(parser *p) {
  p->bytes += TX_CSV_CELL_BYTES;
  if (p->rows == 1) p->bytes += TX_CSV_COLUMN_BYTES;
  if (p->bytes + p->used <= p->most) return TX_OK;
  return tx_fail(TX_EWORLD,
                 "line %" PRId64 ": the table takes more than %" PRIu64 " bytes of memory; max_bytes raises that",
                 p->line, p->most);
}

static tx_status take_cell(parser *p) {
  TX_TRY(count_cell(p));
  if (!grow((void **)&p->cell, &p->room, p->cells, sizeof *p->cell)) return tx_fail(TX_ENOMEM, "not enough memory");
  p->cell[p->cells++] = p->used;
  if (p->at < p->end && *p->at == '"') {
    TX_TRY(quoted(p));
  } else {
    for (; !at_line_end(p) && *p->at != (uint8_t)p->separator; p->at++) TX_TRY(put(p, *p->at));
  }
  p->text[p->used++] = '\0';
  return TX_OK;
}

/* One line; `columns` is 0 for the first one, and set by it. */
static tx_status take_row(parser *p, int64_t *columns) {
  size_t room = (size_t)p->rows_fit;
  if (!grow((void **)&p->row_line, &room, (size_t)p->rows, sizeof *p->row_line)) {
    return tx_fail(TX_ENOMEM, "not enough memory");
  }
  p->rows_fit = (int64_t)room;
  int64_t line = p->line, cells = 1;
  p->row_line[p->rows++] = line;
  TX_TRY(take_cell(p));
  for (; !at_line_end(p); cells++) { /* stands on a separator */
    p->at++;
    TX_TRY(take_cell(p));
  }
  skip_line_end(p);
  if (*columns == 0) *columns = cells;
  if (cells != *columns) {
    return tx_fail(TX_EWORLD, "line %" PRId64 ": %" PRId64 " cells, the first line has %" PRId64, line, cells,
                   *columns);
  }
  return TX_OK;
}

/* Whether nothing but blanks stands between here and the end of the line. */
static bool at_blank_line(const parser *p) {
  const uint8_t *at = p->at;
  while (at < p->end && *at == ' ') at++;
  return at == p->end || *at == '\n' || *at == '\r';
}

static tx_status take_rows(parser *p, int64_t *columns) {
  while (p->at < p->end) {
    if (at_blank_line(p)) {
      while (!at_line_end(p)) p->at++;
      skip_line_end(p);
    } else {
      TX_TRY(take_row(p, columns));
    }
  }
  return p->rows > 0 ? TX_OK : tx_fail(TX_EWORLD, "no line that names the columns");
}

/* Past a quoted cell that starts at `at`, or to the end. */
static const uint8_t *skip_quoted(const uint8_t *at, const uint8_t *end) {
  for (at++; at < end; at++) {
    if (*at != '"') continue;
    if (at + 1 == end || at[1] != '"') return at + 1;
    at++;
  }
  return end;
}

/* The separator of the first line: a comma if it holds one outside of quotes, else a semicolon, else a tab. */
static char find_separator(const uint8_t *at, const uint8_t *end) {
  bool starts = true; /* a cell, as far as can be told by now */
  char found = ',';
  while (at < end && *at != '\n' && *at != '\r') {
    if (*at == '"' && starts) {
      at = skip_quoted(at, end);
      starts = false;
      continue;
    }
    if (*at == ',') return ',';
    starts = *at == ';' || *at == '\t';
    if (starts && found != ';') found = (char)*at;
    at++;
  }
  return found;
}

tx_status tx_csv_parse(const uint8_t *bytes, size_t size, int64_t max_bytes, tx_csv *csv) {
  static const uint8_t mark[3] = {0xEF, 0xBB, 0xBF};
  *csv = (tx_csv){0};
  if (size == 0) return tx_fail(TX_EWORLD, "the file is empty");
  parser p = {.at = bytes, .end = bytes + size, .line = 1, .most = tx_most_unpacked(size, max_bytes)};
  if (size >= sizeof mark && memcmp(bytes, mark, sizeof mark) == 0) p.at += sizeof mark;
  p.separator = find_separator(p.at, p.end);
  p.text = malloc(size + 1);
  tx_status status = p.text == NULL ? tx_fail(TX_ENOMEM, "not enough memory") : take_rows(&p, &csv->columns);
  csv->text = p.text;
  csv->cell = p.cell;
  csv->line = p.row_line;
  csv->rows = p.rows - 1;
  if (status != TX_OK) tx_csv_free(csv);
  return status;
}

tx_status tx_csv_read(const char *path, int64_t max_bytes, tx_csv *csv) {
  tx_file file;
  TX_TRY(tx_file_read("read_csv", path, &file));
  tx_status status = tx_csv_parse(file.data, file.bytes, max_bytes, csv);
  tx_file_release(&file);
  return status == TX_OK ? TX_OK : tx_fail_at(status, "read_csv", path);
}

void tx_csv_free(tx_csv *csv) {
  free(csv->text);
  free(csv->cell);
  free(csv->line);
  *csv = (tx_csv){0};
}
