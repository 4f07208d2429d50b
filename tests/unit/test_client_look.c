#include "everdue/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "everdue/worker.h"
#include "fake_broker.h"

/* What clients look at, and work by hand. */

static void write_record(struct wire_buffer *frame, const char *key)
{
    const struct record_view view = {
        .key = bytes_of(key),
        .status = RECORD_PARKED,
        .due_us = 1763822400000000,
        .every_us = 900000000,
        .rank = -3,
        .group = bytes_of("example.org"),
        .once = true,
        .failures = 4,
        .crashes = 5,
        .state = 77,
        .payload = bytes_of("payload"),
        .note = bytes_of("note"),
        .error = bytes_of("error"),
        .park_reason = bytes_of("20 failures"),
        .parked_us = 1763822400000001,
        .last_worker = bytes_of("web1:4711"),
    };
    record_view_write(frame, &view);
}

static void write_list(struct wire_buffer *frame, struct wire_reader *reader)
{
    char key[32];
    wire_read_bytes(reader, 64);
    assert_int_equal(wire_read_uint(reader), EVERDUE_PARKED);
    assert_true(bytes_equal(wire_read_bytes(reader, 64), bytes_of("pre")));
    uint64_t cursor = wire_read_uint(reader);
    wire_write_array(frame, 2);
    if (cursor < 2)
        wire_write_uint(frame, cursor + 1);
    else
        wire_write_nil(frame);
    wire_write_array(frame, 2);
    for (uint64_t i = 0; i < 2; i++) {
        snprintf(key, sizeof(key), "pre-%d", (int)(2 * cursor + i));
        write_record(frame, key);
    }
}

static void write_stats(struct wire_buffer *frame)
{
    wire_write_map(frame, 5);
    wire_write_str(frame, bytes_of("records"));
    wire_write_uint(frame, 300000);
    wire_write_str(frame, bytes_of("something new"));
    wire_write_array(frame, 1);
    wire_write_uint(frame, 1);
    wire_write_str(frame, bytes_of("store"));
    wire_write_str(frame, bytes_of("lmdb"));
    wire_write_str(frame, bytes_of("head_lateness_us"));
    wire_write_int(frame, -5);
    wire_write_str(frame, bytes_of("draining"));
    wire_write_bool(frame, true);
}

static void write_tasks(struct wire_buffer *frame, struct wire_reader *reader)
{
    const struct task task = {
        .name = {1, bytes_of("host-1"), 17},
        .state = 16,
        .due_us = 1763822400000000,
        .lateness_us = 250,
        .failures = 1,
        .crashes = 2,
        .lease_ms = 60000,
        .payload = bytes_of("payload"),
        .every_us = 5,
        .rank = 9,
    };
    assert_int_equal(wire_read_uint(reader), 1);
    assert_int_equal(wire_read_uint(reader), 10);
    wire_write_array(frame, 1);
    task_write(frame, &task);
}

static void write_report_status(struct wire_buffer *frame, struct wire_reader *reader)
{
    struct report report;
    assert_int_equal(wire_read_array(reader, 1), 1);
    report_read(reader, &report);
    bool is_ours = report.name.queue == 1 && report.name.lease == 17 && report.state == 16 &&
                   report.in_us == 5000000 && bytes_equal(report.note, bytes_of("done"));
    wire_write_array(frame, 1);
    wire_write_int(frame, is_ours ? STATUS_OK : STATUS_STALE);
}

static void write_get(struct wire_buffer *frame, struct wire_reader *reader)
{
    wire_read_bytes(reader, 64);
    wire_read_array(reader, 1);
    wire_write_array(frame, 1);
    if (bytes_equal(wire_read_bytes(reader, 64), bytes_of("there")))
        write_record(frame, "there");
    else
        wire_write_int(frame, STATUS_NOT_FOUND);
}

