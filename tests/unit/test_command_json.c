#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base64.h"
#include "everdue/worker.h"
#include "json.h"
#include "nearest.h"
#include "result_json.h"

/* --- what is JSON ----------------------------------------------------------------------------- */

static void json_is_accepted(void **state)
{
    static const char *const texts[] = {
        "0",        "-0",           "10.5e+3", "1E9", "\"\"",        "\"\\u00e9\\n\"",
        "true",     "null",         "[]",      "{}",  " [ 1 , 2 ] ", "{\"a\":{\"b\":[{}]}}",
        "\"\x7f\"", "\"\xc3\xa9\"", "[[[]]]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t where;
        assert_null(json_check(texts[i], strlen(texts[i]), JSON_DEPTH_MAX, &where));
    }
}

static void what_is_almost_json_is_refused(void **state)
{
    static const char *const texts[] = {
        "",      " ",         "01",        "1.",       ".5",           "+1",
        "1e",    "--1",       "tru",       "True",     "nul",          "'a'",
        "\"a",   "\"\\x\"",   "\"\\u12\"", "\"\t\"",   "[1,]",         "[,1]",
        "[1 2]", "{\"a\"}",   "{a:1}",     "{\"a\":}", "{\"a\":1,}",   "[1",
        "[1}",   "{\"a\":1]", "1 2",       "{} {}",    "\"\xc0\xaf\"", "\"\xed\xa0\x80\"",
        "NaN",   "{\"a\" 1}", "]",         "}",        "{1:2}",        "\"\xf4\x90\x80\x80\"",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t where;
        assert_non_null(json_check(texts[i], strlen(texts[i]), JSON_DEPTH_MAX, &where));
        assert_true(where <= strlen(texts[i]));
    }
}

static void depth_is_bounded(void **state)
{
    char text[2 * JSON_DEPTH_MAX + 2];
    size_t where;
    (void)state;
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_string_equal(json_check(text, sizeof(text), JSON_DEPTH_MAX, &where),
                        "it is nested too deep");
    assert_null(json_check(text + 1, sizeof(text) - 2, JSON_DEPTH_MAX, &where));
}

static void a_zero_byte_is_no_json(void **state)
{
    size_t where;
    (void)state;
    assert_non_null(json_check("1\0", 2, JSON_DEPTH_MAX, &where));
    assert_non_null(json_check("\"\\\0\"", 4, JSON_DEPTH_MAX, &where));
}

static void strings_are_written_so_that_every_reader_can_read_them(void **state)
{
    struct text text;
    (void)state;
    text_init(&text);
    json_add_string(&text, (struct everdue_bytes){"a\"\\\n\x01\x7f\xff\xc3\xa9", 9});
    assert_string_equal(text.data, "\"a\\\"\\\\\\n\\u0001\\u007f\xef\xbf\xbd\xc3\xa9\"");
    text_release(&text);
}

static void members_come_in_their_order_and_are_found_by_name(void **state)
{
    static const char text[] = "{\"a\":{\"b\":[1,2],\"c\":3},\"\":\"\",\"b\":[],\"c\":-4}";
    static const char *const names[] = {"a", "", "b", "c"};
    struct json_object object;
    struct json_member member;
    struct json_value value;
    char why[JSON_WHY_BYTES];
    (void)state;
    json_object_init(&object);
    assert_null(json_object_read(&object, text, strlen(text), why));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_true(json_object_next(&object, &member));
        assert_true(json_value_is(&member.name, names[i]));
    }
    assert_false(json_object_next(&object, &member));
    assert_true(json_object_find(&object, "c", &value));
    assert_true(json_value_is(&value, "-4"));
    assert_false(json_object_find(&object, "d", &value));
    assert_string_equal(json_object_read(&object, "[]", 2, why), "not a JSON object in braces");
    assert_false(json_object_next(&object, &member));
    json_object_release(&object);
}

/* --- texts ------------------------------------------------------------------------------------ */

static void a_text_grows_stays_terminated_and_gives_up_its_beginning(void **state)
{
    struct text text;
    (void)state;
    text_init(&text);
    for (int i = 0; i < 1000; i++)
        text_add_format(&text, "%d,", i % 10);
    assert_int_equal(text.count, 2000);
    assert_int_equal(strlen(text.data), 2000);
    text_drop(&text, 1996);
    assert_string_equal(text.data, "8,9,");
    text_drop(&text, 5);
    assert_string_equal(text.data, "");
    text_release(&text);
}

static void a_failed_addition_sticks_until_the_text_is_cleared(void **state)
{
    struct text text;
    (void)state;
    text_init(&text);
    text_add_string(&text, "a");
    assert_null(text_add_room(&text, SIZE_MAX / 2));
    text_add_string(&text, "b");
    assert_true(text.failed);
    assert_string_equal(text.data, "a");
    text_clear(&text);
    text_add_string(&text, "c");
    assert_false(text.failed);
    assert_string_equal(text.data, "c");
    text_release(&text);
}

