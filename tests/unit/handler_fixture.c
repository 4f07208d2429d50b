#include "handler_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    if (fixture == NULL)
        return -1;
    options_init(&fixture->options);
    fixture->options.every_us = 60000000;
    fake_worker_reset();
    *state = fixture;
    return 0;
}

int fixture_teardown(void **state)
{
    free(*state);
    return 0;
}

void fixture_set_command(struct fixture *fixture, const char *const *arguments)
{
    size_t i = 0;

    for (; arguments[i]; i++) {
        assert_true(i + 1 < FIXTURE_ARGUMENTS_MAX);
        fixture->arguments[i] = (char *)arguments[i];
    }
    fixture->arguments[i] = NULL;
    fixture->options.arguments = fixture->arguments;
    fixture->options.argument_count = (int)i;
}

void fixture_set_script(struct fixture *fixture, const char *script)
{
    fixture_set_command(fixture, (const char *const[]){"sh", "-c", script, "sh", "{key}", NULL});
}

int fixture_run(struct fixture *fixture, int (*kind)(struct handler *handler))
{
    struct handler handler;
    int log_fd = memfd_create("log", MFD_CLOEXEC);
    int stderr_fd = dup(STDERR_FILENO);

    assert_true(log_fd >= 0 && stderr_fd >= 0);
    dup2(log_fd, STDERR_FILENO);
    int code = handler_init(&handler, &fixture->options);
    if (code == 0) {
        code = kind(&handler);
        handler_release(&handler);
    }
    dup2(stderr_fd, STDERR_FILENO);
    close(stderr_fd);
    ssize_t count = pread(log_fd, fixture->log, sizeof fixture->log - 1, 0);
    fixture->log[count > 0 ? count : 0] = '\0';
    close(log_fd);
    return code;
}

const struct fake_end *fixture_run_script(struct fixture *fixture, const char *script)
{
    fake_worker_add(&(struct fake_task){.key = "a"});
    fake_worker_stop_after(1);
    fixture_set_script(fixture, script);
    assert_int_equal(fixture_run(fixture, handler_exec_run), 0);
    return fake_worker_end("a");
}

void fixture_assert_logged(const struct fixture *fixture, const char *text)
{
    if (strstr(fixture->log, text) == NULL)
        fail_msg("not in the log: %s\n%s", text, fixture->log);
}