static void show(struct fake_broker *broker, const struct message_head *head,
                 struct wire_reader *reader, void *user)
{
    (void)user;
    struct wire_buffer frame;
    wire_buffer_init(&frame);
    answer_write_head(&frame, wire_read_uint(reader), STATUS_OK);
    switch (head->type) {
    case MESSAGE_GET:
        write_get(&frame, reader);
        break;
    case MESSAGE_LIST:
        write_list(&frame, reader);
        break;
    case MESSAGE_PEEK:
        wire_write_array(&frame, 2);
        write_record(&frame, "one");
        write_record(&frame, "two");
        break;
    case MESSAGE_STATS:
        write_stats(&frame);
        break;
    case MESSAGE_WORKERS:
        wire_write_array(&frame, 2);
        write_stats(&frame);
        write_stats(&frame);
        break;
    case MESSAGE_QUEUES: /* nonsense: not an array */
        wire_write_uint(&frame, 5);
        break;
    case MESSAGE_TAKE:
        write_tasks(&frame, reader);
        break;
    case MESSAGE_REPORT:
        write_report_status(&frame, reader);
        break;
    default:
        wire_write_nil(&frame);
    }
    answer_write_end(&frame, (struct bytes){NULL, 0});
    fake_broker_send(broker, &frame);
}

static struct fake_broker *broker;
static struct everdue_client *client;

static int set_up(void **state)
{
    (void)state;
    static const char *const queues[] = {"feeds", "hosts", NULL};
    broker = fake_broker_start(show, NULL);
    const struct everdue_client_options options = {
        .endpoint = fake_broker_endpoint(broker), .queues = queues, .timeout_ms = 5000};
    client = everdue_client_new(&options, NULL);
    return client ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    everdue_client_destroy(&client);
    fake_broker_stop(&broker);
    return 0;
}

static bool is_text(struct everdue_bytes bytes, const char *text)
{
    return bytes.data && bytes.count == strlen(text) && memcmp(bytes.data, text, bytes.count) == 0;
}

static void a_record_comes_with_all_its_fields(void **state)
{
    (void)state;
    struct everdue_record record;
    assert_int_equal(everdue_get(client, "feeds", everdue_text("there"), &record), 0);
    assert_true(is_text(record.key, "there"));
    assert_int_equal(record.status, EVERDUE_PARKED);
    assert_int_equal(record.due_us, 1763822400000000);
    assert_int_equal(record.every_us, 900000000);
    assert_int_equal(record.rank, -3);
    assert_true(is_text(record.group, "example.org"));
    assert_true(record.once);
    assert_int_equal(record.failures, 4);
    assert_int_equal(record.crashes, 5);
    assert_int_equal(record.state, 77);
    assert_true(is_text(record.payload, "payload"));
    assert_null(record.memo.data);
    assert_true(is_text(record.park_reason, "20 failures"));
    assert_true(is_text(record.last_worker, "web1:4711"));
}

static void a_record_that_is_not_there_is_not_found(void **state)
{
    (void)state;
    struct everdue_record record;
    assert_int_equal(everdue_get(client, "feeds", everdue_text("no"), &record), STATUS_NOT_FOUND);
    assert_string_equal(everdue_client_error(client), status_text(STATUS_NOT_FOUND));
}

struct walk {
    char keys[256];
    size_t stop_after;
    size_t seen;
};

static bool note_key(const struct everdue_record *record, void *user)
{
    struct walk *walk = user;
    size_t count = strlen(walk->keys);
    snprintf(walk->keys + count, sizeof(walk->keys) - count, "%.*s ", (int)record->key.count,
             (const char *)record->key.data);
    return ++walk->seen != walk->stop_after;
}

static void a_list_goes_on_until_the_cursor_is_nil(void **state)
{
    (void)state;
    struct walk walk = {0};
    assert_int_equal(
        everdue_list(client, "feeds", EVERDUE_PARKED, everdue_text("pre"), note_key, &walk), 0);
    assert_string_equal(walk.keys, "pre-0 pre-1 pre-2 pre-3 pre-4 pre-5 ");
}

static void a_list_ends_when_the_visitor_has_enough(void **state)
{
    (void)state;
    struct walk walk = {.stop_after = 3};
    assert_int_equal(
        everdue_list(client, "feeds", EVERDUE_PARKED, everdue_text("pre"), note_key, &walk), 0);
    assert_string_equal(walk.keys, "pre-0 pre-1 pre-2 ");
}

