/* status.h - how the C core reports that something went wrong.
 *
 * A function that can fail returns a tx_status. On failure it has written one line of text into a per-thread buffer with
 * tx_fail(); the binding (csrc/lua) turns status and text into a Lua error (the caller's mistake) or into `nil, message`
 * (the world failed). Nothing in the core prints, exits or aborts.
 *
 * The text speaks the user's language: operation first, shapes as typed in Lua, 1-based indices:
 *     "conv2d: input has 3 channels, weight wants 4 (input {8,64,64,3}, weight {3,3,4,16})"
 */
#ifndef TX_BASE_STATUS_H
#define TX_BASE_STATUS_H

#include <stdarg.h>

typedef enum tx_status {
  TX_OK = 0,
  TX_EINVAL, /* the caller's mistake: raised as a Lua error */
  TX_ENOMEM, /* memory ran out, or a size overflows: raised */
  TX_EWORLD  /* a file, a device, a missing optional library: `nil, message` */
} tx_status;

#define TX_MESSAGE_SIZE 1024

#if defined(__GNUC__)
#define TX_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#else
#define TX_PRINTF(fmt, first)
#endif

/* Writes a message as it is shown: without bytes that would steer a terminal (tx_visible), and of one that is too long the
 * beginning and the end, in which the reason stands. */
void tx_message_args(char out[TX_MESSAGE_SIZE], const char *format, va_list args) TX_PRINTF(2, 0);

/* Stores the message of this thread and returns `code`, so that a check reads `return tx_fail(TX_EINVAL, "...", ...)`. */
tx_status tx_fail(tx_status code, const char *format, ...) TX_PRINTF(2, 3);

/* Puts "prefix: " before the message of this thread; returns `code`. */
tx_status tx_fail_in(tx_status code, const char *prefix);

/* The same, unless the message begins with it: for the name of the operation that the user called. */
tx_status tx_fail_by(tx_status code, const char *operation);

/* The last message of this thread; "" when none was stored. */
const char *tx_message(void);

/* Hands a failure on to the caller. */
#define TX_TRY(call)                      \
  do {                                    \
    tx_status tx_try_ = (call);           \
    if (tx_try_ != TX_OK) return tx_try_; \
  } while (0)

#endif
