/* utf8.h - how long the UTF-8 character at a place is. */
#ifndef EVERDUE_UTF8_H
#define EVERDUE_UTF8_H

#include <stddef.h>

/* The bytes of the character at `data`, of which `count` (at least 1) are there; 0 when it is none:
 * overlong, a surrogate, above U+10FFFF, or cut off. */
size_t utf8_bytes(const char *data, size_t count);

#endif
