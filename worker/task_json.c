#include "task_json.h"

#include "base64.h"
#include "json.h"
#include "bounds.h"
#include "moment.h"
#include "quantity.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- a task ----------------------------------------------------------------------------------- */

/* A line break in valid JSON can only stand between its parts. */
static void add_json_line(struct text *out, struct everdue_bytes value)
{
    size_t begin = out->count;

    text_add(out, value.data, value.count);
    for (size_t i = begin; i < out->count; i++) {
        if (out->data[i] == '\n' || out->data[i] == '\r')
            out->data[i] = ' ';
    }
}

static void add_bytes_member(struct text *out, const char *name, struct everdue_bytes value)
{
    if (value.data == NULL)
        return;
    if (json_check(value.data, value.count)) {
        text_print(out, ",\"%s\":", name);
        add_json_line(out, value);
        return;
    }
    text_print(out, ",\"%s_b64\":\"", name);
    base64_write(out, value.data, value.count);
    text_add_string(out, "\"");
}

static void add_every(struct text *out, int64_t every_us)
{
    text_print(out, ",\"every_ms\":%" PRId64, every_us / US_PER_MS);
    if (every_us % US_PER_MS)
        text_print(out, ".%03" PRId64, every_us % US_PER_MS);
}

void task_json_write(struct text *out, const struct everdue_task *task, int64_t mono_us)
{
    char due[QUANTITY_TEXT_BYTES];
    int64_t left_us = task->deadline_mono_us - mono_us;

    text_add_string(out, "{\"key\":");
    json_write_string(out, task->key.data, task->key.count);
    text_add_string(out, ",\"queue\":");
    json_write_string(out, task->queue, strlen(task->queue));
    text_print(out, ",\"lease\":%" PRIu64 ",\"due\":\"%s\",\"lateness_ms\":%" PRId64, task->lease,
               time_format(task->due_us, 6, due), task->lateness_us / US_PER_MS);
    text_print(out, ",\"failures\":%" PRIu32 ",\"crashes\":%" PRIu32, task->failures,
               task->crashes);
    add_bytes_member(out, "payload", task->payload);
    add_bytes_member(out, "memo", task->memo);
    if (task->group.data && task->group.count) {
        text_add_string(out, ",\"group\":");
        json_write_string(out, task->group.data, task->group.count);
    }
    add_every(out, task->every_us);
    text_print(out, ",\"deadline_ms\":%" PRId64 "}\n", left_us > 0 ? left_us / US_PER_MS : 0);
}

/* --- a result --------------------------------------------------------------------------------- */

static bool is_text(struct everdue_bytes value)
{
    return *(const char *)value.data == '"';
}

static bool value_is(struct everdue_bytes value, const char *word)
{
    return value.count == strlen(word) && memcmp(value.data, word, value.count) == 0;
}

/* The text of a string value, decoded into the scratch, which has room for all of the line. */
static bool read_text(struct answer *answer, struct everdue_bytes value, struct everdue_bytes *text)
{
    size_t begin = answer->scratch.count;

    if (!json_string(value, &answer->scratch))
        return false;
    text->data = answer->scratch.data + begin;
    text->count = answer->scratch.count - begin;
    return true;
}

/* A string's text, or a number as it is written: for the parsers of quantity.h. */
static bool read_quantity(struct answer *answer, struct everdue_bytes value,
                          struct everdue_bytes *text)
{
    char first = *(const char *)value.data;

    *text = value;
    if (first == '-' || (first >= '0' && first <= '9'))
        return true;
    return read_text(answer, value, text);
}

static const char *read_outcome(struct answer *answer, struct everdue_bytes value)
{
    static const char *const names[] = {
        [EVERDUE_OK] = "\"ok\"",
        [EVERDUE_RETRY] = "\"retry\"",
        [EVERDUE_PARK] = "\"park\"",
        [EVERDUE_REMOVE] = "\"remove\"",
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!value_is(value, names[i]))
            continue;
        answer->result.outcome = (enum everdue_outcome)i;
        answer->result.cause = i == EVERDUE_RETRY ? EVERDUE_CAUSE_FAILED : EVERDUE_CAUSE_NONE;
        answer->has_outcome = true;
        return NULL;
    }
    return "write \"ok\", \"retry\", \"park\" or \"remove\"";
}

static const char *read_next(struct answer *answer, struct everdue_bytes value)
{
    struct everdue_bytes text;

    if (!read_quantity(answer, value, &text))
        return "write a time in RFC 3339 or epoch seconds";
    return time_parse(text.data, text.count, &answer->result.next_us);
}

static const char *read_in(struct answer *answer, struct everdue_bytes value)
{
    struct everdue_bytes text;

    if (!read_quantity(answer, value, &text))
        return "write a duration such as \"5m\"";
    return duration_parse(text.data, text.count, &answer->result.in_us);
}

static const char *read_touch(struct answer *answer, struct everdue_bytes value)
{
    struct everdue_bytes text;

    if (!read_quantity(answer, value, &text))
        return "write a duration such as \"60s\"";
    return duration_parse(text.data, text.count, &answer->touch_us);
}

static const char *read_lease(struct answer *answer, struct everdue_bytes value)
{
    struct everdue_bytes text;
    int64_t lease;

    if (!read_quantity(answer, value, &text) ||
        number_parse(text.data, text.count, 0, ((int64_t)1 << 53) - 1, &lease))
        return "repeat the task's number";
    answer->has_lease = true;
    answer->lease = (uint64_t)lease;
    return NULL;
}

