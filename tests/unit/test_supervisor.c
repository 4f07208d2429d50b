/* N processes under one supervisor, with shells in the place of workers. */
#include "supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

/* A supervisor in a process of its own; its processes write to `fd`, which ends when all are gone.
 */
struct fixture {
    pid_t pid;
    int fd;
    char said[4096];
    size_t said_count;
};

static void run_supervisor(const char *script, unsigned count, uint32_t stop_slack_ms)
{
    char *arguments[] = {"sh", "-c", (char *)script, NULL};
    const struct supervisor_options options = {
        .count = count,
        .program = "/bin/sh",
        .arguments = arguments,
        .stop_timeout_ms = 100,
        .stop_slack_ms = stop_slack_ms,
    };
    _exit(supervisor_run(&options));
}

static void begin(struct fixture *fixture, const char *script, unsigned count,
                  uint32_t stop_slack_ms)
{
    int ends[2];

    memset(fixture, 0, sizeof *fixture);
    assert_int_equal(pipe(ends), 0);
    fixture->pid = fork();
    assert_true(fixture->pid >= 0);
    if (fixture->pid == 0) {
        /* A test that fails must not leave it behind. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        int null_fd = open("/dev/null", O_WRONLY);
        dup2(null_fd, STDERR_FILENO);
        run_supervisor(script, count, stop_slack_ms);
    }
    close(ends[1]);
    fixture->fd = ends[0];
}

/* Until this text has been said so often. */
static void await(struct fixture *fixture, const char *text, unsigned times)
{
    for (;;) {
        unsigned found = 0;
        for (const char *at = fixture->said; (at = strstr(at, text)) != NULL; at++)
            found++;
        if (found >= times)
            return;
        struct pollfd ready = {.fd = fixture->fd, .events = POLLIN};
        if (poll(&ready, 1, 20000) != 1)
            fail_msg("waited in vain for: %s\n%s", text, fixture->said);
        ssize_t count = read(fixture->fd, fixture->said + fixture->said_count,
                             sizeof fixture->said - 1 - fixture->said_count);
        if (count <= 0)
            fail_msg("ended without: %s\n%s", text, fixture->said);
        fixture->said_count += (size_t)count;
    }
}

static int end(struct fixture *fixture)
{
    int wait_status;

    assert_int_equal(waitpid(fixture->pid, &wait_status, 0), fixture->pid);
    close(fixture->fd);
    assert_true(WIFEXITED(wait_status));
    return WEXITSTATUS(wait_status);
}

/* Says who it is, and ends when told to. The wait is one that a trap interrupts. */
#define LIVE                                                                                       \
    "trap 'echo stopped; kill $!; exit 0' TERM; sleep 60 & "                                       \
    "echo place=${EVERDUE_WORKER_PROCESS%%:*}.; wait"

static void each_process_is_told_its_place_and_its_supervisor(void **state)
{
    (void)state;
    struct fixture fixture;
    char parent[32];
    begin(&fixture, "echo by=${EVERDUE_WORKER_PROCESS#*:}.; " LIVE, 3, 10000);
    await(&fixture, "place=0.", 1);
    await(&fixture, "place=1.", 1);
    await(&fixture, "place=2.", 1);
    snprintf(parent, sizeof parent, "by=%d.", (int)fixture.pid);
    await(&fixture, parent, 3);
    kill(fixture.pid, SIGTERM);
    await(&fixture, "stopped", 3);
    assert_int_equal(end(&fixture), 0);
}

static void sigint_and_sighup_stop_as_sigterm_does(void **state)
{
    (void)state;
    static const int numbers[] = {SIGINT, SIGHUP};
    for (size_t i = 0; i < 2; i++) {
        struct fixture fixture;
        begin(&fixture, LIVE, 1, 10000);
        await(&fixture, "place=0.", 1);
        kill(fixture.pid, numbers[i]);
        await(&fixture, "stopped", 1);
        assert_int_equal(end(&fixture), 0);
    }
}

static void a_process_that_ends_is_started_again_in_its_place(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture,
          "if [ ${EVERDUE_WORKER_PROCESS%%:*} = 1 ]; then echo gone; kill -KILL $$; fi; " LIVE, 2,
          10000);
    await(&fixture, "gone", 3);
    await(&fixture, "place=0.", 1);
    kill(fixture.pid, SIGTERM);
    assert_int_equal(end(&fixture), 0);
    assert_null(strstr(strstr(fixture.said, "place=0.") + 1, "place=0."));
}

static void an_exit_with_78_stops_all_and_is_the_answer(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, "if [ ${EVERDUE_WORKER_PROCESS%%:*} = 1 ]; then echo fault; exit 78; fi; " LIVE,
          2, 10000);
    assert_int_equal(end(&fixture), EX_CONFIG);
}

