/* limit.h - how much a file may become in memory.
 *
 * A packed file of 2 MB can unpack to gigabytes. What is more than 1 GiB and more than 16 times its file is refused unless
 * the user says with the option `max_bytes` that it is meant so.
 */
#ifndef TX_DATA_LIMIT_H
#define TX_DATA_LIMIT_H

#include <stdint.h>

#include "base/status.h"

/* How many bytes may be made of a file of `file_bytes`; max_bytes 0: the rule above. */
uint64_t tx_most_unpacked(uint64_t file_bytes, int64_t max_bytes);

/* Whether `bytes` are no more than that; the message holds the reason only. */
tx_status tx_check_most(uint64_t bytes, uint64_t most);

/* Whether `bytes` bytes may be made of a file of `file_bytes`; max_bytes 0: the rule above. The message holds the reason
 * only. */
tx_status tx_check_unpacked(uint64_t bytes, uint64_t file_bytes, int64_t max_bytes);

#endif
