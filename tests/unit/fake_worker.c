#include "fake_worker.h"

#include "clock.h"
#include "status.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

enum { TASKS_MAX = FAKE_ENDS_MAX, SESSIONS_MAX = 2 };

struct everdue_worker {
    int fd;
    size_t place;
    size_t asked_of; /* tasks that there were when the next was last asked for */
    bool has_told_stop;
};

static struct fake {
    struct everdue_task tasks[TASKS_MAX];
    bool is_of_second[TASKS_MAX];
    bool is_out[TASKS_MAX];
    bool is_done[TASKS_MAX];
    size_t task_count;
    struct fake_end ends[FAKE_ENDS_MAX];
    size_t end_count;
    size_t stop_after;
    bool stops_when_empty;
    char cancelled[64];
    char stop_reason[512];
    int stop_status;
    bool answers_later;
    atomic_bool is_stopping;
    uint64_t touched_ms;
    size_t out_count;
    size_t out_max;
    struct everdue_worker_options options;
    struct everdue_worker sessions[SESSIONS_MAX];
    size_t session_count;
} fake;

/* --- the test's side -------------------------------------------------------------------------- */

void fake_worker_reset(void)
{
    memset(&fake, 0, sizeof fake);
    fake.stop_after = SIZE_MAX;
}

void fake_worker_add(const struct fake_task *task)
{
    size_t i = fake.task_count++;

    assert_true(i < TASKS_MAX);
    fake.is_of_second[i] = task->is_of_second;
    fake.tasks[i] = (struct everdue_task){
        .key = everdue_text(task->key),
        .queue = "default",
        .lease = task->lease ? task->lease : 100 + i,
        .due_us = task->due_us,
        .lateness_us = task->lateness_us,
        .failures = task->failures,
        .every_us = task->every_us,
        .payload = everdue_text(task->payload),
        .memo = everdue_text(task->memo),
        .group = everdue_text(task->group),
    };
}

void fake_worker_stop_after(size_t ends)
{
    fake.stop_after = ends;
}

void fake_worker_stop_when_empty(void)
{
    fake.stops_when_empty = true;
}

void fake_worker_cancel(const char *key)
{
    snprintf(fake.cancelled, sizeof fake.cancelled, "%s", key);
}

void fake_worker_answer_later(void)
{
    fake.answers_later = true;
}

size_t fake_worker_end_count(void)
{
    return fake.end_count;
}

const struct fake_end *fake_worker_end(const char *key)
{
    for (size_t i = fake.end_count; i > 0; i--) {
        if (strcmp(fake.ends[i - 1].key, key) == 0)
            return &fake.ends[i - 1];
    }
    fail_msg("the task %s has not ended", key);
    return NULL;
}

size_t fake_worker_left(void)
{
    size_t left = 0;

    for (size_t i = 0; i < fake.task_count; i++)
        left += !fake.is_out[i] && !fake.is_done[i];
    return left;
}

const char *fake_worker_stop_reason(void)
{
    return fake.is_stopping ? fake.stop_reason : NULL;
}

uint64_t fake_worker_touched_ms(void)
{
    return fake.touched_ms;
}

size_t fake_worker_out_max(void)
{
    return fake.out_max;
}

const struct everdue_worker_options *fake_worker_options(void)
{
    return &fake.options;
}

/* --- the library's side ----------------------------------------------------------------------- */

static size_t waiting_count(const struct everdue_worker *worker)
{
    size_t count = 0;

    for (size_t i = 0; i < fake.task_count && !fake.is_stopping; i++)
        count += !fake.is_out[i] && !fake.is_done[i] && fake.is_of_second[i] == worker->place;
    return count;
}

static void show_readable(struct everdue_worker *worker)
{
    uint64_t number = 1;

    if (waiting_count(worker))
        assert_int_equal(write(worker->fd, &number, sizeof number), sizeof number);
    else
        (void)!read(worker->fd, &number, sizeof number);
}

struct everdue_worker *everdue_worker_new(const struct everdue_worker_options *options,
                                          const char **why)
{
    if (options->endpoint && strcmp(options->endpoint, "nowhere") == 0) {
        *why = "not an endpoint";
        return NULL;
    }
    assert_true(fake.session_count < SESSIONS_MAX);
    struct everdue_worker *worker = &fake.sessions[fake.session_count];
    worker->place = fake.session_count++;
    worker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fake.options = *options;
    show_readable(worker);
    return worker;
}

void everdue_worker_destroy(struct everdue_worker **worker)
{
    close((*worker)->fd);
    *worker = NULL;
}

int everdue_worker_fd(struct everdue_worker *worker)
{
    return worker->fd;
}

/* Tasks that were left where they are do not end it, nor does a stop that was told. */
unsigned everdue_worker_wait(struct everdue_worker *worker, int fd, int wait_ms)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    bool has_new =
        waiting_count(worker) > worker->asked_of || (fake.is_stopping && !worker->has_told_stop);

    worker->has_told_stop = fake.is_stopping;
    if (poll(&one, 1, has_new ? 0 : wait_ms) < 0)
        return 0;
    worker->asked_of = waiting_count(worker);
    return (has_new ? EVERDUE_WAIT_TASKS : 0u) | (one.revents ? EVERDUE_WAIT_FD : 0u);
}

