/* text.c - see text.h; POSIX 2008: a locale per thread, so that the host's own stays as it is. */
#define _POSIX_C_SOURCE 200809L /* newlocale, uselocale */
#include "base/text.h"

#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__APPLE__)
#include <xlocale.h>
#endif

static locale_t plain; /* kept for the life of the process */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_plain(void) { plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

void *tx_locale_enter(void) {
  pthread_once(&once, make_plain);
  return (void *)uselocale(plain);
}

void tx_locale_leave(void *before) { uselocale((locale_t)before); }

int tx_format_args(char *out, size_t size, const char *format, va_list args) {
  void *before = tx_locale_enter();
  int length = vsnprintf(out, size, format, args);
  tx_locale_leave(before);
  return length;
}

int tx_format(char *out, size_t size, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int length = tx_format_args(out, size, format, args);
  va_end(args);
  return length;
}

double tx_text_value(const char *text) {
  void *before = tx_locale_enter();
  double value = strtod(text, NULL);
  tx_locale_leave(before);
  return value;
}

/* How many bytes of a control character stand at `at`, 0: none. */
static size_t control_bytes(const unsigned char *at) {
  if (*at == 0xC2 && at[1] >= 0x80 && at[1] <= 0x9F) return 2;
  return (*at < 0x20 && *at != '\t' && *at != '\n') || *at == 0x7F ? 1 : 0;
}

void tx_visible(char *out, size_t size, const char *text) {
  static const char digits[] = "0123456789abcdef";
  size_t used = 0, hidden = 0; /* bytes that are still to be written by their number */
  for (; *text != '\0'; text++) {
    const unsigned char byte = (unsigned char)*text;
    if (hidden == 0) hidden = control_bytes((const unsigned char *)text);
    const char shown[] = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    const size_t bytes = hidden > 0 ? sizeof shown : 1;
    if (used + bytes + 1 > size) break;
    memcpy(out + used, hidden > 0 ? shown : text, bytes);
    used += bytes;
    if (hidden > 0) hidden--;
  }
  out[used] = '\0';
}
