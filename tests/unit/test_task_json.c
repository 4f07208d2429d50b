/* A task as a line of JSON, and a handler's result object as a struct. */
#include "task_json.h"

#include "json.h"
#include "result_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct everdue_task plain_task(void)
{
    return (struct everdue_task){
        .key = everdue_text("https://example.org/a"),
        .queue = "feeds",
        .lease = 17,
        .due_us = INT64_C(1763822400000001),
        .lateness_us = 3999,
        .failures = 2,
        .crashes = 1,
        .every_us = INT64_C(300000000),
        .deadline_mono_us = 60000000,
    };
}

static void assert_line(const struct everdue_task *task, const char *line)
{
    struct text text;

    text_init(&text);
    task_json_write(&text, task, 1000000);
    text_add(&text, "", 1);
    assert_string_equal(text.data, line);
    text_release(&text);
}

static void a_task_is_one_line_with_all_that_the_record_has(void **state)
{
    (void)state;
    struct everdue_task task = plain_task();
    task.payload = everdue_text("{\"etag\":\"x\"}");
    task.memo = everdue_text("[1, 2]");
    task.group = everdue_text("example.org");
    assert_line(&task, "{\"key\":\"https://example.org/a\",\"queue\":\"feeds\",\"lease\":17,"
                       "\"due\":\"2025-11-22T14:40:00.000001Z\",\"lateness_ms\":3,\"failures\":2,"
                       "\"crashes\":1,\"payload\":{\"etag\":\"x\"},\"memo\":[1, 2],"
                       "\"group\":\"example.org\",\"every_ms\":300000,\"deadline_ms\":59000}\n");
}

static void what_a_record_does_not_have_is_left_out(void **state)
{
    (void)state;
    struct everdue_task task = plain_task();
    task.every_us = 0;
    task.deadline_mono_us = 0;
    assert_line(&task, "{\"key\":\"https://example.org/a\",\"queue\":\"feeds\",\"lease\":17,"
                       "\"due\":\"2025-11-22T14:40:00.000001Z\",\"lateness_ms\":3,\"failures\":2,"
                       "\"crashes\":1,\"every_ms\":0,\"deadline_ms\":0}\n");
}

static void bytes_that_are_no_json_come_as_base64(void **state)
{
    (void)state;
    static const char *const payloads[] = {"",    "no",      "{\"a\":1,}", "[01]", "{\"a\":\"\t\"}",
                                           "1 2", "\"\xff\""};
    static const char *const codes[] = {"",     "bm8=", "eyJhIjoxLH0=", "WzAxXQ==", "eyJhIjoiCSJ9",
                                        "MSAy", "Iv8i"};
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        struct everdue_task task = plain_task();
        struct text text;
        char member[64];
        task.payload = everdue_text(payloads[i]);
        text_init(&text);
        task_json_write(&text, &task, 0);
        text_add(&text, "", 1);
        snprintf(member, sizeof member, ",\"payload_b64\":\"%s\",", codes[i]);
        assert_non_null(strstr(text.data, member));
        text_release(&text);
    }
}

static void a_payload_of_several_lines_stays_on_one_line(void **state)
{
    (void)state;
    struct everdue_task task = plain_task();
    task.payload = everdue_text("{\r\n\"a\": 1\n}\n");
    struct text text;
    size_t where;
    text_init(&text);
    task_json_write(&text, &task, 0);
    assert_ptr_equal(memchr(text.data, '\n', text.count), text.data + text.count - 1);
    assert_null(json_check(text.data, text.count, JSON_DEPTH_MAX, &where));
    text_release(&text);
}

static void keys_are_escaped(void **state)
{
    (void)state;
    struct everdue_task task = plain_task();
    task.key = everdue_text("a\"b\\c\xc3\xa4");
    struct text text;
    text_init(&text);
    task_json_write(&text, &task, 0);
    text_add(&text, "", 1);
    assert_non_null(strstr(text.data, "{\"key\":\"a\\\"b\\\\c\xc3\xa4\","));
    text_release(&text);
}

/* --- results ---------------------------------------------------------------------------------- */

static struct result_json answer;

static void read_line(const char *line)
{
    assert_true(result_json_read(&answer, line, strlen(line)));
}

static void assert_text(struct everdue_bytes bytes, const char *text)
{
    assert_int_equal(bytes.count, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.count);
}

static void an_empty_object_is_ok_and_nothing_else(void **state)
{
    (void)state;
    read_line("{}");
    assert_string_equal(answer.error, "");
    assert_int_equal(answer.result.outcome, EVERDUE_OK);
    assert_int_equal(answer.result.next_us, EVERDUE_ABSENT);
    assert_int_equal(answer.result.in_us, EVERDUE_ABSENT);
    assert_null(answer.result.memo.data);
    assert_null(answer.result.note.data);
    assert_false(answer.has_lease);
    assert_false(answer.result.stop);
}

