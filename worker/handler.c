#include "handler.h"

#include "clock.h"
#include "log.h"
#include "moment.h"
#include "status.h"
#include "utf8.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

static const char no_next[] =
    "the handler named no next time and the record has none: return \"next\" or \"in\" with the "
    "result, or set --every here (or every with the record)";

static void log_from_library(int level, const char *text, void *user)
{
    (void)user;
    log_line(level, text, NULL);
}

static struct everdue_worker *open_worker(const struct options *options, const char *endpoint)
{
    const struct everdue_worker_options library = {
        .endpoint = endpoint,
        .queues = options->queues.count ? options->queues.items : NULL,
        .name = options->name,
        .credit = options->credit,
        .credit_most = options->credit_most,
        .lease_ms = options->lease_ms,
        .timeout_ms = options->timeout_ms,
        .heartbeat_ms = options->heartbeat_ms,
        .stop_timeout_ms = options->stop_timeout_ms,
        .every_us = options->every_us,
        .curve_server_key = options->curve_server_key,
        .curve_key_file = options->curve_key_file,
        .log = log_from_library,
    };
    const char *why = "no memory";
    struct everdue_worker *worker = everdue_worker_new(&library, &why);

    if (worker == NULL)
        log_line(LOG_ERR, "cannot start a session", "broker",
                 endpoint ? endpoint : EVERDUE_ENDPOINT, "why", why, NULL);
    return worker;
}

/* SIGINT and SIGHUP come from the terminal to all processes at once; the supervisor turns them into
 * one SIGTERM. A child that stops reading shows as EPIPE. */
static bool take_signals(struct handler *handler)
{
    sigset_t signals;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGCHLD);
    handler->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    return handler->signal_fd >= 0 && sigprocmask(SIG_BLOCK, &signals, NULL) == 0;
}

