/* Flags, variables and defaults of everdue-worker. */
#include "options.h"

#include "cpus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARGUMENTS_MAX = 64 };

static struct options options;
static char *argv[ARGUMENTS_MAX];

/* The words of a command line, parted by single blanks. */
static int parse(char *line)
{
    int argc = 0;

    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    options_release(&options);
    return options_parse(&options, argc, argv);
}

#define PARSE(...) parse((char[]){"everdue-worker " __VA_ARGS__})

/* In a process of its own, for a refused flag ends it. */
static int parse_code(const char *flags)
{
    char line[512];
    int wait_status;

    snprintf(line, sizeof line, "everdue-worker %s", flags);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL || freopen("/dev/null", "w", stdout) == NULL)
            _exit(1);
        _exit(parse(line));
    }
    waitpid(pid, &wait_status, 0);
    return WEXITSTATUS(wait_status);
}

static void everything_has_its_default(void **state)
{
    (void)state;
    assert_int_equal(PARSE("-- true {key}"), 0);
    assert_int_equal(options.kind, HANDLER_EXEC);
    assert_int_equal(options.credit, 2);
    assert_int_equal(options.timeout_ms, 600000);
    assert_int_equal(options.stop_timeout_ms, 8000);
    assert_int_equal(options.kill_after_ms, 5000);
    assert_int_equal(options.every_us, 0);
    assert_int_equal(options.brokers.count, 0);
    assert_int_equal(options.queues.count, 0);
    assert_int_equal(options.argument_count, 2);
    assert_string_equal(options.arguments[1], "{key}");
    assert_null(options.arguments[2]);
}

static void all_flags_are_read(void **state)
{
    (void)state;
    assert_int_equal(
        PARSE("--broker tcp://a:1 --broker ipc://b --queue q --queue r -n 3 --credit 9 "
              "--every 1h30m --lease 30s --timeout 2m --stop-timeout 1s --name n "
              "--heartbeat 1s --stdin task --exit-map nagios --log-format json "
              "--log-level debug -- c -n 4 -- {key}"),
        0);
    assert_int_equal(options.brokers.count, 2);
    assert_string_equal(options.brokers.items[1], "ipc://b");
    assert_string_equal(options.queues.items[0], "q");
    assert_null(options.queues.items[2]);
    assert_int_equal(options.processes, 3);
    assert_int_equal(options.credit, 9);
    assert_int_equal(options.every_us, INT64_C(5400000000));
    assert_int_equal(options.lease_ms, 30000);
    assert_int_equal(options.timeout_ms, 120000);
    assert_int_equal(options.stop_timeout_ms, 1000);
    assert_int_equal(options.heartbeat_ms, 1000);
    assert_int_equal(options.stdin_kind, STDIN_TASK);
    assert_int_equal(options.exit_map, EXIT_MAP_NAGIOS);
    assert_int_equal(options.log_format, LOG_JSON);
    assert_int_equal(options.log_level, LOG_DEBUG);
    assert_int_equal(options.argument_count, 5);
    assert_string_equal(options.arguments[3], "--");
}

#define KEY "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"

static void keys_are_looked_at_before_anything_starts(void **state)
{
    char path[] = "/tmp/everdue-test-XXXXXX";
    char line[256];
    int file = mkstemp(path);
    (void)state;
    assert_true(file >= 0);
    assert_true(
        dprintf(file, "curve\n    public-key = \"%s\"\n    secret-key = \"%s\"\n", KEY, KEY) > 0);
    close(file);
    snprintf(line, sizeof line, "everdue-worker --curve-key %s --curve-server %s -- c", path, KEY);
    assert_int_equal(parse(line), 0);
    assert_string_equal(options.curve_key_file, path);
    assert_string_equal(options.curve_server_key, KEY);
    snprintf(line, sizeof line, "--curve-key %s --curve-server %sx -- c", path, KEY);
    assert_int_equal(parse_code(line), EX_USAGE);
    assert_int_equal(chmod(path, 0644), 0);
    snprintf(line, sizeof line, "--curve-key %s --curve-server %s -- c", path, KEY);
    assert_int_equal(parse_code(line), EX_USAGE);
    unlink(path);
    assert_int_equal(parse_code(line), EX_USAGE);
}

static void the_command_needs_no_dashes_and_keeps_its_own_flags(void **state)
{
    (void)state;
    assert_int_equal(PARSE("-n 1 ./check -n 4 --help"), 0);
    assert_int_equal(options.processes, 1);
    assert_int_equal(options.argument_count, 4);
}

static void the_default_credit_goes_by_the_handler(void **state)
{
    (void)state;
    PARSE("--pipe -- cat");
    assert_int_equal(options.credit, 16);
    PARSE("--pipe --window 5 -- cat");
    assert_int_equal(options.credit, 5);
    PARSE("--plugin x.so");
    assert_int_equal(options.credit, 64);
    assert_int_equal(options.kind, HANDLER_PLUGIN);
    assert_int_equal(options.credit_most, 1024);
    PARSE("--plugin x.so -- a b");
    assert_int_equal(options.argument_count, 2);
    PARSE("--plugin x.so --credit 64"); /* as large as the default, and stays there */
    assert_int_equal(options.credit_most, 0);
}

