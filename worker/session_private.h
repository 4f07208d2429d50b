/* session_private.h - what the session's own files share; nobody else includes it.
 *
 *   session.c          life: new, opened, broken, stopped, left; looking
 *   session_mail.c     what the caller sends back, and how leases end
 *   session_receive.c  frames in
 *   session_send.c     frames out
 *   session_time.c     what is due
 */
#ifndef EVERDUE_WORKER_SESSION_PRIVATE_H
#define EVERDUE_WORKER_SESSION_PRIVATE_H

#include "inflight.h"
#include "lease.h"
#include "message.h"
#include "pace.h"
#include "session.h"

enum {
    PONGS_MAX = 16,               /* pings answered in one turn; more are a mistake of the peer */
    TOUCH_WISHES_MAX = ITEMS_MAX, /* by the caller, not sent yet */
};

enum {
    SESSION_BACKOFF_FIRST_US = 100 * US_PER_MS,
    SESSION_GREETING_FIRST_US = 2 * US_PER_S, /* libzmq connects by itself meanwhile */
    SESSION_LATER_US = US_PER_S, /* how long a request waits after `busy` and the like */
};

/* A RESUME message, made together with the HELLO that says how many leases are to come. */
struct announcement {
    struct announcement *next;
    struct wire_buffer frame;
    size_t array; /* where its items are counted */
    struct request *request;
};

struct touch_wish {
    uint64_t lease;
    uint32_t lease_ms;
};

struct session {
    struct session_options options;
    enum session_state state;

    /* what the broker said */
    bool has_store;
    uint8_t store_id[STORE_ID_BYTES];
    int64_t lease_us;
    int64_t heartbeat_us;
    uint32_t payload_bytes_max;

    /* what is to be said */
    bool hello_sent;
    bool announced_some; /* by this connection's HELLO */
    bool credit_changed;
    bool ping_wanted;
    uint64_t pongs[PONGS_MAX];
    uint32_t pong_count;
    struct announcement *announcements;
    struct touch_wish *wishes;
    uint32_t wish_count;
    uint32_t wish_room;
    struct wire_buffer frame;
    uint64_t last_id;
    uint64_t hello_id;
    uint64_t goodbye_id; /* 0: not sent */

    /* times, all monotonic */
    int64_t opened_us;
    int64_t heard_us;
    int64_t pinged_us;
    int64_t passed_us;
    int64_t reopen_us;
    int64_t touch_us; /* the earliest touch that is due */
    int64_t backoff_us;
    int64_t greeting_us; /* how long to wait for WELCOME */
    bool reopen;

    /* leases */
    struct lease_blocks blocks;
    struct lease_table table;
    struct lease_chain arrived;
    struct lease_list held;
    struct lease_list cancelled;
    struct lease_list ready;
    struct lease_list later;
    struct lease_list returning;
    struct inflight inflight;

    struct pace pace;
    uint32_t credit;
    bool stopping;
    bool leaving;
    enum status stop_status;
    char stop_reason[SESSION_TEXT_BYTES];

    enum status refusal;
    char refusal_text[SESSION_TEXT_BYTES];
    struct session_counts counts;
};

/* Backs off, then wants the link opened again. What was sent and not answered, or was to be sent
 * later, is to be sent again. */
void session_break(struct session *session, struct moment now);
/* The same without back-off. */
void session_break_at_once(struct session *session, struct moment now);
/* Another store: leases, reports and what was to be announced mean nothing there. */
void session_drop_all(struct session *session);
/* Copies what the broker said; absent text: that of the status. */
void session_note_refusal(struct session *session, enum status status, struct bytes text);

/* The broker says that this held lease has ended. */
void session_cancel(struct session *session, struct lease *lease);
/* The answer to one report. */
void session_settle_report(struct session *session, struct lease *lease, enum status status,
                           struct moment now);
/* Whether it is a report of ours, not a lease that the caller still has. */
bool session_is_report(const struct lease *lease);
/* It is over: out of all lists, and freed unless the caller has it. */
void session_end_lease(struct session *session, struct lease *lease);
/* An unanswered request's items go back to where they were; the request is freed. */
void session_requeue(struct session *session, struct request *request);
void session_drop_announcements(struct session *session);
/* A report, or one to be given back, that waits in `later`: to be sent now. */
void session_resend(struct session *session, struct lease *lease);

/* A lease that is not announced counts as given back, uncounted. So while there is no connection,
 * and no announcement made for the next one, those that are to be given back so need no message. */
void session_forget_unbegun(struct session *session);

/* Give back this lease unless its run has begun. False: it has. */
bool session_take_back(struct session *session, struct lease *lease);

/* Whether nothing is left that the broker has to answer. */
bool session_has_settled(const struct session *session);

#endif
