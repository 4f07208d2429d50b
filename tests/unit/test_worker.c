#include "everdue/worker.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "worker_fixture.h"

/* The session's cases are in test_session*.c; restarts of the broker in test_worker_restart.c. */

/* --- by hand ---------------------------------------------------------------------------------- */

static void a_task_comes_is_reported_and_acknowledged(void **state)
{
    (void)state;
    struct setup setup;
    struct everdue_worker_counts counts;
    set_up(&setup, 1);
    struct everdue_worker *worker = worker_of(&setup);
    const struct everdue_task *task = everdue_worker_next(worker, 5000);
    assert_non_null(task);
    assert_memory_equal(task->key.data, "key-0", 5);
    assert_string_equal(task->queue, "feeds");
    assert_int_equal(task->payload.count, 7);
    assert_false(everdue_worker_is_cancelled(worker, task));
    assert_int_equal(report_in(worker, task, 1000000), 0);
    assert_null(everdue_worker_next(worker, 0));
    do
        everdue_worker_counts(worker, &counts);
    while (counts.acknowledged < 1);
    assert_int_equal(counts.received, 1);
    assert_int_equal(counts.reported, 1);
    assert_int_equal(counts.outbox, 0);
    assert_true(counts.connected);
    everdue_worker_destroy(&worker);
    assert_null(worker);
    everdue_worker_destroy(&worker);
    tear_down(&setup);
}

static void the_descriptor_is_readable_while_there_are_tasks(void **state)
{
    (void)state;
    struct setup setup;
    set_up(&setup, 2);
    struct everdue_worker *worker = worker_of(&setup);
    struct pollfd poll_fd = {.fd = everdue_worker_fd(worker), .events = POLLIN};
    const struct everdue_task *tasks[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(poll(&poll_fd, 1, 5000), 1);
        tasks[i] = everdue_worker_next(worker, 0);
        assert_non_null(tasks[i]);
    }
    assert_null(everdue_worker_next(worker, 0));
    assert_int_equal(poll(&poll_fd, 1, 0), 0);
    everdue_worker_give_back(worker, tasks[0], true);
    everdue_worker_give_back(worker, tasks[1], false);
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.given_back, 1);
    assert_int_equal(setup.script.given_back_begun, 1);
    tear_down(&setup);
}

static void reports_and_leases_survive_a_broker_that_forgot_the_session(void **state)
{
    (void)state;
    struct setup setup;
    struct everdue_worker_counts counts;
    set_up(&setup, 3);
    setup.script.forget_after = 1;
    struct everdue_worker *worker = worker_of(&setup);
    const struct everdue_task *first = everdue_worker_next(worker, 5000);
    const struct everdue_task *second = everdue_worker_next(worker, 5000);
    assert_non_null(second);
    assert_int_equal(report_in(worker, first, 1000000), 0);
    do /* the ping after a heartbeat of silence meets no-session */
        everdue_worker_counts(worker, &counts);
    while (counts.acknowledged < 1);
    assert_int_equal(fake_broker_hellos(setup.broker), 2);
    assert_int_equal(setup.script.resumed, 3); /* the reported, the running and the waiting one */
    assert_false(everdue_worker_is_cancelled(worker, second));
    assert_int_equal(report_in(worker, second, 1000000), 0);
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.reports, 3); /* the first one twice */
    tear_down(&setup);
}

static void a_stopped_worker_gives_back_and_hands_out_nothing(void **state)
{
    (void)state;
    struct setup setup;
    const char *reason;
    set_up(&setup, 10);
    struct everdue_worker *worker = worker_of(&setup);
    const struct everdue_task *task = everdue_worker_next(worker, 5000);
    assert_non_null(task);
    everdue_worker_stop(worker, "enough");
    assert_true(everdue_worker_stopping(worker));
    assert_null(everdue_worker_next(worker, -1));
    assert_int_equal(everdue_worker_stop_status(worker, &reason), 0);
    assert_string_equal(reason, "enough");
    assert_int_equal(report_in(worker, task, 1000000), 0);
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.given_back, 9);
    assert_int_equal(setup.script.given_back_begun, 0);
    assert_int_equal(setup.script.reports, 1);
    tear_down(&setup);
}

