/* A callback in a shared object, and the plugin of examples/: what becomes of files that change.
 * argv[1] is integrity.so, argv[2] a plugin with arguments, argv[3] a shared object that is none.
 */
#include "handler_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

static const char *integrity;
static const char *with_arguments;
static const char *no_plugin;
static char folder[64];

static int run(struct fixture *fixture, const char *file, const char *const *arguments)
{
    fixture->options.kind = HANDLER_PLUGIN;
    fixture->options.every_us = 0;
    fixture->options.plugin = file;
    fixture_set_command(fixture, arguments);
    return fixture_run(fixture, handler_plugin_run);
}

static const char *put_file(const char *content)
{
    static char path[96];

    snprintf(path, sizeof path, "%s/a file", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
    return path;
}

/* One look at the file, with the memo of the look before. */
static const struct fake_end *look(struct fixture *fixture, const char *path, const char *memo)
{
    char payload[128];

    snprintf(payload, sizeof payload, "{\"path\": \"%s\"}", path);
    fake_worker_reset();
    fake_worker_add(
        &(struct fake_task){.key = "k", .payload = payload, .memo = memo, .every_us = 5000000});
    fake_worker_stop_after(1);
    assert_int_equal(run(fixture, integrity, (const char *const[]){NULL}), 0);
    return fake_worker_end("k");
}

static void a_file_that_stays_the_same_is_looked_at_half_as_often_each_time(void **state)
{
    char memo[FAKE_TEXT_BYTES];
    const char *path = put_file("content");
    const struct fake_end *end = look(*state, path, NULL);
    assert_int_equal(end->outcome, EVERDUE_OK);
    assert_int_equal(end->in_us, 5000000);
    for (int64_t in_us = 10000000; in_us <= 160000000; in_us *= 2) {
        strcpy(memo, end->memo);
        end = look(*state, path, memo);
        assert_int_equal(end->in_us, in_us);
    }
    strcpy(memo, end->memo);
    end = look(*state, path, memo);
    assert_int_equal(end->in_us, 160000000);
    assert_false(end->has_memo);
}

static void a_file_that_changed_is_noted_and_looked_at_soon(void **state)
{
    char memo[FAKE_TEXT_BYTES];
    const char *path = put_file("one");
    strcpy(memo, look(*state, path, NULL)->memo);
    put_file("two");
    const struct fake_end *end = look(*state, path, memo);
    assert_int_equal(end->outcome, EVERDUE_OK);
    assert_int_equal(end->in_us, 5000000);
    assert_string_equal(end->note, "changed");
    assert_string_not_equal(end->memo, memo);
}

static void a_file_that_is_not_there_is_a_note(void **state)
{
    const struct fake_end *end = look(*state, "/nonexistent/file", NULL);
    assert_int_equal(end->outcome, EVERDUE_OK);
    assert_int_equal(end->in_us, 160000000);
    assert_string_equal(end->note, "No such file or directory");
    assert_string_equal(end->error, "");
}

static void a_file_that_comes_back_is_new(void **state)
{
    char memo[FAKE_TEXT_BYTES];
    const char *path = put_file("one");
    strcpy(memo, look(*state, path, NULL)->memo);
    unlink(path);
    const struct fake_end *end = look(*state, path, memo);
    assert_string_equal(end->note, "No such file or directory");
    assert_true(end->has_memo && end->memo[0] == '\0');
    end = look(*state, put_file("one"), NULL);
    assert_int_equal(end->in_us, 5000000);
    assert_string_equal(end->note, "");
}

static void a_payload_without_path_parks_the_record(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_add(&(struct fake_task){.key = "k", .payload = "[1]"});
    fake_worker_stop_after(1);
    assert_int_equal(run(fixture, integrity, (const char *const[]){NULL}), 0);
    assert_int_equal(fake_worker_end("k")->outcome, EVERDUE_PARK);
}

static void a_plugin_gets_its_arguments_and_its_own_data(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_add(&(struct fake_task){.key = "k"});
    fake_worker_stop_after(1);
    assert_int_equal(run(fixture, with_arguments, (const char *const[]){"7", NULL}), 0);
    assert_int_equal(fake_worker_end("k")->in_us, 7);
    fixture_assert_logged(fixture, "closed after 7");
}

static void a_plugin_that_refuses_its_arguments_ends_the_worker(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_add(&(struct fake_task){.key = "k"});
    assert_int_equal(run(fixture, with_arguments, (const char *const[]){"soon", NULL}), EX_CONFIG);
    fixture_assert_logged(fixture, "not a number: soon");
    fixture_assert_logged(fixture, "refused to start");
    assert_int_equal(fake_worker_left(), 1);
}

static void a_plugin_without_arguments_is_given_none(void **state)
{
    struct fixture *fixture = *state;
    fake_worker_add(&(struct fake_task){.key = "k"});
    assert_int_equal(run(fixture, integrity, (const char *const[]){"7", NULL}), EX_CONFIG);
    fixture_assert_logged(fixture, "takes no arguments");
    assert_int_equal(fake_worker_left(), 1);
}

static void what_cannot_be_loaded_is_named(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(run(fixture, "nonexistent.so", (const char *const[]){NULL}), EX_CONFIG);
    fixture_assert_logged(fixture, "./nonexistent.so");
    assert_int_equal(run(fixture, no_plugin, (const char *const[]){NULL}), EX_CONFIG);
    fixture_assert_logged(fixture, "neither everdue_handle nor everdue_handle_batch");
}

static void a_stop_comes_between_two_runs(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < 50; i++)
        fake_worker_add(&(struct fake_task){.key = "/nonexistent/file"});
    fake_worker_stop_after(3);
    assert_int_equal(run(fixture, integrity, (const char *const[]){NULL}), 0);
    assert_true(fake_worker_end_count() + fake_worker_left() == 50);
    assert_string_equal(fake_worker_stop_reason(), "asked to stop");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_that_stays_the_same_is_looked_at_half_as_often_each_time),
        TEST(a_file_that_changed_is_noted_and_looked_at_soon),
        TEST(a_file_that_is_not_there_is_a_note),
        TEST(a_file_that_comes_back_is_new),
        TEST(a_payload_without_path_parks_the_record),
        TEST(a_plugin_gets_its_arguments_and_its_own_data),
        TEST(a_plugin_that_refuses_its_arguments_ends_the_worker),
        TEST(a_plugin_without_arguments_is_given_none),
        TEST(what_cannot_be_loaded_is_named),
        TEST(a_stop_comes_between_two_runs),
    };

    if (argc != 4)
        return EX_USAGE;
    integrity = argv[1];
    with_arguments = argv[2];
    no_plugin = argv[3];
    snprintf(folder, sizeof folder, "/tmp/everdue-plugin-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return EX_CANTCREAT;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
