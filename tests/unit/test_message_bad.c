/* Messages that are cut, damaged, of another version or from the future. */
#include "message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "recode.h"

#define BYTES(text) (text), sizeof(text) - 1
#define ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

static struct wire_reader over(const void *bytes, size_t count)
{
    struct wire_reader reader;
    wire_reader_init(&reader, bytes, count);
    return reader;
}

/* --- heads ------------------------------------------------------------------------------------ */

static void heads_are_told_from_what_is_none(void **state)
{
    static const struct {
        const char *bytes;
        size_t count;
        enum status status;
        int version;
        int type;
        uint32_t fields;
    } rows[] = {
        {BYTES("\x93\x01\x09\x05"), STATUS_OK, 1, MESSAGE_PING, 1},
        {BYTES("\x92\x01\x26"), STATUS_OK, 1, MESSAGE_QUEUES, 0},
        {BYTES("\x92\x01\x63"), STATUS_OK, 1, 99, 0},
        {BYTES("\x92\x01\xff"), STATUS_OK, 1, -1, 0},
        {BYTES("\x92\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), STATUS_OK, 1, -1, 0},
        {BYTES("\x92\x02\x09"), STATUS_VERSION, 2, -1, 0},
        {BYTES("\x91\x02"), STATUS_VERSION, 2, -1, 0},
        {BYTES("\x92\x00\xc0"), STATUS_VERSION, 0, -1, 0},
        {BYTES("\x92\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x09"), STATUS_VERSION, -1, -1, 0},
        {BYTES(""), STATUS_MALFORMED, -1, -1, 0},
        {BYTES("\x90"), STATUS_MALFORMED, -1, -1, 0},
        {BYTES("\x91\x01"), STATUS_MALFORMED, 1, -1, 0},
        {BYTES("\x91\x01\x09"), STATUS_MALFORMED, 1, -1, 0},
        {BYTES("\x93\x01\x09"), STATUS_MALFORMED, -1, -1, 0},
        {BYTES("\x92\xc0\x09"), STATUS_MALFORMED, -1, -1, 0},
        {BYTES("\x92\x01\xa1x"), STATUS_MALFORMED, 1, -1, 0},
        {BYTES("\x81\x01\x09"), STATUS_MALFORMED, -1, -1, 0},
        {BYTES("hello"), STATUS_MALFORMED, -1, -1, 0},
        {BYTES("\xdd\x00\xff\xff\xff"), STATUS_MALFORMED, -1, -1, 0},
    };
    (void)state;

    for (size_t i = 0; i < ROWS(rows); i++) {
        struct wire_reader reader = over(rows[i].bytes, rows[i].count);
        struct message_head head;
        enum status status = message_read_head(&reader, &head);
        if (status != rows[i].status || head.version != rows[i].version ||
            head.type != rows[i].type || head.fields != rows[i].fields)
            fail_msg("row %zu: %s, version %d, type %d, %u fields", i, status_name(status),
                     head.version, head.type, head.fields);
    }
}

/* --- fields ----------------------------------------------------------------------------------- */

static void fields_out_of_what_a_struct_holds_are_malformed(void **state)
{
    static const struct {
        const char *bytes;
        size_t count;
    } rows[] = {
        /* HELLO: uid of 15 bytes; as nil; 65 queues; queues nil; a queue that is a number; credit
         */
        {BYTES("\x9a\x01\x01\x01\xc4\x0f"
               "123456789012345\xa1n\x90\x01\x00\x00\x00")},
        {BYTES("\x9a\x01\x01\x01\xc0\xa1n\x90\x01\x00\x00\x00")},
        {BYTES("\x9a\x01\x01\x01\xc4\x10"
               "1234567890123456\xa1n\xdc\x00\x41"
               "\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0"
               "\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0"
               "\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0\xa0"
               "\xa0\xa0\xa0\xa0\xa0\x01\x00\x00\x00")},
        {BYTES("\x9a\x01\x01\x01\xc4\x10"
               "1234567890123456\xa1n\xc0\x01\x00\x00\x00")},
        {BYTES("\x9a\x01\x01\x01\xc4\x10"
               "1234567890123456\xa1n\x91\x05\x01\x00\x00\x00")},
        {BYTES("\x9a\x01\x01\x01\xc4\x10"
               "1234567890123456\xa1n\x90\xcf\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00")},
        {BYTES("\x9a\x01\x01\x01\xc4\x10"
               "1234567890123456\xa1n\x90\xff\x00\x00\x00")},
        /* REPORT: queue index 64; lease 2^53; state -1; outcome 4; cause 4; waited nil; key nil;
         * too short by one */
        {BYTES("\x94\x01\x03\x01\x91\x99\x40\xa1k\x11\x10\x00\xc0\xc0\x00\x00")},
        {BYTES("\x94\x01\x03\x01\x91\x99\x00\xa1k\xcf\x00\x20\x00\x00\x00\x00\x00\x00"
               "\x10\x00\xc0\xc0\x00\x00")},
        {BYTES("\x94\x01\x03\x01\x91\x99\x00\xa1k\x11\xff\x00\xc0\xc0\x00\x00")},
        {BYTES("\x94\x01\x03\x01\x91\x99\x00\xa1k\x11\x10\x04\xc0\xc0\x00\x00")},
        {BYTES("\x94\x01\x03\x01\x91\x9f\x00\xa1k\x11\x10\x00\xc0\xc0\x00\x00"
               "\xc0\xc0\xc0\xc0\xc0\x04")},
        {BYTES("\x94\x01\x03\x01\x91\x99\x00\xa1k\x11\x10\x00\xc0\xc0\xc0\x00")},
        {BYTES("\x94\x01\x03\x01\x91\x99\x00\xc0\x11\x10\x00\xc0\xc0\x00\x00")},
        {BYTES("\x94\x01\x03\x01\x91\x98\x00\xa1k\x11\x10\x00\xc0\xc0\x00")},
        /* PUT: a due that is a str; an every that is a float; once as a number; rank above int64 */
        {BYTES("\x95\x01\x10\x01\xa1q\x91\x92\xa1k\xa1x")},
        {BYTES("\x95\x01\x10\x01\xa1q\x91\x94\xa1k\xc0\xc0\xca\x00\x00\x00\x00")},
        {BYTES("\x95\x01\x10\x01\xa1q\x91\x97\xa1k\xc0\xc0\xc0\xc0\xc0\x01")},
        {BYTES("\x95\x01\x10\x01\xa1q\x91\x95\xa1k\xc0\xc0\xc0"
               "\xcf\x80\x00\x00\x00\x00\x00\x00\x00")},
        {BYTES("\x95\x01\x10\x01\xa1q\x91\x90")},
        /* TAKE: detached is missing. TASKS: due 2^52 */
        {BYTES("\x97\x01\x07\x01\x00\x01\x00\x00")},
        {BYTES("\x93\x01\x41\x91\x9e\x00\xa1k\x11\x10\xcf\x00\x10\x00\x00\x00\x00\x00\x00"
               "\x00\x00\x00\x00\xc0\xc0\xc0\x00\x00")},
        /* SYNC_COMMIT: a checksum of 33 bits */
        {BYTES("\x99\x01\x1a\x01\x01\x01\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xc2\x00\xc2")},
    };
    (void)state;

    for (size_t i = 0; i < ROWS(rows); i++) {
        struct wire_buffer out;
        wire_buffer_init(&out);
        enum status status = recode(rows[i].bytes, rows[i].count, NULL, &out);
        if (status != STATUS_MALFORMED)
            fail_msg("row %zu: %s", i, status_name(status));
        wire_buffer_release(&out);
    }
}

static void a_status_of_a_record_is_one_of_four(void **state)
{
    char bytes[] = "\x9a\xa1k\x01\x00\x00\x00\xc0\xc2\x00\x00\x00";
    (void)state;

    for (char status = 0; status < 32; status++) {
        struct record_view view;
        bytes[3] = status;
        struct wire_reader reader = over(bytes, sizeof(bytes) - 1);
        record_view_read(&reader, &view);
        bool right = status == 1 || status == 2 || status == 4 || status == 8;
        assert_int_equal(reader.status, right ? STATUS_OK : STATUS_MALFORMED);
        assert_true(!right || view.status == (enum record_status)status);
    }
}

/* One bad time must not cost the other items of a batch their answers. */
static void a_time_out_of_range_is_left_to_be_refused_for_its_item(void **state)
{
    static const struct {
        const char *bytes; /* of the due of a put and of a report */
        size_t count;
        int64_t us;
    } rows[] = {
        {BYTES("\xc0"), TIME_US_NEVER},
        {BYTES("\x00"), 0},
        {BYTES("\xff"), -1},
        {BYTES("\xcf\x00\x10\x00\x00\x00\x00\x00\x00"), TIME_US_END},
        {BYTES("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"), TIME_US_NEVER - 1},
        {BYTES("\xd3\x7f\xff\xff\xff\xff\xff\xff\xff"), TIME_US_NEVER - 1},
        {BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), TIME_US_NEVER - 1},
        {BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), INT64_MIN},
    };
    struct wire_buffer bytes;
    (void)state;

    wire_buffer_init(&bytes);
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct put put;
        struct report report;
        wire_buffer_clear(&bytes);
        wire_write_raw(&bytes, "\x94\xa1k", 3);
        for (int j = 0; j < 3; j++)
            wire_write_raw(&bytes, rows[i].bytes, rows[i].count);
        wire_write_raw(&bytes, "\x99\x00\xa1k\x11\x10\x00", 7);
        for (int j = 0; j < 2; j++)
            wire_write_raw(&bytes, rows[i].bytes, rows[i].count);
        wire_write_raw(&bytes, "\x00\x00", 2);

        struct wire_reader reader = over(bytes.data, bytes.count);
        put_read(&reader, &put);
        report_read(&reader, &report);
        assert_int_equal(reader.status, STATUS_OK);
        assert_ptr_equal(reader.at, reader.end);
        assert_int_equal(put.due_us, rows[i].us);
        assert_int_equal(put.in_us, rows[i].us);
        assert_int_equal(put.every_us, rows[i].us);
        assert_int_equal(report.due_us, rows[i].us);
        assert_int_equal(report.in_us, rows[i].us);
    }
    wire_buffer_release(&bytes);
}

