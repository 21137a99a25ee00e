/* status.c - the per-thread message buffer. */
#include "base/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static _Thread_local char message[TX_MESSAGE_SIZE];

/* Whether a character of UTF-8 goes on at `at`. */
static bool goes_on(const char *at) { return ((unsigned char)*at & 0xC0) == 0x80; }

/* Copies a text, of one that is too long the first third and the end: the reason stands behind names and paths. */
static void copy_cut(char *out, const char *text) {
  static const char gap[] = " ... ";
  const size_t length = strlen(text), most = TX_MESSAGE_SIZE - 1;
  if (length <= most) {
    memcpy(out, text, length + 1);
    return;
  }
  size_t head = most / 3, from = length - (most - head - (sizeof gap - 1));
  while (head > 0 && goes_on(text + head)) head--;
  while (goes_on(text + from)) from++;
  memcpy(out, text, head);
  memcpy(out + head, gap, sizeof gap - 1);
  memcpy(out + head + sizeof gap - 1, text + from, length - from + 1);
}

void tx_message_args(char out[TX_MESSAGE_SIZE], const char *format, va_list args) {
  char text[TX_MESSAGE_SIZE], shown[4 * TX_MESSAGE_SIZE], *long_text = NULL;
  va_list again;
  va_copy(again, args);
  const int length = tx_format_args(text, sizeof text, format, args);
  if (length >= (int)sizeof text) long_text = malloc(5 * ((size_t)length + 1)); /* the text, and what is seen of it */
  if (long_text != NULL) {
    char *long_shown = long_text + length + 1;
    tx_format_args(long_text, (size_t)length + 1, format, again);
    tx_visible(long_shown, 4 * ((size_t)length + 1), long_text, (size_t)length);
    copy_cut(out, long_shown);
    free(long_text);
  } else {
    tx_visible(shown, sizeof shown, text, strlen(text));
    copy_cut(out, shown);
  }
  va_end(again);
}

tx_status tx_fail(tx_status code, const char *format, ...) {
  char text[TX_MESSAGE_SIZE]; /* the arguments may point into `message` */
  va_list args;
  va_start(args, format);
  tx_message_args(text, format, args);
  va_end(args);
  memcpy(message, text, sizeof text);
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
