#include "worker_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    CREDIT_DEFAULT = 64,
    TIMEOUT_MS_DEFAULT = 600000,
    STOP_TIMEOUT_MS_DEFAULT = 8000,
    DESTROY_WAIT_MS = 2000,
};

static const char *const default_queues[] = {"default", NULL};

/* NULL, or what is wrong with the options. */
static const char *check(const struct everdue_worker_options *options)
{
    const char *const *queues = options->queues ? options->queues : default_queues;
    size_t count = 0;
    for (; queues[count]; count++) {
        if (count == SESSION_QUEUES_MAX)
            return "more than 64 queues";
        if (!bytes_are_queue_name(bytes_of(queues[count])))
            return "a queue's name is 1 to 64 of A-Z a-z 0-9 . _ -";
    }
    if (count == 0)
        return "no queue is named";
    if (options->credit > CREDIT_MAX)
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

/* A copy of what may be NULL, which stays NULL. False: no memory. */
static bool copy(char **to, const char *from)
{
    *to = from ? strdup(from) : NULL;
    return *to || !from;
}

static bool copy_name(struct everdue_worker *worker, const char *name)
{
    char own[SESSION_NAME_BYTES_MAX + 1] = "";
    char host[128] = "";
    if (name) {
        struct bytes cut = bytes_cut_utf8(bytes_of(name), SESSION_NAME_BYTES_MAX);
        memcpy(own, cut.data, cut.count);
    } else {
        gethostname(host, sizeof(host) - 1);
        snprintf(own, sizeof(own), "%s:%ld", host, (long)getpid());
    }
    return copy(&worker->name, own);
}

static bool copy_queues(struct everdue_worker *worker, const char *const *queues)
{
    worker->queues = calloc(SESSION_QUEUES_MAX + 1, sizeof(char *));
    if (!worker->queues)
        return false;
    for (size_t i = 0; queues[i]; i++)
        if (!copy(&worker->queues[i], queues[i]))
            return false;
    return true;
}

static bool copy_options(struct everdue_worker *worker,
                         const struct everdue_worker_options *options)
{
    worker->every_us = options->every_us;
    worker->stop_timeout_ms =
        options->stop_timeout_ms ? options->stop_timeout_ms : STOP_TIMEOUT_MS_DEFAULT;
    return copy(&worker->endpoint, options->endpoint ? options->endpoint : EVERDUE_ENDPOINT) &&
           copy_name(worker, options->name) &&
           copy_queues(worker, options->queues ? options->queues : default_queues) &&
           copy(&worker->curve_server_key, options->curve_server_key) &&
           copy(&worker->curve_key_file, options->curve_key_file);
}

static void worker_free(struct everdue_worker *worker)
{
    for (size_t i = 0; worker->queues && worker->queues[i]; i++)
        free(worker->queues[i]);
    free(worker->queues);
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
        .link = {worker->endpoint, worker->curve_server_key, worker->curve_key_file},
        .session = {.name = bytes_of(worker->name),
                    .queues = (const char *const *)worker->queues,
                    .queue_count = queue_count,
                    .credit = options->credit ? options->credit : CREDIT_DEFAULT,
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

static const char *why_not(enum status status)
{
    switch ((int)status) {
    case STATUS_BAD_FIELD:
        return "the endpoint or a key is none";
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
        return fail(worker, why, why_not(status));
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
    /* What has not begun goes back; what runs goes back with the goodbye, as begun. */
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
