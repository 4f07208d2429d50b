/* bytes.h - borrowed bytes, and what the protocol says about some of them: keys, names of queues.
 */
#ifndef EVERDUE_BYTES_H
#define EVERDUE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes. `data` is NULL when the field was nil or absent; empty bytes have data and 0. */
struct bytes {
    const uint8_t *data;
    uint32_t count;
};

/* In line: each report names its record by its key. */
static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    if (!a.data || !b.data)
        return !a.data && !b.data;
    return a.count == b.count && memcmp(a.data, b.data, a.count) == 0;
}

/* The bytes of a C string, without its terminator; of NULL, the absent bytes. */
struct bytes bytes_of(const char *text);

/* Whether it is 1 to KEY_BYTES_MAX bytes of UTF-8 without control characters. */
bool bytes_are_key(struct bytes key);

/* Whether it is 1 to QUEUE_NAME_BYTES_MAX letters, digits, '.', '_' and '-'. */
bool bytes_are_queue_name(struct bytes name);

/* The longest beginning of at most `count_max` bytes that does not end within a UTF-8 character. */
struct bytes bytes_cut_utf8(struct bytes text, uint32_t count_max);

#endif
