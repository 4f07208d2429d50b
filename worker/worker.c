#include "everdue/worker.h"

#include <assert.h>
#include <poll.h>
#include <string.h>

#include "clock.h"
#include "convert.h"
#include "worker_private.h"

static struct lease *lease_of(const struct everdue_task *task)
{
    return (struct lease *)(uintptr_t)task; /* task is its first member, and ours to change */
}

/* --- taking ----------------------------------------------------------------------------------- */

static void send_back(struct everdue_worker *worker, struct lease *lease, enum lease_mail mail)
{
    lease->mail = mail;
    lease_chain_append(&worker->outgoing, lease);
}

/* With more tasks at hand other reports will follow, and go with these. */
void worker_flush(struct everdue_worker *worker)
{
    worker->sheet = NULL; /* its reports own it */
    agent_send(worker->agent, &worker->outgoing, worker->inbox.count);
}

struct lease *worker_take(struct everdue_worker *worker, int64_t mono_us)
{
    if (!worker->inbox.first)
        mailbox_receive(&worker->mailbox, &worker->inbox);
    bool stopping = mailbox_is_stopping(&worker->mailbox);
    struct lease *lease;
    while ((lease = lease_chain_take(&worker->inbox))) {
        int64_t ends_us = atomic_load(&lease->ends_us);
        bool is_over = ends_us != 0 && ends_us <= mono_us;
        if (stopping || is_over) {
            /* Somebody else may have it by now: better not begun than run twice. */
            send_back(worker, lease, LEASE_MAIL_UNBEGUN);
        } else if (lease_begin(lease, mono_us)) {
            lease->task.deadline_mono_us = ends_us;
            return lease;
        } else {
            send_back(worker, lease, LEASE_MAIL_SKIPPED);
        }
    }
    worker_flush(worker);
    return NULL;
}

static unsigned wait_polled(const struct everdue_worker *worker, int fd, int wait_ms)
{
    struct pollfd fds[] = {
        {.fd = worker->mailbox.caller_fd, .events = POLLIN},
        {.fd = fd, .events = POLLIN}, /* -1: passed over */
    };
    if (poll(fds, 2, wait_ms) <= 0)
        return 0;
    return (fds[0].revents ? EVERDUE_WAIT_TASKS : 0u) | (fds[1].revents ? EVERDUE_WAIT_FD : 0u);
}

unsigned everdue_worker_wait(struct everdue_worker *worker, int fd, int wait_ms)
{
    if (worker->is_polled)
        return wait_polled(worker, fd, wait_ms);
    int64_t until_us =
        wait_ms < 0 ? TIME_US_NEVER : clock_now().mono_us + (int64_t)wait_ms * US_PER_MS;
    unsigned woken = agent_wait(worker->agent, fd, until_us, worker->inbox.count);
    return (woken & AGENT_NEWS ? EVERDUE_WAIT_TASKS : 0u) |
           (woken & AGENT_FD ? EVERDUE_WAIT_FD : 0u);
}

static int rest_ms(int64_t until_us, int64_t now_us)
{
    return until_us <= now_us ? 0 : (int)((until_us - now_us - 1) / US_PER_MS + 1);
}

static size_t take_some(struct everdue_worker *worker, const struct everdue_task **tasks,
                        size_t max, int64_t mono_us)
{
    size_t count = 0;
    struct lease *lease;
    while (count < max && (lease = worker_take(worker, mono_us)))
        tasks[count++] = &lease->task;
    return count;
}

size_t everdue_worker_next_batch(struct everdue_worker *worker, const struct everdue_task **tasks,
                                 size_t max, int wait_ms)
{
    int64_t now_us = clock_now().mono_us;
    const int64_t until_us = now_us + (int64_t)wait_ms * US_PER_MS;
    for (;;) { /* ends when the wait does: each turn without a task waits */
        size_t count = take_some(worker, tasks, max, now_us);
        if (count > 0 || wait_ms == 0 || mailbox_is_stopping(&worker->mailbox))
            return count;
        /* A signal ends the wait, too: the caller may want to look at what it said. */
        if (!everdue_worker_wait(worker, -1, wait_ms < 0 ? -1 : rest_ms(until_us, now_us)))
            return 0;
        now_us = clock_now().mono_us;
    }
}

const struct everdue_task *everdue_worker_next(struct everdue_worker *worker, int wait_ms)
{
    const struct everdue_task *task;
    return everdue_worker_next_batch(worker, &task, 1, wait_ms) ? task : NULL;
}

int everdue_worker_fd(struct everdue_worker *worker)
{
    if (!worker->is_polled)
        agent_leave_alone(worker->agent);
    worker->is_polled = true;
    return worker->mailbox.caller_fd;
}

bool everdue_worker_is_cancelled(struct everdue_worker *worker, const struct everdue_task *task)
{
    (void)worker;
    struct lease *lease = lease_of(task);
    int64_t ends_us = atomic_load(&lease->ends_us);
    lease->task.deadline_mono_us = ends_us;
    return ends_us <= clock_now().mono_us;
}

/* --- reporting -------------------------------------------------------------------------------- */

