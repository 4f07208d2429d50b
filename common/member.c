#include "member.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "bounds.h"
#include "bytes.h"
#include "moment.h"
#include "nearest.h"
#include "quantity.h"

enum { SHOWN_BYTES_MAX = 40, FIELDS_MAX = 32 };

/* The beginning of a value for an error text. */
static int shown_bytes(size_t count)
{
    return count > SHOWN_BYTES_MAX ? SHOWN_BYTES_MAX : (int)count;
}

bool member_refuse(const struct member_reader *reader, const char *format, ...)
{
    const struct json_member *member = &reader->member;
    struct everdue_bytes source = json_value_source(&member->value);
    int shown = shown_bytes(source.count);
    int begun = snprintf(reader->error, reader->error_room, "\"%.*s\" is %.*s%s",
                         shown_bytes(member->name.count), member->name.data, shown,
                         (const char *)source.data, (size_t)shown < source.count ? "..." : "");
    if (begun < 0 || (size_t)begun >= reader->error_room)
        return false;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reader->error + begun, reader->error_room - (size_t)begun, format, arguments);
    va_end(arguments);
    return false;
}

/* --- the whole object ------------------------------------------------------------------------- */

static bool refuse_unknown(const struct member_reader *reader, const struct member_field *fields,
                           size_t field_count)
{
    const struct json_value *name = &reader->member.name;
    const char *names[FIELDS_MAX];
    size_t name_count = 0;
    for (size_t i = 0; i < field_count && name_count < FIELDS_MAX; i++)
        names[name_count++] = fields[i].name;
    const char *nearest = nearest_name(name->data, name->count, names, name_count);
    if (nearest)
        snprintf(reader->error, reader->error_room, "unknown member \"%.*s\"; did you mean \"%s\"?",
                 shown_bytes(name->count), name->data, nearest);
    else
        snprintf(reader->error, reader->error_room, "unknown member \"%.*s\"",
                 shown_bytes(name->count), name->data);
    return false;
}

bool member_make_room(struct text *scratch, size_t count)
{
    text_clear(scratch);
    return text_reserve(scratch, 2 * count + 64);
}

const struct member_field *member_find(const struct json_value *name,
                                       const struct member_field *fields, size_t field_count)
{
    for (size_t i = 0; i < field_count; i++)
        if (json_value_is(name, fields[i].name))
            return &fields[i];
    return NULL;
}

bool member_read(const struct member_reader *reader, const struct member_field *field, void *user)
{
    if (field->null_is_absent && reader->member.value.kind == JSON_NULL)
        return true;
    return field->read(reader, user);
}

bool member_read_all(struct member_reader *reader, struct json_object *object,
                     const struct member_field *fields, size_t field_count, void *user)
{
    const char *seen[FIELDS_MAX] = {NULL};
    while (json_object_next(object, &reader->member)) {
        const struct member_field *field = member_find(&reader->member.name, fields, field_count);
        if (!field)
            return refuse_unknown(reader, fields, field_count);
        const char *before = seen[field->slot];
        if (before) {
            snprintf(reader->error, reader->error_room,
                     before == field->name ? "\"%s\" comes twice"
                                           : "\"%s\" and \"%s\" exclude each other",
                     before, field->name);
            return false;
        }
        seen[field->slot] = field->name;
        if (!member_read(reader, field, user))
            return false;
    }
    return true;
}

/* --- one member ------------------------------------------------------------------------------- */

/* Seconds after 1e11 lie in the year 5138: those are milliseconds (product: a hint). */
static bool looks_like_milliseconds(const struct json_value *value)
{
    char number[64];
    if (value->kind != JSON_NUMBER || value->count >= sizeof(number))
        return false;
    memcpy(number, value->data, value->count);
    number[value->count] = '\0';
    return strtod(number, NULL) > 1e11;
}

bool member_time(const struct member_reader *reader, const char *remedy, int64_t *us)
{
    const struct json_value *value = &reader->member.value;
    if (value->kind != JSON_NUMBER && value->kind != JSON_STRING)
        return member_refuse(reader, "; write a time such as \"2026-11-22T15:00:00Z\" or seconds "
                                     "since 1970");
    if (looks_like_milliseconds(value))
        return member_refuse(reader, ", which looks like milliseconds; %s", remedy);
    const char *error = time_parse(value->data, value->count, us);
    return !error || member_refuse(reader, ": %s", error);
}

