/* lease.h - the tasks in a worker's hands: where each one is, and in whose memory it lives.
 *
 * A TASKS message becomes one block: an array of leases and a copy of the message, from which their
 * keys and payloads are borrowed. The block is freed with the last of its leases, so that a task
 * costs no allocation of its own.
 *
 *              arrives                  reported                   sent
 *     o ------------------> HELD ---------------------> READY <-----------> SENT ----> (answered)
 *                           | |                           ^   answer lost    |
 *          broker: ended    | |   given back              +------ LATER <----+ busy
 *   CANCELLED <-------------+ +-----------------> RETURNING <-----------> SENT ----> (answered)
 *
 * Two threads know a lease: the session's and the caller's (who handles tasks). The caller reads
 * `task`, claims the run with lease_begin, and fills in the mail; all else belongs to the session.
 * The memory is the session's to free, once the caller has sent the lease back.
 */
#ifndef EVERDUE_WORKER_LEASE_H
#define EVERDUE_WORKER_LEASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "everdue/worker.h"
#include "wire.h"

/* Reports that were made together, encoded one after the other. Freed with the last of them. */
struct report_sheet {
    struct wire_buffer bytes;
    uint32_t reports; /* that have not ended */
};

/* NULL: no memory. */
struct report_sheet *report_sheet_new(void);
/* One report of the sheet has ended. NULL is allowed. */
void report_sheet_drop(struct report_sheet *sheet);

enum lease_place {
    LEASE_NOWHERE,   /* ended for the session; the memory waits for the caller */
    LEASE_HELD,      /* waits for its run, or runs: touched and announced */
    LEASE_CANCELLED, /* runs, but the broker said that it has ended */
    LEASE_READY,     /* reported, to be sent */
    LEASE_LATER,     /* answered busy, to be sent again a little later */
    LEASE_RETURNING, /* to be given back */
    LEASE_SENT,      /* in a request that waits for its answer */
};

/* What the caller says of a lease that it sends back. */
enum lease_mail {
    LEASE_MAIL_SKIPPED, /* its run never began */
    LEASE_MAIL_REPORT,  /* report_* is filled in */
    LEASE_MAIL_UNBEGUN, /* given back, not counted */
    LEASE_MAIL_BEGUN,   /* given back as a crash */
};

struct lease_list;
struct lease_block;

struct lease {
    struct everdue_task task; /* first: the caller's pointer is this one */
    struct lease *mail_next;  /* in a chain between the threads */

    /* Monotonic; 0: not begun, LEASE_REVOKED: it must not begin any more. */
    _Atomic int64_t begun_us;
    /* Monotonic end as far as the session knows; 0: the broker said that it has ended. */
    _Atomic int64_t ends_us;
    int64_t arrived_us; /* monotonic; constant */

    /* The mail: the caller's until the lease is handed over. */
    enum lease_mail mail;
    struct report_sheet *sheet;
    size_t report_offset;
    uint32_t report_bytes;

    /* The session's. */
    enum lease_place place;
    bool at_caller;
    bool give_back_begun;
    bool replaced;  /* its report was refused; this is a second one that says so */
    bool announced; /* to the broker of this connection, which has not answered yet */
    uint32_t queue;
    uint32_t lease_ms;
    int64_t due_us; /* monotonic: next touch while held, next sending while LATER */
    struct lease_list *list;
    struct lease *next;
    struct lease *previous;
    struct lease *table_next;
    struct lease_block *block;
};

#define LEASE_REVOKED ((int64_t)-1)

/* The caller's claim: false when the lease was revoked, so that the run must not begin. */
bool lease_begin(struct lease *lease, int64_t mono_us);

/* The session's claim against it: false when the run has begun. */
bool lease_revoke(struct lease *lease);

/* --- lists ------------------------------------------------------------------------------------ */

struct lease_list {
    struct lease *first;
    struct lease *last;
    size_t count;
};

/* Take it out of its list, if it is in one, and put it at the end of this one. */
void lease_list_append(struct lease_list *list, struct lease *lease, enum lease_place place);
/* The same, before all others. */
void lease_list_prepend(struct lease_list *list, struct lease *lease, enum lease_place place);
/* Take it out of its list, if it is in one: NOWHERE. */
void lease_list_remove(struct lease *lease);

/* A chain through mail_next: how leases change threads, any number of them in O(1). */
struct lease_chain {
    struct lease *first;
    struct lease *last;
    size_t count;
};

void lease_chain_append(struct lease_chain *chain, struct lease *lease);
/* Append all of `more`, which is empty then. */
void lease_chain_splice(struct lease_chain *chain, struct lease_chain *more);
/* The first, taken out, or NULL. */
struct lease *lease_chain_take(struct lease_chain *chain);

/* --- the table of held leases by number --------------------------------------------------------
 */

struct lease_table {
    struct lease **heads;
    uint64_t mask; /* numbers come in sequence, so their low bits spread best */
};

/* False: no memory. */
bool lease_table_init(struct lease_table *table, uint32_t leases);
void lease_table_release(struct lease_table *table);
void lease_table_put(struct lease_table *table, struct lease *lease);
struct lease *lease_table_find(const struct lease_table *table, uint64_t number);
/* A lease that is not in the table is passed over. */
void lease_table_remove(struct lease_table *table, struct lease *lease);

/* --- blocks ----------------------------------------------------------------------------------- */

struct lease_block {
    struct lease_block *next;
    struct lease_block *previous;
    uint32_t live; /* leases whose memory is still wanted */
    uint32_t count;
    struct lease leases[];
};

struct lease_source {
    const char *const *queues; /* borrowed as long as the tasks live */
    uint32_t queue_count;
    int64_t mono_us; /* of the arrival */
};

/* Reads the array of tasks at which the reader stands. MALFORMED, also for a queue that is not
 * ours; NO_MEMORY. Every lease is NOWHERE. */
enum status lease_block_read(struct lease_block **block, struct wire_reader *reader,
                             const struct lease_source *source);

/* All blocks that live. */
struct lease_blocks {
    struct lease_block *first;
};
void lease_blocks_put(struct lease_blocks *blocks, struct lease_block *block);
/* One of the block's `live` is not wanted any more; with the last the block is freed. */
void lease_blocks_let_go(struct lease_blocks *blocks, struct lease_block *block);
/* The memory of this lease is not wanted any more. */
void lease_blocks_drop(struct lease_blocks *blocks, struct lease *lease);
void lease_blocks_release(struct lease_blocks *blocks);

#endif
