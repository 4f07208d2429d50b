/* Which crashes leave a line, and which lines count. */
#include "crashes.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"

enum { NOW_S = 1800000000 };

struct place {
    char directory[64], file[96];
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    *state = place;
    snprintf(place->directory, sizeof(place->directory), "/tmp/everdue-crashes-XXXXXX");
    if (!mkdtemp(place->directory))
        return -1;
    snprintf(place->file, sizeof(place->file), "%s/crashes", place->directory);
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    unlink(place->file);
    rmdir(place->directory);
    free(place);
    return 0;
}

static void write_lines(const struct place *place, const char *text, int times)
{
    FILE *file = fopen(place->file, "w");
    assert_non_null(file);
    for (int i = 0; i < times; i++)
        fputs(text, file);
    fclose(file);
}

static uint32_t count_at(const struct place *place, int64_t seconds, int *last)
{
    return crashes_count(place->directory, seconds * US_PER_S, last);
}

static void without_a_file_there_were_none(void **state)
{
    int last = 7;
    assert_int_equal(count_at(*state, NOW_S, &last), 0);
    assert_int_equal(last, 0);
}

static void those_of_the_last_minute_count(void **state)
{
    int last;
    write_lines(*state, "1799999940 06\n1799999941 06\n1799999999 11\n1800000000 06\n", 1);
    assert_int_equal(count_at(*state, NOW_S, &last), 3);
    assert_int_equal(last, SIGABRT);
}

static void those_of_the_future_and_what_is_no_line_do_not(void **state)
{
    int last;
    write_lines(*state,
                "1800000001 06\n\n18000\nnonsense that is longer than any line is\n"
                "1799999999 11\n17999",
                1);
    assert_int_equal(count_at(*state, NOW_S, &last), 1);
    assert_int_equal(last, SIGSEGV);
}

/* A process that watches, and ends by that signal. Returns the signal that ended it. */
static int die_of(const struct place *place, int number)
{
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* no sanitizer's report */
        signal(SIGABRT, SIG_DFL); /* nor the test's */
        if (!crashes_watch(place->directory))
            _exit(1);
        raise(number);
        _exit(2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void an_abort_and_a_bad_access_are_marked_and_end_the_process_as_ever(void **state)
{
    int last;
    assert_int_equal(die_of(*state, SIGABRT), SIGABRT);
    assert_int_equal(die_of(*state, SIGSEGV), SIGSEGV);
    assert_int_equal(die_of(*state, SIGKILL), SIGKILL);
    assert_int_equal(count_at(*state, clock_now().wall_us / US_PER_S, &last), 2);
    assert_int_equal(last, SIGSEGV);
}

static void the_file_begins_anew_when_it_is_long(void **state)
{
    const struct place *place = *state;
    int last;
    write_lines(place, "1799999999 06\n", 1001);
    assert_int_equal(count_at(place, NOW_S, &last), 1001);
    assert_int_equal(die_of(place, SIGABRT), SIGABRT);
    assert_int_equal(count_at(place, NOW_S, &last), 0);
    assert_int_equal(count_at(place, clock_now().wall_us / US_PER_S, &last), 1);
}

static void where_nothing_can_be_written_it_says_so(void **state)
{
    (void)state;
    assert_false(crashes_watch("/nonexistent"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_a_file_there_were_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(those_of_the_last_minute_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(those_of_the_future_and_what_is_no_line_do_not, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            an_abort_and_a_bad_access_are_marked_and_end_the_process_as_ever, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_file_begins_anew_when_it_is_long, set_up, tear_down),
        cmocka_unit_test(where_nothing_can_be_written_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
