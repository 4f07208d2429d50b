/* A command per record: what it says on stdout and stderr, how much runs at once, how it all stops.
 */
#include "handler_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <cmocka.h>

/* --- output ----------------------------------------------------------------------------------- */

static void text_on_stdout_becomes_the_note_its_first_line(void **state)
{
    const struct fake_end *end = fixture_run_script(*state, "printf 'up in 3 ms\\r\\nmore\\n'");
    assert_string_equal(end->note, "up in 3 ms");
    assert_int_equal(end->outcome, EVERDUE_OK);
}

static void bytes_that_are_no_text_are_kept_out_of_the_note(void **state)
{
    assert_string_equal(fixture_run_script(*state, "printf 'a\\377b\\001c'")->note, "a?b?c");
}

static void an_object_on_stdout_is_the_result(void **state)
{
    const struct fake_end *end = fixture_run_script(
        *state, "echo '{\"in\":\"5m\",\"memo\":{\"etag\":\"y\"},\"rank\":2,\"note\":\"304\","
                "\"payload\":[1]}'");
    assert_int_equal(end->outcome, EVERDUE_OK);
    assert_int_equal(end->in_us, INT64_C(300000000));
    assert_string_equal(end->memo, "{\"etag\":\"y\"}");
    assert_string_equal(end->payload, "[1]");
    assert_string_equal(end->note, "304");
    assert_int_equal(end->rank, 2);
}

static void the_objects_outcome_counts_after_exit_0_only(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(fixture_run_script(fixture, "echo '{\"outcome\":\"remove\"}'")->outcome,
                     EVERDUE_REMOVE);
    fake_worker_reset();
    const struct fake_end *end = fixture_run_script(
        fixture, "echo '{\"outcome\":\"ok\",\"in\":\"7s\",\"error\":\"busy\"}'; exit 75");
    assert_int_equal(end->outcome, EVERDUE_RETRY);
    assert_int_equal(end->in_us, INT64_C(7000000));
    assert_string_equal(end->error, "busy");
}

static void a_malformed_result_fails_the_run_and_names_the_member(void **state)
{
    struct fixture *fixture = *state;
    const struct fake_end *end = fixture_run_script(fixture, "echo '{\"in\":300}'");
    assert_int_equal(end->outcome, EVERDUE_RETRY);
    assert_int_equal(end->cause, EVERDUE_CAUSE_FAILED);
    assert_non_null(strstr(end->error, "\"in\""));
    fake_worker_reset();
    end = fixture_run_script(fixture, "echo '{broken'");
    assert_int_equal(end->outcome, EVERDUE_RETRY);
    assert_string_equal(end->error, "the result is no JSON object");
}

static void an_unknown_member_is_logged_once_and_ignored(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_add(&(struct fake_task){.key = "a"});
    fake_worker_add(&(struct fake_task){.key = "b"});
    fake_worker_stop_after(2);
    fixture_set_script(fixture, "echo '{\"nxt\":1}'");
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_int_equal(fake_worker_end("a")->outcome, EVERDUE_OK);
    char *first = strstr(fixture->log, "member=nxt");
    assert_non_null(first);
    assert_null(strstr(first + 1, "member=nxt"));
}

static void output_is_bounded_and_never_blocks_the_command(void **state)
{
    struct fixture *fixture = *state;
    const struct fake_end *end =
        fixture_run_script(fixture, "echo first; head -c 3000000 /dev/zero | tr '\\0' x");
    assert_int_equal(end->outcome, EVERDUE_OK);
    assert_string_equal(end->note, "first");
    fake_worker_reset();
    end = fixture_run_script(
        fixture, "printf '{\"note\":\"'; head -c 70000 /dev/zero | tr '\\0' x; echo '\"}'");
    assert_int_equal(end->outcome, EVERDUE_RETRY);
    assert_string_equal(end->error, "the result object is longer than 64 KiB");
}

static void stderr_goes_to_the_log_line_by_line_with_the_key(void **state)
{
    struct fixture *fixture = *state;
    fixture_run_script(fixture, "echo one >&2; printf two >&2; exit 1");
    fixture_assert_logged(fixture, "one key=a\n");
    fixture_assert_logged(fixture, "two key=a\n");
    assert_string_equal(fake_worker_end("a")->error, "exit status 1: two");
}

static void a_process_left_in_the_background_does_not_hold_up_the_end(void **state)
{
    assert_string_equal(fixture_run_script(*state, "sleep 5 & echo done")->note, "done");
}

/* --- how much at once, and the end ------------------------------------------------------------ */

static void as_many_run_at_a_time_as_there_is_credit(void **state)
{
    struct fixture *fixture = *state;
    char folder[] = "/tmp/everdue-exec-XXXXXX";
    char script[256];
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < 3; i++)
        fake_worker_add(&(struct fake_task){.key = (const char *const[]){"a", "b", "c"}[i]});
    fake_worker_stop_after(3);
    fixture->options.credit = 3;
    /* Each waits until all three have begun. */
    snprintf(script, sizeof script, "cd %s; : > $1; until [ -e a -a -e b -a -e c ]; do :; done",
             folder);
    fixture_set_script(fixture, script);
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_int_equal(fake_worker_out_max(), 3);
    snprintf(script, sizeof script, "rm -r %s", folder);
    assert_int_equal(system(script), 0);
}

static void never_more_run_than_there_is_credit(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < 20; i++)
        fake_worker_add(&(struct fake_task){.key = "k"});
    fake_worker_stop_after(20);
    fixture_set_command(fixture, (const char *const[]){"true", NULL});
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_int_equal(fake_worker_out_max(), 2);
}

