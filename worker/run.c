#include "everdue/worker.h"

#include <stdlib.h>
#include <sysexits.h>

#include "clock.h"
#include "log.h"
#include "worker_private.h"

enum { BATCH_MAX = 4096 };

/* --- one at a time ---------------------------------------------------------------------------- */

struct single {
    everdue_handler *handler;
    void *user;
};

/* Handles what is there. */
static void work_off(struct everdue_worker *worker, const struct single *single)
{
    int64_t now_us = clock_now().mono_us;
    struct lease *lease;
    while ((lease = worker_take(worker, now_us))) {
        struct everdue_result result;
        everdue_result_init(&result);
        single->handler(&lease->task, &result, single->user);
        now_us = clock_now().mono_us;
        worker_report(worker, lease, &result, now_us);
        worker_flush(worker);
    }
}

/* --- batches ---------------------------------------------------------------------------------- */

struct batch {
    everdue_batch_handler *handler;
    void *user;
    size_t max;
    const struct everdue_task **tasks;
    struct everdue_result *results;
    int *statuses;
};

static bool batch_init(struct batch *batch, everdue_batch_handler *handler, size_t max, void *user)
{
    if (max == 0 || max > BATCH_MAX)
        max = BATCH_MAX;
    batch->handler = handler;
    batch->user = user;
    batch->max = max;
    batch->tasks = calloc(max, sizeof(*batch->tasks));
    batch->results = calloc(max, sizeof(*batch->results));
    batch->statuses = calloc(max, sizeof(*batch->statuses));
    return batch->tasks && batch->results && batch->statuses;
}

static void batch_release(struct batch *batch)
{
    free(batch->tasks);
    free(batch->results);
    free(batch->statuses);
}

static void work_off_batches(struct everdue_worker *worker, struct batch *batch)
{
    size_t count;
    while ((count = everdue_worker_next_batch(worker, batch->tasks, batch->max, 0)) > 0) {
        for (size_t i = 0; i < count; i++)
            everdue_result_init(&batch->results[i]);
        batch->handler(batch->tasks, batch->results, count, batch->user);
        everdue_worker_report_batch(worker, batch->tasks, batch->results, count, batch->statuses);
        worker_flush(worker);
    }
}

/* --- the loop --------------------------------------------------------------------------------- */

static int finish(struct everdue_worker *worker)
{
    enum status status = mailbox_stop_status(&worker->mailbox, &(const char *){NULL});
    worker_close(&worker, worker->stop_timeout_ms);
    return status == STATUS_OK ? 0 : EX_CONFIG;
}

/* The options were refused, or there is no thread, socket or memory. */
static int worker_refused(const struct everdue_worker_options *options, const char *why)
{
    if (options->log)
        options->log(LOG_ERR, why, options->log_user);
    else
        log_line(LOG_ERR, "the worker cannot start", "why", why, NULL);
    return EX_CONFIG;
}

int everdue_worker_run(const struct everdue_worker_options *options, everdue_handler *handler,
                       void *user)
{
    const char *why;
    struct everdue_worker *worker = everdue_worker_new(options, &why);
    if (!worker)
        return worker_refused(options, why);
    const struct single single = {handler, user};
    for (work_off(worker, &single); !everdue_worker_stopping(worker); work_off(worker, &single))
        everdue_worker_wait(worker, -1, -1);
    return finish(worker);
}

int everdue_worker_run_batch(const struct everdue_worker_options *options,
                             everdue_batch_handler *handler, size_t max_batch, void *user)
{
    const char *why;
    struct batch batch;
    struct everdue_worker *worker = NULL;
    bool has_room = batch_init(&batch, handler, max_batch, user);
    if (has_room)
        worker = everdue_worker_new(options, &why);
    if (!worker) {
        batch_release(&batch);
        return worker_refused(options, has_room ? why : "no memory");
    }
    for (work_off_batches(worker, &batch); !everdue_worker_stopping(worker);
         work_off_batches(worker, &batch))
        everdue_worker_wait(worker, -1, -1);
    batch_release(&batch);
    return finish(worker);
}
