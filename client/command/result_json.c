#include "result_json.h"

#include <stdio.h>

#include "bounds.h"
#include "member.h"

enum slot {
    SLOT_OUTCOME,
    SLOT_NEXT,
    SLOT_MEMO,
    SLOT_RANK,
    SLOT_PAYLOAD,
    SLOT_NOTE,
    SLOT_ERROR,
    SLOT_STOP,
};

static bool read_outcome(const struct member_reader *reader, void *user)
{
    static const char *const names[] = {
        [EVERDUE_OK] = "ok",
        [EVERDUE_RETRY] = "retry",
        [EVERDUE_PARK] = "park",
        [EVERDUE_REMOVE] = "remove",
    };
    struct everdue_result *result = user;
    const struct json_value *value = &reader->member->value;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (value->kind != JSON_STRING || !json_value_is(value, names[i]))
            continue;
        result->outcome = (enum everdue_outcome)i;
        return true;
    }
    return member_refuse(reader, "; write \"ok\", \"retry\", \"park\" or \"remove\"");
}

static bool read_next(const struct member_reader *reader, void *user)
{
    struct everdue_result *result = user;
    return member_time(reader, "divide by 1000", &result->next_us);
}

static bool read_in(const struct member_reader *reader, void *user)
{
    struct everdue_result *result = user;
    return member_duration(reader, &result->in_us);
}

static bool read_memo(const struct member_reader *reader, void *user)
{
    struct everdue_result *result = user;
    return member_json(reader, &result->memo);
}

static bool read_memo_b64(const struct member_reader *reader, void *user)
{
    struct everdue_result *result = user;
    return member_base64(reader, &result->memo);
}

static bool read_rank(const struct member_reader *reader, void *user)
{
    struct everdue_result *result = user;
    result->has_rank = true;
    return member_whole(reader, &result->rank);
}

static bool read_payload(const struct member_reader *reader, void *user)
{
    struct everdue_result *result = user;
    return member_json(reader, &result->payload);
}

static bool read_payload_b64(const struct member_reader *reader, void *user)
{
    struct everdue_result *result = user;
    return member_base64(reader, &result->payload);
}

/* The broker cuts what is longer than it keeps; the limit here is only that of sense. */
static bool read_note(const struct member_reader *reader, void *user)
{
    struct everdue_result *result = user;
    return member_text(reader, PAYLOAD_BYTES_MAX, &result->note);
}

static bool read_error(const struct member_reader *reader, void *user)
{
    struct everdue_result *result = user;
    return member_text(reader, PAYLOAD_BYTES_MAX, &result->error);
}

static bool read_stop(const struct member_reader *reader, void *user)
{
    struct everdue_result *result = user;
    return member_true_or_false(reader, &result->stop);
}

static const struct member_field fields[] = {
    {"outcome", SLOT_OUTCOME, read_outcome},
    {"next", SLOT_NEXT, read_next},
    {"in", SLOT_NEXT, read_in},
    {"memo", SLOT_MEMO, read_memo},
    {"memo_b64", SLOT_MEMO, read_memo_b64},
    {"rank", SLOT_RANK, read_rank},
    {"payload", SLOT_PAYLOAD, read_payload},
    {"payload_b64", SLOT_PAYLOAD, read_payload_b64},
    {"note", SLOT_NOTE, read_note},
    {"error", SLOT_ERROR, read_error},
    {"stop", SLOT_STOP, read_stop},
};

bool result_json_read(struct record_json *reader, const char *text, size_t count,
                      struct everdue_result *result)
{
    char why[96];
    *result = (struct everdue_result){.next_us = EVERDUE_ABSENT, .in_us = EVERDUE_ABSENT};
    text_clear(&reader->scratch);
    if (!text_reserve(&reader->scratch, 2 * count + 64)) {
        snprintf(reader->error, sizeof(reader->error), "out of memory");
        return false;
    }
    const char *error = json_object_read(&reader->object, text, count, why);
    if (error) {
        snprintf(reader->error, sizeof(reader->error), "%s", error);
        return false;
    }
    struct member_reader members = {
        .scratch = &reader->scratch, .error = reader->error, .error_room = sizeof(reader->error)};
    return member_read_all(&members, &reader->object, fields, sizeof(fields) / sizeof(fields[0]),
                           result);
}
