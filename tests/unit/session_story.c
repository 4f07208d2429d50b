#include "session_story.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "message.h"

static const char *const queues[] = {"feeds"};

static void begin(struct story *story, uint32_t credit, uint32_t credit_most)
{
    *story = (struct story){.now = {.wall_us = 1763822400000000, .mono_us = US_PER_S}};
    const struct session_options options = {
        .uid = {7},
        .name = bytes_of("story"),
        .queues = queues,
        .queue_count = 1,
        .credit = credit,
        .credit_most = credit_most,
        .timeout_us = 600 * (int64_t)US_PER_S,
    };
    story->session = session_new(&options);
    assert_non_null(story->session);
    session_opened(story->session, story->now);
}

void story_begin(struct story *story)
{
    begin(story, 64, 0);
}

void story_begin_with_credit(struct story *story, uint32_t credit, uint32_t credit_most)
{
    begin(story, credit, credit_most);
}

void story_end(struct story *story)
{
    session_destroy(&story->session);
    assert_null(story->session);
}

void story_begin_live(struct story *story)
{
    story_begin(story);
    story_says(story, "hello resume=0");
    story_hears_welcome(story, 'A');
    story_says(story, "");
}

void story_at(struct story *story, int64_t ms)
{
    story->now.mono_us = US_PER_S + ms * US_PER_MS;
    session_pass(story->session, story->now);
}

/* --- what it says ----------------------------------------------------------------------------- */

struct said {
    char text[STORY_SAID_BYTES];
    size_t count;
};

__attribute__((format(printf, 2, 3))) static void add(struct said *said, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = sizeof(said->text) - said->count;
    said->count += (size_t)vsnprintf(said->text + said->count, room, format, arguments);
    va_end(arguments);
    assert_true(said->count < sizeof(said->text));
}

static void add_lease(struct said *said, const struct lease_name *name)
{
    char key[32];
    snprintf(key, sizeof(key), "key-%d", (int)name->lease);
    assert_true(bytes_equal(name->key, bytes_of(key)));
    assert_int_equal(name->queue, 0);
    add(said, " %d", (int)name->lease);
}

static void add_report(struct said *said, struct wire_reader *reader)
{
    struct report report;
    report_read(reader, &report);
    assert_int_equal(report.state, report.name.lease + 1000);
    add_lease(said, &report.name);
    if (report.outcome != OUTCOME_OK)
        add(said, "(outcome %d: %.*s)", (int)report.outcome, (int)report.error.count,
            report.error.data ? (const char *)report.error.data : "");
}

static void add_item(struct said *said, int type, struct wire_reader *reader)
{
    struct lease_name name;
    struct give_back give_back;
    struct resume resume;
    if (type == MESSAGE_REPORT) {
        add_report(said, reader);
    } else if (type == MESSAGE_TOUCH) {
        lease_name_read(reader, &name);
        add_lease(said, &name);
    } else if (type == MESSAGE_GIVE_BACK) {
        give_back_read(reader, &give_back);
        add_lease(said, &give_back.name);
        add(said, "%s", give_back.begun ? "(begun)" : "");
    } else {
        resume_read(reader, &resume);
        assert_int_equal(resume.state, resume.name.lease + 1000);
        add_lease(said, &resume.name);
    }
}

static void add_request(struct story *story, struct said *said, int type,
                        struct wire_reader *reader)
{
    static const char *const names[] = {[MESSAGE_REPORT] = "report",
                                        [MESSAGE_TOUCH] = "touch",
                                        [MESSAGE_GIVE_BACK] = "give-back",
                                        [MESSAGE_RESUME] = "resume",
                                        [MESSAGE_GOODBYE] = "goodbye"};
    assert_true(story->request_count < STORY_REQUESTS_MAX);
    story->requests[story->request_count++] = wire_read_uint(reader);
    add(said, "%s", names[type]);
    if (type == MESSAGE_GOODBYE)
        return;
    if (type == MESSAGE_TOUCH)
        add(said, " %d ms", (int)wire_read_uint(reader));
    uint32_t count = wire_read_array(reader, ITEMS_MAX);
    for (uint32_t i = 0; i < count; i++)
        add_item(said, type, reader);
}

static void add_hello(struct story *story, struct said *said, const struct message_head *head,
                      struct wire_reader *reader)
{
    struct hello hello;
    hello_read(reader, head->fields, &hello);
    assert_int_equal(hello.queue_count, 1);
    assert_int_equal(hello.uid[0], 7);
    story->hello_id = hello.id;
    add(said, "hello resume=%d", (int)hello.resume_count);
    if (hello.credit != 64)
        add(said, " credit=%d", (int)hello.credit);
}

