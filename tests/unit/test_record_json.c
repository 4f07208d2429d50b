#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "record_json.h"

/* --- a line in, a record out ------------------------------------------------------------------ */

static int set_up(void **state)
{
    struct record_json *reader = malloc(sizeof(*reader));
    if (!reader)
        return -1;
    record_json_init(reader);
    *state = reader;
    return 0;
}

static int tear_down(void **state)
{
    record_json_release(*state);
    free(*state);
    return 0;
}

static void read_good(struct record_json *reader, const char *line, struct everdue_put *put)
{
    bool is_read = record_json_read(reader, line, strlen(line), put);
    if (!is_read)
        print_error("%s: %s\n", line, reader->error);
    assert_true(is_read);
}

static void assert_bytes(struct everdue_bytes bytes, const char *expected)
{
    assert_non_null(bytes.data);
    assert_int_equal(bytes.count, strlen(expected));
    assert_memory_equal(bytes.data, expected, bytes.count);
}

static void only_the_key_is_required(void **state)
{
    struct everdue_put put;
    read_good(*state, "{\"key\":\"a\"}", &put);
    assert_bytes(put.key, "a");
    assert_int_equal(put.due_us, EVERDUE_ABSENT);
    assert_int_equal(put.in_us, EVERDUE_ABSENT);
    assert_int_equal(put.every_us, EVERDUE_ABSENT);
    assert_false(put.has_rank);
    assert_false(put.has_once);
    assert_null(put.group.data);
    assert_null(put.payload.data);
    assert_null(put.memo.data);
}

static void every_member_is_read(void **state)
{
    struct everdue_put put;
    read_good(*state,
              " {\"key\":\"https://example.org/feed.xml\",\"due\":\"2026-11-22T15:00:00.000Z\","
              "\"every\":\"15m\",\"group\":\"example.org\",\"rank\":-3,\"once\":true,"
              "\"payload\":{\"etag\":\"x\"},\"memo\":[1, 2]}\r",
              &put);
    assert_bytes(put.key, "https://example.org/feed.xml");
    assert_int_equal(put.due_us, 1795359600000000);
    assert_int_equal(put.every_us, 900000000);
    assert_bytes(put.group, "example.org");
    assert_true(put.has_rank);
    assert_int_equal(put.rank, -3);
    assert_true(put.has_once);
    assert_true(put.once);
    assert_bytes(put.payload, "{\"etag\":\"x\"}");
    assert_bytes(put.memo, "[1, 2]");
}

static void the_bytes_of_payload_and_memo_are_kept_as_they_stand(void **state)
{
    static const char *const values[] = {
        "{ \"a\" : 1.50 }",  "\"a \\u0041 \\/\"", "1e3", "-0", "null", "true", "[]", "\"\"",
        "{\"a\":1,\"a\":2}",
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char line[128];
        struct everdue_put put;
        snprintf(line, sizeof(line), "{\"key\":\"a\", \"payload\" : %s ,\"memo\":%s}", values[i],
                 values[i]);
        read_good(*state, line, &put);
        assert_bytes(put.payload, values[i]);
        assert_bytes(put.memo, values[i]);
    }
}

static void escapes_in_keys_are_decoded(void **state)
{
    struct everdue_put put;
    read_good(*state, "{\"key\":\"a\\/\\u00e9\\ud83d\\ude00\\\"\",\"group\":\"\\u20ac\"}", &put);
    assert_bytes(put.key, "a/\xc3\xa9\xf0\x9f\x98\x80\"");
    assert_bytes(put.group, "\xe2\x82\xac");
}

static void base64_is_decoded(void **state)
{
    struct everdue_put put;
    read_good(*state, "{\"key\":\"a\",\"payload_b64\":\"AAH\\/\",\"memo_b64\":\"eA==\"}", &put);
    assert_int_equal(put.payload.count, 3);
    assert_memory_equal(put.payload.data, "\x00\x01\xff", 3);
    assert_bytes(put.memo, "x");
}

