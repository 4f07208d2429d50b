#include "record_json.h"

#include <stdio.h>
#include <string.h>

#include "bounds.h"
#include "bytes.h"
#include "member.h"
#include "moment.h"
#include "quantity.h"

enum slot {
    SLOT_KEY,
    SLOT_DUE,
    SLOT_EVERY,
    SLOT_RANK,
    SLOT_GROUP,
    SLOT_ONCE,
    SLOT_PAYLOAD,
    SLOT_MEMO,
    SLOT_RESERVED,
};

/* --- reading ---------------------------------------------------------------------------------- */

static bool read_key(const struct member_reader *reader, void *user)
{
    struct everdue_put *put = user;
    if (!member_text(reader, SIZE_MAX, &put->key))
        return false;
    struct bytes key = {put->key.data, (uint32_t)put->key.count};
    return bytes_are_key(key) ||
           member_refuse(reader, "; a key is 1 to 1,024 bytes of UTF-8 without control characters");
}

static bool read_due(const struct member_reader *reader, void *user)
{
    struct everdue_put *put = user;
    return member_time(reader, "write due_ms or divide by 1000", &put->due_us);
}

static bool read_due_ms(const struct member_reader *reader, void *user)
{
    struct everdue_put *put = user;
    return member_milliseconds(reader, &put->due_us);
}

static bool read_every(const struct member_reader *reader, void *user)
{
    struct everdue_put *put = user;
    return member_duration(reader, &put->every_us);
}

static bool read_rank(const struct member_reader *reader, void *user)
{
    struct everdue_put *put = user;
    put->has_rank = true;
    return member_whole(reader, &put->rank);
}

static bool read_group(const struct member_reader *reader, void *user)
{
    struct everdue_put *put = user;
    return member_text(reader, GROUP_BYTES_MAX, &put->group);
}

static bool read_once(const struct member_reader *reader, void *user)
{
    struct everdue_put *put = user;
    put->has_once = true;
    return member_true_or_false(reader, &put->once);
}

static bool read_payload(const struct member_reader *reader, void *user)
{
    struct everdue_put *put = user;
    return member_json(reader, &put->payload);
}

static bool read_payload_b64(const struct member_reader *reader, void *user)
{
    struct everdue_put *put = user;
    return member_base64(reader, &put->payload);
}

static bool read_memo(const struct member_reader *reader, void *user)
{
    struct everdue_put *put = user;
    return member_json(reader, &put->memo);
}

static bool read_memo_b64(const struct member_reader *reader, void *user)
{
    struct everdue_put *put = user;
    return member_base64(reader, &put->memo);
}

static bool read_reserved(const struct member_reader *reader, void *user)
{
    (void)user;
    snprintf(reader->error, reader->error_room,
             "\"%.*s\" is reserved for a later version; use \"every\"",
             (int)reader->member.name.count, reader->member.name.data);
    return false;
}

static const struct member_field fields[] = {
    {"key", SLOT_KEY, read_key, false},
    {"payload", SLOT_PAYLOAD, read_payload, false},
    {"payload_b64", SLOT_PAYLOAD, read_payload_b64, false},
    {"due", SLOT_DUE, read_due, false},
    {"due_ms", SLOT_DUE, read_due_ms, false},
    {"every", SLOT_EVERY, read_every, false},
    {"group", SLOT_GROUP, read_group, false},
    {"rank", SLOT_RANK, read_rank, false},
    {"once", SLOT_ONCE, read_once, false},
    {"memo", SLOT_MEMO, read_memo, false},
    {"memo_b64", SLOT_MEMO, read_memo_b64, false},
    {"cron", SLOT_RESERVED, read_reserved, false},
    {"tz", SLOT_RESERVED, read_reserved, false},
};

void record_json_init(struct record_json *reader)
{
    json_object_init(&reader->object);
    text_init(&reader->scratch);
    reader->error[0] = '\0';
}

void record_json_release(struct record_json *reader)
{
    json_object_release(&reader->object);
    text_release(&reader->scratch);
}

static void put_init(struct everdue_put *put)
{
    *put = (struct everdue_put){
        .due_us = EVERDUE_ABSENT, .in_us = EVERDUE_ABSENT, .every_us = EVERDUE_ABSENT};
}

bool record_json_read(struct record_json *reader, const char *line, size_t count,
                      struct everdue_put *put)
{
    char why[JSON_WHY_BYTES];
    put_init(put);
    if (!member_make_room(&reader->scratch, count)) {
        snprintf(reader->error, sizeof(reader->error), "out of memory");
        return false;
    }
    const char *error = json_object_read(&reader->object, line, count, why);
    if (error) {
        snprintf(reader->error, sizeof(reader->error), "%s", error);
        return false;
    }
    struct member_reader members = {
        .scratch = &reader->scratch, .error = reader->error, .error_room = sizeof(reader->error)};
    size_t field_count = sizeof(fields) / sizeof(fields[0]);
    if (!member_read_all(&members, &reader->object, fields, field_count, put))
        return false;
    if (!put->key.data) {
        snprintf(reader->error, sizeof(reader->error), "\"key\" is missing");
        return false;
    }
    return true;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void add_time(struct text *text, const char *name, int64_t us)
{
    char time[QUANTITY_TEXT_BYTES];
    json_add_name(text, name);
    text_add_format(text, "\"%s\"", time_format(us, 6, time));
}

static void add_common(struct text *text, const struct everdue_record *record)
{
    char duration[QUANTITY_TEXT_BYTES];
    if (record->due_us != EVERDUE_ABSENT)
        add_time(text, "due", record->due_us);
    if (record->every_us > 0) {
        json_add_name(text, "every");
        text_add_format(text, "\"%s\"", duration_format(record->every_us, duration));
    }
    if (record->group.count > 0)
        json_add_member(text, "group", record->group);
    if (record->rank != 0)
        json_add_number(text, "rank", record->rank);
    if (record->once)
        json_add_true_or_false(text, "once", true);
    json_add_bytes(text, "payload", record->payload);
    json_add_bytes(text, "memo", record->memo);
}

void record_json_write(struct text *text, const struct everdue_record *record)
{
    text_add(text, "{", 1);
    json_add_member(text, "key", record->key);
    add_common(text, record);
    text_add(text, "}", 1);
}

const char *record_json_state_name(enum everdue_record_status status)
{
    switch (status) {
    case EVERDUE_WAITING:
        return "waiting";
    case EVERDUE_READY:
        return "ready";
    case EVERDUE_LEASED:
        return "leased";
    case EVERDUE_PARKED:
        return "parked";
    case EVERDUE_ANY:
        break;
    }
    return "unknown";
}

void record_json_write_view(struct text *text, const char *queue,
                            const struct everdue_record *record)
{
    text_add(text, "{", 1);
    json_add_member(text, "key", record->key);
    json_add_name(text, "queue");
    text_add_format(text, "\"%s\"", queue);
    json_add_name(text, "state");
    text_add_format(text, "\"%s\"", record_json_state_name(record->status));
    add_common(text, record);
    json_add_number(text, "failures", record->failures);
    json_add_number(text, "crashes", record->crashes);
    if (record->note.count > 0)
        json_add_member(text, "note", record->note);
    if (record->error.count > 0)
        json_add_member(text, "error", record->error);
    if (record->park_reason.count > 0)
        json_add_member(text, "park_reason", record->park_reason);
    if (record->parked_us > 0)
        add_time(text, "parked", record->parked_us);
    if (record->last_worker.count > 0)
        json_add_member(text, "last_worker", record->last_worker);
    text_add(text, "}", 1);
}
