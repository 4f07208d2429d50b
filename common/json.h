/* json.h - JSON as RFC 8259 has it: checked strictly, taken apart, written.
 *
 * Payloads are kept as the bytes that the source wrote, so what is passed on must be JSON beyond
 * doubt: json_check accepts nothing that a strict parser would refuse. json_object_next then gives
 * the places of an object's members (libjsmn finds them). No value is copied or built.
 */
#ifndef EVERDUE_JSON_H
#define EVERDUE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "everdue/types.h"
#include "text.h"

enum { JSON_DEPTH_MAX = 512, JSON_WHY_BYTES = 96 };

/* Whether it is one JSON value, white space around it allowed, nested `depth_max` deep at most.
 * NULL, or a static text that says what is wrong, with its offset in `*where`. */
const char *json_check(const char *text, size_t count, unsigned depth_max, size_t *where);

enum json_kind {
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
    JSON_OBJECT,
    JSON_ARRAY
};

/* A borrowed part of the source. Of a string: what is between the quotes, escapes as they stand. */
struct json_value {
    enum json_kind kind;
    const char *data;
    size_t count;
};

struct json_member {
    struct json_value name;
    struct json_value value;
};

struct json_object {
    const char *text;       /* borrowed */
    struct jsmntok *tokens; /* kept from line to line */
    unsigned token_room;
    int token_count;
    int next; /* token of the member that json_object_next returns */
};

void json_object_init(struct json_object *object);
void json_object_release(struct json_object *object);

/* Takes an object apart; `text` is borrowed as long as its members are looked at. Checks first.
 * NULL, or what is wrong: static, or within `why`. */
const char *json_object_read(struct json_object *object, const char *text, size_t count,
                             char why[JSON_WHY_BYTES]);

/* The next member, in the order of the text. False: there is none. */
bool json_object_next(struct json_object *object, struct json_member *member);

/* The value of the first member with this name. False: there is none. O(n) in all that is nested.
 */
bool json_object_find(const struct json_object *object, const char *name, struct json_value *value);

/* The source's own bytes of a value, quotes of a string included. */
struct everdue_bytes json_value_source(const struct json_value *value);

/* The bytes of a string without escapes: borrowed from the source where it has none, else decoded
 * at the end of `scratch`, which must have room for value->count more bytes. An escaped surrogate
 * without its other half becomes U+FFFD; `*is_whole` says whether there was none. False: no memory.
 */
bool json_value_text(const struct json_value *value, struct text *scratch,
                     struct everdue_bytes *bytes, bool *is_whole);

/* Whether a member's name is this one. */
bool json_value_is(const struct json_value *value, const char *name);

/* --- writing ---------------------------------------------------------------------------------- */

/* Whether these bytes can stand in a line of JSON as a value and be read back as they are. */
bool json_is_inline(struct everdue_bytes bytes);

/* A string with its quotes. What is not UTF-8 becomes U+FFFD. */
void json_add_string(struct text *text, struct everdue_bytes bytes);

/* `"name":` with a comma before it unless an object or array has just been opened. */
void json_add_name(struct text *text, const char *name);
void json_add_member(struct text *text, const char *name, struct everdue_bytes string);
void json_add_number(struct text *text, const char *name, long long number);
void json_add_true_or_false(struct text *text, const char *name, bool value);

/* Bytes of any kind: as `name` where they are JSON, else as `name`_b64. Nothing when there are
 * none. */
void json_add_bytes(struct text *text, const char *name, struct everdue_bytes bytes);

/* The same for a reader that needs the value more than its very bytes: line breaks and blanks
 * around and between the parts of a value become blanks of the line. */
void json_add_value(struct text *text, const char *name, struct everdue_bytes bytes);

#endif