static void a_touch_reaches_the_broker(void **state)
{
    (void)state;
    struct setup setup;
    set_up(&setup, 1);
    struct everdue_worker *worker = worker_of(&setup);
    const struct everdue_task *task = everdue_worker_next(worker, 5000);
    assert_non_null(task);
    everdue_worker_touch(worker, task, 120000);
    while (atomic_load(&setup.script.touched) == 0)
        assert_null(everdue_worker_next(worker, 1));
    everdue_worker_destroy(&worker);
    tear_down(&setup);
}

static void a_slow_handler_keeps_its_lease(void **state)
{
    (void)state;
    struct setup setup;
    set_up(&setup, 2);
    setup.script.lease_ms = 900;
    setup.options.lease_ms = 900;
    struct everdue_worker *worker = worker_of(&setup);
    const struct everdue_task *task = everdue_worker_next(worker, 5000);
    assert_non_null(task);
    while (atomic_load(&setup.script.touched) < 6) /* both, the one that waits, too */
        assert_false(everdue_worker_is_cancelled(worker, task));
    assert_int_equal(report_in(worker, task, 1000000), 0);
    task = everdue_worker_next(worker, 0);
    assert_non_null(task);
    assert_int_equal(report_in(worker, task, 1000000), 0);
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.done, 2);
    tear_down(&setup);
}

static void a_result_out_of_range_is_reported_as_a_retry(void **state)
{
    (void)state;
    struct setup setup;
    set_up(&setup, 3);
    static char large[PAYLOAD_BYTES_DEFAULT + 1];
    struct everdue_worker *worker = worker_of(&setup);
    struct everdue_result result;
    everdue_result_init(&result);
    result.in_us = 5;
    result.memo = (struct everdue_bytes){large, sizeof(large)};
    const struct everdue_task *task = everdue_worker_next(worker, 5000);
    assert_int_equal(everdue_worker_report(worker, task, &result), STATUS_TOO_LARGE);
    assert_int_equal(report_in(worker, everdue_worker_next(worker, 5000), -5), STATUS_BAD_TIME);
    result.memo = (struct everdue_bytes){NULL, 0};
    result.outcome = (enum everdue_outcome)17;
    task = everdue_worker_next(worker, 5000);
    assert_int_equal(everdue_worker_report(worker, task, &result), STATUS_BAD_FIELD);
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.reports, 3);
    assert_int_equal(setup.script.last_outcome, OUTCOME_RETRY);
    tear_down(&setup);
}

/* --- the next time ---------------------------------------------------------------------------- */

static void an_ok_without_next_time_stops_the_worker_at_once(void **state)
{
    (void)state;
    struct setup setup;
    set_up(&setup, 2);
    struct everdue_worker *worker = worker_of(&setup);
    const struct everdue_task *task = everdue_worker_next(worker, 5000);
    assert_int_equal(report_in(worker, task, EVERDUE_ABSENT), STATUS_NO_NEXT);
    assert_true(everdue_worker_stopping(worker));
    assert_int_equal(everdue_worker_stop_status(worker, NULL), STATUS_NO_NEXT);
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.reports, 0);
    assert_int_equal(setup.script.given_back, 2);
    assert_int_equal(setup.script.given_back_begun, 0);
    tear_down(&setup);
}

static void a_broker_that_knows_of_no_next_time_stops_the_worker_too(void **state)
{
    (void)state;
    struct setup setup;
    set_up(&setup, 2);
    setup.script.named_every = true; /* it was, when the task was handed out */
    setup.script.report_says = STATUS_NO_NEXT;
    struct everdue_worker *worker = worker_of(&setup);
    const struct everdue_task *task = everdue_worker_next(worker, 5000);
    assert_int_equal(report_in(worker, task, EVERDUE_ABSENT), 0);
    while (!everdue_worker_stopping(worker))
        everdue_worker_next(worker, 5000);
    assert_int_equal(everdue_worker_stop_status(worker, NULL), STATUS_NO_NEXT);
    everdue_worker_destroy(&worker);
    /* Both; the second may have begun before the answer to the first came. */
    assert_int_equal(setup.script.given_back + setup.script.given_back_begun, 2);
    tear_down(&setup);
}