static void all_members_are_read(void **state)
{
    (void)state;
    read_line(" { \"lease\" : 17, \"outcome\":\"park\", \"in\":\"5m\", \"memo\": {\"a\" : [1]} ,"
              "\"rank\":-3,\"payload\":\"p\",\"note\":\"n\\u00e4 \\ud83d\\ude00\",\"error\":\"e\","
              "\"stop\":true} ");
    assert_string_equal(answer.error, "");
    assert_true(answer.has_lease);
    assert_int_equal(answer.lease, 17);
    assert_int_equal(answer.result.outcome, EVERDUE_PARK);
    assert_int_equal(answer.result.in_us, INT64_C(300000000));
    assert_text(answer.result.memo, "{\"a\" : [1]}");
    assert_true(answer.result.has_rank);
    assert_int_equal(answer.result.rank, -3);
    assert_text(answer.result.payload, "\"p\"");
    assert_text(answer.result.note, "n\xc3\xa4 \xf0\x9f\x98\x80");
    assert_text(answer.result.error, "e");
    assert_true(answer.result.stop);
}

static void each_outcome_has_its_name(void **state)
{
    (void)state;
    static const char *const lines[] = {
        [EVERDUE_OK] = "{\"outcome\":\"ok\"}",
        [EVERDUE_RETRY] = "{\"outcome\":\"retry\"}",
        [EVERDUE_PARK] = "{\"outcome\":\"park\"}",
        [EVERDUE_REMOVE] = "{\"outcome\":\"remove\"}",
    };
    for (size_t i = 0; i < 4; i++) {
        read_line(lines[i]);
        assert_int_equal(answer.result.outcome, i);
    }
}

static void next_is_rfc_3339_or_epoch_seconds(void **state)
{
    (void)state;
    read_line("{\"next\":\"2026-11-22T15:00:00.5Z\"}");
    assert_int_equal(answer.result.next_us, INT64_C(1795359600500000));
    read_line("{\"next\":1795359600.25}");
    assert_int_equal(answer.result.next_us, INT64_C(1795359600250000));
    assert_string_equal(answer.error, "");
}

static void base64_gives_any_bytes(void **state)
{
    (void)state;
    read_line("{\"memo_b64\":\"/wA=\",\"payload_b64\":\"\"}");
    assert_string_equal(answer.error, "");
    assert_int_equal(answer.result.memo.count, 2);
    assert_memory_equal(answer.result.memo.data, "\xff", 2);
    assert_non_null(answer.result.payload.data);
    assert_int_equal(answer.result.payload.count, 0);
}

static void null_means_not_given_but_where_any_value_may_stand(void **state)
{
    (void)state;
    read_line("{\"in\":null,\"next\":null,\"outcome\":null,\"note\":null,\"rank\":null,"
              "\"stop\":null,\"memo\":null}");
    assert_string_equal(answer.error, "");
    assert_int_equal(answer.result.in_us, EVERDUE_ABSENT);
    assert_false(answer.result.has_rank);
    assert_text(answer.result.memo, "null");
}

static void a_wrong_member_is_named_and_the_lease_is_found_all_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *name;
    } rows[] = {
        {"{\"outcome\":\"fine\",\"lease\":17}", "\"outcome\""},
        {"{\"outcome\":1,\"lease\":17}", "\"outcome\""},
        {"{\"in\":300,\"lease\":17}", "\"in\""},
        {"{\"in\":\"soon\",\"lease\":17}", "\"in\""},
        {"{\"in\":{},\"lease\":17}", "\"in\""},
        {"{\"next\":\"tomorrow\",\"lease\":17}", "\"next\""},
        {"{\"next\":1763822400123,\"lease\":17}", "milliseconds"},
        {"{\"next\":true,\"lease\":17}", "\"next\""},
        {"{\"rank\":\"1\",\"lease\":17}", "\"rank\""},
        {"{\"rank\":1.5,\"lease\":17}", "\"rank\""},
        {"{\"note\":1,\"lease\":17}", "\"note\""},
        {"{\"error\":[],\"lease\":17}", "\"error\""},
        {"{\"memo_b64\":\"a\",\"lease\":17}", "\"memo_b64\""},
        {"{\"memo_b64\":\"YR==\",\"lease\":17}", "\"memo_b64\""},
        {"{\"payload_b64\":{},\"lease\":17}", "\"payload_b64\""},
        {"{\"stop\":\"yes\",\"lease\":17}", "\"stop\""},
        {"{\"touch\":\"60s\",\"in\":\"5m\",\"lease\":17}", "\"touch\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        read_line(rows[i].line);
        if (strstr(answer.error, rows[i].name) == NULL)
            fail_msg("%s: %s", rows[i].line, answer.error);
        assert_true(answer.has_lease);
    }
}

static void a_touch_is_no_result(void **state)
{
    (void)state;
    read_line("{\"lease\":17,\"touch\":\"60s\"}");
    assert_string_equal(answer.error, "");
    assert_int_equal(answer.touch_us, INT64_C(60000000));
}

