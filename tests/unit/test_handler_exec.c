/* A command per record: the contract of everdue-worker -- COMMAND, with real processes. */
#include "handler_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <cmocka.h>

/* --- the table of exits ----------------------------------------------------------------------- */

static void exit_0_is_ok(void **state)
{
    const struct fake_end *end = fixture_run_script(*state, "exit 0");
    assert_int_equal(end->how, FAKE_REPORTED);
    assert_int_equal(end->outcome, EVERDUE_OK);
    assert_int_equal(end->cause, EVERDUE_CAUSE_NONE);
    assert_string_equal(end->error, "");
}

static void exit_75_is_retried(void **state)
{
    const struct fake_end *end = fixture_run_script(*state, "exit 75");
    assert_int_equal(end->outcome, EVERDUE_RETRY);
    assert_string_equal(end->error, "exit status 75");
}

static void exit_65_parks(void **state)
{
    const struct fake_end *end = fixture_run_script(*state, "echo no such host >&2; exit 65");
    assert_int_equal(end->outcome, EVERDUE_PARK);
    assert_string_equal(end->error, "exit status 65: no such host");
}

static void exit_99_removes(void **state)
{
    assert_int_equal(fixture_run_script(*state, "exit 99")->outcome, EVERDUE_REMOVE);
}

static void any_other_exit_failed(void **state)
{
    struct fixture *fixture = *state;
    static const int codes[] = {1, 2, 64, 78, 100, 126, 127, 254, 255};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        char script[32];
        fake_worker_reset();
        snprintf(script, sizeof script, "exit %d", codes[i]);
        const struct fake_end *end = fixture_run_script(fixture, script);
        assert_int_equal(end->how, FAKE_REPORTED);
        assert_int_equal(end->outcome, EVERDUE_RETRY);
        assert_int_equal(end->cause, EVERDUE_CAUSE_FAILED);
    }
}

static void a_death_by_signal_is_counted_apart(void **state)
{
    const struct fake_end *end = fixture_run_script(*state, "kill -SEGV $$");
    assert_int_equal(end->outcome, EVERDUE_RETRY);
    assert_int_equal(end->cause, EVERDUE_CAUSE_KILLED);
    assert_string_equal(end->error, "killed by signal 11 (Segmentation fault)");
}

static void a_run_that_takes_too_long_gets_term_and_is_counted_apart(void **state)
{
    struct fixture *fixture = *state;
    fixture->options.timeout_ms = 50;
    const struct fake_end *end = fixture_run_script(fixture, "sleep 60");
    assert_int_equal(end->outcome, EVERDUE_RETRY);
    assert_int_equal(end->cause, EVERDUE_CAUSE_TIMED_OUT);
    assert_string_equal(end->error, "timed out after 50ms");
}

static void what_ignores_term_is_killed_with_its_whole_group(void **state)
{
    struct fixture *fixture = *state;
    fixture->options.timeout_ms = 100;
    fixture->options.kill_after_ms = 50;
    /* The inner sleep would keep the pipe; only a signal to the group ends both. */
    const struct fake_end *end =
        fixture_run_script(fixture, "trap '' TERM; echo begun >&2; (sleep 60) & wait; sleep 60");
    assert_int_equal(end->cause, EVERDUE_CAUSE_TIMED_OUT);
}

static void a_run_that_ends_well_after_term_still_timed_out(void **state)
{
    struct fixture *fixture = *state;
    fixture->options.timeout_ms = 50;
    const struct fake_end *end =
        fixture_run_script(fixture, "trap 'kill $!; exit 0' TERM; sleep 60 & wait");
    assert_int_equal(end->outcome, EVERDUE_RETRY);
    assert_int_equal(end->cause, EVERDUE_CAUSE_TIMED_OUT);
}

static void a_command_that_cannot_be_executed_is_the_workers_fault(void **state)
{
    struct fixture *fixture = *state;
    static const char *const commands[] = {"/nonexistent/check", "no-such-command-anywhere",
                                           "/etc/passwd", "/"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        fake_worker_reset();
        fake_worker_add(&(struct fake_task){.key = "a"});
        fake_worker_add(&(struct fake_task){.key = "b"});
        fixture_set_command(fixture, (const char *const[]){commands[i], "{key}", NULL});
        assert_int_equal(fixture_run(fixture, handler_exec_run), EX_CONFIG);
        assert_int_equal(fake_worker_end("a")->how, FAKE_GIVEN_BACK);
        assert_false(fake_worker_end("a")->begun);
        assert_int_equal(fake_worker_left(), 1);
        assert_non_null(strstr(fake_worker_stop_reason(), commands[i]));
        fixture_assert_logged(fixture, "cannot execute");
    }
}