static void add_frame(struct story *story, struct said *said, struct bytes frame)
{
    struct wire_reader reader;
    struct message_head head;
    wire_reader_init(&reader, frame.data, frame.count);
    assert_int_equal(message_read_head(&reader, &head), STATUS_OK);
    add(said, "%s", said->count > 0 ? "; " : "");
    switch (head.type) {
    case MESSAGE_HELLO:
        add_hello(story, said, &head, &reader);
        break;
    case MESSAGE_PING:
        add(said, "ping");
        break;
    case MESSAGE_PONG:
        add(said, "pong %d", (int)wire_read_uint(&reader));
        break;
    case MESSAGE_CREDIT:
        add(said, "credit %d", (int)wire_read_uint(&reader));
        break;
    default:
        add_request(story, said, head.type, &reader);
    }
    assert_int_equal(reader.status, STATUS_OK);
}

void story_says(struct story *story, const char *expected)
{
    struct said said = {.count = 0};
    struct bytes frame;
    while (session_next_frame(story->session, story->now, &frame))
        add_frame(story, &said, frame);
    assert_string_equal(said.text, expected);
}

/* --- what it hears ---------------------------------------------------------------------------- */

static void collect_arrived(struct story *story)
{
    struct lease_chain arrived = session_take_arrived(story->session);
    struct lease *lease;
    while ((lease = lease_chain_take(&arrived))) {
        assert_true(lease->task.lease < STORY_LEASES_MAX);
        story->leases[lease->task.lease] = lease;
        story->delivered++;
    }
}

void story_hears(struct story *story, const struct wire_buffer *frame)
{
    assert_false(frame->failed);
    session_receive(story->session, frame->data, frame->count, story->now);
    collect_arrived(story);
}

static void hear_and_release(struct story *story, struct wire_buffer *frame)
{
    story_hears(story, frame);
    wire_buffer_release(frame);
}

void story_hears_welcome_with(struct story *story, char store, uint32_t lease_ms,
                              uint32_t heartbeat_ms)
{
    struct welcome welcome = {
        .id = story->hello_id,
        .credit_max = CREDIT_MAX,
        .lease_ms = lease_ms,
        .heartbeat_ms = heartbeat_ms,
        .payload_bytes_max = PAYLOAD_BYTES_DEFAULT,
        .message_bytes_max = MESSAGE_BYTES_MAX,
        .version = bytes_of("0.1.0"),
        .now_us = story->now.wall_us,
    };
    memset(welcome.store_id, store, sizeof(welcome.store_id));
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    welcome_write(&frame, &welcome);
    hear_and_release(story, &frame);
}

void story_hears_welcome(struct story *story, char store)
{
    story_hears_welcome_with(story, store, 60000, 5000);
}

/* The numbers of a text such as "17 18". */
static uint32_t numbers_of(const char *text, uint64_t *numbers)
{
    uint32_t count = 0;
    char *rest;
    for (const char *at = text; *at; at = rest) {
        assert_true(count < STORY_LEASES_MAX);
        numbers[count++] = strtoull(at, &rest, 10);
        assert_true(rest != at);
    }
    return count;
}

void story_hears_tasks(struct story *story, const char *leases)
{
    uint64_t numbers[STORY_LEASES_MAX];
    uint32_t count = numbers_of(leases, numbers);
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    message_write_head(&frame, MESSAGE_TASKS, 1);
    wire_write_array(&frame, count);
    for (uint32_t i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof(key), "key-%d", (int)numbers[i]);
        const struct task task = {
            .name = {0, bytes_of(key), numbers[i]},
            .state = 1000 + numbers[i],
            .due_us = story->now.wall_us,
            .lease_ms = 60000,
            .payload = bytes_of("payload"),
        };
        task_write(&frame, &task);
    }
    hear_and_release(story, &frame);
}

void story_hears_cancel(struct story *story, const char *leases)
{
    uint64_t numbers[STORY_LEASES_MAX];
    uint32_t count = numbers_of(leases, numbers);
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    message_write_head(&frame, MESSAGE_CANCEL, 1);
    wire_write_array(&frame, count);
    for (uint32_t i = 0; i < count; i++)
        wire_write_uint(&frame, numbers[i]);
    hear_and_release(story, &frame);
}

