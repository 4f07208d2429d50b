/* everdue/worker.h - work on records as they come due.
 *
 *   static void handle(const struct everdue_task *task, struct everdue_result *result, void *user)
 *   {
 *       result->in_us = 300 * 1000000LL;            // come round again in five minutes
 *   }
 *
 *   int main(void)
 *   {
 *       struct everdue_worker_options options = {.queues = (const char *[]){"feeds", NULL}};
 *       return everdue_worker_run(&options, handle, NULL);
 *   }
 *
 * A worker owns a background thread that speaks with the broker: it keeps the session alive,
 * touches the leases of tasks that are queued or running (until `timeout_ms` from a run's begin),
 * keeps every report until the broker has acknowledged it, reconnects, and announces the leases it
 * still holds. While the caller's thread waits in a call of this library, and when it reports, it
 * does all that itself, which is quicker; once it has stayed away for 5 to 10 ms the background
 * thread does. One caller thread a worker; several workers a process.
 *
 * Signals: the background thread blocks all of them. everdue_worker_run installs no handlers. The
 * log function is called by either thread, by one at a time.
 */
#ifndef EVERDUE_WORKER_H
#define EVERDUE_WORKER_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct everdue_task {
    struct everdue_bytes key;
    const char *queue;
    uint64_t lease;
    uint64_t state;
    int64_t due_us;
    int64_t lateness_us; /* moment of dispatch minus due */
    uint32_t failures;   /* failed runs since the last ok */
    uint32_t crashes;    /* leases lost since the last ok */
    int64_t rank;
    int64_t every_us; /* 0: none */
    bool once;        /* the record is removed by its first ok, which needs no next time */
    struct everdue_bytes payload;
    struct everdue_bytes memo;
    struct everdue_bytes group;
    int64_t deadline_mono_us; /* end of the lease by CLOCK_MONOTONIC as of now; touching moves it */
};

enum everdue_outcome {
    EVERDUE_OK = 0,
    EVERDUE_RETRY = 1,
    EVERDUE_PARK = 2,
    EVERDUE_REMOVE = 3,
};

/* Why a run failed: counted apart by the broker, treated alike. */
enum everdue_cause {
    EVERDUE_CAUSE_NONE = 0,
    EVERDUE_CAUSE_FAILED = 1,
    EVERDUE_CAUSE_TIMED_OUT = 2,
    EVERDUE_CAUSE_KILLED = 3,
};

/* Initialised by everdue_result_init (everdue_worker_run does it for its callback): outcome ok, all
 * else not given. All bytes are borrowed by everdue_worker_report during the call. */
struct everdue_result {
    enum everdue_outcome outcome;
    int64_t next_us;              /* next due time, or EVERDUE_ABSENT */
    int64_t in_us;                /* or from now, by the broker's clock, or EVERDUE_ABSENT */
    struct everdue_bytes memo;    /* absent: kept. Empty: cleared */
    struct everdue_bytes payload; /* absent: kept */
    bool has_rank;
    int64_t rank;
    struct everdue_bytes note;
    struct everdue_bytes error;
    enum everdue_cause cause;
    bool stop; /* this worker takes no more work; `error` says why, a next time is not needed */
};

EVERDUE_API void everdue_result_init(struct everdue_result *result);

struct everdue_worker_options {
    const char *endpoint;      /* NULL: EVERDUE_ENDPOINT */
    const char *const *queues; /* NULL-terminated; NULL: "default" */
    const char *name;          /* shown by `everdue workers`; NULL: host:pid */
    uint32_t credit;           /* records held at a time; 0: 64, and credit_most 1,024 */
    uint32_t credit_most;      /* over `credit`: grows up to it with what is finished in 20 ms, and
                                  what is held beyond that is given back; 0: stays as it is */
    uint32_t lease_ms;         /* 0: the broker's default (60 s) */
    uint32_t timeout_ms;       /* of one run, touching ends then; 0: 600,000 */
    uint32_t heartbeat_ms;     /* 0: the broker's default (5 s) */
    uint32_t stop_timeout_ms;  /* everdue_worker_run: how long to finish after a stop; 0: 8,000 */
    int64_t every_us;          /* next time of an ok that names none and whose record has no every;
                                  0: none */
    const char *curve_server_key; /* Z85; NULL: plain */
    const char *curve_key_file;
    void (*log)(int level, const char *text, void *user); /* syslog levels; NULL: stderr */
    void *log_user;
};

struct everdue_worker;

/* Start the background thread, which connects and goes on trying. Options are copied. NULL when a
 * thread, a socket or memory cannot be had, or an option is refused; `why` (may be NULL) then
 * points to a static text. */
EVERDUE_API struct everdue_worker *everdue_worker_new(const struct everdue_worker_options *options,
                                                      const char **why);

/* Give back what is held, wait for outstanding acknowledgements (2 s at most), end the thread,
 * free. NULL is allowed; `*worker` becomes NULL. */
EVERDUE_API void everdue_worker_destroy(struct everdue_worker **worker);

/* A file descriptor that is readable while everdue_worker_next has something to return. Once it was
 * asked for, the background thread does all of the speaking: everdue_worker_wait is quicker. */
EVERDUE_API int everdue_worker_fd(struct everdue_worker *worker);

enum {
    EVERDUE_WAIT_TASKS = 1, /* everdue_worker_next has something, or the worker stops */
    EVERDUE_WAIT_FD = 2,    /* `fd` is readable */
};

/* Wait until something has come since everdue_worker_next was last asked, `fd` (or -1; an epoll
 * descriptor stands for many) is readable, `wait_ms` has passed (-1: for ever), or a signal came.
 * Returns which of the two it was, or both, or 0. For a loop with descriptors of its own. */
