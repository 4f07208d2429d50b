/* Two threads speak for a worker in turn: what one has begun the other goes on with. */
#include "everdue/worker.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker_fixture.h"

static void a_wait_ends_with_tasks_and_with_a_descriptor_of_the_callers(void **state)
{
    (void)state;
    struct setup setup;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    set_up(&setup, 1);
    struct everdue_worker *worker = worker_of(&setup);
    assert_int_equal(everdue_worker_wait(worker, ends[0], 5000), EVERDUE_WAIT_TASKS);
    /* That has been told; they are still there. */
    assert_int_equal(everdue_worker_wait(worker, ends[0], 1), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(everdue_worker_wait(worker, ends[0], -1), EVERDUE_WAIT_FD);
    const struct everdue_task *task = everdue_worker_next(worker, 0);
    assert_non_null(task);
    assert_int_equal(report_in(worker, task, 1000000), 0);
    assert_int_equal(everdue_worker_wait(worker, ends[0], 0), EVERDUE_WAIT_FD);
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.done, 1);
    close(ends[0]);
    close(ends[1]);
    tear_down(&setup);
}

static void *stop_it(void *worker)
{
    everdue_worker_stop(worker, "by another thread");
    return NULL;
}

static void another_threads_stop_ends_a_wait(void **state)
{
    (void)state;
    struct setup setup;
    pthread_t thread;
    set_up(&setup, 0);
    struct everdue_worker *worker = worker_of(&setup);
    assert_int_equal(everdue_worker_wait(worker, -1, 20), 0);
    assert_int_equal(pthread_create(&thread, NULL, stop_it, worker), 0);
    assert_int_equal(everdue_worker_wait(worker, -1, -1), EVERDUE_WAIT_TASKS);
    assert_true(everdue_worker_stopping(worker));
    pthread_join(thread, NULL);
    everdue_worker_destroy(&worker);
    tear_down(&setup);
}

/* The caller's thread has made the turns until then: now others have to. */
static void what_waits_at_a_descriptor_is_shown_when_it_is_asked_for(void **state)
{
    (void)state;
    struct setup setup;
    set_up(&setup, 1);
    struct everdue_worker *worker = worker_of(&setup);
    assert_int_equal(everdue_worker_wait(worker, -1, 5000), EVERDUE_WAIT_TASKS);
    struct pollfd poll_fd = {.fd = everdue_worker_fd(worker), .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 0), 1);
    const struct everdue_task *task = everdue_worker_next(worker, 0);
    assert_non_null(task);
    assert_int_equal(report_in(worker, task, 1000000), 0);
    assert_null(everdue_worker_next(worker, 0));
    while (atomic_load(&setup.script.done) == 0) /* for ever, should nobody send it */
        assert_int_equal(everdue_worker_wait(worker, -1, 1), 0);
    everdue_worker_destroy(&worker);
    tear_down(&setup);
}

/* Reports that others are about to follow are held back for a moment; the next handler may be a
 * long one. */
static void a_report_leaves_while_the_next_task_is_worked_on(void **state)
{
    (void)state;
    struct setup setup;
    const struct everdue_task *tasks[2];
    set_up(&setup, 2);
    struct everdue_worker *worker = worker_of(&setup);
    for (int i = 0; i < 2; i++) {
        tasks[i] = everdue_worker_next(worker, 5000);
        assert_non_null(tasks[i]);
    }
    assert_int_equal(report_in(worker, tasks[0], 1000000), 0);
    while (atomic_load(&setup.script.done) == 0) /* for ever, should nobody send it */
        poll(NULL, 0, 1);
    assert_int_equal(report_in(worker, tasks[1], 1000000), 0);
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.done, 2);
    tear_down(&setup);
}

/* Who has tasks at hand and waits for places to work on them wants nothing of the broker; what he
 * has reported leaves all the same. */
static void with_tasks_at_hand_a_wait_is_for_the_descriptor_and_reports_leave(void **state)
{
    enum { TASKS = 20 };
    (void)state;
    struct setup setup;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    set_up(&setup, TASKS);
    struct everdue_worker *worker = worker_of(&setup);
    const struct everdue_task *task = everdue_worker_next(worker, 5000);
    assert_non_null(task);
    assert_int_equal(report_in(worker, task, 1000000), 0);
    while (atomic_load(&setup.script.done) == 0) /* for ever, should nobody send it */
        assert_int_equal(everdue_worker_wait(worker, ends[0], 20) & EVERDUE_WAIT_FD, 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    for (int i = 1; i < TASKS; i++) {
        assert_int_equal(everdue_worker_wait(worker, ends[0], -1) & EVERDUE_WAIT_FD,
                         EVERDUE_WAIT_FD);
        assert_non_null(task = everdue_worker_next(worker, 5000));
        assert_int_equal(report_in(worker, task, 1000000), 0);
    }
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.done, TASKS);
    close(ends[0]);
    close(ends[1]);
    tear_down(&setup);
}

/* No task takes long enough for the other thread to stand in; all of them take long enough for a
 * lease to be touched. */
static void leases_are_touched_while_many_short_tasks_are_at_hand(void **state)
{
    enum { TASKS = 1200 };
    (void)state;
    struct setup setup;
    set_up(&setup, TASKS);
    setup.script.lease_ms = 3000; /* touched after a second */
    setup.options.credit = TASKS;
    struct everdue_worker *worker = worker_of(&setup);
    for (int i = 0; i < TASKS; i++) {
        const struct everdue_task *task = everdue_worker_next(worker, 5000);
        assert_non_null(task);
        poll(NULL, 0, 1);
        assert_int_equal(report_in(worker, task, 1000000), 0);
    }
    assert_true(setup.script.touched > 0);
    everdue_worker_destroy(&worker);
    assert_int_equal(setup.script.done, TASKS);
    tear_down(&setup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_ends_with_tasks_and_with_a_descriptor_of_the_callers),
        cmocka_unit_test(another_threads_stop_ends_a_wait),
        cmocka_unit_test(what_waits_at_a_descriptor_is_shown_when_it_is_asked_for),
        cmocka_unit_test(a_report_leaves_while_the_next_task_is_worked_on),
        cmocka_unit_test(with_tasks_at_hand_a_wait_is_for_the_descriptor_and_reports_leave),
        cmocka_unit_test(leases_are_touched_while_many_short_tasks_are_at_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
