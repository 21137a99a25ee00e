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

/* How many bytes of a control character stand at `at` (UTF-8, ended by 0), 0: none. Those of three bytes break lines or turn
 * the direction of what follows. */
static size_t control_bytes(const unsigned char *at) {
  if (*at == 0xC2 && at[1] >= 0x80 && at[1] <= 0x9F) return 2;
  if (*at == 0xD8 && at[1] == 0x9C) return 2;                                     /* U+061C */
  if (*at == 0xE2 && at[1] == 0x80 && (at[2] == 0x8E || at[2] == 0x8F)) return 3; /* U+200E, U+200F */
  if (*at == 0xE2 && at[1] == 0x80 && at[2] >= 0xA8 && at[2] <= 0xAE) return 3;   /* U+2028 to U+202E */
  if (*at == 0xE2 && at[1] == 0x81 && at[2] >= 0xA6 && at[2] <= 0xA9) return 3;   /* U+2066 to U+2069 */
  return (*at < 0x20 && *at != '\t' && *at != '\n') || *at == 0x7F ? 1 : 0;
}

size_t tx_visible(char *out, size_t size, const char *text, size_t length) {
  static const char digits[] = "0123456789abcdef";
  size_t used = 0, hidden = 0; /* bytes that are still to be written by their number */
  for (const char *end = text + length; text < end; text++) {
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
  return used;
}
