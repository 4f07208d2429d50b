/* handler.h - what the three kinds of handlers share: where tasks come from, and how it all stops.
 *
 *                SIGTERM, a fault              deadline, second SIGTERM
 *   RUNNING ----------------------> DRAINING --------------------------> OVER
 *   takes tasks                     finishes what has begun              gives the rest back
 *
 * One handler a process, one thread. A kind (handler_exec, handler_pipe) owns a loop around
 * handler_wait and adds its own file descriptors to `epoll_fd`; handler_plugin has no loop of
 * descriptors, since its work happens in the caller's thread.
 */
#ifndef EVERDUE_WORKER_HANDLER_H
#define EVERDUE_WORKER_HANDLER_H

#include "options.h"

#include <everdue/worker.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* A task in hand, with the broker's session that it came from. */
struct claim {
    struct everdue_worker *worker;
    const struct everdue_task *task;
};

enum handler_phase { HANDLER_RUNNING, HANDLER_DRAINING, HANDLER_OVER };

enum { HANDLER_EVENTS_MAX = 64, HANDLER_BATCH_MAX = 256 };

/* What an event's data.u64 is; kinds number their own from HANDLER_EVENT_OWN. */
enum { HANDLER_EVENT_TASKS, HANDLER_EVENT_SIGNAL, HANDLER_EVENT_OWN };

struct handler {
    const struct options *options;
    struct everdue_worker *workers[BROKERS_MAX];
    size_t worker_count;
    size_t worker_next; /* whose turn it is */
    int epoll_fd;
    int signal_fd;
    bool wants_tasks;
    bool child_ended;       /* SIGCHLD came; the kind resets it */
    atomic_bool stop_asked; /* sessions were told to stop: not by themselves */
    enum handler_phase phase;
    int64_t over_mono_us; /* when DRAINING ends */
    int exit_code;
};

/* Block signals, open the sessions. Returns 0, or an exit code after having said why. On error
 * there is nothing to release. */
int handler_init(struct handler *handler, const struct options *options);
void handler_release(struct handler *handler);

/* --- the kinds: each runs until all is over and returns the exit code ---------------------------
 */

int handler_exec_run(struct handler *handler);
int handler_pipe_run(struct handler *handler);
int handler_plugin_run(struct handler *handler);

/* --- for the kinds ---------------------------------------------------------------------------- */

/* Open the sessions, once all is ready for tasks. False: exit_code is set, it was said why. */
bool handler_connect(struct handler *handler);

/* The next task, in turn from each broker; its run begins. False: there is none. */
bool handler_next(struct handler *handler, struct claim *claim);

/* Whether to be woken by tasks: not while there is no place for them. */
void handler_want_tasks(struct handler *handler, bool wants);

/* Wait for events, at most until `until_mono_us` and a minute at most. Takes signals and the end of
 * DRAINING; the kind's own events are in `events`, their number is returned. */
int handler_wait(struct handler *handler, int64_t until_mono_us,
                 struct epoll_event events[HANDLER_EVENTS_MAX]);

/* Be woken when `fd` is ready; `id` is at least HANDLER_EVENT_OWN. */
bool handler_watch(struct handler *handler, int fd, uint32_t events, uint64_t id);

/* The same for several tasks at once, all of one broker. */
size_t handler_next_batch(struct handler *handler, struct everdue_worker **worker,
                          const struct everdue_task **tasks, size_t max);
void handler_report_batch(struct handler *handler, struct everdue_worker *worker,
                          const struct everdue_task *const *tasks,
                          const struct everdue_result *results, size_t count);

/* Report; the claim ends. A result that stops, or has no next time, becomes a fault. */
void handler_report(struct handler *handler, struct claim *claim,
                    const struct everdue_result *result);

void handler_give_back(struct handler *handler, struct claim *claim, bool begun);

/* Take no more tasks; finish what has begun. */
void handler_stop(struct handler *handler, const char *reason);

/* It is this worker's fault, not a record's: stop with this exit code (the first one counts) and
 * say why. 78 stops all processes, any other one only this. `key` may be empty. */
void handler_fault(struct handler *handler, int exit_code, const char *what,
                   struct everdue_bytes key);

#endif
