#include "message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEASE_MOST (((uint64_t)1 << 53) - 1)

static struct wire_buffer buffer;
static struct wire_reader reader;

/* The reader stands at the beginning of what was written. */
static void read_back(void)
{
    assert_false(buffer.failed);
    wire_reader_init(&reader, buffer.data, buffer.count);
}

/* The reader stands behind the head of the message that was written. Returns how many fields. */
static uint32_t read_message_back(int type)
{
    struct message_head head;
    read_back();
    assert_int_equal(message_read_head(&reader, &head), STATUS_OK);
    assert_int_equal(head.version, PROTOCOL_VERSION);
    assert_int_equal(head.type, type);
    return head.fields;
}

static void expect_all_read(void)
{
    assert_int_equal(reader.status, STATUS_OK);
    assert_ptr_equal(reader.at, reader.end);
}

static void expect_text(struct bytes bytes, const char *text)
{
    if (!bytes_equal(bytes, bytes_of(text)))
        fail_msg("%.*s is not %s", (int)bytes.count, (const char *)bytes.data, text);
}

static int set_up(void **state)
{
    (void)state;
    wire_buffer_init(&buffer);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wire_buffer_release(&buffer);
    return 0;
}

/* --- sessions --------------------------------------------------------------------------------- */

static void a_hello_comes_back_as_it_was(void **state)
{
    static struct hello in = {.id = UINT64_MAX,
                              .queue_count = SESSION_QUEUES_MAX,
                              .credit = 64,
                              .lease_ms = 60000,
                              .heartbeat_ms = 5000,
                              .resume_count = 3};
    static struct hello out;
    (void)state;

    memcpy(in.uid, "0123456789abcdef", SESSION_UID_BYTES);
    in.name = bytes_of("web1:4711");
    for (uint32_t i = 0; i < SESSION_QUEUES_MAX; i++)
        in.queues[i] = bytes_of(i % 2 ? "feeds" : "pages");
    hello_write(&buffer, &in);
    hello_read(&reader, read_message_back(MESSAGE_HELLO), &out);
    expect_all_read();
    assert_true(out.id == UINT64_MAX);
    assert_memory_equal(out.uid, in.uid, SESSION_UID_BYTES);
    expect_text(out.name, "web1:4711");
    assert_int_equal(out.queue_count, SESSION_QUEUES_MAX);
    expect_text(out.queues[0], "pages");
    expect_text(out.queues[SESSION_QUEUES_MAX - 1], "feeds");
    assert_int_equal(out.credit, 64);
    assert_int_equal(out.lease_ms, 60000);
    assert_int_equal(out.heartbeat_ms, 5000);
    assert_int_equal(out.resume_count, 3);
}

static void a_welcome_comes_back_as_it_was(void **state)
{
    struct welcome in = {.id = 7,
                         .credit_max = 1,
                         .lease_ms = 2,
                         .heartbeat_ms = 3,
                         .payload_bytes_max = 4,
                         .message_bytes_max = UINT32_MAX,
                         .known = true,
                         .version = bytes_of("0.1.0"),
                         .now_us = TIME_US_END - 1};
    struct welcome out;
    (void)state;

    memcpy(in.store_id, "0123456789abcdef", STORE_ID_BYTES);
    welcome_write(&buffer, &in);
    welcome_read(&reader, read_message_back(MESSAGE_WELCOME), &out);
    expect_all_read();
    assert_int_equal(out.id, 7);
    assert_memory_equal(out.store_id, in.store_id, STORE_ID_BYTES);
    assert_int_equal(out.credit_max, 1);
    assert_int_equal(out.lease_ms, 2);
    assert_int_equal(out.heartbeat_ms, 3);
    assert_int_equal(out.payload_bytes_max, 4);
    assert_int_equal(out.message_bytes_max, UINT32_MAX);
    assert_true(out.known);
    expect_text(out.version, "0.1.0");
    assert_int_equal(out.now_us, TIME_US_END - 1);
}

/* --- work ------------------------------------------------------------------------------------- */

