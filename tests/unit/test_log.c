#include "log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <jansson.h>
#include <pthread.h>

enum { CAPTURE_BYTES_MAX = 60000 };

static char captured[CAPTURE_BYTES_MAX + 1];
static int pipe_fds[2];
static int kept_stderr;

static void capture_begin(void)
{
    fflush(stderr);
    kept_stderr = dup(STDERR_FILENO);
    assert_int_equal(pipe(pipe_fds), 0);
    dup2(pipe_fds[1], STDERR_FILENO);
    close(pipe_fds[1]);
}

/* What was written to standard error since capture_begin. */
static const char *capture_end(void)
{
    dup2(kept_stderr, STDERR_FILENO);
    close(kept_stderr);
    size_t count = 0;
    ssize_t got;
    while ((got = read(pipe_fds[0], captured + count, CAPTURE_BYTES_MAX - count)) > 0)
        count += (size_t)got;
    captured[count] = '\0';
    close(pipe_fds[0]);
    return captured;
}

/* What stands behind the time. */
static const char *behind_time(const char *line)
{
    assert_true(strlen(line) > 25);
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[23], 'Z');
    return line + 25;
}

/* --- text ------------------------------------------------------------------------------------- */

static void a_line_has_time_program_level_message_and_pairs(void **state)
{
    (void)state;

    log_open("everdue-broker", LOG_TEXT, LOG_INFO);
    capture_begin();
    log_line(LOG_WARNING, "a session was lost", "session", "web1:4711", "leases", log_u64(12),
             "left_out", NULL, "offset", log_i64(-5), NULL);
    assert_string_equal(
        behind_time(capture_end()),
        "everdue-broker warning a session was lost session=web1:4711 leases=12 offset=-5\n");
}

static void values_of_text_lines_are_quoted_and_escaped(void **state)
{
    static const struct {
        const char *value;
        const char *written;
    } rows[] = {
        {"plain", "plain"},
        {"", "\"\""},
        {"two words", "\"two words\""},
        {"a=b", "\"a=b\""},
        {"say \"so\"", "\"say \\\"so\\\"\""},
        {"back\\slash", "\"back\\\\slash\""},
        {"line\nforged", "line\\nforged"},
        {"\x1b[31mred\x7f", "\\x1b[31mred\\x7f"},
        {"\xc2\x9b"
         "31m",
         "\\x9b31m"},
        {"Z\xc3\xbcrich", "Z\xc3\xbcrich"},
        {"cut \xe2\x82", "\"cut \\xe2\\x82\""},
        {"\xff", "\\xff"},
    };
    (void)state;

    log_open(NULL, LOG_TEXT, LOG_INFO);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char expected[200];
        snprintf(expected, sizeof(expected), "info m v=%s\n", rows[i].written);
        capture_begin();
        log_line(LOG_INFO, "m", "v", rows[i].value, NULL);
        assert_string_equal(behind_time(capture_end()), expected);
    }
}

static void lines_above_the_level_are_not_written(void **state)
{
    (void)state;

    log_open(NULL, LOG_TEXT, LOG_INFO);
    capture_begin();
    log_line(LOG_DEBUG, "hidden", NULL);
    log_set_level(LOG_DEBUG);
    log_line(LOG_DEBUG, "shown", NULL);
    log_set_level(LOG_ERR);
    log_line(LOG_WARNING, "hidden", NULL);
    log_line(99, "hidden", NULL);
    log_line(-1, "hidden", NULL);
    assert_string_equal(behind_time(capture_end()), "debug shown\n");
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void every_json_line_is_json_with_what_was_said(void **state)
{
    static const char *const values[] = {
        "plain",        "",         "two words",        "\"", "\\", "\n\r\t",
        "\x01\x1f\x7f", "\xc2\x85", "\xf0\x9f\x8c\xb1",
    };
    (void)state;

    log_open("everdue-broker", LOG_JSON, LOG_INFO);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        capture_begin();
        log_line(LOG_ERR, values[i], "value", values[i], NULL);
        const char *line = capture_end();
        assert_int_equal(strcspn(line, "\n"), strlen(line) - 1);
        json_error_t error;
        json_t *object = json_loads(line, 0, &error);
        if (!object)
            fail_msg("%s: %s", error.text, line);
        assert_string_equal(json_string_value(json_object_get(object, "program")),
                            "everdue-broker");
        assert_string_equal(json_string_value(json_object_get(object, "level")), "error");
        assert_string_equal(json_string_value(json_object_get(object, "message")), values[i]);
        assert_string_equal(json_string_value(json_object_get(object, "value")), values[i]);
        json_decref(object);
    }
}

