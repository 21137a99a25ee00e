/* npy.h - NumPy's .npy files (format versions 1, 2 and 3).
 *
 * A file is a magic word, a version, the length of a header, and the header: a Python dictionary as text,
 *
 *     "\x93NUMPY" 1 0  118 0  {'descr': '<f4', 'fortran_order': False, 'shape': (72000, 64, 64, 1), }   ...\n
 *
 * followed by the elements. u8, i64, f32 and f64 of this machine's byte order are used where they lie (a mapped file);
 * every other type is converted: bool to u8, integers to i64, f16 to f32.
 *
 * Messages of tx_npy_parse and tx_npy_convert hold the reason only; callers put the path before it.
 */
#ifndef TX_DATA_NPY_H
#define TX_DATA_NPY_H

#include "base/file.h"
#include "data/source.h"
#include "tensor/tensor.h"

typedef struct tx_npy {
  char kind; /* 'b' bool, 'u', 'i' integers, 'f' float */
  int item;  /* bytes of an element: 1, 2, 4, 8 */
  bool big_endian;
  bool foreign; /* what stands there is no array that a tensor can hold; the rest is undefined then */
  bool fortran; /* first dimension fastest */
  int dims;
  int64_t shape[TX_MAX_DIMS];
  int64_t numel;
  size_t offset;  /* of the first element, from the start of the file */
  tx_dtype dtype; /* what the elements become in a tensor */
} tx_npy;

/* Reads the header of a file that lies in memory, and checks that all its elements are there. */
tx_status tx_npy_parse(const uint8_t *bytes, size_t size, tx_npy *npy);

/* Converts `count` elements that start at `from` to `dtype`; fails when a u64 is above 2^63 - 1. */
tx_status tx_npy_convert(const tx_npy *npy, const uint8_t *from, int64_t count, tx_dtype dtype, void *to);

/* The tensor of a file that lies in memory, copied, and its header. */
tx_status tx_npy_tensor(const uint8_t *bytes, size_t size, tx_npy *npy, tx_tensor **out);

/* The tensor of a file. `mapped`: where the type allows it, a tensor over the file itself, read as it is touched; what is
 * written to it stays in memory. In Fortran order it is then a transposed view. Every use of it begins with a look at the
 * file's size: when others have shortened the file, it is an error. */
tx_status tx_load_npy(const char *path, bool mapped, tx_tensor **out);

/* Writes the header of a version 1 file in C order; the elements follow, in this machine's byte order. */
void tx_npy_put_header(tx_writer *writer, tx_dtype dtype, int dims, const int64_t *shape);

/* Writes a tensor. */
tx_status tx_save_npy(const char *path, const tx_tensor *t);

/* The images {N,H,W} or {N,H,W,C} of a mapped file, of any type, as a source; larger than memory is fine. `scale` is what
 * stored values are multiplied by; 0: what data/scale.h says. */
tx_status tx_npy_source(const char *path, double scale, tx_source **out);

#endif
