/* A persistent child: the contract of everdue-worker --pipe -- COMMAND, with real processes. */
#include "handler_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <cmocka.h>

/* Shell handlers use this for each line: sets $key and $lease. */
#define PARSE                                                                                      \
    "key=${line#*\\\"key\\\":\\\"}; key=${key%%\\\"*}; "                                           \
    "lease=${line#*\\\"lease\\\":}; lease=${lease%%,*}; "

static void set_child(struct fixture *fixture, const char *script)
{
    fixture->options.kind = HANDLER_PIPE;
    fixture_set_command(fixture, (const char *const[]){"sh", "-c", script, NULL});
}

static void add_keys(const char *keys)
{
    static char texts[64][2];

    for (size_t i = 0; keys[i]; i++) {
        texts[i][0] = keys[i];
        fake_worker_add(&(struct fake_task){.key = texts[i]});
    }
}

static int run(struct fixture *fixture)
{
    return fixture_run(fixture, handler_pipe_run);
}

static void four_lines_of_shell_are_a_handler(void **state)
{
    struct fixture *fixture = *state;
    add_keys("abc");
    fake_worker_stop_after(3);
    set_child(fixture,
              "while read -r line; do " PARSE
              "echo \"{\\\"lease\\\":$lease,\\\"in\\\":\\\"5m\\\",\\\"note\\\":\\\"$key\\\"}\"; "
              "done");
    assert_int_equal(run(fixture), 0);
    for (size_t i = 0; i < 3; i++) {
        const char *key = (const char *const[]){"a", "b", "c"}[i];
        assert_int_equal(fake_worker_end(key)->outcome, EVERDUE_OK);
        assert_int_equal(fake_worker_end(key)->in_us, INT64_C(300000000));
        assert_string_equal(fake_worker_end(key)->note, key);
    }
}

static void results_may_come_in_any_order(void **state)
{
    struct fixture *fixture = *state;
    add_keys("ab");
    fake_worker_stop_after(2);
    set_child(fixture, "read -r one; read -r two; for line in \"$two\" \"$one\"; do " PARSE
                       "echo \"{\\\"lease\\\":$lease,\\\"note\\\":\\\"$key\\\"}\"; done; cat >&2");
    assert_int_equal(run(fixture), 0);
    assert_string_equal(fake_worker_end("a")->note, "a");
    assert_string_equal(fake_worker_end("b")->note, "b");
}

static void at_most_a_window_is_unanswered(void **state)
{
    struct fixture *fixture = *state;
    add_keys("abcdefgh");
    fake_worker_stop_after(8);
    fixture->options.window = 3;
    set_child(fixture, "while read -r line; do " PARSE "echo \"{\\\"lease\\\":$lease}\"; done");
    assert_int_equal(run(fixture), 0);
    assert_int_equal(fake_worker_out_max(), 3);
}

static void a_touch_line_extends_the_lease(void **state)
{
    struct fixture *fixture = *state;
    add_keys("a");
    fake_worker_stop_after(1);
    set_child(fixture,
              "read -r line; " PARSE "echo \"{\\\"lease\\\":$lease,\\\"touch\\\":\\\"60s\\\"}\"; "
              "echo \"{\\\"lease\\\":$lease}\"; cat >&2");
    assert_int_equal(run(fixture), 0);
    assert_int_equal(fake_worker_touched_ms(), 60000);
    assert_int_equal(fake_worker_end("a")->how, FAKE_REPORTED);
}

static void a_touch_line_extends_the_timeout(void **state)
{
    struct fixture *fixture = *state;
    add_keys("a");
    fake_worker_stop_after(1);
    fixture->options.timeout_ms = 300;
    set_child(fixture, "read -r line; " PARSE
                       "echo \"{\\\"lease\\\":$lease,\\\"touch\\\":\\\"60s\\\"}\"; sleep 0.5; "
                       "echo \"{\\\"lease\\\":$lease}\"; cat >&2");
    assert_int_equal(run(fixture), 0);
    assert_int_equal(fake_worker_end("a")->outcome, EVERDUE_OK);
}

