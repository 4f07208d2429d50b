/* mailbox.h - between the caller's thread, which handles tasks, and the agent's, which speaks with
 * the broker: leases go both ways in chains of any length, under one lock each time.
 *
 * Each side has an eventfd that becomes readable when something is there for it. It is written once
 * until the other side has emptied the box, not for every lease. While the caller's thread is the
 * agent's, too (duty.h), nobody needs to be woken, and the box is only passed through.
 */
#ifndef EVERDUE_WORKER_MAILBOX_H
#define EVERDUE_WORKER_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "everdue/worker.h"
#include "lease.h"
#include "session.h"

/* How long the agent waits at most after it was sent leases. */
enum { MAILBOX_LOOK_MS = 1 };

/* What the caller wants of the agent. */
struct mailbox_orders {
    struct lease_chain leases;   /* sent back */
    struct touch_order *touches; /* owned by who collects */
    uint32_t touch_count;
    bool stop;
    enum status stop_status;
    char stop_reason[SESSION_TEXT_BYTES];
    bool leave;
    uint32_t leave_ms; /* how long to wait for what is unanswered */
};

struct touch_order {
    uint64_t lease;
    uint32_t lease_ms;
};

/* What the agent tells the caller. */
struct mailbox_news {
    struct lease_chain arrived;
    struct everdue_worker_counts counts;
    uint32_t payload_bytes_max;
    bool stopping;
    enum status stop_status;
    const char *stop_reason;
    bool caller_looks; /* by itself, at once: it need not be woken */
};

struct mailbox {
    pthread_mutex_t lock;
    int agent_fd;
    int caller_fd;
    bool agent_woken;
    bool agent_looks; /* by itself, within MAILBOX_LOOK_MS */
    bool caller_woken;
    bool has_news; /* for the caller, since it looked */
    uint32_t touch_room;
    struct mailbox_orders orders;
    struct lease_chain arrived;
    struct everdue_worker_counts counts;
    _Atomic uint32_t payload_bytes_max;
    atomic_bool stopping;
    enum status stop_status;
    char stop_reason[SESSION_TEXT_BYTES];
};

/* False: no file descriptors. */
bool mailbox_init(struct mailbox *mailbox);
void mailbox_release(struct mailbox *mailbox);

/* --- the caller's side ------------------------------------------------------------------------ */

/* Hand over all of `leases`, which is empty then. */
void mailbox_send(struct mailbox *mailbox, struct lease_chain *leases);
/* The same while more is about to follow: the other side is not woken for each, but looks by itself
 * within MAILBOX_LOOK_MS. */
void mailbox_send_soon(struct mailbox *mailbox, struct lease_chain *leases);
/* The same while the caller's thread is the agent's: nobody is woken. Returns how many wait now. */
size_t mailbox_put(struct mailbox *mailbox, struct lease_chain *leases);
/* Append what has arrived. Nothing there: caller_fd is not readable any more. */
void mailbox_receive(struct mailbox *mailbox, struct lease_chain *leases);
/* Whether tasks, or the stop, came since this or mailbox_receive was called. */
bool mailbox_take_news(struct mailbox *mailbox);
/* From now on the caller looks at caller_fd only. */
void mailbox_show(struct mailbox *mailbox);
void mailbox_wake_agent(struct mailbox *mailbox);
/* False: no memory. */
bool mailbox_touch(struct mailbox *mailbox, uint64_t lease, uint32_t lease_ms);
/* From any thread. */
void mailbox_stop(struct mailbox *mailbox, enum status status, const char *reason);
bool mailbox_is_stopping(struct mailbox *mailbox);
enum status mailbox_stop_status(struct mailbox *mailbox, const char **reason);
void mailbox_leave(struct mailbox *mailbox, uint32_t leave_ms);
void mailbox_counts(struct mailbox *mailbox, struct everdue_worker_counts *counts);

/* --- the agent's side ------------------------------------------------------------------------- */

/* All orders since; touches are to be freed. When there are leases among them, it is to be called
 * again within MAILBOX_LOOK_MS. */
void mailbox_collect(struct mailbox *mailbox, struct mailbox_orders *orders);
void mailbox_deliver(struct mailbox *mailbox, const struct mailbox_news *news);

#endif
