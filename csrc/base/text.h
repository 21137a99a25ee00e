/* text.h - numbers as text and back, the same under every locale.
 *
 * A host program may have called setlocale: printf then writes 0,5 for a half, and strtod stops at the point of "0.5".
 * What texres writes and reads has a decimal point, whatever the host's locale is.
 */
#ifndef TX_BASE_TEXT_H
#define TX_BASE_TEXT_H

#include <stdarg.h>
#include <stddef.h>

#include "base/status.h"

/* From here on this thread writes and reads as in the locale "C"; returns what was in force, for tx_locale_leave. */
void *tx_locale_enter(void);
void tx_locale_leave(void *before);

/* snprintf and vsnprintf, strtod of a whole text. */
int tx_format(char *out, size_t size, const char *format, ...) TX_PRINTF(3, 4);
int tx_format_args(char *out, size_t size, const char *format, va_list args) TX_PRINTF(3, 0);
double tx_text_value(const char *text);

/* A copy of the text of so many bytes, which a 0 ends, as far as `size` allows, in which bytes that would steer a terminal, or
 * turn text around (U+202E), are written as \x1b: names from files and users stand in messages. Line breaks, tabs and other
 * characters stay. Returns its length. */
size_t tx_visible(char *out, size_t size, const char *text, size_t length);

#endif
