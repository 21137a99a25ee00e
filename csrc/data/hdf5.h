/* hdf5.h - datasets of HDF5 files, through libhdf5 when it was there at build time (TX_HAVE_HDF5).
 *
 *     train64.h5    /images  u8 {1200,64,64,1}, chunked, gzip
 *     nested.h5     /color/20  u8 {152,64,64}      group = class, dataset = angle
 *
 * Integers of one byte without sign are u8, other integers i64, floats f32 or f64. Without the library every function
 * fails, saying so. libhdf5 is not safe to call from several threads: all calls are made under one lock.
 */
#ifndef TX_DATA_HDF5_H
#define TX_DATA_HDF5_H

#include "data/source.h"
#include "tensor/tensor.h"

typedef struct tx_hdf5_dataset {
  char *path;   /* "/color/20" */
  bool foreign; /* what stands there is no array of numbers; the rest is undefined then */
  char kind;    /* the stored type, as in data/scale.h */
  int bytes;
  tx_dtype dtype;
  int dims;
  int64_t shape[TX_MAX_DIMS];
} tx_hdf5_dataset;

typedef struct tx_hdf5_list {
  tx_hdf5_dataset *dataset;
  int64_t count;
} tx_hdf5_list;

/* All datasets of a file, groups entered in order of name, each once, wherever links lead. Datasets whose elements
 * lie in other files (external links and storage, virtual datasets) are never read. */
tx_status tx_hdf5_list_datasets(const char *path, tx_hdf5_list *list);
void tx_hdf5_list_free(tx_hdf5_list *list);

/* The version of libhdf5 in use, "1.10.8", in `text`; NULL when texres was built without it. */
enum { TX_HDF5_VERSION_SIZE = 48 };
const char *tx_hdf5_version(char text[TX_HDF5_VERSION_SIZE]);

/* A whole dataset. `max_bytes`: see data/limit.h; of a source it bounds one image and one chunk. */
tx_status tx_hdf5_load(const char *path, const char *dataset, int64_t max_bytes, tx_tensor **out);

/* The images {N,H,W} or {N,H,W,C} of a dataset, or the one image {H,W}, read from the file one by one. Stored values are
 * multiplied by `scale`; 0: what data/scale.h says. */
tx_status tx_hdf5_source(const char *path, const char *dataset, double scale, int64_t max_bytes, tx_source **out);

#endif