static uint32_t saturated(int64_t us)
{
    if (us < 0)
        return 0;
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* Whether neither the result nor the record says when the record comes round again. */
static bool names_no_next(const struct report *report, const struct everdue_task *task)
{
    return report->outcome == OUTCOME_OK && report->due_us == TIME_US_NEVER &&
           report->in_us == TIME_US_NEVER && task->every_us == 0 && !task->once;
}

/* Room in the sheet is undone when the report did not fit, so that those before it stay whole. */
static bool write_report(struct everdue_worker *worker, struct lease *lease,
                         const struct report *report)
{
    if (!worker->sheet)
        worker->sheet = report_sheet_new();
    if (!worker->sheet)
        return false;
    struct wire_buffer *bytes = &worker->sheet->bytes;
    size_t offset = bytes->count;
    report_write(bytes, report);
    if (bytes->failed) {
        bytes->count = offset;
        bytes->failed = false;
        return false;
    }
    worker->sheet->reports++;
    lease->sheet = worker->sheet;
    lease->report_offset = offset;
    lease->report_bytes = (uint32_t)(bytes->count - offset);
    return true;
}

static void drop_empty_sheet(struct everdue_worker *worker)
{
    if (!worker->sheet || worker->sheet->reports > 0)
        return;
    worker->sheet->reports = 1;
    report_sheet_drop(worker->sheet);
    worker->sheet = NULL;
}

static void stop_as_told(struct everdue_worker *worker, struct everdue_bytes error)
{
    char reason[SESSION_TEXT_BYTES] = "the handler asked to stop";
    if (error.count > sizeof(reason))
        error.count = sizeof(reason); /* the cut below looks for a character's end */
    struct bytes text = bytes_cut_utf8(convert_in(error), sizeof(reason) - 1);
    if (text.count > 0) {
        memcpy(reason, text.data, text.count);
        reason[text.count] = '\0';
    }
    mailbox_stop(&worker->mailbox, STATUS_INTERRUPTED, reason);
}

/* The handler's mistake, not the record's: it is given back as if it had not begun. */
static enum status stop_for_no_next(struct everdue_worker *worker, struct lease *lease)
{
    send_back(worker, lease, LEASE_MAIL_UNBEGUN);
    mailbox_stop(&worker->mailbox, STATUS_NO_NEXT, status_text(STATUS_NO_NEXT));
    return STATUS_NO_NEXT;
}

static enum status report_or_give_back(struct everdue_worker *worker, struct lease *lease,
                                       const struct everdue_result *result, struct report *report)
{
    enum status status =
        convert_result(result, atomic_load(&worker->mailbox.payload_bytes_max), report);
    if (names_no_next(report, &lease->task)) {
        if (worker->every_us == 0)
            return stop_for_no_next(worker, lease);
        report->in_us = worker->every_us;
    }
    if (!write_report(worker, lease, report)) {
        drop_empty_sheet(worker);
        send_back(worker, lease, LEASE_MAIL_BEGUN);
        return STATUS_NO_MEMORY;
    }
    send_back(worker, lease, LEASE_MAIL_REPORT);
    return status;
}

enum status worker_report(struct everdue_worker *worker, struct lease *lease,
                          const struct everdue_result *result, int64_t mono_us)
{
    const struct everdue_task *task = &lease->task;
    int64_t begun_us = atomic_load(&lease->begun_us);
    assert(begun_us > 0);
    struct report report = {
        .name = {lease->queue, convert_in(task->key), task->lease},
        .state = task->state,
        .waited_us = saturated(begun_us - lease->arrived_us),
        .ran_us = saturated(mono_us - begun_us),
    };
    if (result->stop)
        stop_as_told(worker, result->error);
    enum status status = report_or_give_back(worker, lease, result, &report);
    /* A handler that stops by itself has said why. */
    return result->stop && status == STATUS_NO_NEXT ? STATUS_OK : status;
}

int everdue_worker_report(struct everdue_worker *worker, const struct everdue_task *task,
                          const struct everdue_result *result)
{
    enum status status = worker_report(worker, lease_of(task), result, clock_now().mono_us);
    worker_flush(worker);
    return (int)status;
}

void everdue_worker_report_batch(struct everdue_worker *worker,
                                 const struct everdue_task *const *tasks,
                                 const struct everdue_result *results, size_t count, int *statuses)
{
    int64_t now_us = clock_now().mono_us;
    for (size_t i = 0; i < count; i++)
        statuses[i] = (int)worker_report(worker, lease_of(tasks[i]), &results[i], now_us);
}

void everdue_worker_flush(struct everdue_worker *worker)
{
    worker_flush(worker);
}

void everdue_worker_give_back(struct everdue_worker *worker, const struct everdue_task *task,
                              bool begun)
{
    send_back(worker, lease_of(task), begun ? LEASE_MAIL_BEGUN : LEASE_MAIL_UNBEGUN);
    worker_flush(worker);
}

void everdue_worker_touch(struct everdue_worker *worker, const struct everdue_task *task,
                          uint32_t lease_ms)
{
    if (lease_ms < LEASE_MS_MIN)
        lease_ms = LEASE_MS_MIN;
    if (lease_ms > LEASE_MS_MAX)
        lease_ms = LEASE_MS_MAX;
    mailbox_touch(&worker->mailbox, task->lease, lease_ms);
}

/* --- stopping and looking --------------------------------------------------------------------- */

void everdue_worker_stop(struct everdue_worker *worker, const char *reason)
{
    mailbox_stop(&worker->mailbox, STATUS_OK, reason ? reason : "asked to");
}

bool everdue_worker_stopping(struct everdue_worker *worker)
{
    return mailbox_is_stopping(&worker->mailbox);
}

int everdue_worker_stop_status(struct everdue_worker *worker, const char **reason)
{
    const char *text;
    enum status status = mailbox_stop_status(&worker->mailbox, &text);
    if (reason)
        *reason = text;
    return (int)status;
}

void everdue_worker_counts(struct everdue_worker *worker, struct everdue_worker_counts *counts)
{
    mailbox_counts(&worker->mailbox, counts);
}