static void long_runs_are_saturated(void **state)
{
    struct report report;
    struct wire_reader reader = over(BYTES("\x99\x00\xa1k\x11\x10\x00\xc0\xc0"
                                           "\xcf\x00\x00\x00\x01\x00\x00\x00\x00"
                                           "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"));
    (void)state;

    report_read(&reader, &report);
    assert_int_equal(reader.status, STATUS_OK);
    assert_int_equal(report.waited_us, UINT32_MAX);
    assert_int_equal(report.ran_us, UINT32_MAX);
}

/* A key of any length is read, so that its item can be answered bad-key. */
static void a_key_of_100000_bytes_is_read(void **state)
{
    struct wire_buffer bytes;
    uint8_t *key = calloc(1, 100000);
    struct put put;
    (void)state;

    assert_non_null(key);
    wire_buffer_init(&bytes);
    wire_write_array(&bytes, 1);
    wire_write_str(&bytes, (struct bytes){key, 100000});
    struct wire_reader reader = over(bytes.data, bytes.count);
    put_read(&reader, &put);
    assert_int_equal(reader.status, STATUS_OK);
    assert_int_equal(put.key.count, 100000);
    wire_buffer_release(&bytes);
    free(key);
}

/* --- the future ------------------------------------------------------------------------------- */

