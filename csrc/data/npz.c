/* npz.c - finding members in a ZIP archive and unpacking them with zlib. Format: PKWARE APPNOTE.TXT 6.3, 4.3 and 4.5. */
#include "data/npz.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/integers.h"
#include "base/memory.h"

enum { LOCAL_SIZE = 30, RECORD_SIZE = 46, END_SIZE = 22, END64_SIZE = 56, LOCATOR_SIZE = 20, COMMENT_MAX = 65535 };
enum { LOCAL_MAGIC = 0x04034b50, RECORD_MAGIC = 0x02014b50, END_MAGIC = 0x06054b50 };
enum { END64_MAGIC = 0x06064b50, LOCATOR_MAGIC = 0x07064b50 };
enum { STORED = 0, DEFLATED = 8 }; /* methods of packing */

/* Whether `bytes` bytes lie inside of the file from `at` on. */
static bool holds(const tx_npz *npz, uint64_t at, uint64_t bytes) { return at <= npz->size && bytes <= npz->size - at; }

/* -- the directory ----------------------------------------------------------------------------------------------------- */

/* Where the central directory is. */
typedef struct directory {
  uint64_t start, bytes, records;
} directory;

static tx_status find_directory(const tx_npz *npz, directory *d) {
  if (npz->size < END_SIZE) return tx_fail(TX_EWORLD, "not an .npz file (too short)");
  size_t end = npz->size - END_SIZE, lowest = (size_t)tx_max((int64_t)end - COMMENT_MAX, 0);
  while (tx_load_le(npz->bytes + end, 4) != END_MAGIC) {
    if (end == lowest) return tx_fail(TX_EWORLD, "not an .npz file, or truncated (no end of directory)");
    end--;
  }
  d->records = tx_load_le(npz->bytes + end + 10, 2);
  d->bytes = tx_load_le(npz->bytes + end + 12, 4);
  d->start = tx_load_le(npz->bytes + end + 16, 4);
  if (end >= LOCATOR_SIZE && tx_load_le(npz->bytes + end - LOCATOR_SIZE, 4) == LOCATOR_MAGIC) {
    uint64_t at = tx_load_le(npz->bytes + end - LOCATOR_SIZE + 8, 8);
    if (!holds(npz, at, END64_SIZE) || tx_load_le(npz->bytes + at, 4) != END64_MAGIC) {
      return tx_fail(TX_EWORLD, "the directory is damaged (ZIP64 end record)");
    }
    d->records = tx_load_le(npz->bytes + at + 32, 8);
    d->bytes = tx_load_le(npz->bytes + at + 40, 8);
    d->start = tx_load_le(npz->bytes + at + 48, 8);
  }
  if (!holds(npz, d->start, d->bytes) || d->records > d->bytes / RECORD_SIZE) {
    return tx_fail(TX_EWORLD, "the directory is damaged (it reaches past the end of the file)");
  }
  return TX_OK;
}

/* Replaces the values that are all ones by those of the ZIP64 extra field (header id 1), which holds just these, in order. */
static bool read_zip64(const uint8_t *extra, size_t bytes, uint64_t *unpacked, uint64_t *packed, uint64_t *start) {
  uint64_t *wanted[3];
  int count = 0;
  if (*unpacked == UINT32_MAX) wanted[count++] = unpacked;
  if (*packed == UINT32_MAX) wanted[count++] = packed;
  if (*start == UINT32_MAX) wanted[count++] = start;
  if (count == 0) return true;
  while (bytes >= 4) {
    size_t id = (size_t)tx_load_le(extra, 2), length = (size_t)tx_load_le(extra + 2, 2);
    if (length > bytes - 4) return false;
    if (id == 1) {
      if (length < (size_t)count * 8) return false;
      for (int i = 0; i < count; i++) *wanted[i] = tx_load_le(extra + 4 + 8 * i, 8);
      return true;
    }
    extra += 4 + length;
    bytes -= 4 + length;
  }
  return false;
}

/* The name, without ".npy". */
static char *copy_name(const uint8_t *name, size_t length) {
  char *copy = malloc(length + 1);
  if (copy == NULL) return NULL;
  memcpy(copy, name, length);
  copy[length] = '\0';
  if (length > 4 && strcmp(copy + length - 4, ".npy") == 0) copy[length - 4] = '\0';
  return copy;
}

