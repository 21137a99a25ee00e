/* npy.c - reading and writing .npy. Format: NumPy enhancement proposal 1 and numpy/lib/format.py. */
#include "data/npy.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/integers.h"
#include "base/memory.h"
#include "base/threads.h"
#include "data/scale.h"
#include "tensor/half.h"
#include "tensor/number.h"

enum { HEADER_MAX = 1 << 16, FIRST = 12 }; /* bytes: of a header; of what stands before the longest one */

static const uint8_t magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

static bool machine_is_little(void) {
  const uint16_t one = 1;
  uint8_t first;
  memcpy(&first, &one, 1);
  return first == 1;
}

/* -- the header: a Python dictionary -------------------------------------------------------------------------------------- */

/* Text that is being read; nothing behind `end` is touched. */
typedef struct cursor {
  const char *at, *end;
} cursor;

static void skip_space(cursor *c) {
  while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

/* Takes one given character after white space. */
static bool take(cursor *c, char wanted) {
  skip_space(c);
  if (c->at == c->end || *c->at != wanted) return false;
  c->at++;
  return true;
}

/* Takes '...' or "..." without escapes. */
static bool take_string(cursor *c, char text[32]) {
  skip_space(c);
  if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return false;
  char quote = *c->at++;
  int length = 0;
  while (c->at < c->end && *c->at != quote) {
    if (*c->at == '\\' || length == 31) return false;
    text[length++] = *c->at++;
  }
  text[length] = '\0';
  return take(c, quote);
}

static bool take_word(cursor *c, const char *word) {
  skip_space(c);
  size_t length = strlen(word);
  if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) return false;
  c->at += length;
  return true;
}

static tx_status take_size(cursor *c, int64_t *size) {
  skip_space(c);
  if (c->at == c->end || *c->at < '0' || *c->at > '9') {
    bool negative = c->at < c->end && *c->at == '-';
    return tx_fail(TX_EWORLD, "%s",
                   negative ? "header: a size in 'shape' is negative" : "header: 'shape' is not a tuple of sizes");
  }
  int64_t value = 0;
  for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
    int digit = *c->at - '0';
    if (value > (INT64_MAX - digit) / 10) return tx_fail(TX_EWORLD, "header: a size in 'shape' is too large");
    value = value * 10 + digit;
  }
  if (c->at < c->end && *c->at == 'L') c->at++; /* written by Python 2 */
  *size = value;
  return TX_OK;
}

static tx_status take_shape(cursor *c, tx_npy *npy) {
  if (!take(c, '(')) return tx_fail(TX_EWORLD, "header: 'shape' is not a tuple of sizes");
  npy->dims = 0;
  while (!take(c, ')')) {
    int64_t size = 0;
    TX_TRY(take_size(c, &size));
    if (npy->dims == TX_MAX_DIMS) {
      npy->foreign = true;
      return tx_fail(TX_EWORLD, "more than %d dimensions", TX_MAX_DIMS);
    }
    npy->shape[npy->dims++] = size;
    if (!take(c, ',')) {
      if (take(c, ')')) break;
      return tx_fail(TX_EWORLD, "header: 'shape' is not a tuple of sizes");
    }
  }
  return TX_OK;
}

/* '<f4': byte order (< > = |), kind, bytes of an element. */
static tx_status read_descr(const char *descr, tx_npy *npy) {
  const char *at = descr;
  char order = '=';
  if (*at != '\0' && strchr("<>=|", *at) != NULL) order = *at++;
  char kind = *at != '\0' ? *at++ : '\0';
  long item = strtol(at, NULL, 10);
  bool digits = *at != '\0' && strspn(at, "0123456789") == strlen(at);
  if (kind == '?' && *at == '\0') { /* '?' alone is bool */
    kind = 'b';
    item = 1;
    digits = true;
  }
  bool power = item == 1 || item == 2 || item == 4 || item == 8;
  bool known = digits && ((kind == 'b' && item == 1) || ((kind == 'i' || kind == 'u') && power) ||
                          (kind == 'f' && power && item != 1));
  if (!known) {
    const char *why = kind == 'O'                  ? "Python objects are not read: they would have to be executed"
                      : kind == 'c'                ? "complex numbers have no tensor type"
                      : kind == 'S' || kind == 'U' ? "text has no tensor type"
                      : kind == 'f'                ? "long doubles differ from machine to machine"
                                                   : "integers and floats are";
    npy->foreign = true;
    return tx_fail(TX_EWORLD, "element type '%s' is not supported: %s", descr, why);
  }
  npy->kind = kind;
  npy->item = (int)item;
  npy->big_endian = order == '>' || (order != '<' && !machine_is_little());
  npy->dtype = kind == 'f' ? (item == 8 ? TX_F64 : TX_F32) : item == 1 && kind != 'i' ? TX_U8 : TX_I64;
  return TX_OK;
}