static void an_unknown_member_is_ignored_and_named(void **state)
{
    (void)state;
    read_line("{\"in\":\"5m\",\"nxt\":1}");
    assert_string_equal(answer.error, "");
    assert_string_equal(answer.unknown, "nxt");
    assert_int_equal(answer.result.in_us, INT64_C(300000000));
}

static void what_is_no_object_is_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "x",
        "[]",
        "1",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{\"a\":1}x",
        "{\"a\":1}{}",
        "{'a':1}",
        "{\"a\":tru}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":[1}]",
        "{\"a\":1.}",
        "{\"a\":+1}",
        "{\"a\":\"\\ud8\"}",
        "{\"a\":-}",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (result_json_read(&answer, lines[i], strlen(lines[i])))
            fail_msg("taken: %s", lines[i]);
        assert_string_not_equal(answer.error, "");
    }
}

static void nesting_has_a_limit(void **state)
{
    (void)state;
    char line[2 * JSON_DEPTH_MAX + 32] = "{\"memo\":";
    size_t depth = JSON_DEPTH_MAX - 1;
    for (size_t i = 0; i < depth; i++)
        strcat(line, "[");
    for (size_t i = 0; i < depth; i++)
        strcat(line, "]");
    strcat(line, "}");
    assert_true(result_json_read(&answer, line, strlen(line)));
    char deeper[sizeof line + 16];
    snprintf(deeper, sizeof deeper, "{\"memo\":%s}", line);
    assert_false(result_json_read(&answer, deeper, strlen(deeper)));
}

static void a_long_note_is_cut_between_characters(void **state)
{
    (void)state;
    char line[3000] = "{\"note\":\"x";
    for (size_t i = 0; i < 700; i++)
        strcat(line, "\xc3\xa4");
    strcat(line, "\"}");
    read_line(line);
    assert_int_equal(answer.result.note.count, 1023);
}

static void any_number_of_unknown_members_is_passed_over(void **state)
{
    (void)state;
    struct text text;
    text_init(&text);
    text_add_string(&text, "{");
    for (int i = 0; i < 1000; i++)
        text_add_format(&text, "\"a%d\":{\"in\":[1,2]},", i);
    text_add_string(&text, "\"lease\":17}");
    assert_true(result_json_read(&answer, text.data, text.count));
    assert_string_equal(answer.error, "");
    assert_string_equal(answer.unknown, "a0");
    assert_int_equal(answer.lease, 17);
    text_release(&text);
}

static void a_record_taken_by_hand_has_the_lease_that_report_takes(void **state)
{
    (void)state;
    struct everdue_task task = plain_task();
    task.every_us = 1500;
    struct text text;
    text_init(&text);
    task_json_write_taken(&text, &task, "RQVm", 1000000);
    assert_string_equal(text.data,
                        "{\"key\":\"https://example.org/a\",\"queue\":\"feeds\","
                        "\"lease\":\"RQVm\",\"due\":\"2025-11-22T14:40:00.000001Z\","
                        "\"lateness_ms\":3,\"failures\":2,\"crashes\":1,\"every_ms\":1.500,"
                        "\"deadline_ms\":59000}");
    text_release(&text);
}

static void halves_of_surrogates_become_the_replacement_character(void **state)
{
    (void)state;
    read_line("{\"note\":\"\\ud800\\u0041\\udc00\"}");
    assert_text(answer.result.note, "\xef\xbf\xbd"
                                    "A"
                                    "\xef\xbf\xbd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_is_one_line_with_all_that_the_record_has),
        cmocka_unit_test(what_a_record_does_not_have_is_left_out),
        cmocka_unit_test(bytes_that_are_no_json_come_as_base64),
        cmocka_unit_test(a_payload_of_several_lines_stays_on_one_line),
        cmocka_unit_test(keys_are_escaped),
        cmocka_unit_test(an_empty_object_is_ok_and_nothing_else),
        cmocka_unit_test(all_members_are_read),
        cmocka_unit_test(each_outcome_has_its_name),
        cmocka_unit_test(next_is_rfc_3339_or_epoch_seconds),
        cmocka_unit_test(base64_gives_any_bytes),
        cmocka_unit_test(null_means_not_given_but_where_any_value_may_stand),
        cmocka_unit_test(a_wrong_member_is_named_and_the_lease_is_found_all_the_same),
        cmocka_unit_test(a_touch_is_no_result),
        cmocka_unit_test(an_unknown_member_is_ignored_and_named),
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(a_long_note_is_cut_between_characters),
        cmocka_unit_test(any_number_of_unknown_members_is_passed_over),
        cmocka_unit_test(a_record_taken_by_hand_has_the_lease_that_report_takes),
        cmocka_unit_test(halves_of_surrogates_become_the_replacement_character),
    };

    result_json_init(&answer);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    result_json_release(&answer);
    return failed;
}