static void a_line_that_is_no_json_is_logged_once_counted_and_skipped(void **state)
{
    struct fixture *fixture = *state;
    add_keys("a");
    fake_worker_stop_after(1);
    set_child(fixture, "read -r line; " PARSE "echo Loading model...; echo 42; echo '{\"lease\":'; "
                       "echo \"{\\\"lease\\\":$lease}\"; cat >&2");
    assert_int_equal(run(fixture), 0);
    assert_int_equal(fake_worker_end("a")->outcome, EVERDUE_OK);
    fixture_assert_logged(fixture, "Loading model...");
    assert_null(strstr(fixture->log, "line=42"));
    fixture_assert_logged(fixture, "no_json=3");
}

static void a_line_without_end_is_skipped_in_bounded_memory(void **state)
{
    struct fixture *fixture = *state;
    add_keys("a");
    fake_worker_stop_after(1);
    set_child(fixture, "read -r line; " PARSE "head -c 3000000 /dev/zero | tr '\\0' x; echo; "
                       "echo \"{\\\"lease\\\":$lease}\"; cat >&2");
    assert_int_equal(run(fixture), 0);
    assert_int_equal(fake_worker_end("a")->outcome, EVERDUE_OK);
}

static void a_lease_that_is_not_out_is_ignored_and_counted(void **state)
{
    struct fixture *fixture = *state;
    add_keys("a");
    fake_worker_stop_after(1);
    set_child(fixture, "read -r line; " PARSE "echo '{\"lease\":999}'; echo '{\"in\":\"5m\"}'; "
                       "echo \"{\\\"lease\\\":$lease}\"; cat >&2");
    assert_int_equal(run(fixture), 0);
    assert_int_equal(fake_worker_end_count(), 1);
    fixture_assert_logged(fixture, "no_lease=2");
}

static void a_malformed_result_fails_its_run(void **state)
{
    struct fixture *fixture = *state;
    add_keys("a");
    fake_worker_stop_after(1);
    set_child(fixture,
              "read -r line; " PARSE "echo \"{\\\"in\\\":5,\\\"lease\\\":$lease}\"; cat >&2");
    assert_int_equal(run(fixture), 0);
    assert_int_equal(fake_worker_end("a")->outcome, EVERDUE_RETRY);
    assert_non_null(strstr(fake_worker_end("a")->error, "\"in\""));
}

static void a_child_that_dies_gives_back_what_it_had_begun_and_is_restarted(void **state)
{
    struct fixture *fixture = *state;
    char folder[] = "/tmp/everdue-pipe-XXXXXX";
    char script[1024];
    assert_non_null(mkdtemp(folder));
    add_keys("abc");
    fake_worker_stop_after(3);
    /* Dies of its first task, in the first life only. */
    snprintf(script, sizeof script,
             "read -r line; [ -e %s/lived ] || { : > %s/lived; kill -KILL $$; }; while :; do " PARSE
             "echo \"{\\\"lease\\\":$lease}\"; read -r line || exit 0; done",
             folder, folder);
    set_child(fixture, script);
    fixture->options.window = 2;
    assert_int_equal(run(fixture), 0);
    assert_int_equal(fake_worker_end("a")->how, FAKE_GIVEN_BACK);
    assert_true(fake_worker_end("a")->begun);
    assert_int_equal(fake_worker_end("b")->how, FAKE_GIVEN_BACK);
    assert_int_equal(fake_worker_end("c")->how, FAKE_REPORTED);
    fixture_assert_logged(fixture, "killed by signal 9");
    snprintf(script, sizeof script, "rm -r %s", folder);
    assert_int_equal(system(script), 0);
}