/* Reads the record at `at`, which `left` bytes of the directory follow, into *m; writes its length. */
static tx_status read_record(const tx_npz *npz, uint64_t at, uint64_t left, tx_npz_member *m, uint64_t *length) {
  const uint8_t *record = npz->bytes + at;
  if (left < RECORD_SIZE || tx_load_le(record, 4) != RECORD_MAGIC)
    return tx_fail(TX_EWORLD, "the directory is damaged");
  size_t name = (size_t)tx_load_le(record + 28, 2), extra = (size_t)tx_load_le(record + 30, 2),
         comment = (size_t)tx_load_le(record + 32, 2);
  *length = RECORD_SIZE + name + extra + comment;
  if (left < *length) return tx_fail(TX_EWORLD, "the directory is damaged");
  uint64_t packed = tx_load_le(record + 20, 4), unpacked = tx_load_le(record + 24, 4),
           start = tx_load_le(record + 42, 4);
  if (!read_zip64(record + RECORD_SIZE + name, extra, &unpacked, &packed, &start)) {
    return tx_fail(TX_EWORLD, "the directory is damaged (ZIP64 sizes)");
  }
  if ((tx_load_le(record + 8, 2) & 1) != 0) return tx_fail(TX_EWORLD, "the archive is encrypted");
  uint64_t method = tx_load_le(record + 10, 2);
  if (!holds(npz, start, LOCAL_SIZE) || tx_load_le(npz->bytes + start, 4) != LOCAL_MAGIC) {
    return tx_fail(TX_EWORLD, "a member is not where the directory says");
  }
  uint64_t data = start + LOCAL_SIZE + tx_load_le(npz->bytes + start + 26, 2) + tx_load_le(npz->bytes + start + 28, 2);
  if (!holds(npz, data, packed)) return tx_fail(TX_EWORLD, "a member reaches past the end of the file");
  if (method == STORED && packed != unpacked) return tx_fail(TX_EWORLD, "a stored member has two different sizes");
  bool too_many = method == DEFLATED && unpacked / 1100 > packed + 1; /* deflate packs at most 1032 to 1 */
  if (unpacked > PTRDIFF_MAX || too_many) {
    return tx_fail(TX_EWORLD, "a member declares more bytes than its data can hold");
  }
  m->method = (int)method;
  m->crc = (uint32_t)tx_load_le(record + 16, 4);
  m->start = (size_t)data;
  m->packed = (size_t)packed;
  m->unpacked = (size_t)unpacked;
  m->name = copy_name(record + RECORD_SIZE, name);
  return m->name != NULL ? TX_OK : tx_fail(TX_ENOMEM, "not enough memory");
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Refuses names that stand twice: which of both is meant, readers answer differently. */
static tx_status check_names(const tx_npz *npz) {
  char **names = malloc((size_t)tx_max(npz->count, 1) * sizeof *names);
  if (names == NULL) return tx_fail(TX_ENOMEM, "not enough memory");
  for (int64_t m = 0; m < npz->count; m++) names[m] = npz->member[m].name;
  qsort(names, (size_t)npz->count, sizeof *names, by_name);
  tx_status status = TX_OK;
  for (int64_t m = 1; m < npz->count && status == TX_OK; m++) {
    if (strcmp(names[m - 1], names[m]) == 0) status = tx_fail(TX_EWORLD, "the member '%s' stands twice", names[m]);
  }
  free(names);
  return status;
}

tx_status tx_npz_parse(const uint8_t *bytes, size_t size, tx_npz *npz) {
  *npz = (tx_npz){.bytes = bytes, .size = size};
  directory d = {0};
  TX_TRY(find_directory(npz, &d));
  npz->member = calloc((size_t)tx_max((int64_t)d.records, 1), sizeof *npz->member);
  if (npz->member == NULL) return tx_fail(TX_ENOMEM, "not enough memory");
  uint64_t at = d.start, end = d.start + d.bytes;
  tx_status status = TX_OK;
  for (uint64_t i = 0; i < d.records && status == TX_OK; i++) {
    uint64_t length = 0;
    status = read_record(npz, at, end - at, &npz->member[i], &length);
    if (status == TX_OK) npz->count++;
    at += length;
  }
  if (status == TX_OK) status = check_names(npz);
  if (status != TX_OK) tx_npz_free(npz);
  return status;
}

void tx_npz_free(tx_npz *npz) {
  for (int64_t i = 0; i < npz->count; i++) free(npz->member[i].name);
  free(npz->member);
  npz->member = NULL;
  npz->count = 0;
}

/* -- members ----------------------------------------------------------------------------------------------------------- */

/* Both sizes may be above 4 GiB, which zlib counts in pieces. */
static uInt piece(size_t left) { return (uInt)tx_min((int64_t)left, INT_MAX); }

/* Unpacks raw deflate data into exactly `unpacked` bytes. */
static tx_status inflate_member(const uint8_t *from, size_t packed, uint8_t *to, size_t unpacked) {
  z_stream stream = {0};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return tx_fail(TX_ENOMEM, "not enough memory");
  size_t in_left = packed, out_left = unpacked;
  stream.next_in = (z_const Bytef *)from;
  stream.next_out = to;
  int result = Z_OK;
  while (result == Z_OK) {
    stream.avail_in = piece(in_left);
    stream.avail_out = piece(out_left);
    uInt had_in = stream.avail_in, had_out = stream.avail_out;
    result = inflate(&stream, Z_NO_FLUSH);
    in_left -= had_in - stream.avail_in;
    out_left -= had_out - stream.avail_out;
  }
  inflateEnd(&stream);
  if (result == Z_MEM_ERROR) return tx_fail(TX_ENOMEM, "not enough memory");
  if (result != Z_STREAM_END || out_left != 0) return tx_fail(TX_EWORLD, "the packed data are damaged");
  return TX_OK;
}

static tx_status member_tensor(const tx_npz *npz, const tx_npz_member *m, tx_npy *npy, tx_tensor **out) {
  const uint8_t *data = npz->bytes + m->start;
  uint8_t *unpacked = NULL;
  tx_status status = TX_OK;
  if (m->method != STORED && m->method != DEFLATED) {
    npy->foreign = true;
    return tx_fail(TX_EWORLD, "packed with method %d: stored and deflated are read", m->method);
  }
  if (m->method == DEFLATED) {
    unpacked = tx_alloc(m->unpacked);
    if (unpacked == NULL) return TX_ENOMEM;
    status = inflate_member(data, m->packed, unpacked, m->unpacked);
    data = unpacked;
  }
  if (status == TX_OK && crc32_z(0, data, m->unpacked) != m->crc) {
    status = tx_fail(TX_EWORLD, "the data are damaged (CRC-32)");
  }
  if (status == TX_OK) status = tx_npy_tensor(data, m->unpacked, npy, out);
  tx_dealloc(unpacked);
  return status;
}

tx_status tx_npz_tensor(const tx_npz *npz, int64_t member, tx_npy *npy, tx_tensor **out) {
  tx_status status = member_tensor(npz, &npz->member[member], npy, out);
  return status == TX_OK ? TX_OK : tx_fail_in(status, npz->member[member].name);
}
