#include "result_json.h"

#include <stdio.h>
#include <string.h>

#include "member.h"
#include "quantity.h"
#include "utf8.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Lease numbers stay below it, so that every reader of JSON can keep them exactly. */
#define LEASE_END ((int64_t)1 << 53)

enum slot {
    SLOT_OUTCOME,
    SLOT_NEXT,
    SLOT_MEMO,
    SLOT_RANK,
    SLOT_PAYLOAD,
    SLOT_NOTE,
    SLOT_ERROR,
    SLOT_STOP,
    SLOT_LEASE,
    SLOT_TOUCH,
};

/* --- members ---------------------------------------------------------------------------------- */

static bool read_outcome(const struct member_reader *reader, void *user)
{
    static const char *const names[] = {
        [EVERDUE_OK] = "ok",
        [EVERDUE_RETRY] = "retry",
        [EVERDUE_PARK] = "park",
        [EVERDUE_REMOVE] = "remove",
    };
    struct result_json *said = user;
    const struct json_value *value = &reader->member.value;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (value->kind != JSON_STRING || !json_value_is(value, names[i]))
            continue;
        said->result.outcome = (enum everdue_outcome)i;
        said->result.cause = i == EVERDUE_RETRY ? EVERDUE_CAUSE_FAILED : EVERDUE_CAUSE_NONE;
        said->has_outcome = true;
        return true;
    }
    return member_refuse(reader, "; write \"ok\", \"retry\", \"park\" or \"remove\"");
}

static bool read_next(const struct member_reader *reader, void *user)
{
    struct result_json *said = user;
    return member_time(reader, "divide by 1000", &said->result.next_us);
}

static bool read_in(const struct member_reader *reader, void *user)
{
    struct result_json *said = user;
    return member_duration(reader, &said->result.in_us);
}

static bool read_memo(const struct member_reader *reader, void *user)
{
    struct result_json *said = user;
    return member_json(reader, &said->result.memo);
}

static bool read_memo_b64(const struct member_reader *reader, void *user)
{
    struct result_json *said = user;
    return member_base64(reader, &said->result.memo);
}

static bool read_rank(const struct member_reader *reader, void *user)
{
    struct result_json *said = user;
    bool is_read = member_whole(reader, &said->result.rank);
    said->result.has_rank = said->result.has_rank || is_read;
    return is_read;
}

static bool read_payload(const struct member_reader *reader, void *user)
{
    struct result_json *said = user;
    return member_json(reader, &said->result.payload);
}

static bool read_payload_b64(const struct member_reader *reader, void *user)
{
    struct result_json *said = user;
    return member_base64(reader, &said->result.payload);
}

static bool read_note(const struct member_reader *reader, void *user)
{
    struct result_json *said = user;
    return member_note(reader, &said->result.note);
}

static bool read_error(const struct member_reader *reader, void *user)
{
    struct result_json *said = user;
    return member_note(reader, &said->result.error);
}

static bool read_stop(const struct member_reader *reader, void *user)
{
    struct result_json *said = user;
    return member_true_or_false(reader, &said->result.stop);
}

static bool read_lease(const struct member_reader *reader, void *user)
{
    struct result_json *said = user;
    const struct json_value *value = &reader->member.value;
    int64_t lease;
    bool can_be = value->kind == JSON_NUMBER || value->kind == JSON_STRING;
    if (!can_be || number_parse(value->data, value->count, 0, LEASE_END - 1, &lease))
        return member_refuse(reader, "; repeat the task's number");
    said->has_lease = true;
    said->lease = (uint64_t)lease;
    return true;
}

static bool read_touch(const struct member_reader *reader, void *user)
{
    struct result_json *said = user;
    return member_duration(reader, &said->touch_us);
}