static void what_the_child_never_saw_is_given_back_uncounted(void **state)
{
    struct fixture *fixture = *state;
    static char payload[150001];
    memset(payload, '1', sizeof payload - 1);
    fake_worker_add(&(struct fake_task){.key = "a", .payload = payload});
    fake_worker_add(&(struct fake_task){.key = "b"});
    fake_worker_stop_after(2);
    /* The first line does not fit into the pipe, so the second never left us. */
    set_child(fixture, "head -c 1 >&2; kill -KILL $$");
    assert_int_equal(run(fixture), 0);
    assert_true(fake_worker_end("a")->begun);
    assert_int_equal(fake_worker_end("b")->how, FAKE_GIVEN_BACK);
    assert_false(fake_worker_end("b")->begun);
}

static void a_child_that_cannot_be_executed_is_the_workers_fault(void **state)
{
    struct fixture *fixture = *state;
    add_keys("a");
    fixture->options.kind = HANDLER_PIPE;
    fixture_set_command(fixture, (const char *const[]){"/nonexistent/feeds", NULL});
    assert_int_equal(run(fixture), EX_CONFIG);
    assert_int_equal(fake_worker_left(), 1);
    fixture_assert_logged(fixture, "cannot execute /nonexistent/feeds");
}

static void a_child_whose_shell_finds_nothing_is_the_workers_fault_in_the_end(void **state)
{
    struct fixture *fixture = *state;
    add_keys("abcd");
    fixture->options.window = 2;
    set_child(fixture, "read -r line; no-such-command-anywhere 2>/dev/null");
    assert_int_equal(run(fixture), EX_CONFIG);
    assert_int_equal(fake_worker_end("a")->how, FAKE_GIVEN_BACK);
    assert_false(fake_worker_end("a")->begun);
}

static void after_a_death_one_task_at_a_time_until_there_is_an_answer(void **state)
{
    struct fixture *fixture = *state;
    add_keys("abcdef");
    fixture->options.window = 4;
    fake_worker_stop_after(5);
    set_child(fixture, "read -r line; exit 1");
    assert_int_equal(run(fixture), 0);
    assert_int_equal(fake_worker_end_count(), 5);
    assert_int_equal(fake_worker_left(), 1);
}

static void a_run_that_takes_too_long_ends_the_child(void **state)
{
    struct fixture *fixture = *state;
    add_keys("a");
    fake_worker_stop_after(1);
    fixture->options.timeout_ms = 50;
    fixture->options.kill_after_ms = 50;
    set_child(fixture, "trap '' TERM; read -r line; sleep 60; sleep 60");
    assert_int_equal(run(fixture), 0);
    assert_int_equal(fake_worker_end("a")->outcome, EVERDUE_RETRY);
    assert_int_equal(fake_worker_end("a")->cause, EVERDUE_CAUSE_TIMED_OUT);
}

static void eof_on_stdin_means_finish_and_exit(void **state)
{
    struct fixture *fixture = *state;
    add_keys("ab");
    fake_worker_stop_when_empty();
    /* Answers only once its input has ended. */
    set_child(fixture, "all=$(cat); echo \"$all\" | while read -r line; do " PARSE
                       "echo \"{\\\"lease\\\":$lease}\"; done");
    assert_int_equal(run(fixture), 0);
    assert_int_equal(fake_worker_end("a")->how, FAKE_REPORTED);
    assert_int_equal(fake_worker_end("b")->how, FAKE_REPORTED);
}

static void what_has_not_finished_in_time_is_killed_and_given_back(void **state)
{
    struct fixture *fixture = *state;
    add_keys("a");
    fake_worker_stop_when_empty();
    fixture->options.stop_timeout_ms = 100;
    set_child(fixture, "trap '' TERM; sleep 60; sleep 60");
    assert_int_equal(run(fixture), 0);
    assert_int_equal(fake_worker_end("a")->how, FAKE_GIVEN_BACK);
    assert_true(fake_worker_end("a")->begun);
}

