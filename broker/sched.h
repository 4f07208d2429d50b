/* sched.h - the core: records, leases, sessions and queues as one pure state machine.
 *
 * Events in, effects out. Nothing here reads a clock, a socket, a file or a random number; time
 * comes with every event. Same events, same effects, in every run.
 *
 *          put / sync                       due has come                worker has credit
 *   o -------------------> WAITING ----------------------> READY ----------------------> LEASED
 *                             ^                               ^                             |
 *                             |   report ok (next due)        |  lease lost                 |
 *                             +-------------------------------+-----------------------------+
 *                             |   report retry (back-off)                                   |
 *                             |                                      too many, report park  |
 *                             +------------ kick ------------- PARKED <---------------------+
 *                                                              (removed) <------------------+
 * report remove, once
 *
 * A turn of the caller: sched_step for each input, then EVENT_TIME, then sched_seal when the store
 * can take a batch, EVENT_DURABLE when one is on disk, then EVENT_GRANT; then the effects are
 * carried out. A record is granted only from a durable state: what is sealed and not yet durable
 * waits.
 *
 * The numbers rule (docs/architecture.md): one counter draws lease and state numbers. A report is
 * accepted if its state number is the record's and its lease is the highest delivered for it in
 * this run, or there was none; it then sets the state number to its lease. One whose lease is the
 * record's state number was accepted before.
 */
#ifndef EVERDUE_SCHED_H
#define EVERDUE_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "message.h"
#include "moment.h"
#include "status.h"
#include "store.h"

/* --- settings --------------------------------------------------------------------------------- */

struct sched_limits {
    uint64_t records_max;
    uint64_t bytes_max; /* of bodies */
    uint32_t payload_bytes_max;
    uint32_t queues_max;
    uint32_t sessions_max;
    uint32_t credit_max;
    uint32_t backlog_max; /* records changed and not yet durable; over it puts are BUSY */
};

/* Retry and parking, one for each queue. */
struct sched_policy {
    uint32_t failures_max;
    uint32_t crashes_max;
    int64_t backoff_first_us;
    int64_t backoff_max_us;          /* or the record's every, if that is longer */
    uint32_t parks_per_minute_least; /* by count: never more than this ... */
    uint32_t parks_per_minute_ppm;   /* ... or this share of the queue, whichever is more */
};

struct sched_settings {
    struct sched_limits limits;
    struct sched_policy policy; /* of queues that sched_set_policy does not name */
    int64_t lease_us;           /* of sessions that name none */
    int64_t heartbeat_us;
    /* After a restart: how long known sessions may take to come back. After a hello, a second at
     * least: how long its leases may take to be announced. */
    int64_t grace_us;
    int64_t sync_idle_us; /* a full set of which no line comes for so long is given up */
    /* A session that let three leases run out within this time is suspect: it is streamed one
     * record at a time, whatever its credit, until the first of them is so long ago. 0: never. */
    int64_t suspect_us;
};

/* The defaults of design and documentation. */
void sched_settings_init(struct sched_settings *settings);

/* --- events ----------------------------------------------------------------------------------- */

enum event_kind {
    EVENT_TIME,     /* let time pass: leases and sessions end, what is due becomes ready */
    EVENT_GRANT,    /* hand out what is ready */
    EVENT_WORK,     /* a slice of long work (sync, kick of all, end of the grace) */
    EVENT_DURABLE,  /* the batch sealed last is on disk (or acknowledged, under a weaker policy) */
    EVENT_RESERVED, /* numbers below `number` are reserved durably */
    EVENT_HELLO,    /* `session` begins; queues, uid and so on in `hello` */
    EVENT_SEEN,     /* something came from the session */
    EVENT_CREDIT,
    EVENT_TAKE,
    EVENT_REPORT,
    EVENT_TOUCH,
    EVENT_GIVE_BACK,
    EVENT_RESUME,
    EVENT_GOODBYE,     /* the session ends in order: what it holds is given back uncounted */
    EVENT_DISCONNECT,  /* its connection broke: `wait_us` to come back, then it is lost */
    EVENT_UNDELIVERED, /* tasks that could not be sent: un-leased, un-counted */
    EVENT_PUT,
    EVENT_REMOVE,
    EVENT_RUN_NOW,
    EVENT_KICK,
    EVENT_KICK_ALL,
    EVENT_PAUSE,
    EVENT_UNPAUSE,
    EVENT_DRAIN,
    EVENT_UNDRAIN,
    EVENT_SYNC_BEGIN,
    EVENT_SYNC_ITEM,
    EVENT_SYNC_COMMIT,
    EVENT_SYNC_ABORT,
};
enum { EVENT_COUNT = EVENT_SYNC_ABORT + 1 };