static void times_are_rfc_3339_seconds_or_milliseconds(void **state)
{
    static const struct {
        const char *member;
        int64_t due_us;
    } rows[] = {
        {"\"due\":\"1970-01-01T00:00:01Z\"", 1000000},
        {"\"due\":\"1970-01-01T02:00:01.5+02:00\"", 1500000},
        {"\"due\":1763822400", 1763822400000000},
        {"\"due\":1763822400.000001", 1763822400000001},
        {"\"due\":0", 0},
        {"\"due_ms\":1763822400123", 1763822400123000},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char line[128];
        struct everdue_put put;
        snprintf(line, sizeof(line), "{\"key\":\"a\",%s}", rows[i].member);
        read_good(*state, line, &put);
        assert_int_equal(put.due_us, rows[i].due_us);
    }
}

/* --- refusals --------------------------------------------------------------------------------- */

static const struct {
    const char *line;
    const char *error; /* its beginning, where it ends with "..." */
} refusals[] = {
    {"", "not JSON: it ends too early (byte 1)"},
    {"x", "not JSON: a value is missing or is none that JSON knows (byte 1)"},
    {"[1]", "not a JSON object in braces"},
    {"\"key\"", "not a JSON object in braces"},
    {"{\"key\":\"a\"", "not JSON: it ends too early (byte 11)"},
    {"{\"key\":\"a\"}{", "not JSON: something stands behind the value (byte 12)"},
    {"{\"key\":\"a\",}", "not JSON: a name in quotes is missing (byte 12)"},
    {"{}", "\"key\" is missing"},
    {"{\"due\":1}", "\"key\" is missing"},
    {"{\"key\":17}", "\"key\" is 17; write a text in quotes"},
    {"{\"key\":null}", "\"key\" is null; write a text in quotes"},
    {"{\"key\":\"\"}",
     "\"key\" is \"\"; a key is 1 to 1,024 bytes of UTF-8 without control characters"},
    {"{\"key\":\"a\\nb\"}",
     "\"key\" is \"a\\nb\"; a key is 1 to 1,024 bytes of UTF-8 without control characters"},
    {"{\"key\":\"\\u0000\"}",
     "\"key\" is \"\\u0000\"; a key is 1 to 1,024 bytes of UTF-8 without control characters"},
    {"{\"key\":\"\\ud800\"}", "\"key\" is \"\\ud800\": half of a surrogate pair"},
    {"{\"key\":\"a\xff\"}", "not JSON: a byte that is not UTF-8 (byte 10)"},
    {"{\"key\":\"a\",\"key\":\"b\"}", "\"key\" comes twice"},
    {"{\"key\":\"a\",\"due\":1763822400123}",
     "\"due\" is 1763822400123, which looks like milliseconds; write due_ms or divide by 1000"},
    {"{\"key\":\"a\",\"due\":1e12}",
     "\"due\" is 1e12, which looks like milliseconds; write due_ms or divide by 1000"},
    {"{\"key\":\"a\",\"due\":-1}", "\"due\" is -1: ..."},
    {"{\"key\":\"a\",\"due\":\"soon\"}", "\"due\" is \"soon\": ..."},
    {"{\"key\":\"a\",\"due\":null}",
     "\"due\" is null; write a time such as \"2026-11-22T15:00:00Z\" or seconds since 1970"},
    {"{\"key\":\"a\",\"due\":1,\"due_ms\":1}", "\"due\" and \"due_ms\" exclude each other"},
    {"{\"key\":\"a\",\"due_ms\":\"1\"}",
     "\"due_ms\" is \"1\"; write milliseconds since 1970 as a number"},
    {"{\"key\":\"a\",\"due_ms\":1.5}",
     "\"due_ms\" is 1.5; write whole milliseconds since 1970, before the year 2112"},
    {"{\"key\":\"a\",\"due_ms\":99999999999999999}",
     "\"due_ms\" is 99999999999999999; write whole milliseconds since 1970, before the year 2112"},
    {"{\"key\":\"a\",\"every\":900}",
     "\"every\" is 900; write it in quotes with a unit, such as \"900s\""},
    {"{\"key\":\"a\",\"every\":true}", "\"every\" is true; write a duration such as \"15m\""},
    {"{\"key\":\"a\",\"every\":\"15\"}", "\"every\" is \"15\": ..."},
    {"{\"key\":\"a\",\"rank\":1.5}", "\"rank\" is 1.5; write a whole number"},
    {"{\"key\":\"a\",\"rank\":\"1\"}", "\"rank\" is \"1\"; write a whole number"},
    {"{\"key\":\"a\",\"rank\":9223372036854775808}",
     "\"rank\" is 9223372036854775808; write a whole number"},
    {"{\"key\":\"a\",\"group\":1}", "\"group\" is 1; write a text in quotes"},
    {"{\"key\":\"a\",\"once\":1}", "\"once\" is 1; write true or false"},
    {"{\"key\":\"a\",\"payload\":1,\"payload_b64\":\"eA==\"}",
     "\"payload\" and \"payload_b64\" exclude each other"},
    {"{\"key\":\"a\",\"memo_b64\":\"e\"}", "\"memo_b64\" is \"e\", which is not base64"},
    {"{\"key\":\"a\",\"memo_b64\":17}", "\"memo_b64\" is 17; write a text in quotes"},
    {"{\"key\":\"a\",\"payload\":tru}",
     "not JSON: a value is missing or is none that JSON knows (byte 22)"},
    {"{\"key\":\"a\",\"cron\":\"* * * * *\"}",
     "\"cron\" is reserved for a later version; use \"every\""},
    {"{\"key\":\"a\",\"tz\":\"UTC\"}", "\"tz\" is reserved for a later version; use \"every\""},
    {"{\"key\":\"a\",\"evry\":\"1m\"}", "unknown member \"evry\"; did you mean \"every\"?"},
    {"{\"key\":\"a\",\"interval\":\"1m\"}", "unknown member \"interval\""},
    {"{\"key\":\"a\",\"Due\":1}", "unknown member \"Due\"; did you mean \"due\"?"},
};