bool member_milliseconds(const struct member_reader *reader, int64_t *us)
{
    const struct json_value *value = &reader->member.value;
    int64_t ms;
    if (value->kind != JSON_NUMBER)
        return member_refuse(reader, "; write milliseconds since 1970 as a number");
    if (number_parse(value->data, value->count, 0, (TIME_US_END - 1) / US_PER_MS, &ms))
        return member_refuse(reader, "; write whole milliseconds since 1970, before the year 2112");
    *us = ms * US_PER_MS;
    return true;
}

bool member_duration(const struct member_reader *reader, int64_t *us)
{
    const struct json_value *value = &reader->member.value;
    bool is_zero = value->kind == JSON_NUMBER && value->count == 1 && value->data[0] == '0';
    if (value->kind == JSON_NUMBER && !is_zero)
        return member_refuse(reader, "; write it in quotes with a unit, such as \"%.*ss\"",
                             shown_bytes(value->count), value->data);
    if (value->kind != JSON_STRING && !is_zero)
        return member_refuse(reader, "; write a duration such as \"15m\"");
    const char *error = duration_parse(value->data, value->count, us);
    return !error || member_refuse(reader, ": %s", error);
}

bool member_whole(const struct member_reader *reader, int64_t *number)
{
    const struct json_value *value = &reader->member.value;
    if (value->kind != JSON_NUMBER ||
        number_parse(value->data, value->count, INT64_MIN, INT64_MAX, number))
        return member_refuse(reader, "; write a whole number");
    return true;
}

bool member_true_or_false(const struct member_reader *reader, bool *value)
{
    enum json_kind kind = reader->member.value.kind;
    if (kind != JSON_TRUE && kind != JSON_FALSE)
        return member_refuse(reader, "; write true or false");
    *value = kind == JSON_TRUE;
    return true;
}

static bool decode_text(const struct member_reader *reader, struct everdue_bytes *text,
                        bool *is_whole)
{
    const struct json_value *value = &reader->member.value;
    if (value->kind != JSON_STRING)
        return member_refuse(reader, "; write a text in quotes");
    return json_value_text(value, reader->scratch, text, is_whole) ||
           member_refuse(reader, ": out of memory");
}

bool member_text(const struct member_reader *reader, size_t bytes_max, struct everdue_bytes *bytes)
{
    struct everdue_bytes text;
    bool is_whole;
    if (!decode_text(reader, &text, &is_whole))
        return false;
    if (!is_whole)
        return member_refuse(reader, ": half of a surrogate pair");
    if (text.count > bytes_max)
        return member_refuse(reader, ": it has %zu bytes; %zu at most", text.count, bytes_max);
    *bytes = text;
    return true;
}

bool member_note(const struct member_reader *reader, struct everdue_bytes *bytes)
{
    struct everdue_bytes text;
    bool is_whole;
    if (!decode_text(reader, &text, &is_whole))
        return false;
    struct bytes cut =
        bytes_cut_utf8((struct bytes){text.data, (uint32_t)text.count}, NOTE_BYTES_MAX);
    *bytes = (struct everdue_bytes){cut.data, cut.count};
    return true;
}

static bool refuse_large(const struct member_reader *reader, size_t count)
{
    char has[QUANTITY_TEXT_BYTES], most[QUANTITY_TEXT_BYTES];
    snprintf(reader->error, reader->error_room, "\"%.*s\" has %s bytes; %s at most",
             (int)reader->member.name.count, reader->member.name.data, count_format(count, has),
             count_format(PAYLOAD_BYTES_MAX, most));
    return false;
}

bool member_json(const struct member_reader *reader, struct everdue_bytes *bytes)
{
    struct everdue_bytes source = json_value_source(&reader->member.value);
    if (source.count > PAYLOAD_BYTES_MAX)
        return refuse_large(reader, source.count);
    *bytes = source;
    return true;
}

bool member_base64(const struct member_reader *reader, struct everdue_bytes *bytes)
{
    struct everdue_bytes coded;
    size_t count;
    if (!member_text(reader, SIZE_MAX, &coded))
        return false;
    struct text *scratch = reader->scratch;
    size_t begin = scratch->count;
    char *room = text_add_room(scratch, coded.count / 4 * 3 + 2);
    if (!room)
        return member_refuse(reader, ": out of memory");
    if (!base64_decode(coded.data, coded.count, BASE64_STANDARD, (uint8_t *)room, &count))
        return member_refuse(reader, ", which is not base64");
    scratch->count = begin + count;
    if (count > PAYLOAD_BYTES_MAX)
        return refuse_large(reader, count);
    *bytes = (struct everdue_bytes){room, count};
    return true;
}
