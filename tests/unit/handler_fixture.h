/* handler_fixture.h - runs a handler of everdue-worker over scripted tasks (fake_worker.h). */
#ifndef EVERDUE_TESTS_HANDLER_FIXTURE_H
#define EVERDUE_TESTS_HANDLER_FIXTURE_H

#include "fake_worker.h"
#include "handler.h"
#include "options.h"

enum { FIXTURE_LOG_BYTES = 65536, FIXTURE_ARGUMENTS_MAX = 16 };

struct fixture {
    struct options options;
    char *arguments[FIXTURE_ARGUMENTS_MAX];
    char log[FIXTURE_LOG_BYTES]; /* what went to stderr, terminated */
};

/* cmocka's setup and teardown; `*state` is a struct fixture with a next time for all and credit 2.
 */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* The command behind --, and one that is `sh -c SCRIPT sh {key}`. */
void fixture_set_command(struct fixture *fixture, const char *const *arguments);
void fixture_set_script(struct fixture *fixture, const char *script);

/* One task of the key "a" through such a script, which must end with 0; how the task ended. */
const struct fake_end *fixture_run_script(struct fixture *fixture, const char *script);

/* Run to the end; returns the exit code. */
int fixture_run(struct fixture *fixture, int (*kind)(struct handler *handler));

/* A test fails when the log does not have this text. */
void fixture_assert_logged(const struct fixture *fixture, const char *text);

#endif
