/* text.c - see text.h; POSIX 2008: a locale per thread, so that the host's own stays as it is. */
#define _POSIX_C_SOURCE 200809L /* newlocale, uselocale */
#include "base/text.h"

#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
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