/* --- base64 ----------------------------------------------------------------------------------- */

static void base64_goes_there_and_back(void **state)
{
    uint8_t bytes[64], back[128];
    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37 + 250);
    for (size_t count = 0; count <= sizeof(bytes); count++) {
        for (int alphabet = BASE64_STANDARD; alphabet <= BASE64_URL; alphabet++) {
            struct text text;
            size_t decoded;
            text_init(&text);
            text_add(&text, "", 0);
            base64_encode(&text, bytes, count, (enum base64_alphabet)alphabet);
            assert_true(base64_decode(text.data, text.count, (enum base64_alphabet)alphabet, back,
                                      &decoded));
            assert_int_equal(decoded, count);
            assert_memory_equal(back, bytes, count);
            text_release(&text);
        }
    }
}

static void what_is_no_base64_is_refused(void **state)
{
    static const char *const texts[] = {"a", "ab=", "a===", "ab!=", "YQ==YQ==", "YR==", "Y Q="};
    uint8_t room[32];
    size_t count;
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_false(base64_decode(texts[i], strlen(texts[i]), BASE64_STANDARD, room, &count));
}

/* --- results ---------------------------------------------------------------------------------- */

static void a_result_is_read(void **state)
{
    static const char text[] = "{\"outcome\":\"retry\",\"in\":\"5m\",\"memo\":{\"etag\":\"x\"},"
                               "\"rank\":2,\"note\":\"304\",\"error\":\"no route\",\"stop\":false}";
    struct result_json reader;
    const struct everdue_result *result = &reader.result;
    (void)state;
    result_json_init(&reader);
    assert_true(result_json_read_strictly(&reader, text, strlen(text)));
    assert_int_equal(result->outcome, EVERDUE_RETRY);
    assert_int_equal(result->in_us, 300000000);
    assert_int_equal(result->next_us, EVERDUE_ABSENT);
    assert_int_equal(result->memo.count, 12);
    assert_true(result->has_rank);
    assert_int_equal(result->rank, 2);
    assert_memory_equal(result->note.data, "304", 3);
    assert_memory_equal(result->error.data, "no route", 8);
    assert_null(result->payload.data);
    result_json_release(&reader);
}

static void a_bad_result_is_refused(void **state)
{
    static const struct {
        const char *text;
        const char *error;
    } rows[] = {
        {"{\"outcome\":\"fine\"}",
         "\"outcome\" is \"fine\"; write \"ok\", \"retry\", \"park\" or \"remove\""},
        {"{\"outcome\":0}", "\"outcome\" is 0; write \"ok\", \"retry\", \"park\" or \"remove\""},
        {"{\"in\":\"5m\",\"next\":1}", "\"in\" and \"next\" exclude each other"},
        {"{\"next\":1763822400123}",
         "\"next\" is 1763822400123, which looks like milliseconds; divide by 1000"},
        {"{\"in\":\"5m\",\"in\":\"5m\"}", "\"in\" comes twice"},
        {"{\"lease\":17}", "unknown member \"lease\""},
        {"{\"nots\":\"x\"}", "unknown member \"nots\"; did you mean \"note\"?"},
        {"5m", "not JSON: something stands behind the value (byte 2)"},
    };
    struct result_json reader;
    (void)state;
    result_json_init(&reader);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_false(result_json_read_strictly(&reader, rows[i].text, strlen(rows[i].text)));
        assert_string_equal(reader.error, rows[i].error);
    }
    result_json_release(&reader);
}

/* --- names ------------------------------------------------------------------------------------ */

static void the_nearest_name_is_found(void **state)
{
    static const char *const names[] = {"stats", "stat", "status", "sync", "export", "run-now"};
    static const struct {
        const char *word;
        const char *nearest;
    } rows[] = {
        {"stauts", "status"},
        {"snyc", "sync"},
        {"exprot", "export"},
        {"exp", "export"},
        {"run", "run-now"},
        {"runnow", "run-now"},
        {"delete", NULL},
        {"x", NULL},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *nearest = nearest_name(rows[i].word, strlen(rows[i].word), names,
                                           sizeof(names) / sizeof(names[0]));
        if (rows[i].nearest)
            assert_string_equal(nearest, rows[i].nearest);
        else
            assert_null(nearest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_accepted),
        cmocka_unit_test(what_is_almost_json_is_refused),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(a_zero_byte_is_no_json),
        cmocka_unit_test(strings_are_written_so_that_every_reader_can_read_them),
        cmocka_unit_test(members_come_in_their_order_and_are_found_by_name),
        cmocka_unit_test(a_text_grows_stays_terminated_and_gives_up_its_beginning),
        cmocka_unit_test(a_failed_addition_sticks_until_the_text_is_cleared),
        cmocka_unit_test(base64_goes_there_and_back),
        cmocka_unit_test(what_is_no_base64_is_refused),
        cmocka_unit_test(a_result_is_read),
        cmocka_unit_test(a_bad_result_is_refused),
        cmocka_unit_test(the_nearest_name_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
