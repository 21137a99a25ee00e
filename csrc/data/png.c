/* png.c - see png.h. Format: W3C Portable Network Graphics, second edition; packing is zlib's. */
#include "data/png.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"
#include "data/codec.h"

enum { SIGNATURE = 8, AROUND = 12, IHDR_SIZE = 13 }; /* AROUND: bytes of a chunk beside its data */
enum { RATIO_MAX = 1032 };                           /* deflate packs no better */

static const uint8_t signature[SIGNATURE] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

static bool is_png(const uint8_t *bytes, size_t size) {
  return size >= SIGNATURE && memcmp(bytes, signature, SIGNATURE) == 0;
}

static size_t number(const uint8_t *at) {
  return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

/* -- chunks ------------------------------------------------------------------------------------------------------------ */

/* What stands before the pixels; pointers lead into the file. */
typedef struct png_file {
  const uint8_t *bytes;
  size_t size;
  int64_t height, width;
  int64_t channels; /* of the tensor: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha */
  int depth;        /* bits of a stored sample: 1, 2, 4, 8, 16 */
  int samples;      /* stored per pixel */
  bool interlaced;
  const uint8_t *palette, *alpha; /* of 3 bytes, of 1 byte per colour; NULL: none */
  int64_t colours, alphas;
  size_t data, packed; /* where the first IDAT chunk begins; bytes in all of them */
} png_file;

typedef struct chunk {
  const uint8_t *name, *data;
  size_t length, next; /* next: where the chunk behind it begins */
} chunk;

static bool is_named(const chunk *c, const char *name) { return memcmp(c->name, name, 4) == 0; }

/* The chunk that begins at `at`. */
static tx_status read_chunk(const png_file *png, size_t at, chunk *c) {
  if (png->size - at < AROUND) return tx_fail(TX_EWORLD, "the PNG image is truncated");
  c->length = number(png->bytes + at);
  c->name = png->bytes + at + 4;
  c->data = c->name + 4;
  if (c->length > png->size - at - AROUND) return tx_fail(TX_EWORLD, "the PNG image is truncated");
  c->next = at + AROUND + c->length;
  return TX_OK;
}

static tx_status check_sum(const chunk *c) {
  uLong crc = crc32(0, c->name, 4);
  crc = crc32(crc, c->data, (uInt)c->length);
  if (crc == number(c->data + c->length)) return TX_OK;
  return tx_fail(TX_EWORLD, "the PNG image is damaged (CRC-32 of its chunk %.4s)", (const char *)c->name);
}

static tx_status read_header(const chunk *c, png_file *png) {
  static const struct {
    int type, samples, channels, least, most;
  } kinds[] = {{0, 1, 1, 1, 16}, {2, 3, 3, 8, 16}, {3, 1, 3, 1, 8}, {4, 2, 2, 8, 16}, {6, 4, 4, 8, 16}};
  if (!is_named(c, "IHDR") || c->length != IHDR_SIZE) return tx_fail(TX_EWORLD, "the PNG image has no header");
  png->width = (int64_t)number(c->data);
  png->height = (int64_t)number(c->data + 4);
  png->depth = c->data[8];
  png->interlaced = c->data[12] == 1;
  bool power = png->depth > 0 && (png->depth & (png->depth - 1)) == 0;
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    if (kinds[k].type != c->data[9] || !power || png->depth < kinds[k].least || png->depth > kinds[k].most) continue;
    png->samples = kinds[k].samples;
    png->channels = kinds[k].channels;
  }
  bool fits = png->width >= 1 && png->width <= INT32_MAX && png->height >= 1 && png->height <= INT32_MAX;
  if (!fits || png->samples == 0 || c->data[10] != 0 || c->data[11] != 0 || c->data[12] > 1) {
    return tx_fail(TX_EWORLD, "the header of the PNG image makes no sense");
  }
  return TX_OK;
}