static void a_task_comes_back_as_it_was(void **state)
{
    const struct task in = {.name = {SESSION_QUEUES_MAX - 1, bytes_of("key"), LEASE_MOST},
                            .state = 16,
                            .due_us = 1795359600000000,
                            .lateness_us = 75,
                            .failures = 1,
                            .crashes = 2,
                            .lease_ms = 60000,
                            .payload = bytes_of("{}"),
                            .memo = bytes_of(""),
                            .group = bytes_of("example.org"),
                            .every_us = 900000000,
                            .rank = -3,
                            .once = true};
    struct task out;
    (void)state;

    task_write(&buffer, &in);
    read_back();
    task_read(&reader, &out);
    expect_all_read();
    assert_int_equal(out.name.queue, SESSION_QUEUES_MAX - 1);
    expect_text(out.name.key, "key");
    assert_int_equal(out.name.lease, LEASE_MOST);
    assert_int_equal(out.state, 16);
    assert_int_equal(out.due_us, 1795359600000000);
    assert_int_equal(out.lateness_us, 75);
    assert_int_equal(out.failures, 1);
    assert_int_equal(out.crashes, 2);
    assert_int_equal(out.lease_ms, 60000);
    expect_text(out.payload, "{}");
    expect_text(out.memo, "");
    expect_text(out.group, "example.org");
    assert_int_equal(out.every_us, 900000000);
    assert_int_equal(out.rank, -3);
    assert_true(out.once);
}

static void a_task_that_is_not_once_is_written_without_it(void **state)
{
    const struct task in = {.name = {0, bytes_of("key"), 17}, .lease_ms = 60000};
    struct task out = {.once = true};
    (void)state;

    task_write(&buffer, &in);
    assert_int_equal(buffer.data[0], 0x90 + 14);
    read_back();
    task_read(&reader, &out);
    expect_all_read();
    assert_false(out.once);
}

static void a_report_comes_back_with_all_its_fields(void **state)
{
    const struct report in = {.name = {1, bytes_of("key"), 17},
                              .state = 16,
                              .outcome = OUTCOME_RETRY,
                              .due_us = 5,
                              .in_us = 6,
                              .waited_us = 7,
                              .ran_us = UINT32_MAX,
                              .memo = bytes_of("memo"),
                              .payload = bytes_of("payload"),
                              .has_rank = true,
                              .rank = INT64_MIN,
                              .note = bytes_of("note"),
                              .error = bytes_of("error"),
                              .cause = CAUSE_KILLED};
    struct report out;
    (void)state;

    report_write(&buffer, &in);
    read_back();
    report_read(&reader, &out);
    expect_all_read();
    assert_int_equal(out.name.queue, 1);
    expect_text(out.name.key, "key");
    assert_int_equal(out.name.lease, 17);
    assert_int_equal(out.state, 16);
    assert_int_equal(out.outcome, OUTCOME_RETRY);
    assert_int_equal(out.due_us, 5);
    assert_int_equal(out.in_us, 6);
    assert_int_equal(out.waited_us, 7);
    assert_int_equal(out.ran_us, UINT32_MAX);
    expect_text(out.memo, "memo");
    expect_text(out.payload, "payload");
    assert_true(out.has_rank);
    assert_int_equal(out.rank, INT64_MIN);
    expect_text(out.note, "note");
    expect_text(out.error, "error");
    assert_int_equal(out.cause, CAUSE_KILLED);
}

static void a_report_of_nothing_special_is_short(void **state)
{
    static const char expected[] = "\x99\x00\xa1k\x11\x10\x00\xc0\xc0\x00\x00";
    const struct report in = {.name = {0, bytes_of("k"), 17},
                              .state = 16,
                              .due_us = TIME_US_NEVER,
                              .in_us = TIME_US_NEVER};
    struct report out;
    (void)state;

    report_write(&buffer, &in);
    assert_int_equal(buffer.count, sizeof(expected) - 1);
    assert_memory_equal(buffer.data, expected, sizeof(expected) - 1);
    read_back();
    report_read(&reader, &out);
    expect_all_read();
    assert_true(out.due_us == TIME_US_NEVER && out.in_us == TIME_US_NEVER);
    assert_null(out.memo.data);
    assert_null(out.payload.data);
    assert_false(out.has_rank);
    assert_null(out.note.data);
    assert_null(out.error.data);
    assert_int_equal(out.cause, CAUSE_NONE);
}