static void unknown_fields_at_the_end_are_passed_over(void **state)
{
    static const char put[] =
        "\x9b\xa1k\xc0\xc0\xc0\xc0\xc0\xc0\xc0\xc0\x93\x01\xc0\xa1x\x81\x01\x02";
    static const char task[] =
        "\xdc\x00\x11\x00\xa1k\x11\x10\x00\x00\x00\x00\x00\xc0\xc0\xc0\x00\x00\xc3"
        "\xd4\x01\x01\xcb\x00\x00\x00\x00\x00\x00\x00\x00";
    static const char lease[] = "\x94\x05\xa1k\x11\xa3new";
    static const char take[] = "\x99\x01\x07\x01\x02\x03\x04\x05\xc3\xc4\x01x";
    struct put put_out;
    struct task task_out;
    struct lease_name lease_out;
    struct take take_out;
    struct message_head head;
    (void)state;

    struct wire_reader reader = over(BYTES(put));
    put_read(&reader, &put_out);
    assert_true(reader.status == STATUS_OK && reader.at == reader.end);
    reader = over(BYTES(task));
    task_read(&reader, &task_out);
    assert_true(reader.status == STATUS_OK && reader.at == reader.end);
    reader = over(BYTES(lease));
    lease_name_read(&reader, &lease_out);
    assert_true(reader.status == STATUS_OK && reader.at == reader.end);
    reader = over(BYTES(take));
    assert_int_equal(message_read_head(&reader, &head), STATUS_OK);
    take_read(&reader, head.fields, &take_out);
    assert_true(reader.status == STATUS_OK && reader.at == reader.end);
    assert_true(take_out.detached);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_told_from_what_is_none),
        cmocka_unit_test(fields_out_of_what_a_struct_holds_are_malformed),
        cmocka_unit_test(a_status_of_a_record_is_one_of_four),
        cmocka_unit_test(a_time_out_of_range_is_left_to_be_refused_for_its_item),
        cmocka_unit_test(long_runs_are_saturated),
        cmocka_unit_test(a_key_of_100000_bytes_is_read),
        cmocka_unit_test(unknown_fields_at_the_end_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