static tx_status read_header(cursor c, tx_npy *npy) {
  enum { DESCR = 1, ORDER = 2, SHAPE = 4 };
  unsigned seen = 0;
  if (!take(&c, '{')) return tx_fail(TX_EWORLD, "header is not a dictionary");
  while (!take(&c, '}')) {
    char key[32], descr[32];
    if (!take_string(&c, key) || !take(&c, ':'))
      return tx_fail(TX_EWORLD, "header is not a dictionary of the three known keys");
    if (strcmp(key, "descr") == 0) {
      if (take(&c, '[')) {
        npy->foreign = true;
        return tx_fail(TX_EWORLD, "structured element types are not supported");
      }
      if (!take_string(&c, descr)) return tx_fail(TX_EWORLD, "header: 'descr' is not an element type");
      TX_TRY(read_descr(descr, npy));
      seen |= DESCR;
    } else if (strcmp(key, "fortran_order") == 0) {
      npy->fortran = take_word(&c, "True");
      if (!npy->fortran && !take_word(&c, "False"))
        return tx_fail(TX_EWORLD, "header: 'fortran_order' is neither True nor False");
      seen |= ORDER;
    } else if (strcmp(key, "shape") == 0) {
      TX_TRY(take_shape(&c, npy));
      seen |= SHAPE;
    } else {
      return tx_fail(TX_EWORLD, "header: unknown key '%s'", key);
    }
    if (!take(&c, ',') && !(c.at < c.end && *c.at == '}')) return tx_fail(TX_EWORLD, "header is not a dictionary");
  }
  skip_space(&c);
  if (c.at != c.end) return tx_fail(TX_EWORLD, "header: something follows the dictionary");
  if (seen != (DESCR | ORDER | SHAPE)) return tx_fail(TX_EWORLD, "header lacks 'descr', 'fortran_order' or 'shape'");
  return TX_OK;
}

tx_status tx_npy_parse(const uint8_t *bytes, size_t size, tx_npy *npy) {
  memset(npy, 0, sizeof *npy);
  if (size < 10 || memcmp(bytes, magic, sizeof magic) != 0) {
    npy->foreign = true;
    return tx_fail(TX_EWORLD, "not an .npy file (wrong magic word)");
  }
  int version = bytes[6];
  if (version < 1 || version > 3) return tx_fail(TX_EWORLD, ".npy version %d.%d is unknown", version, bytes[7]);
  size_t start = version == 1 ? 10 : 12;
  if (size < start) return tx_fail(TX_EWORLD, "truncated in the header");
  size_t length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
  if (version > 1) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
  if (length > size - start) return tx_fail(TX_EWORLD, "truncated in the header");
  if (length > HEADER_MAX) return tx_fail(TX_EWORLD, "a header of %zu bytes: at most %d are read", length, HEADER_MAX);
  const char *text = (const char *)bytes + start;
  TX_TRY(read_header((cursor){text, text + length}, npy));
  npy->offset = start + length;

  char shape[TX_SHAPE_TEXT];
  tx_shape_text(npy->dims, npy->shape, shape);
  size_t total;
  if (tx_shape_numel("shape", npy->dims, npy->shape, &npy->numel) != TX_OK ||
      tx_size_mul((size_t)npy->numel, sizeof(int64_t), &total) != TX_OK) {
    return tx_fail(TX_EWORLD, "shape %s is larger than memory can address", shape);
  }
  size_t wanted = (size_t)npy->numel * (size_t)npy->item;
  if (wanted > size - npy->offset) {
    return tx_fail(TX_EWORLD, "truncated: shape %s wants %zu bytes of data, the file has %zu", shape, wanted,
                   size - npy->offset);
  }
  return TX_OK;
}