static void exit_127_for_three_keys_in_a_row_is_the_workers_fault(void **state)
{
    struct fixture *fixture = *state;
    static const char *const keys[] = {"a", "a", "b", "c", "d"};
    for (size_t i = 0; i < 5; i++)
        fake_worker_add(&(struct fake_task){.key = keys[i]});
    fixture->options.credit = 1;
    fixture_set_script(fixture, "no-such-command-anywhere 2>/dev/null");
    assert_int_equal(fixture_run(fixture, handler_exec_run), EX_CONFIG);
    assert_int_equal(fake_worker_end("a")->outcome, EVERDUE_RETRY);
    assert_int_equal(fake_worker_end("b")->outcome, EVERDUE_RETRY);
    assert_int_equal(fake_worker_end("c")->how, FAKE_GIVEN_BACK);
    assert_false(fake_worker_end("c")->begun);
    assert_int_equal(fake_worker_left(), 1);
}

static void a_success_between_begins_the_count_anew(void **state)
{
    struct fixture *fixture = *state;
    static const char *const keys[] = {"126a", "127b", "0", "126c", "1", "127d", "0"};
    for (size_t i = 0; i < 7; i++)
        fake_worker_add(&(struct fake_task){.key = keys[i]});
    fake_worker_stop_after(7);
    fixture->options.credit = 1;
    fixture_set_script(fixture, "exit ${1%[a-z]}");
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_int_equal(fake_worker_end("127d")->outcome, EVERDUE_RETRY);
}

static void with_the_nagios_map_0_to_3_are_successful_runs(void **state)
{
    struct fixture *fixture = *state;
    static const char *const keys[] = {"0", "1", "2", "3", "4", "65"};
    for (size_t i = 0; i < 6; i++)
        fake_worker_add(&(struct fake_task){.key = keys[i]});
    fake_worker_stop_after(6);
    fixture->options.exit_map = EXIT_MAP_NAGIOS;
    fixture_set_script(fixture, "[ $1 = 3 ] || echo \"PING $1 ms|x=1\"; exit $1");
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_string_equal(fake_worker_end("0")->note, "OK: PING 0 ms|x=1");
    assert_string_equal(fake_worker_end("1")->note, "WARNING: PING 1 ms|x=1");
    assert_string_equal(fake_worker_end("2")->note, "CRITICAL: PING 2 ms|x=1");
    assert_string_equal(fake_worker_end("3")->note, "UNKNOWN");
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(fake_worker_end(keys[i])->outcome, EVERDUE_OK);
    assert_int_equal(fake_worker_end("4")->outcome, EVERDUE_RETRY);
    assert_int_equal(fake_worker_end("65")->outcome, EVERDUE_PARK);
}

/* --- arguments, input, environment ------------------------------------------------------------ */

static void the_key_is_replaced_only_where_it_is_a_whole_argument_and_no_shell_sees_it(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_add(&(struct fake_task){.key = "$(date) 'x'; *"});
    fake_worker_stop_after(1);
    fixture_set_command(fixture, (const char *const[]){"printf", "<%s>", "{key}", "x{key}", NULL});
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_string_equal(fake_worker_end("$(date) 'x'; *")->note, "<$(date) 'x'; *><x{key}>");
}

static void a_key_that_looks_like_an_option_is_refused(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_add(&(struct fake_task){.key = "-rf"});
    fake_worker_stop_after(1);
    fixture_set_command(fixture, (const char *const[]){"echo", "{key}", NULL});
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_int_equal(fake_worker_end("-rf")->outcome, EVERDUE_PARK);
    assert_non_null(strstr(fake_worker_end("-rf")->error, "put -- before {key}"));
}

static void such_a_key_is_filled_in_behind_two_dashes(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_add(&(struct fake_task){.key = "-rf"});
    fake_worker_stop_after(1);
    fixture_set_command(fixture, (const char *const[]){"printf", "%s", "--", "{key}", NULL});
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_int_equal(fake_worker_end("-rf")->outcome, EVERDUE_OK);
    assert_string_equal(fake_worker_end("-rf")->note, "---rf");
}

static void stdin_is_the_payload(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_add(&(struct fake_task){.key = "a", .payload = "no json at all"});
    fake_worker_add(&(struct fake_task){.key = "b"});
    fake_worker_stop_after(2);
    fixture_set_command(fixture, (const char *const[]){"cat", NULL});
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_string_equal(fake_worker_end("a")->note, "no json at all");
    assert_string_equal(fake_worker_end("b")->note, "");
}

static void a_payload_larger_than_a_pipe_arrives_whole(void **state)
{
    struct fixture *fixture = *state;
    static char payload[200001];
    memset(payload, 'x', sizeof payload - 1);
    fake_worker_add(&(struct fake_task){.key = "a", .payload = payload});
    fake_worker_stop_after(1);
    fixture_set_command(fixture, (const char *const[]){"wc", "-c", NULL});
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_string_equal(fake_worker_end("a")->note, "200000");
}

static void a_command_that_does_not_read_its_input_is_none_the_worse(void **state)
{
    struct fixture *fixture = *state;
    static char payload[200001];
    memset(payload, 'x', sizeof payload - 1);
    fake_worker_add(&(struct fake_task){.key = "a", .payload = payload});
    fake_worker_stop_after(1);
    fixture_set_command(fixture, (const char *const[]){"true", NULL});
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_int_equal(fake_worker_end("a")->outcome, EVERDUE_OK);
}