bool handler_watch(struct handler *handler, int fd, uint32_t events, uint64_t id)
{
    struct epoll_event event = {.events = events, .data.u64 = id};

    return epoll_ctl(handler->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool handler_connect(struct handler *handler)
{
    const struct option_list *brokers = &handler->options->brokers;
    size_t count = brokers->count ? brokers->count : 1;

    handler->exit_code = EX_CONFIG;
    for (size_t i = 0; i < count; i++) {
        struct everdue_worker *worker =
            open_worker(handler->options, brokers->count ? brokers->items[i] : NULL);
        if (worker == NULL)
            return false;
        handler->workers[handler->worker_count++] = worker;
        /* With one broker the wait is the library's: everdue_worker_wait. */
        if (count > 1 &&
            !handler_watch(handler, everdue_worker_fd(worker), EPOLLIN, HANDLER_EVENT_TASKS))
            return false;
    }
    handler->exit_code = 0;
    return true;
}

int handler_init(struct handler *handler, const struct options *options)
{
    *handler = (struct handler){
        .options = options,
        .signal_fd = -1,
        .wants_tasks = true,
        .over_mono_us = TIME_US_NEVER,
    };
    handler->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    /* Before the first thread, so that all of them have the signals blocked. */
    if (handler->epoll_fd >= 0 && take_signals(handler) &&
        handler_watch(handler, handler->signal_fd, EPOLLIN, HANDLER_EVENT_SIGNAL))
        return 0;
    log_line(LOG_ERR, "cannot start", "why", strerror(errno), NULL);
    handler_release(handler);
    return EX_IOERR;
}

void handler_release(struct handler *handler)
{
    for (size_t i = 0; i < handler->worker_count; i++)
        everdue_worker_destroy(&handler->workers[i]);
    handler->worker_count = 0;
    if (handler->signal_fd >= 0)
        close(handler->signal_fd);
    if (handler->epoll_fd >= 0)
        close(handler->epoll_fd);
    handler->signal_fd = handler->epoll_fd = -1;
}

/* --- tasks ------------------------------------------------------------------------------------ */

size_t handler_next_batch(struct handler *handler, struct everdue_worker **worker,
                          const struct everdue_task **tasks, size_t max)
{
    if (handler->phase != HANDLER_RUNNING)
        return 0;
    for (size_t i = 0; i < handler->worker_count; i++) {
        *worker = handler->workers[handler->worker_next];
        handler->worker_next = (handler->worker_next + 1) % handler->worker_count;
        size_t count = everdue_worker_next_batch(*worker, tasks, max, 0);
        if (count)
            return count;
    }
    return 0;
}

bool handler_next(struct handler *handler, struct claim *claim)
{
    return handler_next_batch(handler, &claim->worker, &claim->task, 1) == 1;
}

void handler_want_tasks(struct handler *handler, bool wants)
{
    if (wants == handler->wants_tasks)
        return;
    handler->wants_tasks = wants;
    for (size_t i = 0; i < handler->worker_count && handler->worker_count > 1; i++) {
        struct epoll_event event = {.events = wants ? EPOLLIN : 0, .data.u64 = HANDLER_EVENT_TASKS};
        epoll_ctl(handler->epoll_fd, EPOLL_CTL_MOD, everdue_worker_fd(handler->workers[i]), &event);
    }
}

/* A report that stops the worker, or was not accepted. */
static void settle_report(struct handler *handler, const char *key,
                          const struct everdue_result *result, int status)
{
    char why[NOTE_BYTES_MAX + 32] = "the handler asked to stop";

    if (result->stop && result->error.count) {
        size_t used = strlen(why);
        used += (size_t)snprintf(why + used, sizeof why - used, ": ");
        utf8_first_line(why + used, sizeof why - used, result->error.data, result->error.count);
    }
    if (status == STATUS_NO_NEXT)
        handler_fault(handler, EX_CONFIG, no_next, everdue_text(key));
    else if (result->stop)
        handler_fault(handler, EX_CONFIG, why, everdue_text(key));
    else
        log_line(LOG_WARNING, "a report was not accepted", "key", key, "why",
                 everdue_status_text(status), NULL);
}

void handler_report_batch(struct handler *handler, struct everdue_worker *worker,
                          const struct everdue_task *const *tasks,
                          const struct everdue_result *results, size_t count)
{
    int statuses[HANDLER_BATCH_MAX];

    everdue_worker_report_batch(worker, tasks, results, count, statuses);
    for (size_t i = 0; i < count; i++) {
        char key[KEY_BYTES_MAX + 1];
        if (!results[i].stop && statuses[i] >= 0)
            continue;
        utf8_first_line(key, sizeof key, tasks[i]->key.data, tasks[i]->key.count);
        settle_report(handler, key, &results[i], statuses[i]);
    }
    everdue_worker_flush(worker); /* the tasks end here */
}

void handler_report(struct handler *handler, struct claim *claim,
                    const struct everdue_result *result)
{
    handler_report_batch(handler, claim->worker, &claim->task, result, 1);
    claim->task = NULL;
}

void handler_give_back(struct handler *handler, struct claim *claim, bool begun)
{
    (void)handler;
    everdue_worker_give_back(claim->worker, claim->task, begun);
    claim->task = NULL;
}

/* --- the end ---------------------------------------------------------------------------------- */

void handler_stop(struct handler *handler, const char *reason)
{
    if (handler->phase != HANDLER_RUNNING)
        return;
    handler->phase = HANDLER_DRAINING;
    handler->over_mono_us =
        clock_now().mono_us + (int64_t)handler->options->stop_timeout_ms * US_PER_MS;
    handler_want_tasks(handler, false);
    handler->stop_asked = true;
    for (size_t i = 0; i < handler->worker_count; i++)
        everdue_worker_stop(handler->workers[i], reason);
}

void handler_fault(struct handler *handler, int exit_code, const char *what,
                   struct everdue_bytes key)
{
    char text[KEY_BYTES_MAX + 1];

    utf8_first_line(text, sizeof text, key.data, key.count);
    log_line(LOG_ERR, what, "key", key.count ? text : NULL, NULL);
    if (handler->exit_code == 0)
        handler->exit_code = exit_code;
    handler_stop(handler, what);
}

static void take_signal(struct handler *handler)
{
    struct signalfd_siginfo infos[2]; /* each of the two is pending at most once */
    ssize_t count = read(handler->signal_fd, infos, sizeof infos);

    for (ssize_t i = 0; i < count / (ssize_t)sizeof infos[0]; i++) {
        if (infos[i].ssi_signo == SIGCHLD)
            handler->child_ended = true;
        else if (handler->phase == HANDLER_RUNNING)
            handler_stop(handler, "asked to stop");
        else
            handler->phase = HANDLER_OVER;
    }
}

/* The library stops by itself when the broker answers a report later with "no next time". */
static void check_library(struct handler *handler)
{
    for (size_t i = 0; i < handler->worker_count && !handler->stop_asked; i++) {
        const char *reason;
        if (!everdue_worker_stopping(handler->workers[i]))
            continue;
        int status = everdue_worker_stop_status(handler->workers[i], &reason);
        handler_fault(handler, EX_CONFIG, status == STATUS_NO_NEXT ? no_next : reason,
                      everdue_text(NULL));
    }
}

/* Rounded up: a wait that ends early is a turn for nothing. One broker's library ends the wait when
 * it stops; of several, one might while tasks are not wanted. */
static int wait_ms(const struct handler *handler, int64_t until_mono_us)
{
    int64_t now_us = clock_now().mono_us;
    int64_t at_us = until_mono_us;

    if (handler->over_mono_us < at_us)
        at_us = handler->over_mono_us;
    if (at_us <= now_us)
        return 0;
    int64_t most_us = handler->worker_count == 1 ? 60 * (int64_t)US_PER_S : US_PER_S;
    if (at_us - now_us > most_us)
        at_us = now_us + most_us;
    return (int)((at_us - now_us + US_PER_MS - 1) / US_PER_MS);
}

static int wait_for_events(struct handler *handler, int ms,
                           struct epoll_event events[HANDLER_EVENTS_MAX])
{
    if (handler->worker_count == 1) {
        if (!(everdue_worker_wait(handler->workers[0], handler->epoll_fd, ms) & EVERDUE_WAIT_FD))
            return 0;
        ms = 0;
    }
    return epoll_wait(handler->epoll_fd, events, HANDLER_EVENTS_MAX, ms);
}

int handler_wait(struct handler *handler, int64_t until_mono_us,
                 struct epoll_event events[HANDLER_EVENTS_MAX])
{
    int own = 0;
    int count = wait_for_events(handler, wait_ms(handler, until_mono_us), events);

    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == HANDLER_EVENT_SIGNAL)
            take_signal(handler);
        else if (events[i].data.u64 >= HANDLER_EVENT_OWN)
            events[own++] = events[i];
    }
    check_library(handler);
    if (handler->phase == HANDLER_DRAINING && clock_now().mono_us >= handler->over_mono_us)
        handler->phase = HANDLER_OVER;
    return own;
}
