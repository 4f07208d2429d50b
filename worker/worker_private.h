/* worker_private.h - what worker.c and run.c share: the caller's side of a worker. */
#ifndef EVERDUE_WORKER_PRIVATE_H
#define EVERDUE_WORKER_PRIVATE_H

#include "agent.h"
#include "everdue/worker.h"
#include "mailbox.h"

struct everdue_worker {
    struct mailbox mailbox;
    struct agent *agent;
    struct lease_chain inbox;    /* arrived, not begun */
    struct lease_chain outgoing; /* ended here, not handed over yet */
    struct report_sheet *sheet;  /* the reports in `outgoing` */
    int64_t every_us;
    uint32_t stop_timeout_ms;
    bool is_polled; /* the caller waits for the descriptor, in its own way */

    /* copies of the options */
    char *endpoint;
    char *name;
    char **queues; /* NULL-terminated */
    char *curve_server_key;
    char *curve_key_file;
};

/* The next task, begun at `mono_us`, or NULL. Does not wait. */
struct lease *worker_take(struct everdue_worker *worker, int64_t mono_us);

/* Like everdue_worker_report, but the report may stay here until worker_flush. */
enum status worker_report(struct everdue_worker *worker, struct lease *lease,
                          const struct everdue_result *result, int64_t mono_us);
void worker_flush(struct everdue_worker *worker);

/* everdue_worker_destroy with another time for what is unanswered. */
void worker_close(struct everdue_worker **worker, uint32_t wait_ms);

#endif