struct event {
    enum event_kind kind;
    struct moment now;
    uint32_t session; /* drawn by the caller: below sessions_max, its own while it lives */
    uint64_t request; /* of deferred answers: TAKE, KICK_ALL, DRAIN, SYNC_COMMIT */
    union {
        int64_t stalled_us; /* TIME: how much later than planned the caller woke */
        uint32_t budget;    /* WORK: items at most */
        uint64_t number;    /* RESERVED; UNDELIVERED: the lease */
        const struct hello *hello;
        uint32_t credit;
        const struct take *take;
        const struct report *report;
        struct {
            const struct lease_name *name;
            uint32_t lease_ms;
        } touch;
        const struct give_back *give_back;
        const struct resume *resume;
        int64_t wait_us; /* DISCONNECT; DRAIN */
        struct {
            struct bytes queue;
            const struct put *put;
        } put;
        struct {
            struct bytes queue;
            struct bytes key; /* REMOVE, RUN_NOW, KICK */
        } key;                /* PAUSE, UNPAUSE, KICK_ALL: `queue` only */
        const struct sync_begin *sync_begin;
        struct {
            uint64_t generation;
            const struct put *put;
        } sync_item; /* SYNC_ABORT: `generation` only */
        struct {
            const struct sync_commit *commit;
            uint64_t count; /* as the caller counted and summed what came */
            uint32_t checksum;
        } sync_commit;
    };
};

/* --- effects ---------------------------------------------------------------------------------- */

enum effect_kind {
    EFFECT_TASK,       /* send a task: `record`, `number` (lease), `request` (0: streamed) */
    EFFECT_TAKEN,      /* a take is over: `count` tasks of this request came before in this list */
    EFFECT_CANCEL,     /* tell the session that lease `number` has ended otherwise */
    EFFECT_PING,       /* nothing was heard of the session for a heartbeat */
    EFFECT_LOST,       /* the session ended without goodbye: drop its connection */
    EFFECT_KICKED,     /* answer KICK_ALL: `count` */
    EFFECT_DRAINED,    /* answer DRAIN: `status` */
    EFFECT_SYNC_DONE,  /* answer SYNC_COMMIT: `status`, counts by sched_sync_counts(`number`) */
    EFFECT_SYNC_BEGUN, /* answer SYNC_BEGIN: `number` is the generation */
    EFFECT_SYNC_IDLE,  /* the full set `number` of the queue at place `record` was given up */
};
enum { EFFECT_COUNT = EFFECT_SYNC_IDLE + 1 };

struct effect {
    enum effect_kind kind;
    enum status status;
    uint32_t session;
    uint32_t record;
    uint64_t request;
    uint64_t number;
    uint64_t count;
};

struct effects {
    struct effect *list;
    size_t count;
    size_t room;
};

void effects_init(struct effects *effects);
void effects_release(struct effects *effects);

/* --- the machine ------------------------------------------------------------------------------ */

struct sched;

/* NULL when memory is out. */
struct sched *sched_new(const struct sched_settings *settings);
void sched_destroy(struct sched **sched);

/* Settings that can change while it runs. Lower limits hold for what comes. */
void sched_set_settings(struct sched *sched, const struct sched_settings *settings);

/* BAD_FIELD: no queue name. The queue is made when it is not there. */
enum status sched_set_policy(struct sched *sched, struct bytes queue,
                             const struct sched_policy *policy);

/* One event. Returns the status that its item is answered with; effects are appended. On an error
 * status nothing was changed. Cost O(log n), but for WORK, TIME and GRANT, which are bounded: a
 * budget, 4,096 records that come due, the credit that is free. */
enum status sched_step(struct sched *sched, const struct event *event, struct effects *effects);

/* When EVENT_TIME is due next: by the wall clock (a record comes due) and by the monotonic one (a
 * lease, session, take or grace ends, work goes on). TIME_US_NEVER: nothing is. 0: at once. */
int64_t sched_next_wall_us(const struct sched *sched);
/* Whether it is certain, as of the last EVENT_GRANT, that what comes due could be handed to nobody.
 * O(queues). */