static void each_refusal_says_what_is_wrong(void **state)
{
    struct record_json *reader = *state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct everdue_put put;
        const char *expected = refusals[i].error;
        size_t count = strlen(expected);
        assert_false(record_json_read(reader, refusals[i].line, strlen(refusals[i].line), &put));
        if (count > 3 && strcmp(expected + count - 3, "...") == 0) {
            assert_true(strlen(reader->error) > count - 3);
            assert_memory_equal(reader->error, expected, count - 3);
        } else {
            assert_string_equal(reader->error, expected);
        }
    }
}

static void a_value_that_is_long_is_shortened_in_the_refusal(void **state)
{
    struct record_json *reader = *state;
    struct everdue_put put;
    char line[400];
    char letters[301];
    memset(letters, 'x', 300);
    letters[300] = '\0';
    snprintf(line, sizeof(line), "{\"key\":\"a\",\"group\":\"%s\"}", letters);
    assert_false(record_json_read(reader, line, strlen(line), &put));
    assert_string_equal(
        reader->error,
        "\"group\" is \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...: it has 300 bytes; 255 at most");
}

static void a_payload_over_the_limit_is_refused(void **state)
{
    enum { PAYLOAD = 262145 };
    struct record_json *reader = *state;
    struct everdue_put put;
    char *line = malloc(PAYLOAD + 64);
    assert_non_null(line);
    int begun = sprintf(line, "{\"key\":\"a\",\"payload\":\"");
    memset(line + begun, 'x', PAYLOAD - 2);
    strcpy(line + begun + PAYLOAD - 2, "\"}");
    assert_false(record_json_read(reader, line, strlen(line), &put));
    assert_string_equal(reader->error, "\"payload\" has 262,145 bytes; 262,144 at most");
    free(line);
}

/* --- written and read again ------------------------------------------------------------------- */

static void what_is_at_its_default_is_left_out(void **state)
{
    struct text text;
    struct everdue_record record = {.key = {"a", 1}, .due_us = 1500000, .status = EVERDUE_WAITING};
    (void)state;
    text_init(&text);
    record_json_write(&text, &record);
    assert_string_equal(text.data, "{\"key\":\"a\",\"due\":\"1970-01-01T00:00:01.500000Z\"}");
    text_release(&text);
}

