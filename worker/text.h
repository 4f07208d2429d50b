/* text.h - a growing text, and the little that is needed to keep texts valid UTF-8.
 *
 * A failed allocation sticks: later additions do nothing, `failed` is asked once at the end. The
 * bytes are not terminated; they move when the text grows, unless room was reserved before.
 */
#ifndef EVERDUE_WORKER_TEXT_H
#define EVERDUE_WORKER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
    char *data;
    size_t count;
    size_t room;
    bool failed;
};

/* An empty text. Nothing is allocated until something is added. */
void text_init(struct text *text);
void text_release(struct text *text);

/* Keep the memory, forget the content and a failure. */
void text_clear(struct text *text);

/* Room for `count` more bytes. On failure returns false and sets `failed`. */
bool text_reserve(struct text *text, size_t count);

void text_add(struct text *text, const void *data, size_t count);
void text_add_string(struct text *text, const char *string);
void text_print(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Forget the first `count` bytes. */
void text_drop(struct text *text, size_t count);

/* The bytes of the UTF-8 character at `at` (1 to 4), or 0 when there is no valid one. */
size_t text_utf8_bytes(const char *at, const char *end);

/* Whether it is UTF-8 without NUL. */
bool text_is_utf8(const void *data, size_t count);

/* The longest beginning of at most `count_max` bytes of valid UTF-8 that ends with a character. */
size_t text_cut(const char *data, size_t count, size_t count_max);

/* Copy the first line, cut to `room` - 1 bytes, with '?' for what is no valid UTF-8 or a control
 * character; terminated. Returns its length. */
size_t text_first_line(char *line, size_t room, const char *data, size_t count);

#endif
