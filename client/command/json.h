/* json.h - JSON as RFC 8259 has it: checked strictly, taken apart, written.
 *
 * Payloads are kept as the bytes that the source wrote, so what is passed on must be JSON beyond
 * doubt: json_check accepts nothing that a strict parser would refuse. json_members then gives the
 * places of an object's members (libjsmn finds them). No value is copied or built.
 */
#ifndef EVERDUE_JSON_H
#define EVERDUE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "everdue/types.h"
#include "text.h"

enum { JSON_DEPTH_MAX = 512, JSON_MEMBERS_MAX = 32 };

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
    struct json_member members[JSON_MEMBERS_MAX];
    size_t count;
    struct jsmntok *tokens; /* kept from line to line */
    unsigned token_room;
};

void json_object_init(struct json_object *object);
void json_object_release(struct json_object *object);

/* The members of an object, borrowed from `text`. Checks first. NULL, or what is wrong: static, or
 * within `why`. */
const char *json_object_read(struct json_object *object, const char *text, size_t count,
                             char why[96]);

/* The source's own bytes of a value, quotes of a string included. */
struct everdue_bytes json_value_source(const struct json_value *value);

/* The bytes of a string without escapes: borrowed from the source where it has none, else decoded
 * at the end of `scratch`, which must have room for value->count more bytes. False: an escaped
 * surrogate without its other half. */
bool json_value_text(const struct json_value *value, struct text *scratch,
                     struct everdue_bytes *bytes);

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

#endif
