/* npz.h - NumPy's .npz: a ZIP archive whose members are .npy files, stored or deflated.
 *
 *     [local header, name, data] ...   [central directory: one record per member]   [end record]
 *
 * The central directory says where the members are; ZIP64 records are understood. A member's size and CRC-32 must come out
 * as declared.
 */
#ifndef TX_DATA_NPZ_H
#define TX_DATA_NPZ_H

#include "base/file.h"
#include "data/npy.h"
#include "tensor/tensor.h"

typedef struct tx_npz_member {
  char *name; /* without ".npy" */
  int method; /* how it is packed: 0 stored, 8 deflated, others can't be read */
  uint32_t crc;
  size_t start, packed, unpacked; /* where the data lie in the file; their bytes there and when unpacked */
} tx_npz_member;

typedef struct tx_npz {
  const uint8_t *bytes; /* the whole file */
  size_t size;
  tx_npz_member *member;
  int64_t count;
} tx_npz;

/* Reads the directory of a file that lies in memory and stays there. Messages hold the reason, not the path. */
tx_status tx_npz_parse(const uint8_t *bytes, size_t size, tx_npz *npz);
void tx_npz_free(tx_npz *npz);

/* Unpacks one member; `npy` is its header. Where that fails with npy->foreign, the member is sound, but nothing that a
 * tensor can hold: text, objects, too many dimensions, no array at all; or it is packed in a way that is not read. */
tx_status tx_npz_tensor(const tx_npz *npz, int64_t member, tx_npy *npy, tx_tensor **out);

#endif
