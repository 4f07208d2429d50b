#include "worker_private.h"

#include <stdlib.h>
#include <sys/random.h>

#include "hello_options.h"

enum {
    CREDIT_DEFAULT = 64,
    CREDIT_MOST_DEFAULT = 1024,
    TIMEOUT_MS_DEFAULT = 600000,
    STOP_TIMEOUT_MS_DEFAULT = 8000,
    DESTROY_WAIT_MS = 2000,
};

static const char *const default_queues[] = {"default", NULL};

/* NULL, or what is wrong with the options. */
static const char *check(const struct everdue_worker_options *options)
{
    const char *const *queues = options->queues ? options->queues : default_queues;
    const char *wrong = hello_options_check(queues);
    if (wrong)
        return wrong;
    if (!queues[0])
        return "no queue is named";
    if (options->credit > CREDIT_MAX || options->credit_most > CREDIT_MAX)
        return "the credit is over 16,384";
    if (options->lease_ms != 0 &&
        (options->lease_ms < LEASE_MS_MIN || options->lease_ms > LEASE_MS_MAX))
        return "a lease is 100 ms to 24 h";
    if (options->heartbeat_ms != 0 &&
        (options->heartbeat_ms < HEARTBEAT_MS_MIN || options->heartbeat_ms > HEARTBEAT_MS_MAX))
        return "a heartbeat is 50 ms to 10 min";
    if (options->every_us < 0 || options->every_us >= TIME_US_END)
        return "the interval is out of range";
    return NULL;
}

/* --- copies ----------------------------------------------------------------------------------- */

static bool copy_options(struct everdue_worker *worker,
                         const struct everdue_worker_options *options)
{
    worker->every_us = options->every_us;
    worker->stop_timeout_ms =
        options->stop_timeout_ms ? options->stop_timeout_ms : STOP_TIMEOUT_MS_DEFAULT;
    const char *endpoint = options->endpoint ? options->endpoint : EVERDUE_ENDPOINT;
    return hello_options_copy(&worker->endpoint, endpoint) &&
           hello_options_copy_name(&worker->name, options->name) &&
           hello_options_copy_queues(&worker->queues,
                                     options->queues ? options->queues : default_queues) &&
           hello_options_copy(&worker->curve_server_key, options->curve_server_key) &&
           hello_options_copy(&worker->curve_key_file, options->curve_key_file);
}

static void worker_free(struct everdue_worker *worker)
{
    hello_options_free_queues(worker->queues);
    free(worker->endpoint);
    free(worker->name);
    free(worker->curve_server_key);
    free(worker->curve_key_file);
    free(worker);
}

/* --- the beginning ---------------------------------------------------------------------------- */

static enum status start(struct everdue_worker *worker,
                         const struct everdue_worker_options *options)
{
    uint32_t queue_count = 0;
    while (worker->queues[queue_count])
        queue_count++;
    uint32_t timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS_DEFAULT;
    struct agent_options agent_options = {
        .link = {.endpoint = worker->endpoint,
                 .curve_server_key = worker->curve_server_key,
                 .curve_key_file = worker->curve_key_file,
                 .watches = true},
        .session = {.name = bytes_of(worker->name),
                    .queues = (const char *const *)worker->queues,
                    .queue_count = queue_count,
                    .credit = options->credit ? options->credit : CREDIT_DEFAULT,
                    .credit_most = options->credit || options->credit_most ? options->credit_most
                                                                           : CREDIT_MOST_DEFAULT,
                    .lease_ms = options->lease_ms,
                    .heartbeat_ms = options->heartbeat_ms,
                    .timeout_us = (int64_t)timeout_ms * US_PER_MS},
        .log = options->log,
        .log_user = options->log_user,
    };
    uint8_t *uid = agent_options.session.uid;
    if (getrandom(uid, SESSION_UID_BYTES, 0) != SESSION_UID_BYTES)
        return STATUS_IO;
    return agent_start(&worker->agent, &agent_options, &worker->mailbox);
}

static const char *why_not(const struct everdue_worker *worker, enum status status)
{
    const struct link_options link = {.endpoint = worker->endpoint,
                                      .curve_server_key = worker->curve_server_key,
                                      .curve_key_file = worker->curve_key_file};
    const char *wrong = link_check(&link);
    if (wrong)
        return wrong;
    switch ((int)status) {
    case STATUS_BAD_FIELD:
        return "not an endpoint";
    case STATUS_NO_MEMORY:
        return "no memory or no thread";
    default:
        return status_text(status);
    }
}

static struct everdue_worker *fail(struct everdue_worker *worker, const char **why,
                                   const char *reason)
{
    if (worker)
        worker_free(worker);
    if (why)
        *why = reason;
    return NULL;
}

struct everdue_worker *everdue_worker_new(const struct everdue_worker_options *options,
                                          const char **why)
{
    const char *wrong = check(options);
    if (wrong)
        return fail(NULL, why, wrong);
    struct everdue_worker *worker = calloc(1, sizeof(*worker));
    if (!worker || !copy_options(worker, options))
        return fail(worker, why, "no memory");
    if (!mailbox_init(&worker->mailbox))
        return fail(worker, why, "no file descriptor is left");
    enum status status = start(worker, options);
    if (status) {
        mailbox_release(&worker->mailbox);
        return fail(worker, why, why_not(worker, status));
    }
    return worker;
}

/* --- the end ---------------------------------------------------------------------------------- */

void worker_close(struct everdue_worker **worker, uint32_t wait_ms)
{
    struct everdue_worker *old = *worker;
    if (!old)
        return;
    *worker = NULL;
    mailbox_stop(&old->mailbox, STATUS_OK, "the worker ends");
    /* What has not begun goes back uncounted; what runs goes back as begun, before the goodbye. */
    worker_take(old, 1); /* while it stops this hands out nothing */
    worker_flush(old);
    mailbox_leave(&old->mailbox, wait_ms);
    agent_join(&old->agent);
    mailbox_release(&old->mailbox);
    worker_free(old);
}

void everdue_worker_destroy(struct everdue_worker **worker)
{
    worker_close(worker, DESTROY_WAIT_MS);
}