static enum status status_of(const char *name)
{
    for (int status = -31; status <= 4; status++)
        if (strcmp(status_name((enum status)status), name) == 0)
            return (enum status)status;
    fail_msg("no such status: %s", name);
    return STATUS_OK;
}

static uint64_t oldest_request(struct story *story)
{
    assert_true(story->request_count > 0);
    uint64_t id = story->requests[0];
    story->request_count--;
    memmove(story->requests, story->requests + 1, story->request_count * sizeof(uint64_t));
    return id;
}

void story_hears_answer(struct story *story, const char *statuses)
{
    char copy[256];
    char *rest;
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    answer_write_head(&frame, oldest_request(story), STATUS_OK);
    size_t array = wire_write_array_later(&frame);
    uint32_t count = 0;
    snprintf(copy, sizeof(copy), "%s", statuses);
    for (char *name = strtok_r(copy, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
        wire_write_int(&frame, (int)status_of(name));
        count++;
    }
    wire_patch_array(&frame, array, count);
    answer_write_end(&frame, (struct bytes){NULL, 0});
    hear_and_release(story, &frame);
}

static void hear_whole_answer(struct story *story, uint64_t id, enum status status)
{
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    answer_write(&frame, id, status, bytes_of("for a reason"));
    hear_and_release(story, &frame);
}

void story_hears_whole_answer(struct story *story, enum status status)
{
    hear_whole_answer(story, oldest_request(story), status);
}

void story_hears_hello_refused(struct story *story, enum status status)
{
    hear_whole_answer(story, story->hello_id, status);
}

void story_hears_error(struct story *story, enum status status)
{
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    error_write(&frame, status, bytes_of("for a reason"));
    hear_and_release(story, &frame);
}

static void hear_number(struct story *story, enum message_type type, uint64_t number)
{
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    message_write_head(&frame, type, 1);
    wire_write_uint(&frame, number);
    hear_and_release(story, &frame);
}

void story_hears_bye(struct story *story)
{
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    message_write_head(&frame, MESSAGE_BYE, 1);
    wire_write_str(&frame, bytes_of("the broker stops"));
    hear_and_release(story, &frame);
}

void story_hears_ping(struct story *story, uint64_t id)
{
    hear_number(story, MESSAGE_PING, id);
}

void story_hears_pong(struct story *story)
{
    hear_number(story, MESSAGE_PONG, 1);
}

/* --- the caller ------------------------------------------------------------------------------- */

static struct lease *lease_at(struct story *story, uint64_t number)
{
    assert_true(number < STORY_LEASES_MAX);
    assert_non_null(story->leases[number]);
    return story->leases[number];
}

static void send_back(struct story *story, uint64_t number, enum lease_mail mail)
{
    struct lease *lease = lease_at(story, number);
    story->leases[number] = NULL;
    lease->mail = mail;
    session_mail(story->session, lease);
}

bool story_runs(struct story *story, uint64_t lease)
{
    return lease_begin(lease_at(story, lease), story->now.mono_us);
}

void story_reports(struct story *story, uint64_t number)
{
    struct lease *lease = lease_at(story, number);
    const struct report report = {
        .name = {lease->queue, {lease->task.key.data, (uint32_t)lease->task.key.count}, number},
        .state = lease->task.state,
        .due_us = TIME_US_NEVER,
        .in_us = 60 * US_PER_S,
    };
    lease->sheet = report_sheet_new();
    assert_non_null(lease->sheet);
    lease->sheet->reports = 1;
    report_write(&lease->sheet->bytes, &report);
    lease->report_offset = 0;
    lease->report_bytes = (uint32_t)lease->sheet->bytes.count;
    send_back(story, number, LEASE_MAIL_REPORT);
}

void story_gives_back(struct story *story, uint64_t lease, bool begun)
{
    send_back(story, lease, begun ? LEASE_MAIL_BEGUN : LEASE_MAIL_UNBEGUN);
}

void story_skips(struct story *story, uint64_t lease)
{
    send_back(story, lease, LEASE_MAIL_SKIPPED);
}

bool story_is_cancelled(struct story *story, uint64_t lease)
{
    return atomic_load(&lease_at(story, lease)->ends_us) <= story->now.mono_us;
}

void story_link_breaks(struct story *story)
{
    session_link_broke(story->session, story->now);
}

bool story_wants_reopen(struct story *story)
{
    session_pass(story->session, story->now);
    return session_wants_reopen(story->session);
}

void story_reopens(struct story *story)
{
    assert_true(story_wants_reopen(story));
    story->request_count = 0;
    session_opened(story->session, story->now);
}