static void stdin_is_the_task_where_asked_for(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_add(&(struct fake_task){.key = "a", .payload = "{\"x\":1}"});
    fake_worker_stop_after(1);
    fixture->options.stdin_kind = STDIN_TASK;
    fixture_set_command(fixture, (const char *const[]){"sed", "s/^{/=/", NULL});
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    const char *note = fake_worker_end("a")->note;
    assert_non_null(strstr(note, "=\"key\":\"a\",\"queue\":\"default\",\"lease\":100,"));
    assert_non_null(strstr(note, ",\"payload\":{\"x\":1},"));
}

static void the_environment_tells_of_the_task(void **state)
{
    struct fixture *fixture = *state;
    setenv("EVERDUE_TASK_MEMO", "of an outer worker", 1);
    fake_worker_add(&(struct fake_task){.key = "a b",
                                        .lease = 17,
                                        .memo = "two\nlines",
                                        .group = "g",
                                        .failures = 3,
                                        .due_us = INT64_C(1795359600000000),
                                        .lateness_us = 12345});
    fake_worker_add(&(struct fake_task){.key = "c"});
    fake_worker_stop_after(2);
    fixture_set_script(fixture,
                       "e=EVERDUE_TASK; env | grep -q ^${e}_MEMO= && m=with; "
                       "echo \"$EVERDUE_TASK_KEY/$EVERDUE_TASK_QUEUE/$EVERDUE_TASK_LEASE/"
                       "$EVERDUE_TASK_GROUP/$EVERDUE_TASK_DUE/$EVERDUE_TASK_LATENESS_MS/"
                       "$EVERDUE_TASK_FAILURES/${EVERDUE_TASK_MEMO#*o}/$m\" | tr '\\n' ' '; "
                       "[ $EVERDUE_TASK_DEADLINE_MS -gt 50000 ]");
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    unsetenv("EVERDUE_TASK_MEMO");
    assert_string_equal(fake_worker_end("a b")->note,
                        "a b/default/17/g/2026-11-22T15:00:00.000000Z/12/3/ lines/with ");
    assert_int_equal(fake_worker_end("a b")->outcome, EVERDUE_OK);
    assert_string_equal(fake_worker_end("c")->note,
                        "c/default/101//1970-01-01T00:00:00.000000Z/0/0// ");
}

static void a_memo_that_is_long_or_no_text_is_not_in_the_environment(void **state)
{
    struct fixture *fixture = *state;
    static char memo[4098];
    memset(memo, 'm', 4097);
    fake_worker_add(&(struct fake_task){.key = "long", .memo = memo});
    fake_worker_add(&(struct fake_task){.key = "bytes", .memo = "\xff\xfe"});
    fake_worker_add(&(struct fake_task){.key = "fits", .memo = memo + 1});
    fake_worker_stop_after(3);
    fixture_set_script(fixture, "echo ${#EVERDUE_TASK_MEMO} ${EVERDUE_TASK_MEMO+set} | cut -c1-9");
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    assert_string_equal(fake_worker_end("long")->note, "0");
    assert_string_equal(fake_worker_end("bytes")->note, "0");
    assert_string_equal(fake_worker_end("fits")->note, "4096 set");
}

static void commands_get_signals_as_usual(void **state)
{
    struct fixture *fixture = *state;
    /* Ignored and blocked signals of the worker would show here. */
    const struct fake_end *end =
        fixture_run_script(fixture, "while read name bits; do case $name in "
                                    "SigBlk: | SigIgn:) echo -n $((0x$bits & 0x7fffffff)),;; esac; "
                                    "done < /proc/self/status");
    assert_string_equal(end->note, "0,0,");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(exit_0_is_ok),
        TEST(exit_75_is_retried),
        TEST(exit_65_parks),
        TEST(exit_99_removes),
        TEST(any_other_exit_failed),
        TEST(a_death_by_signal_is_counted_apart),
        TEST(a_run_that_takes_too_long_gets_term_and_is_counted_apart),
        TEST(what_ignores_term_is_killed_with_its_whole_group),
        TEST(a_run_that_ends_well_after_term_still_timed_out),
        TEST(a_command_that_cannot_be_executed_is_the_workers_fault),
        TEST(exit_127_for_three_keys_in_a_row_is_the_workers_fault),
        TEST(a_success_between_begins_the_count_anew),
        TEST(with_the_nagios_map_0_to_3_are_successful_runs),
        TEST(the_key_is_replaced_only_where_it_is_a_whole_argument_and_no_shell_sees_it),
        TEST(a_key_that_looks_like_an_option_is_refused),
        TEST(such_a_key_is_filled_in_behind_two_dashes),
        TEST(stdin_is_the_payload),
        TEST(a_payload_larger_than_a_pipe_arrives_whole),
        TEST(a_command_that_does_not_read_its_input_is_none_the_worse),
        TEST(stdin_is_the_task_where_asked_for),
        TEST(the_environment_tells_of_the_task),
        TEST(a_memo_that_is_long_or_no_text_is_not_in_the_environment),
        TEST(commands_get_signals_as_usual),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