static void a_peek_visits_its_records(void **state)
{
    (void)state;
    struct walk walk = {0};
    assert_int_equal(everdue_peek(client, "feeds", 10, note_key, &walk), 0);
    assert_string_equal(walk.keys, "one two ");
}

static bool call_back(const struct everdue_record *record, void *user)
{
    (void)record;
    *(int *)user = everdue_ping(client, NULL, NULL);
    return true;
}

static void a_visitor_that_makes_a_call_is_refused(void **state)
{
    (void)state;
    int status = 0;
    assert_int_equal(everdue_peek(client, "feeds", 10, call_back, &status), 0);
    assert_int_equal(status, STATUS_BUSY);
    assert_int_equal(everdue_ping(client, NULL, NULL), 0);
}

static bool check_row(const struct everdue_value *values, size_t count, void *user)
{
    ++*(int *)user;
    assert_int_equal(count, 4); /* a value of a kind that is not known is passed over */
    assert_true(is_text(values[0].name, "records"));
    assert_false(values[0].is_text);
    assert_int_equal(values[0].number, 300000);
    assert_true(values[1].is_text);
    assert_true(is_text(values[1].text, "lmdb"));
    assert_int_equal(values[2].number, -5);
    assert_int_equal(values[3].number, 1);
    return true;
}

static void rows_hold_numbers_and_texts(void **state)
{
    (void)state;
    int rows = 0;
    assert_int_equal(everdue_stats(client, NULL, check_row, &rows), 0);
    assert_int_equal(rows, 1);
    assert_int_equal(everdue_workers(client, check_row, &rows), 0);
    assert_int_equal(rows, 3);
}

static void an_answer_that_makes_no_sense_is_malformed(void **state)
{
    (void)state;
    int rows = 0;
    assert_int_equal(everdue_queues(client, check_row, &rows), STATUS_MALFORMED);
    assert_int_equal(rows, 0);
    assert_string_equal(everdue_client_error(client), "the broker's answer makes no sense");
}

static bool check_task(const struct everdue_task *task, void *user)
{
    ++*(int *)user;
    assert_true(is_text(task->key, "host-1"));
    assert_string_equal(task->queue, "hosts");
    assert_int_equal(task->lease, 17);
    assert_int_equal(task->state, 16);
    assert_int_equal(task->lateness_us, 250);
    assert_true(task->deadline_mono_us > 60000000);
    return true;
}

static void a_record_is_taken_and_reported_by_hand(void **state)
{
    (void)state;
    int tasks = 0;
    struct everdue_result result;
    assert_int_equal(everdue_take(client, "hosts", 10, 0, 0, true, check_task, &tasks), 0);
    assert_int_equal(tasks, 1);
    everdue_result_init(&result);
    result.in_us = 5000000;
    result.note = everdue_text("done");
    assert_int_equal(everdue_report(client, "hosts", everdue_text("host-1"), 17, 16, &result), 0);
    assert_int_equal(everdue_report(client, "feeds", everdue_text("host-1"), 17, 16, &result),
                     STATUS_STALE);
    result.in_us = -1;
    assert_int_equal(everdue_report(client, "hosts", everdue_text("host-1"), 17, 16, &result),
                     STATUS_BAD_TIME);
    assert_int_equal(everdue_take(client, "others", 1, 0, 0, true, check_task, &tasks),
                     STATUS_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_comes_with_all_its_fields),
        cmocka_unit_test(a_record_that_is_not_there_is_not_found),
        cmocka_unit_test(a_list_goes_on_until_the_cursor_is_nil),
        cmocka_unit_test(a_list_ends_when_the_visitor_has_enough),
        cmocka_unit_test(a_peek_visits_its_records),
        cmocka_unit_test(a_visitor_that_makes_a_call_is_refused),
        cmocka_unit_test(rows_hold_numbers_and_texts),
        cmocka_unit_test(an_answer_that_makes_no_sense_is_malformed),
        cmocka_unit_test(a_record_is_taken_and_reported_by_hand),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
