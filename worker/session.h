/* session.h - the worker's half of the protocol: events in, effects out.
 *
 * Pure: no clock, socket, thread or log. Time comes in with the events that need it; what is to be
 * done is asked for after them: frames to send, tasks that arrived, whether to open the link again.
 * docs/protocol.md, sections 3 to 7, is what it does.
 *
 *             session_opened          WELCOME                  left: ANSWER to GOODBYE
 *   CLOSED ------------------> GREETING ------------> LIVE ------------------------> ENDED
 *     ^                           |                     |                              ^
 *     +---------------------------+---------------------+------------------------------+
 *       the link broke, no WELCOME, silence, no-session,     left with nothing in hand
 *       BYE: back-off, then session_wants_reopen
 *
 * What it promises: a report is kept until it is answered, and sent again after a reconnect, after
 * `busy` and the like, or when its answer was lost; leases that are held or whose report is not
 * answered are announced before that; those that are held are touched until the run has lasted
 * `timeout_us`; with another store than before all is dropped. While nothing happens it wants to be
 * woken once a heartbeat and no more: a broker that was started anew is noticed by the link. Where
 * the credit follows the pace of the handlers (pace.h), what is held beyond it is given back.
 */
#ifndef EVERDUE_WORKER_SESSION_H
#define EVERDUE_WORKER_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "lease.h"
#include "bounds.h"
#include "moment.h"
#include "status.h"

struct session;

struct session_options {
    uint8_t uid[SESSION_UID_BYTES];
    struct bytes name;         /* borrowed until session_destroy, like the queues */
    const char *const *queues; /* queue_count of them, at most SESSION_QUEUES_MAX */
    uint32_t queue_count;
    uint32_t credit;
    uint32_t credit_most;  /* more than `credit`: pace.h moves it between the two */
    uint32_t lease_ms;     /* 0: the broker's default */
    uint32_t heartbeat_ms; /* 0: the broker's default */
    int64_t timeout_us;    /* of a run: its lease is touched no longer */
};

enum session_state {
    SESSION_CLOSED,   /* waits before it wants another link */
    SESSION_GREETING, /* HELLO is on its way */
    SESSION_LIVE,
    SESSION_ENDED, /* has left; nothing happens any more */
};

enum { SESSION_TEXT_BYTES = 256 };

/* NULL: no memory. */
struct session *session_new(const struct session_options *options);
/* Frees every lease, those at the caller too. */
void session_destroy(struct session **session);

/* --- events: from the link -------------------------------------------------------------------- */

/* The link is open: for the first time, or because session_wants_reopen. */
void session_opened(struct session *session, struct moment now);
/* It could not be opened; it is wanted again a second later. */
void session_open_failed(struct session *session, struct moment now);
/* Its connection broke; all that had come over it has been received. */
void session_link_broke(struct session *session, struct moment now);
/* The bytes are borrowed during the call. */
void session_receive(struct session *session, const uint8_t *data, size_t count, struct moment now);
/* After what has arrived has been received. */
void session_pass(struct session *session, struct moment now);

/* --- events: from the caller ------------------------------------------------------------------ */

/* The caller is done with this lease: `mail` says how. Taken: it may be freed. */
void session_mail(struct session *session, struct lease *lease);
/* Extend one lease by `lease_ms` from now. Its latest touch counts; a lease that has ended is
 * passed over. False: no memory, nothing is sent. */
bool session_touch(struct session *session, uint64_t lease, uint32_t lease_ms);
void session_set_credit(struct session *session, uint32_t credit);
/* No more work: what has not begun is given back. `status` and `reason` are kept for
 * session_stop_status; the first stop counts. */
void session_stop(struct session *session, enum status status, struct bytes reason);
/* Stop, and when nothing is left to be answered say goodbye; ENDED then. */
void session_leave(struct session *session);

/* --- effects ---------------------------------------------------------------------------------- */

/* The next frame to send, borrowed until the next call of this; it counts as sent. False: none now.
 */
bool session_next_frame(struct session *session, struct moment now, struct bytes *frame);
/* The tasks that arrived since, chained in order. */
struct lease_chain session_take_arrived(struct session *session);
/* Open the link again (link_reopen), then call session_opened. Asked once. */
bool session_wants_reopen(struct session *session);
/* When session_pass wants to be called at the latest, monotonic. */
int64_t session_wait_until(const struct session *session);

/* --- looking ---------------------------------------------------------------------------------- */

enum session_state session_state(const struct session *session);

struct session_counts {
    uint64_t received; /* tasks */
    uint64_t reported;
    uint64_t acknowledged; /* answered ok */
    uint64_t refused;      /* answered otherwise, for good */
    uint64_t outbox;       /* reported, not answered yet */
    uint64_t repeated;     /* reports that were sent again */
    uint64_t dropped;      /* leases and reports given up because the store is another */
    uint64_t malformed;    /* messages and items that were no such thing */
    uint64_t welcomes;
};
const struct session_counts *session_counts(const struct session *session);

/* Whether it takes no more work; then status and reason, borrowed. NO_NEXT: the handler's mistake.
 */
bool session_is_stopping(const struct session *session);
enum status session_stop_status(const struct session *session, const char **reason);

/* The limit of payload and memo that the broker named last. */
uint32_t session_payload_bytes_max(const struct session *session);

/* Why the broker refused us last, since the last call: OK when it did not. `text` is borrowed. */
enum status session_take_refusal(struct session *session, const char **text);

#endif
