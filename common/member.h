/* member.h - members of a JSON object that mean the same in a record and in a result: times,
 * intervals, numbers, bytes. Each function reads one, or writes what is wrong with it, beginning
 * with the member's name in quotes, and leaves what it was to fill in as it was. */
#ifndef EVERDUE_MEMBER_H
#define EVERDUE_MEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json.h"

struct member_reader {
    struct json_member member; /* the one that is being read */
    struct text
        *scratch; /* with room for the whole line: borrowed bytes in it stay where they are */
    char *error;
    size_t error_room;
};

/* One member that an object may have. Two with the same slot exclude each other. */
struct member_field {
    const char *name;
    unsigned slot;
    bool (*read)(const struct member_reader *reader, void *user);
    bool null_is_absent; /* "name":null is the same as leaving it out */
};

/* Whether there is room in the scratch for all that a line of `count` bytes can decode to: a string
 * without its escapes, and what its base64 stands for. Forgets what is in it. */
bool member_make_room(struct text *scratch, size_t count);

/* The field with this name, or NULL. */
const struct member_field *member_find(const struct json_value *name,
                                       const struct member_field *fields, size_t field_count);

/* Reads reader->member, which has this field. */
bool member_read(const struct member_reader *reader, const struct member_field *field, void *user);

/* Reads all members of an object by a table of fields; `user` is handed to each field's function.
 * Strict: what is not known, comes twice or is wrong ends it. False: the error is written. */
bool member_read_all(struct member_reader *reader, struct json_object *object,
                     const struct member_field *fields, size_t field_count, void *user);

/* Writes `"name" is VALUE` and then the formatted rest. Always false. */
bool member_refuse(const struct member_reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* RFC 3339 or epoch seconds. `remedy`: what to do about a number that looks like milliseconds. */
bool member_time(const struct member_reader *reader, const char *remedy, int64_t *us);
bool member_milliseconds(const struct member_reader *reader, int64_t *us); /* since the epoch */
bool member_duration(const struct member_reader *reader, int64_t *us);     /* "15m" */
bool member_whole(const struct member_reader *reader, int64_t *number);
bool member_true_or_false(const struct member_reader *reader, bool *value);
bool member_text(const struct member_reader *reader, size_t bytes_max, struct everdue_bytes *bytes);
bool member_json(const struct member_reader *reader, struct everdue_bytes *bytes);
bool member_base64(const struct member_reader *reader, struct everdue_bytes *bytes);

/* A text for people: cut to NOTE_BYTES_MAX, with U+FFFD for half of a surrogate pair. */
bool member_note(const struct member_reader *reader, struct everdue_bytes *bytes);

#endif