static void a_take_and_the_items_of_leases_come_back_as_they_were(void **state)
{
    const struct give_back given = {{1, bytes_of("a"), 2}, true};
    const struct resume resumed = {{3, bytes_of("b"), 4}, 5};
    const struct lease_name touched = {6, bytes_of("c"), 7};
    const struct take take = {8, 9, CREDIT_MAX, 10000, 0, true};
    struct give_back given_out;
    struct resume resumed_out;
    struct lease_name touched_out;
    struct take take_out;
    (void)state;

    give_back_write(&buffer, &given);
    resume_write(&buffer, &resumed);
    lease_name_write(&buffer, &touched);
    read_back();
    give_back_read(&reader, &given_out);
    resume_read(&reader, &resumed_out);
    lease_name_read(&reader, &touched_out);
    expect_all_read();
    assert_true(given_out.begun);
    assert_int_equal(given_out.name.lease, 2);
    assert_int_equal(resumed_out.state, 5);
    assert_int_equal(resumed_out.name.queue, 3);
    expect_text(touched_out.key, "c");

    wire_buffer_clear(&buffer);
    take_write(&buffer, &take);
    take_read(&reader, read_message_back(MESSAGE_TAKE), &take_out);
    expect_all_read();
    assert_int_equal(take_out.id, 8);
    assert_int_equal(take_out.queue, 9);
    assert_int_equal(take_out.max, CREDIT_MAX);
    assert_int_equal(take_out.wait_ms, 10000);
    assert_int_equal(take_out.lease_ms, 0);
    assert_true(take_out.detached);
}

/* --- records ---------------------------------------------------------------------------------- */

static void a_put_comes_back_with_all_its_fields(void **state)
{
    const struct put in = {.key = bytes_of("key"),
                           .due_us = 1,
                           .in_us = 2,
                           .every_us = 0,
                           .has_rank = true,
                           .rank = 0,
                           .group = bytes_of(""),
                           .has_once = true,
                           .once = false,
                           .payload = bytes_of("p"),
                           .memo = bytes_of("m")};
    struct put out;
    (void)state;

    put_write(&buffer, &in);
    read_back();
    put_read(&reader, &out);
    expect_all_read();
    expect_text(out.key, "key");
    assert_int_equal(out.due_us, 1);
    assert_int_equal(out.in_us, 2);
    assert_int_equal(out.every_us, 0);
    assert_true(out.has_rank && out.rank == 0);
    expect_text(out.group, "");
    assert_true(out.has_once && !out.once);
    expect_text(out.payload, "p");
    expect_text(out.memo, "m");
}

static void a_put_of_a_key_alone_is_an_array_of_one(void **state)
{
    const struct put in = {.key = bytes_of("key"),
                           .due_us = TIME_US_NEVER,
                           .in_us = TIME_US_NEVER,
                           .every_us = TIME_US_NEVER};
    struct put out;
    (void)state;

    put_write(&buffer, &in);
    assert_int_equal(buffer.count, 5);
    assert_memory_equal(buffer.data, "\x91\xa3key", 5);
    read_back();
    put_read(&reader, &out);
    expect_all_read();
    assert_true(out.due_us == TIME_US_NEVER && out.in_us == TIME_US_NEVER);
    assert_true(out.every_us == TIME_US_NEVER);
    assert_false(out.has_rank || out.has_once);
    assert_null(out.group.data);
    assert_null(out.payload.data);
    assert_null(out.memo.data);
}

static void a_record_comes_back_with_and_without_what_is_optional(void **state)
{
    struct record_view in = {.key = bytes_of("key"),
                             .status = RECORD_PARKED,
                             .due_us = 1,
                             .every_us = 2,
                             .rank = -1,
                             .group = bytes_of("g"),
                             .once = true,
                             .failures = 3,
                             .crashes = 4,
                             .state = LEASE_MOST};
    struct record_view out;
    (void)state;

    record_view_write(&buffer, &in);
    assert_int_equal(buffer.data[0], 0x9a);
    in.payload = bytes_of("payload");
    in.memo = bytes_of("memo");
    in.note = bytes_of("note");
    in.error = bytes_of("error");
    in.park_reason = bytes_of("reason");
    in.parked_us = 5;
    in.last_worker = bytes_of("worker");
    record_view_write(&buffer, &in);
    read_back();
    record_view_read(&reader, &out);
    assert_null(out.payload.data);
    assert_null(out.last_worker.data);
    assert_int_equal(out.parked_us, 0);
    record_view_read(&reader, &out);
    expect_all_read();
    expect_text(out.key, "key");
    assert_int_equal(out.status, RECORD_PARKED);
    assert_int_equal(out.due_us, 1);
    assert_int_equal(out.every_us, 2);
    assert_int_equal(out.rank, -1);
    expect_text(out.group, "g");
    assert_true(out.once);
    assert_int_equal(out.failures, 3);
    assert_int_equal(out.crashes, 4);
    assert_int_equal(out.state, LEASE_MOST);
    expect_text(out.payload, "payload");
    expect_text(out.memo, "memo");
    expect_text(out.note, "note");
    expect_text(out.error, "error");
    expect_text(out.park_reason, "reason");
    assert_int_equal(out.parked_us, 5);
    expect_text(out.last_worker, "worker");
}