/* Whether pixels are numbers of colours. */
static bool has_palette(const png_file *png) { return png->samples == 1 && png->channels >= 3; }

static tx_status take_chunk(png_file *png, const chunk *c, size_t at) {
  bool small = c->length <= 768;
  if (is_named(c, "IDAT")) {
    if (png->data == 0) png->data = at;
    png->packed += c->length;
    return TX_OK; /* its sum is compared when it is unpacked */
  }
  TX_TRY(check_sum(c));
  if (is_named(c, "PLTE") && small && c->length % 3 == 0) {
    png->palette = c->data;
    png->colours = (int64_t)c->length / 3;
  } else if (is_named(c, "tRNS") && has_palette(png) && small) {
    png->alpha = c->data;
    png->alphas = (int64_t)c->length;
    png->channels = 4;
  } else if ((c->name[0] & 32) == 0 && !is_named(c, "IEND")) { /* a capital letter: must be understood */
    return tx_fail(TX_EWORLD, "the PNG image is damaged (its chunk %.4s)", (const char *)c->name);
  }
  return TX_OK;
}

static tx_status parse(const uint8_t *bytes, size_t size, png_file *png) {
  *png = (png_file){.bytes = bytes, .size = size};
  chunk c = {0};
  TX_TRY(read_chunk(png, SIGNATURE, &c));
  TX_TRY(check_sum(&c));
  TX_TRY(read_header(&c, png));
  while (!is_named(&c, "IEND")) {
    size_t at = c.next;
    TX_TRY(read_chunk(png, at, &c));
    TX_TRY(take_chunk(png, &c, at));
  }
  if (png->data == 0) return tx_fail(TX_EWORLD, "the PNG image holds no pixels");
  if (has_palette(png) && png->palette == NULL) return tx_fail(TX_EWORLD, "the PNG image has no palette");
  return TX_OK;
}

/* -- unpacking --------------------------------------------------------------------------------------------------------- */

/* An image lies in the file as one part, or, interlaced, as seven: pixels (x + i dx, y + k dy). */
typedef struct part {
  int64_t x, y, dx, dy;
} part;

static const part whole = {0, 0, 1, 1};
static const part interlaced[7] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                   {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};

static int part_count(const png_file *png) { return png->interlaced ? 7 : 1; }
static part part_of(const png_file *png, int i) { return png->interlaced ? interlaced[i] : whole; }
static int64_t columns_of(const png_file *png, part p) { return (png->width - p.x + p.dx - 1) / p.dx; }
static int64_t rows_of(const png_file *png, part p) { return (png->height - p.y + p.dy - 1) / p.dy; }

/* Bytes of a row, without that of its filter. */
static size_t row_bytes(const png_file *png, int64_t columns) {
  return ((size_t)columns * (size_t)(png->samples * png->depth) + 7) / 8;
}

static size_t unpacked_bytes(const png_file *png) {
  size_t bytes = 0;
  for (int i = 0; i < part_count(png); i++) {
    part p = part_of(png, i);
    int64_t columns = columns_of(png, p), rows = rows_of(png, p);
    if (columns > 0 && rows > 0) bytes += (size_t)rows * (1 + row_bytes(png, columns));
  }
  return bytes;
}

