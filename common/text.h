/* text.h - a growing text, for everything that is put together before it is written.
 *
 * A failed allocation sticks: later additions do nothing, `failed` is asked once at the end. The
 * content is kept terminated, so `data` is a C string once something was added. It moves when the
 * text grows, unless room was reserved before.
 */
#ifndef EVERDUE_TEXT_H
#define EVERDUE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
    char *data; /* NULL until something was added */
    size_t count;
    size_t room;
    bool failed;
};

/* An empty text. Nothing is allocated until something is added. */
void text_init(struct text *text);
void text_release(struct text *text);

/* Keep the memory, forget the content and a failure. */
void text_clear(struct text *text);

/* Room for `count` more bytes and the terminator: until they are used up, `data` does not move. On
 * failure returns false and sets `failed`. */
bool text_reserve(struct text *text, size_t count);

void text_add(struct text *text, const void *data, size_t count);
void text_add_string(struct text *text, const char *string);
void text_add_format(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds `count` bytes to be filled in by the caller; NULL when memory is out. */
char *text_add_room(struct text *text, size_t count);

/* Forget the first `count` bytes; what is left moves to the beginning. */
void text_drop(struct text *text, size_t count);

#endif