static const struct member_field fields[] = {
    {"outcome", SLOT_OUTCOME, read_outcome, true},
    {"next", SLOT_NEXT, read_next, true},
    {"in", SLOT_NEXT, read_in, true},
    {"memo", SLOT_MEMO, read_memo, false},
    {"memo_b64", SLOT_MEMO, read_memo_b64, true},
    {"rank", SLOT_RANK, read_rank, true},
    {"payload", SLOT_PAYLOAD, read_payload, false},
    {"payload_b64", SLOT_PAYLOAD, read_payload_b64, true},
    {"note", SLOT_NOTE, read_note, true},
    {"error", SLOT_ERROR, read_error, true},
    {"stop", SLOT_STOP, read_stop, true},
};

/* Of a child with several tasks in hand. */
static const struct member_field line_fields[] = {
    {"lease", SLOT_LEASE, read_lease, true},
    {"touch", SLOT_TOUCH, read_touch, true},
};

/* --- the object ------------------------------------------------------------------------------- */

static void clear(struct result_json *reader)
{
    reader->result = (struct everdue_result){.next_us = EVERDUE_ABSENT, .in_us = EVERDUE_ABSENT};
    reader->has_outcome = reader->has_lease = false;
    reader->lease = 0;
    reader->touch_us = EVERDUE_ABSENT;
    reader->error[0] = reader->unknown[0] = '\0';
}

void result_json_init(struct result_json *reader)
{
    clear(reader);
    json_object_init(&reader->object);
    text_init(&reader->scratch);
}

void result_json_release(struct result_json *reader)
{
    json_object_release(&reader->object);
    text_release(&reader->scratch);
}

/* NULL, or what is wrong: static, or within `why`. */
static const char *begin(struct result_json *reader, const char *text, size_t count,
                         char why[JSON_WHY_BYTES])
{
    clear(reader);
    if (!member_make_room(&reader->scratch, count))
        return "out of memory";
    return json_object_read(&reader->object, text, count, why);
}

/* Only the first thing that is wrong is kept. */
static void note_error(struct result_json *reader, const char *error)
{
    if (reader->error[0] == '\0')
        snprintf(reader->error, sizeof(reader->error), "the result: %s", error);
}

static void read_member(struct result_json *reader, struct member_reader *members)
{
    const struct json_value *name = &members->member.name;
    const struct member_field *field = member_find(name, fields, COUNT_OF(fields));
    if (!field)
        field = member_find(name, line_fields, COUNT_OF(line_fields));
    if (field && !member_read(members, field, reader))
        note_error(reader, members->error);
    if (!field && reader->unknown[0] == '\0')
        utf8_first_line(reader->unknown, sizeof(reader->unknown), name->data, name->count);
}

bool result_json_read(struct result_json *reader, const char *text, size_t count)
{
    char why[JSON_WHY_BYTES];
    char error[RESULT_JSON_ERROR_BYTES - sizeof("the result: ")];
    struct member_reader members = {
        .scratch = &reader->scratch, .error = error, .error_room = sizeof(error)};
    if (begin(reader, text, count, why)) {
        snprintf(reader->error, sizeof(reader->error), "the result is no JSON object");
        return false;
    }
    while (json_object_next(&reader->object, &members.member))
        read_member(reader, &members);
    const struct everdue_result *result = &reader->result;
    if (reader->touch_us != EVERDUE_ABSENT &&
        (reader->has_outcome || result->in_us != EVERDUE_ABSENT ||
         result->next_us != EVERDUE_ABSENT))
        note_error(reader, "\"touch\" extends a lease and ends no run; leave it out");
    return true;
}

bool result_json_read_strictly(struct result_json *reader, const char *text, size_t count)
{
    char why[JSON_WHY_BYTES];
    struct member_reader members = {
        .scratch = &reader->scratch, .error = reader->error, .error_room = sizeof(reader->error)};
    const char *error = begin(reader, text, count, why);
    if (error) {
        snprintf(reader->error, sizeof(reader->error), "%s", error);
        return false;
    }
    return member_read_all(&members, &reader->object, fields, COUNT_OF(fields), reader);
}
