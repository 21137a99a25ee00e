/* status.c - the per-thread message buffer. */
#include "base/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "base/text.h"

static _Thread_local char message[TX_MESSAGE_SIZE];

tx_status tx_fail(tx_status code, const char *format, ...) {
  char text[TX_MESSAGE_SIZE]; /* the arguments may point into `message` */
  va_list args;
  va_start(args, format);
  tx_format_args(text, sizeof text, format, args);
  va_end(args);
  tx_visible(message, sizeof message, text);
  return code;
}

tx_status tx_fail_in(tx_status code, const char *prefix) {
  char text[TX_MESSAGE_SIZE];
  memcpy(text, message, sizeof text);
  return tx_fail(code, "%s: %s", prefix, text);
}

tx_status tx_fail_by(tx_status code, const char *operation) {
  size_t length = strlen(operation);
  bool named = strncmp(message, operation, length) == 0 && message[length] == ':';
  return named ? code : tx_fail_in(code, operation);
}

const char *tx_message(void) { return message; }