static void a_stop_lets_what_runs_finish_and_takes_nothing_new(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_add(&(struct fake_task){.key = "a"});
    fake_worker_add(&(struct fake_task){.key = "b"});
    fake_worker_stop_after(0);
    fixture->options.credit = 1;
    fixture_set_script(fixture, "sleep 0.1; echo finished");
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_string_equal(fake_worker_end("a")->note, "finished");
    assert_int_equal(fake_worker_left(), 1);
}

static void what_has_not_finished_in_time_is_killed_and_given_back(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_add(&(struct fake_task){.key = "a"});
    fake_worker_stop_after(0);
    fixture->options.stop_timeout_ms = 50;
    fixture_set_script(fixture, "trap '' TERM; sleep 60; sleep 60");
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_int_equal(fake_worker_end("a")->how, FAKE_GIVEN_BACK);
    assert_true(fake_worker_end("a")->begun);
}

static void a_second_sigterm_gives_the_rest_back_at_once(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_add(&(struct fake_task){.key = "a"});
    fake_worker_stop_after(0);
    fixture->options.stop_timeout_ms = 60000;
    fixture_set_script(fixture, "kill -TERM $PPID; sleep 0.1; kill -TERM $PPID; sleep 60");
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_int_equal(fake_worker_end("a")->how, FAKE_GIVEN_BACK);
}

static void a_cancelled_run_is_broken_off(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_cancel("a");
    const struct fake_end *end = fixture_run_script(fixture, "sleep 60");
    assert_int_equal(end->how, FAKE_GIVEN_BACK);
}

static void a_result_without_next_time_stops_the_worker_and_names_both_remedies(void **state)
{
    struct fixture *fixture = *state;
    fixture->options.every_us = 0;
    fake_worker_add(&(struct fake_task){.key = "a"});
    fixture_set_command(fixture, (const char *const[]){"true", NULL});
    assert_int_equal(fixture_run(fixture, handler_exec_run), EX_CONFIG);
    fixture_assert_logged(fixture, "--every");
    fixture_assert_logged(fixture, "return");
    fixture_assert_logged(fixture, "key=a");
}

static void a_missing_next_time_that_shows_later_stops_the_worker_too(void **state)
{
    struct fixture *fixture = *state;
    fixture->options.every_us = 0;
    fake_worker_answer_later();
    fake_worker_add(&(struct fake_task){.key = "a"});
    fixture_set_command(fixture, (const char *const[]){"true", NULL});
    assert_int_equal(fixture_run(fixture, handler_exec_run), EX_CONFIG);
    fixture_assert_logged(fixture, "--every");
}

static void a_result_can_stop_the_worker(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_add(&(struct fake_task){.key = "a"});
    fake_worker_add(&(struct fake_task){.key = "b"});
    fixture->options.credit = 1;
    fixture_set_script(fixture, "echo '{\"stop\":true,\"error\":\"quota used up\"}'");
    assert_int_equal(fixture_run(fixture, handler_exec_run), EX_CONFIG);
    assert_int_equal(fake_worker_end("a")->how, FAKE_REPORTED);
    assert_int_equal(fake_worker_left(), 1);
    fixture_assert_logged(fixture, "quota used up");
}

static void an_endpoint_that_is_none_ends_the_worker(void **state)
{
    struct fixture *fixture = *state;
    fixture->options.brokers.items[0] = "nowhere";
    fixture->options.brokers.count = 1;
    fixture_set_command(fixture, (const char *const[]){"true", NULL});
    assert_int_equal(fixture_run(fixture, handler_exec_run), EX_CONFIG);
    fixture_assert_logged(fixture, "not an endpoint");
}

static void several_brokers_are_served_in_turn(void **state)
{
    struct fixture *fixture = *state;
    fixture->options.brokers.items[0] = "one";
    fixture->options.brokers.items[1] = "two";
    fixture->options.brokers.count = 2;
    fake_worker_add(&(struct fake_task){.key = "a"});
    fake_worker_add(&(struct fake_task){.key = "b", .is_of_second = true});
    fake_worker_stop_after(2);
    fixture_set_command(fixture, (const char *const[]){"true", NULL});
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_int_equal(fake_worker_end("a")->outcome, EVERDUE_OK);
    assert_int_equal(fake_worker_end("b")->outcome, EVERDUE_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(text_on_stdout_becomes_the_note_its_first_line),
        TEST(bytes_that_are_no_text_are_kept_out_of_the_note),
        TEST(an_object_on_stdout_is_the_result),
        TEST(the_objects_outcome_counts_after_exit_0_only),
        TEST(a_malformed_result_fails_the_run_and_names_the_member),
        TEST(an_unknown_member_is_logged_once_and_ignored),
        TEST(output_is_bounded_and_never_blocks_the_command),
        TEST(stderr_goes_to_the_log_line_by_line_with_the_key),
        TEST(a_process_left_in_the_background_does_not_hold_up_the_end),
        TEST(as_many_run_at_a_time_as_there_is_credit),
        TEST(never_more_run_than_there_is_credit),
        TEST(a_stop_lets_what_runs_finish_and_takes_nothing_new),
        TEST(what_has_not_finished_in_time_is_killed_and_given_back),
        TEST(a_second_sigterm_gives_the_rest_back_at_once),
        TEST(a_cancelled_run_is_broken_off),
        TEST(a_result_without_next_time_stops_the_worker_and_names_both_remedies),
        TEST(a_missing_next_time_that_shows_later_stops_the_worker_too),
        TEST(a_result_can_stop_the_worker),
        TEST(an_endpoint_that_is_none_ends_the_worker),
        TEST(several_brokers_are_served_in_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
