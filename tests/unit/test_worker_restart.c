#include "everdue/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "worker_fixture.h"

/* A worker whose broker dies and comes back. Its heartbeats are so rare that nothing but the broken
 * connection can tell it so. */

enum { NEVER_MS = HEARTBEAT_MS_MAX };

static void set_up_silent(struct setup *setup, uint32_t tasks)
{
    set_up(setup, tasks);
    setup->options.heartbeat_ms = NEVER_MS;
}

static struct everdue_worker_counts counts_of(struct everdue_worker *worker)
{
    struct everdue_worker_counts counts;
    everdue_worker_counts(worker, &counts);
    return counts;
}

/* --- by hand ---------------------------------------------------------------------------------- */

static void an_idle_worker_is_back_at_a_broker_that_was_started_anew(void **state)
{
    (void)state;
    struct setup setup;
    set_up_silent(&setup, 0);
    struct everdue_worker *worker = worker_of(&setup);
    for (uint32_t hellos = 1; hellos <= 5; hellos++) {
        while (fake_broker_hellos(setup.broker) < hellos || !counts_of(worker).connected)
            assert_null(everdue_worker_next(worker, 1));
        fake_broker_restart(setup.broker);
        /* Or it has come back while nobody looked. */
        while (counts_of(worker).connected && fake_broker_hellos(setup.broker) <= hellos)
            assert_null(everdue_worker_next(worker, 1));
    }
    everdue_worker_destroy(&worker);
    tear_down(&setup);
}

static void leases_and_unanswered_reports_are_announced_to_the_new_broker(void **state)
{
    (void)state;
    struct setup setup;
    set_up_silent(&setup, 3);
    setup.script.restarts = 1;
    struct everdue_worker *worker = worker_of(&setup);
    const struct everdue_task *first = everdue_worker_next(worker, 5000);
    const struct everdue_task *second = everdue_worker_next(worker, 5000);
    assert_non_null(second);
    assert_int_equal(report_in(worker, first, 1000000), 0);
    while (counts_of(worker).acknowledged < 1)
        assert_int_equal(counts_of(worker).refused, 0);
    assert_int_equal(setup.script.resumed, 3); /* the reported, the running and the waiting one */
    assert_false(everdue_worker_is_cancelled(worker, second));
    assert_int_equal(report_in(worker, second, 1000000), 0);
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.done, 2);
    assert_int_equal(setup.script.unannounced, 0);
    assert_int_equal(setup.script.given_back, 1);
    tear_down(&setup);
}

static void a_broker_with_another_store_ends_what_is_under_way(void **state)
{
    (void)state;
    struct setup setup;
    set_up_silent(&setup, 3);
    setup.script.restarts = 1;
    struct everdue_worker *worker = worker_of(&setup);
    const struct everdue_task *first = everdue_worker_next(worker, 5000);
    const struct everdue_task *second = everdue_worker_next(worker, 5000);
    assert_non_null(second);
    fake_broker_set_store(setup.broker, 'B');
    assert_int_equal(report_in(worker, first, 1000000), 0);
    while (!everdue_worker_is_cancelled(worker, second))
        assert_int_equal(counts_of(worker).acknowledged, 0);
    assert_int_equal(report_in(worker, second, 1000000), 0);
    assert_null(everdue_worker_next(worker, 0)); /* the third one has ended, too */
    while (counts_of(worker).outbox > 0 || !counts_of(worker).connected)
        assert_int_equal(counts_of(worker).acknowledged, 0);
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.reports, 1);
    assert_int_equal(setup.script.given_back, 0);
    tear_down(&setup);
}

static void a_worker_ends_while_its_broker_is_away(void **state)
{
    (void)state;
    struct setup setup;
    set_up_silent(&setup, 64);
    setup.script.forget_after = 1; /* so one report stays unanswered */
    struct everdue_worker *worker = worker_of(&setup);
    const struct everdue_task *tasks[3];
    for (int i = 0; i < 3; i++)
        tasks[i] = everdue_worker_next(worker, 5000);
    assert_non_null(tasks[2]);
    assert_int_equal(report_in(worker, tasks[0], 1000000), 0);
    while (atomic_load(&setup.script.reports) < 1)
        assert_true(counts_of(worker).connected);
    tear_down(&setup);
    while (counts_of(worker).connected)
        assert_false(everdue_worker_is_cancelled(worker, tasks[1]));
    assert_int_equal(report_in(worker, tasks[1], 1000000), 0);
    everdue_worker_destroy(&worker); /* with one that runs, and those that were not looked at */
    assert_null(worker);
}

/* --- in a storm ------------------------------------------------------------------------------- */

enum { RECORDS = 3000, RESTARTS = 20 };

struct progress {
    struct setup *setup;
    uint32_t seen[RECORDS + 1]; /* how often each record was handled */
    uint32_t handled;
};

static void handle(const struct everdue_task *task, struct everdue_result *result, void *user)
{
    struct progress *progress = user;
    progress->seen[task->lease]++;
    progress->handled++;
    result->in_us = 1000000;
    result->stop = progress->handled == RECORDS;
}

static void expect_all_done_once(const struct progress *progress)
{
    const struct work_script *script = &progress->setup->script;
    assert_int_equal(script->restarts, 0);
    assert_int_equal(script->done, RECORDS);
    assert_int_equal(script->unannounced, 0);
    for (uint32_t lease = 1; lease <= RECORDS; lease++)
        assert_int_equal(progress->seen[lease], 1);
}

static void no_report_is_lost_and_none_comes_unannounced_over_many_restarts(void **state)
{
    (void)state;
    static struct setup setup;
    static struct progress progress;
    set_up_silent(&setup, RECORDS);
    setup.script.restarts = RESTARTS;
    progress.setup = &setup;
    assert_int_equal(everdue_worker_run(&setup.options, handle, &progress), 78);
    expect_all_done_once(&progress);
    assert_true(fake_broker_hellos(setup.broker) >= RESTARTS + 1);
    tear_down(&setup);
}

static void handle_batch(const struct everdue_task *const *tasks, struct everdue_result *results,
                         size_t count, void *user)
{
    for (size_t i = 0; i < count; i++)
        handle(tasks[i], &results[i], user);
}

static void no_batch_is_lost_over_many_restarts(void **state)
{
    (void)state;
    static struct setup setup;
    static struct progress progress;
    set_up_silent(&setup, RECORDS);
    setup.script.restarts = RESTARTS;
    setup.options.credit = 256;
    progress.setup = &setup;
    assert_int_equal(everdue_worker_run_batch(&setup.options, handle_batch, 100, &progress), 78);
    expect_all_done_once(&progress);
    tear_down(&setup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_worker_is_back_at_a_broker_that_was_started_anew),
        cmocka_unit_test(leases_and_unanswered_reports_are_announced_to_the_new_broker),
        cmocka_unit_test(a_broker_with_another_store_ends_what_is_under_way),
        cmocka_unit_test(a_worker_ends_while_its_broker_is_away),
        cmocka_unit_test(no_report_is_lost_and_none_comes_unannounced_over_many_restarts),
        cmocka_unit_test(no_batch_is_lost_over_many_restarts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