static void a_result_that_says_stop_needs_no_next_time(void **state)
{
    (void)state;
    struct setup setup;
    struct everdue_result result;
    const char *reason;
    set_up(&setup, 1);
    struct everdue_worker *worker = worker_of(&setup);
    const struct everdue_task *task = everdue_worker_next(worker, 5000);
    everdue_result_init(&result);
    result.stop = true;
    result.error = everdue_text("no password for the database");
    assert_int_equal(everdue_worker_report(worker, task, &result), 0);
    assert_int_equal(everdue_worker_stop_status(worker, &reason), STATUS_INTERRUPTED);
    assert_string_equal(reason, "no password for the database");
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.reports, 0);
    assert_int_equal(setup.script.given_back, 1);
    tear_down(&setup);
}

static void an_ok_without_next_time_is_right_for_a_one_shot_job(void **state)
{
    (void)state;
    struct setup setup;
    set_up(&setup, 2);
    setup.script.once = true;
    struct everdue_worker *worker = worker_of(&setup);
    for (int i = 0; i < 2; i++) {
        const struct everdue_task *task = everdue_worker_next(worker, 5000);
        assert_true(task->once);
        assert_int_equal(report_in(worker, task, EVERDUE_ABSENT), 0);
    }
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.reports, 2);
    tear_down(&setup);
}

static void the_workers_interval_stands_in_for_a_record_that_has_none(void **state)
{
    (void)state;
    struct setup setup;
    set_up(&setup, 1);
    setup.options.every_us = 5000000;
    struct everdue_worker *worker = worker_of(&setup);
    const struct everdue_task *task = everdue_worker_next(worker, 5000);
    assert_int_equal(report_in(worker, task, EVERDUE_ABSENT), 0);
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.last_in_us, 5000000);
    tear_down(&setup);
}

static void the_records_interval_comes_before_the_workers(void **state)
{
    (void)state;
    struct setup setup;
    set_up(&setup, 1);
    setup.options.every_us = 5000000;
    setup.script.named_every = true;
    struct everdue_worker *worker = worker_of(&setup);
    const struct everdue_task *task = everdue_worker_next(worker, 5000);
    assert_int_equal(report_in(worker, task, EVERDUE_ABSENT), 0);
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.last_in_us, TIME_US_NEVER);
    tear_down(&setup);
}

/* --- the simple way --------------------------------------------------------------------------- */

enum { MANY = FIXTURE_TASKS_MAX };

struct counter {
    uint32_t calls;
    uint32_t tasks;
    uint32_t stop_at;
};

static void count_one(const struct everdue_task *task, struct everdue_result *result, void *user)
{
    struct counter *counter = user;
    counter->calls++;
    counter->tasks++;
    assert_int_equal(task->lease, counter->tasks); /* in order */
    result->in_us = 1000000;
    if (counter->tasks < counter->stop_at)
        return;
    result->stop = true;
    result->error = everdue_text("seen enough");
}

static void run_handles_everything_until_a_result_says_stop(void **state)
{
    (void)state;
    struct setup setup;
    struct counter counter = {.stop_at = MANY};
    set_up(&setup, MANY);
    assert_int_equal(everdue_worker_run(&setup.options, count_one, &counter), 78);
    assert_int_equal(counter.tasks, MANY);
    assert_int_equal(setup.script.reports, MANY);
    assert_string_equal(setup.said, "takes no more work: seen enough");
    tear_down(&setup);
}

static void count_batch(const struct everdue_task *const *tasks, struct everdue_result *results,
                        size_t count, void *user)
{
    struct counter *counter = user;
    counter->calls++;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(tasks[i]->lease, ++counter->tasks);
        results[i].in_us = 1000000;
        results[i].stop = counter->tasks >= counter->stop_at;
    }
    assert_true(count <= 16);
}