/* --- full sets -------------------------------------------------------------------------------- */

static void the_messages_of_a_sync_come_back_as_they_were(void **state)
{
    const struct sync_begin begin = {1, bytes_of("feeds"), 3600000000, true};
    const struct sync_commit commit = {2, 3, 300000, 0xdeadbeef, true, 200000, true};
    struct sync_begin begin_out;
    struct sync_commit commit_out;
    (void)state;

    sync_begin_write(&buffer, &begin);
    sync_begin_read(&reader, read_message_back(MESSAGE_SYNC_BEGIN), &begin_out);
    expect_all_read();
    assert_int_equal(begin_out.id, 1);
    expect_text(begin_out.queue, "feeds");
    assert_int_equal(begin_out.spread_us, 3600000000);
    assert_true(begin_out.due_take);

    wire_buffer_clear(&buffer);
    sync_commit_write(&buffer, &commit);
    sync_commit_read(&reader, read_message_back(MESSAGE_SYNC_COMMIT), &commit_out);
    expect_all_read();
    assert_int_equal(commit_out.id, 2);
    assert_int_equal(commit_out.generation, 3);
    assert_int_equal(commit_out.count, 300000);
    assert_int_equal(commit_out.checksum, 0xdeadbeef);
    assert_true(commit_out.prune);
    assert_int_equal(commit_out.prune_max_ppm, 200000);
    assert_true(commit_out.dry_run);
}

static void the_counts_of_a_sync_come_back_in_order(void **state)
{
    const struct sync_counts in = {1, 2, 3, 4, 5, 6, 7, 8};
    struct sync_counts out;
    (void)state;

    sync_counts_write(&buffer, &in);
    assert_int_equal(buffer.count, 9);
    assert_memory_equal(buffer.data, "\x98\x01\x02\x03\x04\x05\x06\x07\x08", 9);
    read_back();
    sync_counts_read(&reader, &out);
    expect_all_read();
    assert_memory_equal(&out, &in, sizeof(in));
}

/* --- answers ---------------------------------------------------------------------------------- */

static void answers_and_errors_are_as_long_as_they_must(void **state)
{
    static const char expected[] = "\x94\x01\x43\x07\x00"
                                   "\x96\x01\x43\x07\xfe\xc0\xa3who"
                                   "\x96\x01\x43\x07\x00\x91\x01\xc0"
                                   "\x93\x01\x44\xec"
                                   "\x94\x01\x44\xec\xa3why";
    (void)state;

    answer_write(&buffer, 7, STATUS_OK, bytes_of(NULL));
    answer_write(&buffer, 7, STATUS_GONE, bytes_of("who"));
    answer_write_head(&buffer, 7, STATUS_OK);
    wire_write_array(&buffer, 1);
    wire_write_int(&buffer, STATUS_CREATED);
    answer_write_end(&buffer, bytes_of(NULL));
    error_write(&buffer, STATUS_NO_SESSION, bytes_of(NULL));
    error_write(&buffer, STATUS_NO_SESSION, bytes_of("why"));
    assert_int_equal(buffer.count, sizeof(expected) - 1);
    assert_memory_equal(buffer.data, expected, sizeof(expected) - 1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_hello_comes_back_as_it_was),
        test(a_welcome_comes_back_as_it_was),
        test(a_task_comes_back_as_it_was),
        test(a_task_that_is_not_once_is_written_without_it),
        test(a_report_comes_back_with_all_its_fields),
        test(a_report_of_nothing_special_is_short),
        test(a_take_and_the_items_of_leases_come_back_as_they_were),
        test(a_put_comes_back_with_all_its_fields),
        test(a_put_of_a_key_alone_is_an_array_of_one),
        test(a_record_comes_back_with_and_without_what_is_optional),
        test(the_messages_of_a_sync_come_back_as_they_were),
        test(the_counts_of_a_sync_come_back_in_order),
        test(answers_and_errors_are_as_long_as_they_must),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
