/* json.h - RFC 8259, read in place: strict, without a tree, without recursion.
 *
 * What is embedded in a line for somebody else's parser must be valid to the last byte, and what is
 * kept must be the source's own bytes. So this walks over values and tells where they stand.
 */
#ifndef EVERDUE_WORKER_JSON_H
#define EVERDUE_WORKER_JSON_H

#include "text.h"

#include <everdue/types.h>

enum { JSON_DEPTH_MAX = 64 };

struct json {
    const char *at;
    const char *end;
};

void json_init(struct json *json, const void *data, size_t count);

/* Pass over blanks and one value; `value` is where it stands, without blanks. False: not valid (bad
 * UTF-8 included), or nested deeper than JSON_DEPTH_MAX. */
bool json_value(struct json *json, struct everdue_bytes *value);

/* Whether only blanks are left. */
bool json_is_end(struct json *json);

/* Whether the bytes are exactly one value. */
bool json_check(const void *data, size_t count);

/* Walk over an object: json_open once, json_member until it is not JSON_MEMBER. `name` is without
 * its quotes, undecoded. */
enum json_step { JSON_MEMBER, JSON_END, JSON_BAD };
bool json_open(struct json *json);
enum json_step json_member(struct json *json, struct everdue_bytes *name,
                           struct everdue_bytes *value);

/* Append a string value (with its quotes) decoded; never longer than the value. False: no string.
 */
bool json_string(struct everdue_bytes value, struct text *out);

/* Append a string in quotes. Bytes that are no UTF-8 become U+FFFD. */
void json_write_string(struct text *out, const void *data, size_t count);

#endif