static void nothing_is_restarted_after_78(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, "echo fault; exit 78", 1, 10000);
    await(&fixture, "fault", 1);
    char rest[64];
    assert_int_equal(read(fixture.fd, rest, sizeof rest), 0);
    assert_int_equal(end(&fixture), EX_CONFIG);
}

static void a_second_signal_is_handed_on(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture,
          "trap 'trap \"echo second; exit 0\" TERM; echo first' TERM; echo ready; "
          "while :; do :; done",
          1, 20000);
    await(&fixture, "ready", 1);
    kill(fixture.pid, SIGTERM);
    await(&fixture, "first", 1);
    kill(fixture.pid, SIGTERM);
    await(&fixture, "second", 1);
    assert_int_equal(end(&fixture), 0);
}

static void what_does_not_end_is_killed(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, "trap '' TERM; echo ready; exec sleep 60", 2, 0);
    await(&fixture, "ready", 2);
    kill(fixture.pid, SIGTERM);
    assert_int_equal(end(&fixture), EX_TEMPFAIL);
}

static void a_program_that_cannot_be_started_is_tried_again(void **state)
{
    (void)state;
    struct fixture fixture;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fixture.pid = fork();
    if (fixture.pid == 0) {
        char *arguments[] = {"x", NULL};
        const struct supervisor_options options = {
            .count = 1, .program = "/nonexistent/worker", .arguments = arguments};
        dup2(ends[1], STDERR_FILENO);
        _exit(supervisor_run(&options));
    }
    close(ends[1]);
    fixture.fd = ends[0];
    fixture.said_count = 0;
    memset(fixture.said, 0, sizeof fixture.said);
    await(&fixture, "cannot start a worker process", 3);
    kill(fixture.pid, SIGTERM);
    assert_int_equal(end(&fixture), 0);
}

static void a_process_dies_with_its_supervisor(void **state)
{
    (void)state;
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    pid_t parent = fork();
    if (parent == 0) {
        pid_t child = fork();
        if (child == 0) {
            char value[32];
            unsigned place;
            bool is_orphan;
            snprintf(value, sizeof value, "3:%d", (int)getppid());
            setenv("EVERDUE_WORKER_PROCESS", value, 1);
            bool is_process = supervisor_is_above(&place, &is_orphan);
            bool right =
                is_process && place == 3 && !is_orphan && getenv("EVERDUE_WORKER_PROCESS") == NULL;
            if (write(ends[1], right ? "y" : "n", 1) == 1)
                pause();
            _exit(1);
        }
        pause();
        _exit(1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    kill(parent, SIGKILL);
    waitpid(parent, NULL, 0);
    /* The pipe ends with the last process that has it. */
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
}

static void a_process_that_comes_too_late_knows_that_it_is_an_orphan(void **state)
{
    (void)state;
    unsigned place;
    bool is_orphan = false;
    assert_false(supervisor_is_above(&place, &is_orphan));
    setenv("EVERDUE_WORKER_PROCESS", "0:1", 1);
    assert_true(supervisor_is_above(&place, &is_orphan));
    assert_true(is_orphan || getppid() == 1);
    prctl(PR_SET_PDEATHSIG, 0);
}

static void the_wait_doubles_up_to_five_seconds_and_begins_anew_after_ten(void **state)
{
    (void)state;
    static const uint32_t waits[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    uint32_t wait_ms = 0;
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        wait_ms = supervisor_backoff_ms(wait_ms, 9999);
        assert_int_equal(wait_ms, waits[i]);
    }
    assert_int_equal(supervisor_backoff_ms(5000, 10000), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_process_is_told_its_place_and_its_supervisor),
        cmocka_unit_test(sigint_and_sighup_stop_as_sigterm_does),
        cmocka_unit_test(a_process_that_ends_is_started_again_in_its_place),
        cmocka_unit_test(an_exit_with_78_stops_all_and_is_the_answer),
        cmocka_unit_test(nothing_is_restarted_after_78),
        cmocka_unit_test(a_second_signal_is_handed_on),
        cmocka_unit_test(what_does_not_end_is_killed),
        cmocka_unit_test(a_program_that_cannot_be_started_is_tried_again),
        cmocka_unit_test(a_process_dies_with_its_supervisor),
        cmocka_unit_test(a_process_that_comes_too_late_knows_that_it_is_an_orphan),
        cmocka_unit_test(the_wait_doubles_up_to_five_seconds_and_begins_anew_after_ten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