static void what_is_no_utf8_becomes_a_replacement_character(void **state)
{
    (void)state;

    log_open(NULL, LOG_JSON, LOG_INFO);
    capture_begin();
    log_line(LOG_INFO, "m", "v", "a\xff\xe2\x82", NULL);
    assert_non_null(strstr(capture_end(), "\"v\":\"a\\ufffd\\ufffd\\ufffd\"}\n"));
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void a_long_line_is_cut_and_still_whole(void **state)
{
    static char longest[10001];
    (void)state;

    memset(longest, '\x01', sizeof(longest) - 1);
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        log_open("everdue-broker", (enum log_format)format, LOG_INFO);
        capture_begin();
        log_line(LOG_INFO, "much", "long", longest, "more", "after that", "again", longest, NULL);
        const char *line = capture_end();
        assert_in_range(strlen(line), 4000, 4096);
        assert_int_equal(strcspn(line, "\n"), strlen(line) - 1);
        assert_non_null(strstr(line, "..."));
        if (format == LOG_JSON) {
            json_t *object = json_loads(line, 0, NULL);
            assert_non_null(object);
            json_decref(object);
        }
    }
}

static void *log_lines(void *unused)
{
    for (int i = 0; i < 100; i++)
        log_line(LOG_INFO, "from a thread", "one", log_u64(1111), "two", log_u64(2222), NULL);
    return unused;
}

static void lines_of_several_threads_are_not_mixed(void **state)
{
    pthread_t threads[4];
    int lines = 0;
    (void)state;

    log_open(NULL, LOG_TEXT, LOG_INFO);
    capture_begin();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_lines, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (const char *line = capture_end(); *line; line = strchr(line, '\n') + 1, lines++)
        assert_int_equal(strncmp(behind_time(line), "info from a thread one=1111 two=2222\n", 37),
                         0);
    assert_int_equal(lines, 400);
}

static void a_limit_lets_one_line_a_second_through_and_counts_the_others(void **state)
{
    struct log_limit limit = {0};
    uint64_t held_back = 99;
    (void)state;

    assert_true(log_limit_allows(&limit, 5000000, &held_back));
    assert_int_equal(held_back, 0);
    assert_false(log_limit_allows(&limit, 5000000, &held_back));
    assert_false(log_limit_allows(&limit, 5999999, &held_back));
    assert_true(log_limit_allows(&limit, 6000000, &held_back));
    assert_int_equal(held_back, 2);
    assert_true(log_limit_allows(&limit, 9000000, &held_back));
    assert_int_equal(held_back, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_program_level_message_and_pairs),
        cmocka_unit_test(values_of_text_lines_are_quoted_and_escaped),
        cmocka_unit_test(lines_above_the_level_are_not_written),
        cmocka_unit_test(every_json_line_is_json_with_what_was_said),
        cmocka_unit_test(what_is_no_utf8_becomes_a_replacement_character),
        cmocka_unit_test(a_long_line_is_cut_and_still_whole),
        cmocka_unit_test(lines_of_several_threads_are_not_mixed),
        cmocka_unit_test(a_limit_lets_one_line_a_second_through_and_counts_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
