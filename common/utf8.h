/* utf8.h - what is UTF-8, and how much of foreign bytes can be shown in a line. */
#ifndef EVERDUE_UTF8_H
#define EVERDUE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* How many bytes (1 to 4) the character at the beginning has; 0 when there is none: empty, cut off,
 * overlong, a surrogate, above U+10FFFF. */
size_t utf8_first(const void *text, size_t count);

/* Whether all of it is UTF-8 without NUL. */
bool utf8_check(const void *text, size_t count);

/* Copy the first line, cut to `room` - 1 bytes, with '?' for what is no valid UTF-8 or a control
 * character; terminated. Returns its length. */
size_t utf8_first_line(char *line, size_t room, const void *text, size_t count);

#endif