/* -- elements ---------------------------------------------------------------------------------------------------------- */

static uint64_t load_bits(const uint8_t *from, int item, bool big_endian) {
  uint64_t bits = 0;
  for (int i = 0; i < item; i++) bits |= (uint64_t)from[big_endian ? item - 1 - i : i] << 8 * i;
  return bits;
}

static int64_t sign_extend(uint64_t bits, int item) {
  switch (item) {
    case 1:
      return (int8_t)bits;
    case 2:
      return (int16_t)bits;
    case 4:
      return (int32_t)bits;
    default:
      return (int64_t)bits;
  }
}

static double float_of_bits(uint64_t bits, int item) {
  if (item == 2) return tx_f16_to_f32((uint16_t)bits);
  if (item == 4) return tx_bits_f32((uint32_t)bits);
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* One loop per target type; `get` is an expression of the element's bits. */
#define CONVERT(type, get)                                                 \
  for (int64_t i = 0; i < count; i++) {                                    \
    uint64_t bits = load_bits(from + (size_t)i * (size_t)size, size, big); \
    ((type *)to)[i] = (type)(get);                                         \
  }

#define CONVERT_TO(type)                     \
  if (kind == 'f') {                         \
    CONVERT(type, float_of_bits(bits, size)) \
  } else if (kind == 'i') {                  \
    CONVERT(type, sign_extend(bits, size))   \
  } else if (kind == 'b') {                  \
    CONVERT(type, bits != 0)                 \
  } else {                                   \
    CONVERT(type, bits)                      \
  }

/* Its callers know size and order, so that an element is loaded in one or two instructions. */
static inline __attribute__((always_inline)) void convert(char kind, int size, bool big, const uint8_t *from,
                                                          int64_t count, tx_dtype dtype, void *to) {
  switch (dtype) {
    case TX_U8:
      CONVERT_TO(uint8_t) break;
    case TX_I64:
      CONVERT_TO(int64_t) break;
    case TX_F32:
      CONVERT_TO(float) break;
    default:
      CONVERT_TO(double) break;
  }
}

#define CONVERT_CASE(size, big)                                                \
  case size:                                                                   \
    convert(kind, (size) < 0 ? -(size) : (size), big, from, count, dtype, to); \
    break;

/* Whether the file's bytes are a tensor's bytes. Those of a bool need not be 0 and 1: any other is true, too. */
static bool is_native(const tx_npy *npy) {
  return npy->kind != 'b' && tx_dtype_size(npy->dtype) == (size_t)npy->item &&
         (npy->item == 1 || npy->big_endian != machine_is_little()) && !(npy->kind == 'u' && npy->item == 8);
}

tx_status tx_npy_convert(const tx_npy *npy, const uint8_t *from, int64_t count, tx_dtype dtype, void *to) {
  const char kind = npy->kind;
  const bool big = npy->big_endian;
  const size_t item = (size_t)npy->item;
  if (npy->dtype == dtype && is_native(npy)) {
    memcpy(to, from, (size_t)count * item);
    return TX_OK;
  }
  for (int64_t i = 0; i < count && kind == 'u' && item == 8; i++) {
    if (load_bits(from + (size_t)i * item, 8, big) > INT64_MAX) {
      return tx_fail(TX_EWORLD, "an unsigned integer is above 9223372036854775807");
    }
  }
  for (int64_t i = 0; i < count && kind == 'f' && item == 8 && dtype == TX_F32; i++) {
    double value = float_of_bits(load_bits(from + (size_t)i * item, 8, big), 8);
    if (tx_holds(TX_F32, tx_real(value)) != TX_OK)
      return tx_fail(TX_EWORLD, "a pixel is %g, which is beyond f32", value);
  }
  switch (big ? -npy->item : npy->item) {
    CONVERT_CASE(2, false)
    CONVERT_CASE(-2, true)
    CONVERT_CASE(4, false)
    CONVERT_CASE(-4, true)
    CONVERT_CASE(8, false)
    CONVERT_CASE(-8, true)
    default: /* a byte has no order */
      convert(kind, 1, false, from, count, dtype, to);
  }
  return TX_OK;
}

/* Whether the elements can be used where they lie. */
static bool lies_ready(const tx_npy *npy, const uint8_t *elements) {
  return is_native(npy) && (uintptr_t)elements % (uintptr_t)npy->item == 0;
}

/* Converts in blocks, on all threads; the first failing block's message is kept. */
typedef struct conversion {
  const tx_npy *npy;
  const uint8_t *from;
  char *to;
  int64_t count, block;
  atomic_bool failed;
} conversion;

static void convert_block(void *context, int64_t b, int worker) {
  (void)worker;
  conversion *c = context;
  int64_t first = b * c->block, count = tx_min(c->count - first, c->block);
  size_t size = tx_dtype_size(c->npy->dtype);
  if (tx_npy_convert(c->npy, c->from + (size_t)first * (size_t)c->npy->item, count, c->npy->dtype,
                     c->to + (size_t)first * size) != TX_OK) {
    atomic_store(&c->failed, true);
  }
}

static tx_status convert_all(const tx_npy *npy, const uint8_t *from, int64_t count, void *to) {
  conversion c = {.npy = npy, .from = from, .to = to, .count = count, .block = tx_block_size(count, 1)};
  atomic_init(&c.failed, false);
  tx_parallel(tx_ceil_div(count, c.block), convert_block, &c);
  if (atomic_load(&c.failed)) return tx_fail(TX_EWORLD, "an unsigned integer is above 9223372036854775807");
  return TX_OK;
}

/* The shape as it lies in the file: first dimension slowest. */
static void stored_shape(const tx_npy *npy, int64_t shape[TX_MAX_DIMS]) {
  for (int d = 0; d < npy->dims; d++) shape[d] = npy->shape[npy->fortran ? npy->dims - 1 - d : d];
}

/* Gives a tensor of the stored shape the shape that the file declares; takes over `stored`. */
static tx_status as_declared(const tx_npy *npy, tx_tensor *stored, tx_tensor **out) {
  if (!npy->fortran || npy->dims < 2) {
    *out = stored;
    return TX_OK;
  }
  int order[TX_MAX_DIMS];
  for (int d = 0; d < npy->dims; d++) order[d] = npy->dims - 1 - d;
  tx_status status = tx_permute(stored, order, out);
  tx_unref(stored);
  return status;
}

/* Gives filled elements, or a failure, the declared shape in C order; takes over `stored`. */
static tx_status finish(const tx_npy *npy, tx_status status, tx_tensor *stored, tx_tensor **out) {
  if (status != TX_OK) {
    tx_unref(stored);
    return status;
  }
  tx_tensor *declared;
  TX_TRY(as_declared(npy, stored, &declared));
  status = tx_contiguous(declared, out);
  tx_unref(declared);
  return status;
}

static tx_status empty_stored(const tx_npy *npy, tx_tensor **stored) {
  int64_t shape[TX_MAX_DIMS];
  stored_shape(npy, shape);
  return tx_empty(npy->dtype, npy->dims, shape, stored);
}

tx_status tx_npy_tensor(const uint8_t *bytes, size_t size, tx_npy *npy, tx_tensor **out) {
  TX_TRY(tx_npy_parse(bytes, size, npy));
  tx_tensor *stored;
  TX_TRY(empty_stored(npy, &stored));
  tx_status status = convert_all(npy, bytes + npy->offset, npy->numel, tx_data(stored));
  npy->foreign = status == TX_EWORLD; /* a number that no dtype holds */
  return finish(npy, status, stored, out);
}

/* -- files ------------------------------------------------------------------------------------------------------------- */

/* Reads the header of an open file of `size` bytes. */
static tx_status parse_file(int file, size_t size, tx_npy *npy) {
  size_t bytes = (size_t)tx_min((int64_t)size, FIRST + HEADER_MAX);
  uint8_t *head = tx_alloc(bytes);
  if (head == NULL) return TX_ENOMEM;
  tx_status status = tx_file_read_at(file, 0, head, bytes);
  if (status == TX_OK) status = tx_npy_parse(head, size, npy);
  tx_dealloc(head);
  return status;
}

/* Reads the elements of an open file: to where they are wanted, or in parts that are converted. */
static tx_status read_elements(int file, const tx_npy *npy, char *to) {
  enum { PART = 1 << 20 }; /* elements */
  if (is_native(npy)) return tx_file_read_at(file, (int64_t)npy->offset, to, (size_t)npy->numel * (size_t)npy->item);
  uint8_t *part = tx_alloc((size_t)tx_min(npy->numel, PART) * (size_t)npy->item);
  tx_status status = part != NULL ? TX_OK : TX_ENOMEM;
  for (int64_t first = 0; first < npy->numel && status == TX_OK; first += PART) {
    int64_t count = tx_min(npy->numel - first, PART);
    status = tx_file_read_at(file, (int64_t)npy->offset + first * npy->item, part, (size_t)count * (size_t)npy->item);
    if (status == TX_OK) {
      status = convert_all(npy, part, count, to + (size_t)first * tx_dtype_size(npy->dtype));
    }
  }
  tx_dealloc(part);
  return status;
}

static tx_status load_file(const char *path, tx_tensor **out) {
  int file;
  int64_t size;
  TX_TRY(tx_file_open("load_npy", path, &file, &size));
  tx_npy npy;
  tx_tensor *stored;
  tx_status status = parse_file(file, (size_t)size, &npy);
  if (status == TX_OK) status = empty_stored(&npy, &stored);
  if (status == TX_OK) status = finish(&npy, read_elements(file, &npy, tx_data(stored)), stored, out);
  tx_file_close(file);
  return status == TX_OK ? TX_OK : tx_fail_at(status, "load_npy", path);
}

/* -- mapped files ------------------------------------------------------------------------------------------------------ */

static void release_file(void *owner, void *data) {
  (void)data;
  tx_file_unmap(owner);
  tx_dealloc(owner);
}

static tx_status check_file(void *owner) {
  const tx_mapped_file *file = owner;
  tx_status status = tx_file_check(file);
  return status == TX_OK ? TX_OK : tx_fail_at(status, "load_npy", file->path);
}

/* A tensor over the elements of a mapped file, which it takes over (`file` is then empty). */
static tx_status wrap_file(const tx_npy *npy, tx_mapped_file *file, tx_tensor **out) {
  tx_mapped_file *owner = tx_alloc(sizeof *owner);
  if (owner == NULL) return TX_ENOMEM;
  *owner = *file;
  int64_t shape[TX_MAX_DIMS];
  stored_shape(npy, shape);
  tx_tensor *stored;
  tx_status status = tx_wrap(npy->dtype, npy->dims, shape, file->data + npy->offset, release_file, owner, &stored);
  if (status != TX_OK) {
    tx_dealloc(owner);
    return status;
  }
  stored->storage->check = check_file;
  *file = (tx_mapped_file){.data = NULL};
  return as_declared(npy, stored, out);
}

/* The tensor over a file whose elements can be used where they lie; *out stays NULL where they can't. */
static tx_status map_tensor(const char *path, tx_tensor **out) {
  tx_mapped_file file;
  *out = NULL;
  TX_TRY(tx_file_map("load_npy", path, TX_FILE_COPY, &file));
  tx_npy npy;
  tx_status status = file.data != NULL ? parse_file(file.descriptor, file.bytes, &npy) : TX_OK;
  if (status == TX_OK && file.data != NULL && lies_ready(&npy, file.data + npy.offset)) {
    status = wrap_file(&npy, &file, out);
  }
  tx_file_unmap(&file);
  return status == TX_OK ? TX_OK : tx_fail_at(status, "load_npy", path);
}

tx_status tx_load_npy(const char *path, bool mapped, tx_tensor **out) {
  *out = NULL;
  if (mapped) TX_TRY(map_tensor(path, out));
  return *out != NULL ? TX_OK : load_file(path, out);
}

void tx_npy_put_header(tx_writer *writer, tx_dtype dtype, int dims, const int64_t *shape) {
  static const char *const descr[TX_DTYPE_COUNT] = {[TX_U8] = "u1", [TX_I64] = "i8", [TX_F32] = "f4", [TX_F64] = "f8"};
  char order = dtype == TX_U8 ? '|' : machine_is_little() ? '<' : '>';
  char header[512] = "\x93NUMPY\x01"; /* version 1.0, length at 8 and 9, text from 10 */
  enum { TEXT = 10 };
  int used = TEXT + snprintf(header + TEXT, sizeof header - TEXT,
                             "{'descr': '%c%s', 'fortran_order': False, 'shape': (", order, descr[dtype]);
  for (int d = 0; d < dims; d++) {
    const char *format = dims == 1 ? "%" PRId64 "," : d == 0 ? "%" PRId64 : ", %" PRId64;
    used += snprintf(header + used, sizeof header - (size_t)used, format, shape[d]);
  }
  used += snprintf(header + used, sizeof header - (size_t)used, "), }");
  int total = (int)tx_ceil_div(used + 1, 64) * 64; /* elements start at a multiple of 64 */
  memset(header + used, ' ', (size_t)(total - used));
  header[total - 1] = '\n';
  header[8] = (char)((total - TEXT) & 255);
  header[9] = (char)((total - TEXT) >> 8);
  tx_writer_put(writer, header, (size_t)total);
}

tx_status tx_save_npy(const char *path, const tx_tensor *t) {
  tx_tensor *alias, *dense;
  TX_TRY(tx_alias(t, &alias));
  tx_status status = tx_contiguous(alias, &dense);
  tx_unref(alias);
  if (status != TX_OK) return status;
  tx_writer *writer;
  status = tx_writer_open("save_npy", path, &writer);
  if (status == TX_OK) {
    tx_npy_put_header(writer, dense->dtype, dense->dims, dense->shape);
    tx_writer_put(writer, tx_data(dense), (size_t)tx_numel(dense) * tx_dtype_size(dense->dtype));
    status = tx_writer_commit(writer);
  }
  tx_unref(dense);
  return status;
}

/* -- images of a set --------------------------------------------------------------------------------------------------- */

/* What a source keeps: the mapped file, its header, and how to read one image when it has to be converted. */
typedef struct npy_images {
  tx_mapped_file file;
  tx_npy npy;
  int64_t values; /* of an image */
  float scale;
} npy_images;

static void release_images(void *owner) {
  npy_images *images = owner;
  tx_file_unmap(&images->file);
  tx_dealloc(images);
}

/* The smallest and largest integer of a file, found on all threads. */
typedef struct range_search {
  const tx_npy *npy;
  const uint8_t *from;
  int64_t block;
  atomic_int_least64_t low, high;
} range_search;

static int64_t integer_of_bits(uint64_t bits, const tx_npy *npy) {
  if (npy->kind == 'i') return sign_extend(bits, npy->item);
  return bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
}

static void search_block(void *context, int64_t b, int worker) {
  (void)worker;
  range_search *s = context;
  int64_t last = tx_min((b + 1) * s->block, s->npy->numel);
  int64_t low = 0, high = 0;
  for (int64_t i = b * s->block; i < last; i++) {
    uint64_t bits = load_bits(s->from + (size_t)i * (size_t)s->npy->item, s->npy->item, s->npy->big_endian);
    int64_t value = integer_of_bits(bits, s->npy);
    low = tx_min(low, value);
    high = tx_max(high, value);
  }
  int_least64_t known = atomic_load(&s->low);
  while (low < known && !atomic_compare_exchange_weak(&s->low, &known, low)) {
  }
  known = atomic_load(&s->high);
  while (high > known && !atomic_compare_exchange_weak(&s->high, &known, high)) {
  }
}

/* The factor for all pixels that values tell. */
static tx_status search_scale(const tx_npy *npy, const uint8_t *elements, double *scale) {
  range_search search = {.npy = npy, .from = elements, .block = tx_block_size(npy->numel, 1)};
  atomic_init(&search.low, 0);
  atomic_init(&search.high, 0);
  tx_parallel(tx_ceil_div(npy->numel, search.block), search_block, &search);
  return tx_scale_of_range(atomic_load(&search.low), atomic_load(&search.high), scale);
}

/* Reads and converts an image of a file in C order, where it is one run of bytes. */
static tx_status read_run(const npy_images *images, int64_t index, float *pixels) {
  uint8_t small[1 << 14];
  size_t bytes = (size_t)images->values * (size_t)images->npy.item;
  uint8_t *raw = bytes <= sizeof small ? small : tx_alloc(bytes);
  if (raw == NULL) return TX_ENOMEM;
  tx_status status =
      tx_file_read_at(images->file.descriptor, (int64_t)(images->npy.offset + (size_t)index * bytes), raw, bytes);
  if (status == TX_OK) status = tx_npy_convert(&images->npy, raw, images->values, TX_F32, pixels);
  if (raw != small) tx_dealloc(raw);
  return status;
}

/* Picks an image of a file in Fortran order value by value from the mapping. */
static tx_status read_scattered(const npy_images *images, int64_t index, float *pixels) {
  const tx_npy *npy = &images->npy;
  const uint8_t *elements = images->file.data + npy->offset;
  int64_t n = npy->shape[0], h = npy->shape[1], w = npy->shape[2], c = images->values / (h * w);
  TX_TRY(tx_file_check(&images->file));
  for (int64_t y = 0; y < h; y++) {
    for (int64_t x = 0; x < w; x++) {
      for (int64_t k = 0; k < c; k++) {
        const uint8_t *from = elements + (size_t)(index + n * (y + h * (x + w * k))) * (size_t)npy->item;
        TX_TRY(tx_npy_convert(npy, from, 1, TX_F32, pixels++));
      }
    }
  }
  return TX_OK;
}

/* Decoder of types that don't lie ready. */
static tx_status read_image(void *owner, int64_t index, float *pixels) {
  const npy_images *images = owner;
  tx_status status = images->npy.fortran ? read_scattered(images, index, pixels) : read_run(images, index, pixels);
  if (status != TX_OK) return tx_fail_at(status, "data.npy", images->file.path);
  for (int64_t i = 0; i < images->values; i++) pixels[i] *= images->scale;
  return TX_OK;
}

/* Fills in a source over a parsed file. */
static tx_status describe_images(npy_images *images, double scale, tx_source *source) {
  const tx_npy *npy = &images->npy;
  const uint8_t *elements = images->file.data + npy->offset;
  int64_t sizes[4];
  TX_TRY(tx_image_sizes(TX_EWORLD, npy->dims, npy->shape, sizes));
  TX_TRY(tx_file_check(&images->file));
  bool guessed = scale == 0 && !tx_scale_of_type(npy->kind, npy->item, &scale);
  if (guessed) TX_TRY(search_scale(npy, elements, &scale));
  images->values = sizes[1] * sizes[2] * sizes[3];
  images->scale = (float)scale;
  *source = (tx_source){.count = sizes[0], .height = sizes[1], .width = sizes[2], .channels = sizes[3]};
  source->dtype = npy->dtype == TX_U8 ? TX_U8 : TX_F32;
  source->scale = (float)scale;
  source->guessed = guessed ? (float)scale : 0;
  source->release = release_images;
  source->owner = images;
  if (!lies_ready(npy, elements)) {
    source->read = read_image;
    return TX_OK;
  }
  source->dtype = npy->dtype;
  source->base = elements;
  source->file = &images->file;
  int64_t stride = npy->item;
  for (int i = 0; i < 4; i++) {
    int d = npy->fortran ? i : 3 - i;
    source->stride[d] = stride;
    stride *= sizes[d];
  }
  return TX_OK;
}

tx_status tx_npy_source(const char *path, double scale, tx_source **out) {
  npy_images *images = tx_alloc(sizeof *images);
  if (images == NULL) return TX_ENOMEM;
  tx_status status = tx_file_map("data.npy", path, TX_FILE_READ, &images->file);
  if (status != TX_OK) {
    tx_dealloc(images);
    return status;
  }
  tx_source source;
  status = images->file.data != NULL ? parse_file(images->file.descriptor, images->file.bytes, &images->npy)
                                     : tx_fail(TX_EWORLD, "the file is empty");
  if (status == TX_OK) status = describe_images(images, scale, &source);
  if (status == TX_OK) status = tx_source_new(&source, out);
  if (status == TX_OK) return TX_OK;
  status = tx_fail_at(status, "data.npy", path);
  release_images(images);
  return status;
}