static const char *read_rank(struct answer *answer, struct everdue_bytes value)
{
    if (is_text(value) ||
        number_parse(value.data, value.count, INT64_MIN, INT64_MAX, &answer->result.rank))
        return "write a whole number";
    answer->result.has_rank = true;
    return NULL;
}

static const char *read_payload(struct answer *answer, struct everdue_bytes value)
{
    answer->result.payload = value;
    return NULL;
}

static const char *read_memo(struct answer *answer, struct everdue_bytes value)
{
    answer->result.memo = value;
    return NULL;
}

static const char *read_base64(struct answer *answer, struct everdue_bytes value,
                               struct everdue_bytes *bytes)
{
    static const char wrong[] = "write base64 with padding";
    struct everdue_bytes text;

    if (!is_text(value) || !read_text(answer, value, &text))
        return wrong;
    size_t begin = answer->scratch.count;
    if (!base64_read(&answer->scratch, text.data, text.count))
        return wrong;
    bytes->data = answer->scratch.data + begin;
    bytes->count = answer->scratch.count - begin;
    return NULL;
}

static const char *read_payload_b64(struct answer *answer, struct everdue_bytes value)
{
    return read_base64(answer, value, &answer->result.payload);
}

static const char *read_memo_b64(struct answer *answer, struct everdue_bytes value)
{
    return read_base64(answer, value, &answer->result.memo);
}

static const char *read_note(struct answer *answer, struct everdue_bytes value)
{
    if (!read_text(answer, value, &answer->result.note))
        return "write a text";
    answer->result.note.count =
        text_cut(answer->result.note.data, answer->result.note.count, NOTE_BYTES_MAX);
    return NULL;
}

static const char *read_error(struct answer *answer, struct everdue_bytes value)
{
    if (!read_text(answer, value, &answer->result.error))
        return "write a text";
    answer->result.error.count =
        text_cut(answer->result.error.data, answer->result.error.count, NOTE_BYTES_MAX);
    return NULL;
}

static const char *read_stop(struct answer *answer, struct everdue_bytes value)
{
    answer->result.stop = value_is(value, "true");
    return answer->result.stop || value_is(value, "false") ? NULL : "write true or false";
}

/* null means "not given", but where any JSON value may stand. */
static const struct member {
    const char *name;
    const char *(*read)(struct answer *answer, struct everdue_bytes value);
    bool null_is_value;
} members[] = {
    {"lease", read_lease, false},    {"outcome", read_outcome, false},
    {"next", read_next, false},      {"in", read_in, false},
    {"memo", read_memo, true},       {"memo_b64", read_memo_b64, false},
    {"payload", read_payload, true}, {"payload_b64", read_payload_b64, false},
    {"rank", read_rank, false},      {"note", read_note, false},
    {"error", read_error, false},    {"stop", read_stop, false},
    {"touch", read_touch, false},
};

static void read_member(struct answer *answer, struct everdue_bytes name,
                        struct everdue_bytes value)
{
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const struct member *member = &members[i];
        if (!value_is(name, member->name))
            continue;
        if (!member->null_is_value && value_is(value, "null"))
            return;
        const char *wrong = member->read(answer, value);
        if (wrong && answer->error[0] == '\0')
            snprintf(answer->error, sizeof answer->error, "\"%s\" of the result: %s", member->name,
                     wrong);
        return;
    }
    if (answer->unknown[0] == '\0')
        text_first_line(answer->unknown, sizeof answer->unknown, name.data, name.count);
}

void answer_init(struct answer *answer)
{
    *answer = (struct answer){.touch_us = EVERDUE_ABSENT};
    everdue_result_init(&answer->result);
}

void answer_release(struct answer *answer)
{
    text_release(&answer->scratch);
}

static void answer_clear(struct answer *answer)
{
    struct text scratch = answer->scratch;

    answer_init(answer);
    answer->scratch = scratch;
    text_clear(&answer->scratch);
}

static void refuse(struct answer *answer, const char *why)
{
    snprintf(answer->error, sizeof answer->error, "%s", why);
}

bool answer_read(struct answer *answer, const char *line, size_t count)
{
    struct json json;
    struct everdue_bytes name;
    struct everdue_bytes value;
    enum json_step step = JSON_BAD;

    answer_clear(answer);
    json_init(&json, line, count);
    if (!json_check(line, count) || !json_open(&json)) {
        refuse(answer, "the result is no JSON object");
        return false;
    }
    /* Decoded texts are shorter than their source, base64 is decoded once more: bytes in the
     * scratch never move. */
    if (!text_reserve(&answer->scratch, 2 * count)) {
        refuse(answer, "no memory for the result");
        return false;
    }
    /* Ends with the object, which is known to be valid. */
    while ((step = json_member(&json, &name, &value)) == JSON_MEMBER)
        read_member(answer, name, value);
    if (answer->touch_us != EVERDUE_ABSENT &&
        (answer->has_outcome || answer->result.in_us != EVERDUE_ABSENT ||
         answer->result.next_us != EVERDUE_ABSENT))
        refuse(answer, "\"touch\" of the result: it extends a lease and ends no run; leave it out");
    return true;
}