/* Unpacks all IDAT chunks into `bytes` bytes, behind which one more is free: what reaches it is too much. */
static tx_status inflate_all(const png_file *png, uint8_t *to, size_t bytes) {
  const uint8_t *end = to + bytes + 1;
  z_stream stream = {.next_out = to};
  if (inflateInit(&stream) != Z_OK) return tx_fail(TX_ENOMEM, "not enough memory");
  int result = Z_OK;
  chunk c = {0};
  tx_status status = read_chunk(png, png->data, &c);
  while (status == TX_OK && result == Z_OK && is_named(&c, "IDAT") && stream.next_out < end) {
    status = check_sum(&c);
    if (status != TX_OK) break;
    stream.next_in = (z_const Bytef *)c.data;
    stream.avail_in = (uInt)c.length;
    while (result == Z_OK && stream.avail_in > 0 && stream.next_out < end) {
      size_t left = (size_t)(end - stream.next_out);
      stream.avail_out = left > INT32_MAX ? INT32_MAX : (uInt)left;
      result = inflate(&stream, Z_NO_FLUSH);
    }
    status = read_chunk(png, c.next, &c);
  }
  inflateEnd(&stream);
  if (status != TX_OK) return status;
  if (result == Z_MEM_ERROR) return tx_fail(TX_ENOMEM, "not enough memory");
  if (stream.next_out == end) return tx_fail(TX_EWORLD, "the PNG image holds more than its size asks for");
  if (result == Z_OK) return tx_fail(TX_EWORLD, "the PNG image is truncated (its packed pixels)");
  if (result != Z_STREAM_END) return tx_fail(TX_EWORLD, "the PNG image is damaged (its packed pixels)");
  if (stream.next_out < end - 1) return tx_fail(TX_EWORLD, "the PNG image is truncated (its packed pixels)");
  return TX_OK;
}

/* -- rows -------------------------------------------------------------------------------------------------------------- */

/* The neighbour (left, above, above left) that lies nearest to left + above - corner. */
static uint8_t paeth(int left, int above, int corner) {
  int p = left + above - corner, to_left = abs(p - left), to_above = abs(p - above), to_corner = abs(p - corner);
  if (to_left <= to_above && to_left <= to_corner) return (uint8_t)left;
  return (uint8_t)(to_above <= to_corner ? above : corner);
}

/* What a filter takes byte i to be; step: bytes from a pixel to its left neighbour. `above` is a row of zeros at the top. */
static uint8_t predicted(int filter, const uint8_t *row, const uint8_t *above, size_t i, size_t step) {
  int left = i >= step ? row[i - step] : 0, corner = i >= step ? above[i - step] : 0;
  switch (filter) {
    case 1:
      return (uint8_t)left;
    case 2:
      return above[i];
    case 3:
      return (uint8_t)((left + above[i]) / 2);
    case 4:
      return paeth(left, above[i], corner);
    default:
      return 0;
  }
}

/* Bytes from a pixel to the next, at least 1. */
static size_t pixel_bytes(int samples, int depth) { return samples * depth >= 8 ? (size_t)(samples * depth) / 8 : 1; }

/* Replaces differences by values. */
#define UNFILTER(number) \
  for (size_t i = 0; i < n; i++) row[i] = (uint8_t)(row[i] + predicted(number, row, above, i, step));

static bool unfilter(int filter, uint8_t *row, const uint8_t *above, size_t n, size_t step) {
  switch (filter) {
    case 0:
      break;
    case 1:
      UNFILTER(1) break;
    case 2:
      UNFILTER(2) break;
    case 3:
      UNFILTER(3) break;
    case 4:
      UNFILTER(4) break;
    default:
      return false;
  }
  return true;
}

static unsigned sample_at(const uint8_t *row, int64_t i, int depth) {
  if (depth == 8) return row[i];
  if (depth == 16) return (unsigned)row[2 * i] << 8 | row[2 * i + 1];
  int64_t bit = i * depth;
  return (unsigned)row[bit / 8] >> (8 - depth - (int)(bit % 8)) & ((1u << depth) - 1);
}