bool sched_is_saturated(const struct sched *sched);
/* Records that are out, or held for who had them before a restart. O(queues). */
uint64_t sched_leased(const struct sched *sched);
int64_t sched_next_mono_us(const struct sched *sched);

/* Whether EVENT_WORK has something to do. Not while numbers or memory are out: then EVENT_TIME, or
 * new numbers, bring it back. */
bool sched_has_work(const struct sched *sched);
/* Whether long work has changed so much that it waits until the next batch is sealed. */
bool sched_waits_for_seal(const struct sched *sched);

/* Whether there is anything to seal. */
bool sched_is_dirty(const struct sched *sched);

/* Copy all that changed since the last seal into `batch`: states, bodies, rows. To be called when
 * no sealed batch is on its way. NO_MEMORY: nothing was sealed, the batch is to be cleared. */
enum status sched_seal(struct sched *sched, struct store_batch *batch);

/* Nothing happens for a while: room that a burst took goes back. */
void sched_rest(struct sched *sched);

/* The end of the block of numbers that should be reserved durably now, 0: enough is left. The
 * sealed batch carries it; EVENT_RESERVED follows when it is durable. */
uint64_t sched_reserve_wanted(const struct sched *sched);

/* --- loading ---------------------------------------------------------------------------------- */

/* In the order of store_visitor, before the first event, then sched_load_end. CORRUPT when
 * something is not as sched_seal writes it. */
enum status sched_load_row(struct sched *sched, const struct store_row *row, const uint8_t *bytes);
enum status sched_load_record(struct sched *sched, const struct store_state *state,
                              const uint8_t *body, uint32_t count);

/* Everything is there. Records that were due before `now` are held back while known sessions come
 * back, if there are any; all others go on. */
enum status sched_load_end(struct sched *sched, struct moment now);

/* --- looking ---------------------------------------------------------------------------------- */

/* These leases are about to be stepped, in this order, and `at` is next, a multiple of FETCH_MAX:
 * what so many of them need of memory is asked for now, all of it together, instead of waited for
 * one by one; and what leads there for those behind them. `slots` has room for as many, for what
 * is learned on the way to the next call. Changes nothing. */
enum { FETCH_MAX = 32 };
void sched_fetch_leases(const struct sched *sched, const uint64_t *numbers, uint32_t *slots,
                        uint32_t count, uint32_t at);

/* The same for tasks that are about to be viewed, with other effects among them. */
void sched_fetch_tasks(const struct sched *sched, const struct effects *effects, size_t at);

/* The same for the keys of the next events, FETCH_MAX at most, which are like this one: PUT or
 * SYNC_ITEM. */
void sched_fetch_keys(const struct sched *sched, const struct event *event,
                      const struct bytes *keys, uint32_t count);

/* A task to be sent, from its effect. Borrowed until the next step. False: the lease has ended. */
bool sched_view_task(const struct sched *sched, const struct effect *effect, struct moment now,
                     struct task *task);

/* NOT_FOUND, or the record, borrowed until the next step. */
enum status sched_view_record(const struct sched *sched, struct bytes queue, struct bytes key,
                              struct record_view *view);

/* Walks in storage order. `*cursor` begins at 0; the next record of the queue whose status is one
 * of `statuses` and whose key begins with `prefix`. Looks at `*budget` records at most and lowers
 * it. Returns false when the budget is used up or the end is reached (then `*cursor` is 0). */
bool sched_list_next(const struct sched *sched, struct bytes queue, unsigned statuses,
                     struct bytes prefix, uint64_t *cursor, uint32_t *budget,
                     struct record_view *view);

/* The first `max` record slots of a queue in the order in which they come due; without memory only
 * those that are ready. One that is due and whose last change is on its way to the disk may not be
 * handed out yet, and is not shown until then: it has no place in the order. */
uint32_t sched_peek(const struct sched *sched, struct bytes queue, uint32_t *slots, uint32_t max);
void sched_view_slot(const struct sched *sched, uint32_t slot, struct record_view *view);

/* Whether a sync of this generation is under way. */
bool sched_sync_exists(const struct sched *sched, uint64_t generation);

/* The full set that a queue has under way. */
struct sched_sync_view {
    struct bytes
        holder;   /* the name of the session that began it; absent: it was before a restart */
    bool is_open; /* lines may come; else it is carried out, or given up */
    int64_t began_mono_us, heard_mono_us;
};
/* Of the queue at a place from 0 on, borrowed until the next step. False: it has none. */
bool sched_view_sync(const struct sched *sched, uint32_t place, struct sched_sync_view *view);
/* The place of a queue; SLAB_NONE (all ones): there is no such queue. */
uint32_t sched_find_queue(const struct sched *sched, struct bytes name);