static bool has_unclaimed(void)
{
    return waiting_count(&fake.sessions[0]) + waiting_count(&fake.sessions[1]) > 0;
}

static const struct everdue_task *next_task(struct everdue_worker *worker)
{
    size_t i = 0;

    while (i < fake.task_count &&
           (fake.is_out[i] || fake.is_done[i] || fake.is_of_second[i] != worker->place))
        i++;
    if (i == fake.task_count || fake.is_stopping)
        return NULL;
    fake.is_out[i] = true;
    if (++fake.out_count > fake.out_max)
        fake.out_max = fake.out_count;
    fake.tasks[i].deadline_mono_us = clock_now().mono_us + 60 * INT64_C(1000000);
    show_readable(worker);
    if (fake.stop_after == 0 || (fake.stops_when_empty && !has_unclaimed()))
        kill(getpid(), SIGTERM);
    return &fake.tasks[i];
}

size_t everdue_worker_next_batch(struct everdue_worker *worker, const struct everdue_task **tasks,
                                 size_t max, int wait_ms)
{
    size_t count = 0;

    (void)wait_ms;
    while (count < max && (tasks[count] = next_task(worker)))
        count++;
    worker->asked_of = waiting_count(worker);
    return count;
}

bool everdue_worker_is_cancelled(struct everdue_worker *worker, const struct everdue_task *task)
{
    (void)worker;
    return task->key.count == strlen(fake.cancelled) &&
           memcmp(task->key.data, fake.cancelled, task->key.count) == 0;
}

static void copy(char text[FAKE_TEXT_BYTES], struct everdue_bytes bytes)
{
    snprintf(text, FAKE_TEXT_BYTES, "%.*s", (int)bytes.count,
             bytes.count ? (const char *)bytes.data : "");
}

static struct fake_end *add_end(const struct everdue_task *task, enum fake_how how)
{
    size_t i = (size_t)(task - fake.tasks);

    /* Each task handed out ends exactly once. */
    assert_true(i < fake.task_count);
    assert_true(fake.is_out[i]);
    assert_true(fake.end_count < FAKE_ENDS_MAX);
    fake.is_out[i] = false;
    fake.is_done[i] = true;
    fake.out_count--;
    struct fake_end *end = &fake.ends[fake.end_count++];
    end->how = how;
    copy(end->key, task->key);
    if (fake.end_count == fake.stop_after)
        kill(getpid(), SIGTERM);
    return end;
}

static int report(struct everdue_worker *worker, const struct everdue_task *task,
                  const struct everdue_result *result)
{
    bool has_next = result->next_us != EVERDUE_ABSENT || result->in_us != EVERDUE_ABSENT ||
                    task->every_us || fake.options.every_us;

    if (result->outcome == EVERDUE_OK && !has_next) {
        add_end(task, FAKE_GIVEN_BACK);
        everdue_worker_stop(worker, "no next time");
        fake.stop_status = STATUS_NO_NEXT;
        return fake.answers_later ? STATUS_OK : STATUS_NO_NEXT;
    }
    struct fake_end *end = add_end(task, FAKE_REPORTED);
    end->outcome = result->outcome;
    end->cause = result->cause;
    end->next_us = result->next_us;
    end->in_us = result->in_us;
    end->has_rank = result->has_rank;
    end->rank = result->rank;
    end->stop = result->stop;
    copy(end->note, result->note);
    copy(end->error, result->error);
    copy(end->memo, result->memo);
    end->has_memo = result->memo.data != NULL;
    copy(end->payload, result->payload);
    return 0;
}

void everdue_worker_report_batch(struct everdue_worker *worker,
                                 const struct everdue_task *const *tasks,
                                 const struct everdue_result *results, size_t count, int *statuses)
{
    for (size_t i = 0; i < count; i++)
        statuses[i] = report(worker, tasks[i], &results[i]);
}

void everdue_worker_flush(struct everdue_worker *worker)
{
    (void)worker;
}

void everdue_worker_give_back(struct everdue_worker *worker, const struct everdue_task *task,
                              bool begun)
{
    (void)worker;
    add_end(task, FAKE_GIVEN_BACK)->begun = begun;
}

void everdue_worker_touch(struct everdue_worker *worker, const struct everdue_task *task,
                          uint32_t lease_ms)
{
    (void)worker;
    (void)task;
    fake.touched_ms += lease_ms;
}

void everdue_worker_stop(struct everdue_worker *worker, const char *reason)
{
    if (!fake.is_stopping)
        snprintf(fake.stop_reason, sizeof fake.stop_reason, "%s", reason);
    fake.is_stopping = true;
    show_readable(worker);
}

bool everdue_worker_stopping(struct everdue_worker *worker)
{
    (void)worker;
    return fake.is_stopping;
}

int everdue_worker_stop_status(struct everdue_worker *worker, const char **reason)
{
    (void)worker;
    *reason = fake.stop_reason;
    return fake.stop_status;
}