static void a_child_silent_past_half_the_lease_gets_the_hint(void **state)
{
    struct fixture *fixture = *state;
    add_keys("a");
    fake_worker_stop_after(1);
    fixture->options.lease_ms = 200;
    set_child(fixture,
              "read -r line; " PARSE "sleep 0.3; echo \"{\\\"lease\\\":$lease}\"; cat >&2");
    assert_int_equal(run(fixture), 0);
    fixture_assert_logged(fixture, "stdbuf -oL");
}

static void stderr_goes_to_the_log_line_by_line(void **state)
{
    struct fixture *fixture = *state;
    add_keys("a");
    fake_worker_stop_after(1);
    set_child(fixture, "read -r line; " PARSE "echo warming up >&2; "
                       "echo \"{\\\"lease\\\":$lease}\"; cat >&2");
    assert_int_equal(run(fixture), 0);
    fixture_assert_logged(fixture, "warming up child=");
}

static void a_child_that_closes_its_streams_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    add_keys("ab");
    fake_worker_stop_after(2);
    set_child(fixture, "read -r line; exec >&- <&-; sleep 60");
    assert_int_equal(run(fixture), 0);
    assert_int_equal(fake_worker_end("a")->how, FAKE_GIVEN_BACK);
}

static void the_same_lease_number_of_two_brokers_is_never_out_twice(void **state)
{
    struct fixture *fixture = *state;
    fixture->options.brokers.items[0] = "one";
    fixture->options.brokers.items[1] = "two";
    fixture->options.brokers.count = 2;
    fake_worker_add(&(struct fake_task){.key = "a", .lease = 17});
    fake_worker_add(&(struct fake_task){.key = "b", .lease = 17, .is_of_second = true});
    fake_worker_stop_after(2);
    set_child(fixture, "while read -r line; do " PARSE
                       "echo \"{\\\"lease\\\":$lease,\\\"note\\\":\\\"$key\\\"}\"; done");
    assert_int_equal(run(fixture), 0);
    assert_string_equal(fake_worker_end("a")->note, "a");
    assert_string_equal(fake_worker_end("b")->note, "b");
}

static void a_result_can_stop_the_worker(void **state)
{
    struct fixture *fixture = *state;
    add_keys("ab");
    fixture->options.window = 1;
    set_child(fixture,
              "read -r line; " PARSE
              "echo \"{\\\"lease\\\":$lease,\\\"stop\\\":true,\\\"error\\\":\\\"no key\\\"}\"; "
              "cat >&2");
    assert_int_equal(run(fixture), EX_CONFIG);
    assert_int_equal(fake_worker_left(), 1);
    fixture_assert_logged(fixture, "no key");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(four_lines_of_shell_are_a_handler),
        TEST(results_may_come_in_any_order),
        TEST(at_most_a_window_is_unanswered),
        TEST(a_touch_line_extends_the_lease),
        TEST(a_touch_line_extends_the_timeout),
        TEST(a_line_that_is_no_json_is_logged_once_counted_and_skipped),
        TEST(a_line_without_end_is_skipped_in_bounded_memory),
        TEST(a_lease_that_is_not_out_is_ignored_and_counted),
        TEST(a_malformed_result_fails_its_run),
        TEST(a_child_that_dies_gives_back_what_it_had_begun_and_is_restarted),
        TEST(what_the_child_never_saw_is_given_back_uncounted),
        TEST(a_child_that_cannot_be_executed_is_the_workers_fault),
        TEST(a_child_whose_shell_finds_nothing_is_the_workers_fault_in_the_end),
        TEST(after_a_death_one_task_at_a_time_until_there_is_an_answer),
        TEST(a_run_that_takes_too_long_ends_the_child),
        TEST(eof_on_stdin_means_finish_and_exit),
        TEST(what_has_not_finished_in_time_is_killed_and_given_back),
        TEST(a_child_silent_past_half_the_lease_gets_the_hint),
        TEST(stderr_goes_to_the_log_line_by_line),
        TEST(a_child_that_closes_its_streams_is_replaced),
        TEST(the_same_lease_number_of_two_brokers_is_never_out_twice),
        TEST(a_result_can_stop_the_worker),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