static void a_flag_outranks_a_variable_and_that_the_default(void **state)
{
    (void)state;
    setenv("EVERDUE_BROKER", "tcp://v:1 tcp://w:1", 1);
    setenv("EVERDUE_QUEUE", "one,two", 1);
    setenv("EVERDUE_WORKERS", "2", 1);
    setenv("EVERDUE_CREDIT", "7", 1);
    setenv("EVERDUE_STOP_TIMEOUT", "3s", 1);
    setenv("EVERDUE_EVERY", "", 1);
    assert_int_equal(PARSE("-- true"), 0);
    assert_int_equal(options.brokers.count, 2);
    assert_string_equal(options.queues.items[1], "two");
    assert_int_equal(options.processes, 2);
    assert_int_equal(options.credit, 7);
    assert_int_equal(options.stop_timeout_ms, 3000);
    assert_int_equal(PARSE("--broker tcp://f:1 --queue three -n 1 --credit 8 -- true"), 0);
    assert_int_equal(options.brokers.count, 1);
    assert_string_equal(options.brokers.items[0], "tcp://f:1");
    assert_int_equal(options.queues.count, 1);
    assert_int_equal(options.processes, 1);
    assert_int_equal(options.credit, 8);
    setenv("EVERDUE_CREDIT", "many", 1);
    assert_int_equal(parse_code("-- true"), EX_USAGE);
    unsetenv("EVERDUE_BROKER");
    unsetenv("EVERDUE_QUEUE");
    unsetenv("EVERDUE_WORKERS");
    unsetenv("EVERDUE_CREDIT");
    unsetenv("EVERDUE_STOP_TIMEOUT");
    unsetenv("EVERDUE_EVERY");
}

static void the_number_of_processes_goes_by_the_cpus(void **state)
{
    (void)state;
    unsigned cpus = cpus_usable();
    char text[128];
    char line[160];
    PARSE("-- true");
    assert_int_equal(options.processes, cpus < 16 ? cpus : 16);
    snprintf(line, sizeof line, "%u process%s (%u CPU%s, cap 16), credit 2, lease 60 s",
             options.processes, options.processes == 1 ? "" : "es", cpus, cpus == 1 ? "" : "s");
    assert_string_equal(options_describe(&options, text, sizeof text), line);
    PARSE("-n 4x -- true");
    assert_int_equal(options.processes, 4 * cpus < 256 ? 4 * cpus : 256);
    PARSE("-n 4x --max-workers 1 --lease 250ms -- true");
    snprintf(line, sizeof line, "1 process (%u CPU%s, cap 1), credit 2, lease 250 ms", cpus,
             cpus == 1 ? "" : "s");
    assert_string_equal(options_describe(&options, text, sizeof text), line);
    PARSE("-n 256 -- true");
    assert_int_equal(options.processes, 256);
    PARSE("-n 300 --max-workers 300 -- true");
    assert_int_equal(options.processes, 300);
}

static void what_makes_no_sense_is_refused_with_64(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "--credit 0 -- true",
        "--credit 20000 -- true",
        "--every 300 -- true",
        "--every 0 -- true",
        "--lease 50ms -- true",
        "--lease 2d -- true",
        "--timeout 0 -- true",
        "-n 0 -- true",
        "-n many -- true",
        "-n 257 -- true",
        "-n x -- true",
        "--stdin none -- true",
        "--exit-map zabbix -- true",
        "--log-format xml -- true",
        "--queue= -- true",
        "--no-such-flag -- true",
        "--pipe",
        "--pipe --plugin x.so",
        "--pipe -- cat {key}",
        "-- {key}",
        "--curve-key k -- true",
        "--broker 127.0.0.1:7790 -- true",
        "--broker tcp://127.0.0.1 -- true",
        "--queue feeds,hosts -- true",
        "--curve-key /nonexistent --curve-server /nonexistent.pub -- true",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (parse_code(lines[i]) != EX_USAGE)
            fail_msg("not refused: %s", lines[i]);
    }
}

static void help_and_version_end_well(void **state)
{
    (void)state;
    assert_int_equal(parse_code("--help"), 0);
    assert_int_equal(parse_code("--version"), 0);
    assert_int_equal(parse_code("--usage"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_has_its_default),
        cmocka_unit_test(all_flags_are_read),
        cmocka_unit_test(keys_are_looked_at_before_anything_starts),
        cmocka_unit_test(the_command_needs_no_dashes_and_keeps_its_own_flags),
        cmocka_unit_test(the_default_credit_goes_by_the_handler),
        cmocka_unit_test(a_flag_outranks_a_variable_and_that_the_default),
        cmocka_unit_test(the_number_of_processes_goes_by_the_cpus),
        cmocka_unit_test(what_makes_no_sense_is_refused_with_64),
        cmocka_unit_test(help_and_version_end_well),
    };

    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    options_release(&options);
    return failed;
}