static void bytes_that_are_no_line_of_json_are_written_in_base64(void **state)
{
    static const struct {
        const char *payload;
        const char *written;
    } rows[] = {
        {"{\"a\":1}", "\"payload\":{\"a\":1}"},       {"hello", "\"payload_b64\":\"aGVsbG8=\""},
        {" 1", "\"payload_b64\":\"IDE=\""},           {"[1,\n2]", "\"payload_b64\":\"WzEsCjJd\""},
        {"{\"a\":1", "\"payload_b64\":\"eyJhIjox\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text text;
        struct everdue_record record = {
            .key = {"a", 1},
            .payload = {rows[i].payload, strlen(rows[i].payload)},
        };
        text_init(&text);
        record_json_write(&text, &record);
        assert_non_null(strstr(text.data, rows[i].written));
        text_release(&text);
    }
}

/* A linear congruential generator: the same records in every run. */
static uint32_t draw(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 8) % below;
}

/* Bytes that are often JSON, sometimes not, sometimes not even text. */
static size_t draw_bytes(uint32_t *seed, char *room)
{
    static const char *const values[] = {
        "{\"a\":[1,2,{\"b\":null}]}",
        "\"\\u00e9\"",
        "-1.5e-3",
        "true",
        "hello",
        " {}",
        "{}\n",
        "\"\xff\"",
        "[",
        "",
    };
    if (draw(seed, 2) == 0) {
        strcpy(room, values[draw(seed, sizeof(values) / sizeof(values[0]))]);
        return strlen(room);
    }
    size_t count = draw(seed, 40);
    for (size_t i = 0; i < count; i++)
        room[i] = (char)draw(seed, 256);
    return count;
}

static size_t draw_text(uint32_t *seed, char *room)
{
    static const char *const parts[] = {"a", "/", "\"", "\\", "\xc3\xa9", "\xf0\x9f\x98\x80",
                                        "-", " "};
    size_t count = 1 + draw(seed, 20);
    room[0] = '\0';
    for (size_t i = 0; i < count; i++)
        strcat(room, parts[draw(seed, sizeof(parts) / sizeof(parts[0]))]);
    return strlen(room);
}

static void assert_same(struct everdue_bytes a, struct everdue_bytes b)
{
    assert_int_equal(a.count, b.count);
    if (a.count > 0)
        assert_memory_equal(a.data, b.data, a.count);
}

static void a_record_survives_export_and_sync(void **state)
{
    enum { ROUNDS = 5000 };
    uint32_t seed = 20261122;
    char key[128], group[128], payload[64], memo[64];
    struct text text;
    text_init(&text);
    print_message("seed %u\n", seed);
    for (int i = 0; i < ROUNDS; i++) {
        struct everdue_put put;
        struct everdue_record record = {
            .key = {key, draw_text(&seed, key)},
            .due_us = (int64_t)draw(&seed, 1 << 24) * 268435456 + draw(&seed, 1 << 24),
            .every_us = (int64_t)draw(&seed, 3) * draw(&seed, 1 << 24),
            .rank = (int64_t)draw(&seed, 3) - 1,
            .once = draw(&seed, 2) == 1,
            .group = {group, draw(&seed, 2) ? draw_text(&seed, group) : 0},
            .payload = {payload, draw_bytes(&seed, payload)},
            .memo = {memo, draw_bytes(&seed, memo)},
        };
        text_clear(&text);
        record_json_write(&text, &record);
        assert_null(memchr(text.data, '\n', text.count));
        read_good(*state, text.data, &put);
        assert_same(put.key, record.key);
        assert_int_equal(put.due_us, record.due_us);
        assert_int_equal(put.every_us == EVERDUE_ABSENT ? 0 : put.every_us, record.every_us);
        assert_int_equal(put.rank, record.rank);
        assert_int_equal(put.once, record.once);
        assert_same(put.group, record.group);
        assert_same(put.payload, record.payload);
        assert_same(put.memo, record.memo);
    }
    text_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_the_key_is_required, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_member_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_bytes_of_payload_and_memo_are_kept_as_they_stand,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(escapes_in_keys_are_decoded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(base64_is_decoded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(times_are_rfc_3339_seconds_or_milliseconds, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(each_refusal_says_what_is_wrong, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_value_that_is_long_is_shortened_in_the_refusal, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_payload_over_the_limit_is_refused, set_up, tear_down),
        cmocka_unit_test(what_is_at_its_default_is_left_out),
        cmocka_unit_test(bytes_that_are_no_line_of_json_are_written_in_base64),
        cmocka_unit_test_setup_teardown(a_record_survives_export_and_sync, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