/* Puts one row of a part in place; false: a colour that the palette lacks. */
static bool put_row(const png_file *png, part p, int64_t k, const uint8_t *row, tx_tensor *image) {
  int64_t columns = columns_of(png, p), channels = png->channels,
          first = ((p.y + k * p.dy) * png->width + p.x) * channels;
  unsigned most = (1u << png->depth) - 1;
  if (png->depth == 16) {
    float *to = tx_f32(image) + first;
    for (int64_t i = 0; i < columns * channels; i++) {
      to[i / channels * p.dx * channels + i % channels] = (float)sample_at(row, i, 16) / 65535.0f;
    }
    return true;
  }
  uint8_t *to = tx_u8(image) + first;
  if (!has_palette(png)) {
    if (png->depth == 8 && p.dx == 1) {
      memcpy(to, row, (size_t)(columns * channels));
      return true;
    }
    for (int64_t i = 0; i < columns * channels; i++) {
      to[i / channels * p.dx * channels + i % channels] = (uint8_t)(sample_at(row, i, png->depth) * 255 / most);
    }
    return true;
  }
  for (int64_t i = 0; i < columns; i++, to += p.dx * channels) {
    unsigned colour = sample_at(row, i, png->depth);
    if (colour >= png->colours) return false;
    memcpy(to, png->palette + 3 * colour, 3);
    if (channels == 4) to[3] = colour < png->alphas ? png->alpha[colour] : 255;
  }
  return true;
}

/* Takes the rows of all parts out of the unpacked bytes; `zeros`: a row of them. */
static tx_status put_rows(const png_file *png, uint8_t *from, const uint8_t *zeros, tx_tensor *image) {
  size_t step = pixel_bytes(png->samples, png->depth);
  for (int i = 0; i < part_count(png); i++) {
    part p = part_of(png, i);
    int64_t columns = columns_of(png, p), rows = columns > 0 ? rows_of(png, p) : 0;
    size_t n = row_bytes(png, columns);
    const uint8_t *above = zeros;
    for (int64_t k = 0; k < rows; k++, from += 1 + n) {
      if (!unfilter(from[0], from + 1, above, n, step)) {
        return tx_fail(TX_EWORLD, "the PNG image is damaged (a filter %d)", from[0]);
      }
      above = from + 1;
      if (!put_row(png, p, k, above, image)) {
        return tx_fail(TX_EWORLD, "the PNG image is damaged (a colour that its palette lacks)");
      }
    }
  }
  return TX_OK;
}

static tx_status unpack(const png_file *png, tx_tensor **out) {
  size_t bytes = unpacked_bytes(png);
  if (bytes / RATIO_MAX > png->packed) {
    return tx_fail(TX_EWORLD, "the PNG image declares %" PRId64 " x %" PRId64 " pixels, more than its data can hold",
                   png->height, png->width);
  }
  size_t row = row_bytes(png, png->width);
  uint8_t *unpacked = tx_alloc(bytes + 1), *zeros = tx_alloc_zero(row);
  int64_t shape[3] = {png->height, png->width, png->channels};
  tx_status status = unpacked == NULL || zeros == NULL ? TX_ENOMEM : inflate_all(png, unpacked, bytes);
  if (status == TX_OK) status = tx_empty(png->depth == 16 ? TX_F32 : TX_U8, 3, shape, out);
  if (status == TX_OK) {
    status = put_rows(png, unpacked, zeros, *out);
    if (status != TX_OK) tx_unref(*out);
  }
  tx_dealloc(unpacked);
  tx_dealloc(zeros);
  return status;
}

static tx_status png_info(const uint8_t *bytes, size_t size, tx_image_info *info) {
  png_file png;
  TX_TRY(parse(bytes, size, &png));
  *info = (tx_image_info){png.height, png.width, png.channels < 3 ? 1 : 3, png.depth == 16 ? 16 : 8};
  return TX_OK;
}

static tx_status png_decode(const uint8_t *bytes, size_t size, bool with_alpha, tx_tensor **out) {
  (void)with_alpha; /* what it has is given in any case */
  png_file png;
  TX_TRY(parse(bytes, size, &png));
  return unpack(&png, out);
}

const tx_codec tx_codec_png = {is_png, png_info, png_decode};

/* -- writing ----------------------------------------------------------------------------------------------------------- */