/* The queue whose sync has this generation, the last one included; absent bytes: none. */
struct bytes sched_sync_queue(const struct sched *sched, uint64_t generation);

/* Of the COMMIT that was answered last on its queue. */
bool sched_sync_counts(const struct sched *sched, uint64_t generation, struct sync_counts *counts);

struct sched_totals {
    uint64_t created, removed, dispatched;
    uint64_t reports_ok, reports_failed, reports_park, reports_remove;
    uint64_t failed_timed_out, failed_killed; /* of reports_failed */
    uint64_t expired, lost, given_back, stale, late_accepted, parked_by_count;
};

/* The totals with the names under which people see them, in the order in which they are stored. */
enum { SCHED_TOTALS = 15 };
struct sched_total {
    const char *name;
    size_t offset; /* in struct sched_totals */
};
extern const struct sched_total sched_total_list[SCHED_TOTALS];
uint64_t sched_total_get(const struct sched_totals *totals, uint32_t place);

/* What rows of the store tell without a sched. CORRUPT: no such row. Bytes are borrowed from it. */
struct sched_queue_row {
    struct bytes name;
    bool is_paused;
    struct sched_totals totals;
};
enum status sched_read_queue(struct bytes row, struct sched_queue_row *queue);

/* The end of the reserved lease numbers, the next record number, the next generation. */
enum { SCHED_META_NUMBERS = 3 };
enum status sched_read_meta(struct bytes row, uint64_t numbers[SCHED_META_NUMBERS]);

struct sched_pending_row {
    bool run_now;
    bool has_put;
    struct put put;
};
enum status sched_read_pending(struct bytes row, struct sched_pending_row *pending);

struct sched_numbers {
    uint64_t records, waiting, ready, leased, parked;
    uint64_t body_bytes;
    uint64_t hole_bytes; /* between bodies, of all queues */
    struct sched_totals totals;
    uint64_t workers; /* sessions with credit or a take */
    uint64_t sessions;
    uint64_t credit; /* over all sessions */
    int64_t head_lateness_us;
    int64_t lateness_p50_us, lateness_p99_us, lateness_max_us; /* the last 60 s */
    int64_t start_lateness_p99_us;
    bool is_draining;
    bool is_in_grace;
    uint64_t backlog; /* records changed and not yet durable */
};

/* Of one queue, or of all (`queue` absent). False: no such queue. */
bool sched_get_numbers(const struct sched *sched, struct bytes queue, struct moment now,
                       struct sched_numbers *numbers);

/* The queue at a place from 0 on; absent bytes behind the last. */
struct bytes sched_queue_name(const struct sched *sched, uint32_t place);
bool sched_queue_is_paused(const struct sched *sched, uint32_t place);

struct sched_session_view {
    struct bytes name;
    uint32_t credit;
    uint32_t in_flight;
    uint32_t announcing; /* leases that it has still to announce: it is given nothing before */
    uint32_t queue_count;
    struct bytes queues[SESSION_QUEUES_MAX];
    int64_t seen_mono_us;
    int64_t began_mono_us;
    uint64_t reports_ok, reports_failed;
};
/* False: there is no such session. */
bool sched_view_session(const struct sched *sched, uint32_t session,
                        struct sched_session_view *view);
/* Whether it is streamed one record at a time (suspect_us). */
bool sched_is_suspect(const struct sched *sched, uint32_t session, struct moment now);

/* How long ago the oldest lease of the sessions was given out, or resumed after a restart; 0: there
 * is none. Of more leases than 65,536 not all are looked at. O(leases). */
int64_t sched_oldest_lease_us(const struct sched *sched, struct moment now);

/* The session that lives under this uid; SLAB_NONE (all ones): none. */
uint32_t sched_find_session(const struct sched *sched, const uint8_t uid[SESSION_UID_BYTES]);

/* What was agreed with a session. */
struct sched_agreed {
    uint32_t credit, lease_ms, heartbeat_ms;
    bool is_known; /* this uid was there before */
};
bool sched_get_agreed(const struct sched *sched, uint32_t session, struct sched_agreed *agreed);

/* Every invariant that holds between steps; false and a text when one does not. O(records): for
 * tests. */
bool sched_check(const struct sched *sched, const char **what);

#endif