EVERDUE_API unsigned everdue_worker_wait(struct everdue_worker *worker, int fd, int wait_ms);

/* The next task that has not begun, waiting `wait_ms` at most (0: not at all, -1: for ever); its
 * run begins now. Borrowed until it is reported or given back. NULL when there is none, or the
 * worker stops (everdue_worker_stopping). */
EVERDUE_API const struct everdue_task *everdue_worker_next(struct everdue_worker *worker,
                                                           int wait_ms);

/* Whether the broker has said that this lease ended otherwise, or its time is over: the work may be
 * broken off. The task stays borrowed until it is reported or given back. */
EVERDUE_API bool everdue_worker_is_cancelled(struct everdue_worker *worker,
                                             const struct everdue_task *task);

/* Report a task; `task` ends here. Never waits: the report is copied and kept until acknowledged.
 * An ok with no next time from anywhere (the result, the record's every, the option's), of a record
 * that is not once, is the handler's mistake: the task is given back uncounted, the worker stops,
 * and STATUS no-next is returned. Returns 0 or a negative status; on too-large the task is reported
 * as `retry` with that error. */
EVERDUE_API int everdue_worker_report(struct everdue_worker *worker,
                                      const struct everdue_task *task,
                                      const struct everdue_result *result);

/* Both for several tasks at once: one look at the clock and one hand-over, for handlers that are
 * quicker than those. `tasks` is the caller's, with room for `max`; returns how many there are. */
EVERDUE_API size_t everdue_worker_next_batch(struct everdue_worker *worker,
                                             const struct everdue_task **tasks, size_t max,
                                             int wait_ms);

/* `statuses[i]` becomes what everdue_worker_report would have returned. The reports leave, and the
 * tasks end, with everdue_worker_flush. */
EVERDUE_API void everdue_worker_report_batch(struct everdue_worker *worker,
                                             const struct everdue_task *const *tasks,
                                             const struct everdue_result *results, size_t count,
                                             int *statuses);
EVERDUE_API void everdue_worker_flush(struct everdue_worker *worker);

/* Return a task unreported. `begun`: count it as a crash of the record. */
EVERDUE_API void everdue_worker_give_back(struct everdue_worker *worker,
                                          const struct everdue_task *task, bool begun);

/* Extend one lease by `lease_ms` from now, beyond what the background thread does by itself. */
EVERDUE_API void everdue_worker_touch(struct everdue_worker *worker,
                                      const struct everdue_task *task, uint32_t lease_ms);

/* Take no more work: credit 0, tasks that have not begun are given back. Safe to call from any
 * thread, not from a signal handler. */
EVERDUE_API void everdue_worker_stop(struct everdue_worker *worker, const char *reason);
EVERDUE_API bool everdue_worker_stopping(struct everdue_worker *worker);

/* Why it stops: 0 while it does not or after everdue_worker_stop, STATUS interrupted after a result
 * with `stop`, no-next for the handler's mistake. `reason` (may be NULL): the text, "" while it
 * does not stop, borrowed until the worker is destroyed. */
EVERDUE_API int everdue_worker_stop_status(struct everdue_worker *worker, const char **reason);

struct everdue_worker_counts {
    uint64_t received;     /* tasks */
    uint64_t reported;     /* handed to everdue_worker_report */
    uint64_t acknowledged; /* answered ok */
    uint64_t refused;      /* answered stale or gone */
    uint64_t outbox;       /* reported, not answered yet */
    bool connected;
};
EVERDUE_API void everdue_worker_counts(struct everdue_worker *worker,
                                       struct everdue_worker_counts *counts);

/* --- the simple way --------------------------------------------------------------------------- */

typedef void everdue_handler(const struct everdue_task *task, struct everdue_result *result,
                             void *user);

/* Several tasks at once: as many as are there, at most `max_batch` given to
 * everdue_worker_run_batch. */
typedef void everdue_batch_handler(const struct everdue_task *const *tasks,
                                   struct everdue_result *results, size_t count, void *user);

/* Run until everdue_worker_stop, a result with `stop`, or a handler's mistake. Returns 0, or a
 * sysexits code: 69 no broker was ever reached and the library gave up (never by itself), 78 the
 * handler's mistake or a `stop`. */
EVERDUE_API int everdue_worker_run(const struct everdue_worker_options *options,
                                   everdue_handler *handler, void *user);
EVERDUE_API int everdue_worker_run_batch(const struct everdue_worker_options *options,
                                         everdue_batch_handler *handler, size_t max_batch,
                                         void *user);

/* --- plugins ---------------------------------------------------------------------------------- */

/* A plugin for `everdue-worker --plugin FILE.so` is a shared object that defines everdue_handle or
 * everdue_handle_batch, and optionally the others. Bytes in a result must live until the next call
 * of the handler. */
EVERDUE_API void everdue_handle(const struct everdue_task *task, struct everdue_result *result,
                                void *user);
EVERDUE_API void everdue_handle_batch(const struct everdue_task *const *tasks,
                                      struct everdue_result *results, size_t count, void *user);

/* Called once, before the first task, in the process that will handle them. The arguments are as
 * main() gets them: argv[0] is the plugin's file, then what stands behind `--`; a plugin without
 * this function refuses arguments. `*user` is handed to the others. Returns 0; after anything else
 * the worker exits with 78, so say why on stderr. */
EVERDUE_API int everdue_plugin_open(int argc, char **argv, void **user);

/* Called once, after the last task. */
EVERDUE_API void everdue_plugin_close(void *user);

#ifdef __cplusplus
}
#endif

#endif