static void put_number(uint8_t *to, size_t value) {
  for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void put_chunk(tx_writer *writer, const char *name, const uint8_t *data, size_t length) {
  uint8_t head[8], tail[4];
  put_number(head, length);
  memcpy(head + 4, name, 4);
  put_number(tail, crc32(crc32(0, head + 4, 4), data, (uInt)length));
  tx_writer_put(writer, head, sizeof head);
  tx_writer_put(writer, data, length);
  tx_writer_put(writer, tail, sizeof tail);
}

/* Replaces values by differences from what the filter takes them to be; returns how large those are together. */
static size_t filter_row(int filter, const uint8_t *row, const uint8_t *above, size_t n, size_t step, uint8_t *to) {
  size_t sum = 0;
  to[0] = (uint8_t)filter;
  for (size_t i = 0; i < n; i++) {
    to[i + 1] = (uint8_t)(row[i] - predicted(filter, row, above, i, step));
    sum += (size_t)abs((int8_t)to[i + 1]);
  }
  return sum;
}

enum { PACKED = 1 << 16 }; /* bytes of an IDAT chunk */

/* Packs what the stream was given, and writes the chunks that become full; at the end also the last one. */
static void deflate_some(tx_writer *writer, z_stream *stream, uint8_t *packed, bool end) {
  int result = Z_OK;
  while (end ? result != Z_STREAM_END : stream->avail_in > 0) {
    result = deflate(stream, end ? Z_FINISH : Z_NO_FLUSH);
    if (stream->avail_out > 0 && result != Z_STREAM_END) continue;
    put_chunk(writer, "IDAT", packed, PACKED - stream->avail_out);
    stream->next_out = packed;
    stream->avail_out = PACKED;
  }
}

/* Packs all rows, each with the filter that leaves least; room: a row of zeros, and two filtered rows. */
static void put_pixels(tx_writer *writer, z_stream *stream, const uint8_t *pixels, int64_t height, size_t n,
                       size_t step, uint8_t *room) {
  uint8_t *packed = room, *best = packed + PACKED, *trial = best + n + 1;
  const uint8_t *above = trial + n + 1;
  stream->next_out = packed;
  stream->avail_out = PACKED;
  for (int64_t y = 0; y < height; y++) {
    const uint8_t *row = pixels + (size_t)y * n;
    size_t least = filter_row(0, row, above, n, step, best);
    for (int filter = 1; filter <= 4; filter++) {
      size_t sum = filter_row(filter, row, above, n, step, trial);
      if (sum >= least) continue;
      least = sum;
      uint8_t *worse = best;
      best = trial;
      trial = worse;
    }
    stream->next_in = best;
    stream->avail_in = (uInt)(n + 1);
    deflate_some(writer, stream, packed, false);
    above = row;
  }
  deflate_some(writer, stream, packed, true);
}

tx_status tx_png_write(tx_writer *writer, const uint8_t *pixels, int64_t height, int64_t width, int64_t channels) {
  static const uint8_t types[] = {0, 0, 4, 2, 6}; /* by channels */
  size_t n = (size_t)(width * channels);
  uint8_t *room = tx_alloc_zero(PACKED + 3 * n + 2);
  if (room == NULL) return TX_ENOMEM;
  z_stream stream = {0};
  if (deflateInit(&stream, Z_DEFAULT_COMPRESSION) != Z_OK) {
    tx_dealloc(room);
    return tx_fail(TX_ENOMEM, "not enough memory");
  }
  uint8_t header[IHDR_SIZE] = {[8] = 8, [9] = types[channels]};
  put_number(header, (size_t)width);
  put_number(header + 4, (size_t)height);
  tx_writer_put(writer, signature, sizeof signature);
  put_chunk(writer, "IHDR", header, sizeof header);
  put_pixels(writer, &stream, pixels, height, n, (size_t)channels, room);
  put_chunk(writer, "IEND", header, 0);
  deflateEnd(&stream);
  tx_dealloc(room);
  return TX_OK;
}