static void batches_are_no_larger_than_asked_for(void **state)
{
    (void)state;
    struct setup setup;
    struct counter counter = {.stop_at = MANY};
    set_up(&setup, MANY);
    assert_int_equal(everdue_worker_run_batch(&setup.options, count_batch, 16, &counter), 78);
    assert_int_equal(counter.tasks, MANY);
    assert_in_range(counter.calls, MANY / 16, MANY);
    assert_int_equal(setup.script.reports, MANY);
    tear_down(&setup);
}

static void tasks_taken_together_are_reported_together(void **state)
{
    (void)state;
    struct setup setup;
    const struct everdue_task *tasks[8];
    struct everdue_result results[8];
    int statuses[8];
    set_up(&setup, 3);
    struct everdue_worker *worker = worker_of(&setup);
    size_t count = 0;
    while (count < 3)
        count += everdue_worker_next_batch(worker, tasks + count, 8 - count, 5000);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < 3; i++) {
        everdue_result_init(&results[i]);
        if (i != 1) /* that one names no next time */
            results[i].in_us = 1000000;
    }
    everdue_worker_report_batch(worker, tasks, results, 3, statuses);
    assert_int_equal(tasks[1]->key.count > 0, true); /* until the flush */
    everdue_worker_flush(worker);
    assert_int_equal(statuses[0], 0);
    assert_int_equal(statuses[1], STATUS_NO_NEXT);
    assert_int_equal(statuses[2], 0);
    assert_true(everdue_worker_stopping(worker));
    assert_int_equal(everdue_worker_next_batch(worker, tasks, 8, -1), 0);
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.done, 2);
    assert_int_equal(setup.script.given_back, 1);
    assert_int_equal(setup.script.given_back_begun, 0);
    tear_down(&setup);
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    const char *why = NULL;
    struct everdue_worker_options options = {.lease_ms = 5};
    assert_null(everdue_worker_new(&options, &why));
    assert_string_equal(why, "a lease is 100 ms to 24 h");
    options = (struct everdue_worker_options){.endpoint = "nonsense"};
    assert_null(everdue_worker_new(&options, &why));
    assert_non_null(why);
    options = (struct everdue_worker_options){.credit = CREDIT_MAX + 1};
    assert_null(everdue_worker_new(&options, &why));
    options = (struct everdue_worker_options){.credit_most = CREDIT_MAX + 1};
    assert_null(everdue_worker_new(&options, &why));
    assert_string_equal(why, "the credit is over 16,384");
    options = (struct everdue_worker_options){.queues = (const char *const[]){NULL}};
    assert_int_equal(everdue_worker_run(&options, count_one, NULL), 78);
}

static void a_worker_without_broker_ends_quickly(void **state)
{
    (void)state;
    const struct everdue_worker_options options = {.endpoint = "ipc:///tmp/everdue-nobody-here"};
    struct everdue_worker *worker = everdue_worker_new(&options, NULL);
    assert_non_null(worker);
    assert_null(everdue_worker_next(worker, 1));
    everdue_worker_destroy(&worker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_comes_is_reported_and_acknowledged),
        cmocka_unit_test(the_descriptor_is_readable_while_there_are_tasks),
        cmocka_unit_test(reports_and_leases_survive_a_broker_that_forgot_the_session),
        cmocka_unit_test(a_stopped_worker_gives_back_and_hands_out_nothing),
        cmocka_unit_test(a_touch_reaches_the_broker),
        cmocka_unit_test(a_slow_handler_keeps_its_lease),
        cmocka_unit_test(a_result_out_of_range_is_reported_as_a_retry),
        cmocka_unit_test(an_ok_without_next_time_stops_the_worker_at_once),
        cmocka_unit_test(a_broker_that_knows_of_no_next_time_stops_the_worker_too),
        cmocka_unit_test(a_result_that_says_stop_needs_no_next_time),
        cmocka_unit_test(an_ok_without_next_time_is_right_for_a_one_shot_job),
        cmocka_unit_test(the_workers_interval_stands_in_for_a_record_that_has_none),
        cmocka_unit_test(the_records_interval_comes_before_the_workers),
        cmocka_unit_test(run_handles_everything_until_a_result_says_stop),
        cmocka_unit_test(batches_are_no_larger_than_asked_for),
        cmocka_unit_test(tasks_taken_together_are_reported_together),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(a_worker_without_broker_ends_quickly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
