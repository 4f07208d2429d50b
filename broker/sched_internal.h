/* sched_internal.h - what the files of the core share; nobody else includes it.
 *
 *   sched.c          the machine: made, stepped, time passing, sealing
 *   sched_record.c   a record's life: made, placed, parked, removed, marked as changed
 *   sched_session.c  sessions: hello, credit, heartbeats, end
 *   sched_lease.c    leases: granted, ended, lost, resumed, touched
 *   sched_grant.c    who gets what is ready
 *   sched_report.c   the report: accepted or not, and what it does
 *   sched_change.c   put, remove, run-now, kick, pause, drain
 *   sched_pending.c  changes to what is out at a worker
 *   sched_sync.c     full sets
 *   sched_load.c     from the store
 *   sched_view.c     looking
 */
#ifndef EVERDUE_SCHED_INTERNAL_H
#define EVERDUE_SCHED_INTERNAL_H

#include <assert.h>

#include "body.h"
#include "heap.h"
#include "sched.h"
#include "slab.h"
#include "stats.h"
#include "table.h"

enum {
    PROMOTIONS_MAX = 4096,      /* records that come due in one step */
    PROMOTIONS_GROUP = 32,      /* of which so many are fetched from memory together */
    ENDINGS_MAX = 4096,         /* leases, sessions, takes that end in one step */
    GRANTS_MAX = 8192,          /* tasks handed out in one step */
    NUMBER_BLOCK = 1 << 24,     /* numbers reserved at once */
    STALL_US = 1000000,         /* a wake-up so late is a stall: read before any lease is ended */
    STALL_HOLD_US = 500000,     /* for how long */
    UNKNOWN_QUEUE = QUEUES_MAX, /* no queue has this id */
};

/* --- records ---------------------------------------------------------------------------------- */

enum place {
    PLACE_NOWHERE, /* being made, or free */
    PLACE_WAITING, /* in the waiting heap */
    PLACE_READY,   /* in its queue's ready heap; or, with FLAG_AWAIT, on its way there */
    PLACE_LEASED,  /* `place` is the lease */
    PLACE_PARKED,  /* in its queue's parked heap */
    PLACE_HELD,    /* due before a restart; held back while its holder may come back */
    PLACE_STAGED,  /* new in a sync that is not committed: invisible */
    PLACE_REMOVED, /* gone; the slot is kept until the removal is durable */
};
enum { PLACE_COUNT = 8 };

enum flag {
    FLAG_DIRTY_0 = 1, /* changed in the batch of parity 0, 1 */
    FLAG_DIRTY_1 = 2,
    FLAG_DIRTY = 3,
    FLAG_COLD = 4,     /* its body changed since the last seal */
    FLAG_AWAIT = 8,    /* ready as soon as its change is durable */
    FLAG_PENDING = 16, /* has an entry in `pendings` */
    FLAG_ENDED = 32,   /* has an entry in `ended`: its last lease was lost */
    FLAG_OVERDUE = 64, /* accepted already due: not counted as late */
};

#define MASK_BITS(bits) (((uint64_t)1 << (bits)) - 1)

/* Tens of millions of them are what a broker holds. Its link is in `keys`; its place is in a heap,
 * or its lease. */
struct record {
    uint64_t state : 53;
    uint64_t where : 3; /* enum place */
    uint64_t flags : 8;
    uint64_t number : 40;
    uint64_t queue : 10;
    uint64_t failures : 14;
    uint64_t due_us : 52;
    uint64_t crashes : 12;
    uint8_t *body;
};
_Static_assert(sizeof(struct record) == 32, "a record is half a cache line");

enum { FAILURES_MAX = 16383, CRASHES_MAX = 4095 };

/* A change to a record that is out at a worker. */
struct pending {
    uint32_t record;
    bool run_now;
    bool has_put;
    bool is_full; /* of a sync: what it does not give is cleared */
    uint8_t *put; /* an encoded item of PUT; due is absolute */
    uint32_t put_bytes;
};

/* --- leases ----------------------------------------------------------------------------------- */

struct lease {
    uint64_t number;
    int64_t lateness_us;
    int64_t lease_us;
    uint32_t record;        /* SLAB_NONE: removed meanwhile */
    uint32_t session;       /* slot in `sessions`; SLAB_NONE: detached, or ended */
    uint32_t next;          /* chain in `live` or `ended` */
    uint32_t place;         /* in `lease_ends` */
    uint32_t before, after; /* in the session's list */
    bool unconfirmed;       /* its session came back and has not announced it yet */
    bool counts_lateness;
};

/* --- sessions --------------------------------------------------------------------------------- */

struct session {
    uint32_t number; /* the caller's */
    uint8_t uid[SESSION_UID_BYTES];
    uint8_t name_bytes;
    char name[SESSION_NAME_BYTES_MAX];
    uint16_t queue_count;
    uint16_t queues[SESSION_QUEUES_MAX];
    uint32_t credit;
    uint32_t held; /* leases, without detached ones */
    uint32_t first_lease;
    uint32_t resume_left; /* leases that are still to be announced */
    int64_t lease_us;
    int64_t heartbeat_us;
    int64_t seen_mono_us;
    int64_t began_mono_us;
    int64_t lost_mono_us; /* disconnected: when it is lost; TIME_US_NEVER: connected */
    bool known;
    bool is_stored;
    uint64_t reports_ok, reports_failed;
};

struct take_wait {
    uint32_t session;
    uint32_t after; /* in its queue's list */
    uint32_t max;
    uint64_t request;
    int64_t lease_us;
    int64_t deadline_mono_us;
    uint16_t queue;
    bool detached;
};

struct drain_wait {
    uint32_t session; /* the caller's number */
    uint64_t request;
    int64_t deadline_mono_us;
};
enum { DRAIN_WAITS_MAX = 16 };

/* --- queues ----------------------------------------------------------------------------------- */

struct sync;

struct queue {
    uint16_t id;
    uint8_t name_bytes;
    char name[QUEUE_NAME_BYTES_MAX];
    bool is_paused;
    bool is_dirty;
    uint64_t counts[PLACE_COUNT];
    uint64_t body_bytes;
    struct heap ready;
    struct heap parked;
    struct sched_policy policy;
    bool has_policy;
    uint16_t subscriber_count, subscriber_room;
    uint16_t next_subscriber;
    uint32_t *subscribers; /* slots in `sessions` */
    uint32_t first_take, last_take;
    struct sched_totals totals;
    struct stats lateness;
    struct stats start_lateness;
    int64_t park_window_mono_us;
    uint64_t parked_in_window;
    struct sync *sync;          /* NULL: none under way */
    uint64_t synced_generation; /* the last COMMIT that was answered, 0: none */
    enum status synced_status;
    struct sync_counts synced_counts;
    uint64_t kick_request; /* a kick of all under way */
    uint32_t kick_session; /* SLAB_NONE: nobody waits for its answer any more */
    uint64_t kick_left, kicked;
};

/* A uid that was known before the restart. */
struct expected {
    uint8_t uid[SESSION_UID_BYTES];
    bool is_back;
};

struct sched {
    struct sched_settings settings;
    struct slab records;
    struct table keys;
    struct heap waiting;
    struct slab leases;
    struct table live;  /* by number */
    struct table ended; /* by record */
    struct heap lease_ends;
    struct slab sessions;
    uint32_t *session_slots; /* by the caller's number */
    uint32_t session_slot_room;
    struct heap session_ends;
    struct slab takes;
    struct heap take_ends;
    struct slab pendings;
    struct table pending_of;
    struct queue *queues[QUEUES_MAX];
    uint32_t queue_count;
    uint32_t next_queue; /* round robin */

    uint64_t next_number;  /* of leases and states */
    uint64_t reserved_end; /* numbers below are reserved durably */
    uint64_t next_record;
    uint64_t next_generation;
    uint64_t body_bytes;

    uint32_t *dirty[2];
    uint32_t dirty_count[2], dirty_room[2];
    unsigned parity; /* of the batch that fills */
    bool is_meta_dirty;
    struct store_batch *rows; /* rows for the next seal */

    bool is_loading;
    bool is_draining;
    bool has_more_grants; /* the last GRANT stopped at its bound */
    struct drain_wait drains[DRAIN_WAITS_MAX];
    uint32_t drain_count;
    int64_t hold_mono_us; /* after a stall: nothing is ended before */

    struct expected *expected;
    uint32_t expected_count, expected_room, expected_left;
    int64_t grace_end_mono_us; /* TIME_US_NEVER: no grace */
    uint32_t held_cursor;      /* slots below have been let go */
    uint32_t held_end;         /* slots from here on were never held */
    bool is_letting_go;
};

/* --- sched.c ---------------------------------------------------------------------------------- */

/* A fresh number; 0 when the reserved ones are used up (until the next EVENT_RESERVED). */
uint64_t sched_draw(struct sched *sched);

/* Room for `count` more effects. */
bool effects_reserve(struct effects *effects, size_t count);
/* There must be room. */
void effects_add(struct effects *effects, const struct effect *effect);

/* A row for the next seal. */
enum status sched_write_row(struct sched *sched, enum store_table table, uint64_t a, uint64_t b,
                            const void *bytes, size_t count);
enum status sched_remove_row(struct sched *sched, enum store_table table, uint64_t a, uint64_t b);

/* --- sched_record.c --------------------------------------------------------------------------- */

static inline struct record *record_at(const struct sched *sched, uint32_t slot)
{
    return slab_at(&sched->records, slot);
}
static inline uint32_t record_lease(const struct sched *sched, uint32_t slot)
{
    return *slab_place(&sched->records, slot);
}
static inline struct queue *queue_of(const struct sched *sched, const struct record *record)
{
    return sched->queues[record->queue];
}
static inline void record_set_flag(struct record *record, enum flag flag)
{
    record->flags = (record->flags | flag) & MASK_BITS(8);
}
static inline void record_clear_flag(struct record *record, enum flag flag)
{
    record->flags = record->flags & ~(unsigned)flag & MASK_BITS(8);
}
static inline void record_set_state(struct record *record, uint64_t state)
{
    record->state = state & MASK_BITS(53);
}
static inline void record_set_due(struct record *record, int64_t due_us)
{
    record->due_us = (uint64_t)due_us & MASK_BITS(52);
}
static inline void record_set_failures(struct record *record, uint32_t failures)
{
    record->failures = (failures < FAILURES_MAX ? failures : FAILURES_MAX) & MASK_BITS(14);
}
static inline void record_set_crashes(struct record *record, uint32_t crashes)
{
    record->crashes = (crashes < CRASHES_MAX ? crashes : CRASHES_MAX) & MASK_BITS(12);
}
/* Whether clients can see it. */
static inline bool record_is_visible(const struct record *record)
{
    return record->where >= PLACE_WAITING && record->where <= PLACE_HELD;
}
/* Whether a worker has it, or may have it still. */
static inline bool record_is_out(const struct record *record)
{
    return record->where == PLACE_LEASED || record->where == PLACE_HELD;
}

/* The hash that spreads keys: also of jitter and spread. */
uint64_t record_hash(const struct record *record, uint64_t seed);
uint64_t key_hash(struct bytes key, uint64_t seed);

/* NULL: no such queue. */
struct queue *queue_find(const struct sched *sched, struct bytes name);
/* Makes it when it is not there. BAD_FIELD, TOO_MANY, NO_MEMORY. */
enum status queue_require(struct sched *sched, struct bytes name, struct queue **queue);
void queue_mark(struct queue *queue);
const struct sched_policy *queue_policy(const struct sched *sched, const struct queue *queue);
uint64_t queue_records(const struct queue *queue);

/* A slot, staged ones too; SLAB_NONE. */
uint32_t record_find(const struct sched *sched, const struct queue *queue, struct bytes key);

/* Room for a change of `count` records. */
bool record_reserve(struct sched *sched, uint32_t count);

/* A new record in PLACE_NOWHERE (with `staged`: PLACE_STAGED), found by its key from now on. */
enum status record_new(struct sched *sched, struct queue *queue, const struct fields *fields,
                       uint32_t *slot);
/* From PLACE_NOWHERE or PLACE_STAGED, a record of its own from now on: it gets its number and its
 * state number, drawn by the caller. Counted as created. */
void record_begin(struct sched *sched, uint32_t slot, uint64_t state);
/* Frees a staged record, or one in PLACE_NOWHERE that never began, at once. */
void record_drop(struct sched *sched, uint32_t slot);

/* Written with the next batch. There must be room (record_reserve). */
void record_mark(struct sched *sched, uint32_t slot);
/* Its body too. */
void record_mark_cold(struct sched *sched, uint32_t slot);

/* Replaces the body, taken. */
void record_set_body(struct sched *sched, uint32_t slot, uint8_t *body);
/* Packs `fields` into a new body in place of the old when they differ. */
enum status record_repack(struct sched *sched, uint32_t slot, const struct fields *fields);

/* Out of whichever heap it is in, to PLACE_NOWHERE. Not for leased ones. */
void record_displace(struct sched *sched, uint32_t slot);
/* From PLACE_NOWHERE to waiting or ready, by its due. */
void record_schedule(struct sched *sched, uint32_t slot, int64_t due_us, struct moment now);
/* From PLACE_NOWHERE to ready (or awaiting) with the due that it has. */
void record_make_ready(struct sched *sched, uint32_t slot);
/* From PLACE_NOWHERE. */
void record_park(struct sched *sched, uint32_t slot, struct moment now);
void record_move_to(struct sched *sched, uint32_t slot, enum place where);

/* Gone for clients from now on. From any place but leased. Drops what is pending. */
void record_remove(struct sched *sched, uint32_t slot);

/* The slot may be used again: the removal is durable. */
void record_free(struct sched *sched, uint32_t slot);

/* A key was put or removed: a sync under way must leave it as it is. */
enum status sync_note_touched(struct sched *sched, struct queue *queue, struct bytes key);

/* --- sched_lease.c ---------------------------------------------------------------------------- */

static inline struct lease *lease_at(const struct sched *sched, uint32_t id)
{
    return slab_at(&sched->leases, id);
}
uint32_t lease_find(const struct sched *sched, uint64_t number);
/* The lease of this record that ended last, of those that may still report; SLAB_NONE. */
uint32_t lease_find_ended(const struct sched *sched, uint32_t slot);
void lease_forget_ended(struct sched *sched, uint32_t slot);
bool lease_reserve(struct sched *sched);
/* A new lease on a record that is in no heap. There must be room. session SLAB_NONE: detached. */
uint32_t lease_new(struct sched *sched, uint32_t slot, uint64_t number, uint32_t session,
                   int64_t lease_us, struct moment now);
/* Ends it; its record is in PLACE_NOWHERE then (if it is there still). */
void lease_end(struct sched *sched, uint32_t id);
/* Loses it: `counted` as a crash. */
void lease_lose(struct sched *sched, uint32_t id, bool counted, struct moment now);
void lease_move(struct sched *sched, uint32_t id, uint32_t session);
enum status lease_touch(struct sched *sched, const struct event *event);
enum status lease_give_back(struct sched *sched, const struct event *event);
enum status lease_undelivered(struct sched *sched, const struct event *event);
enum status lease_resume(struct sched *sched, const struct event *event, struct effects *effects);
void lease_expire(struct sched *sched, struct moment now, struct effects *effects);
/* The back-off before try `count` of a record. */
int64_t backoff_us(const struct sched *sched, const struct record *record, uint32_t count);
/* After `count` of failures or crashes: parks it by count, if the queue's budget allows. */
bool park_by_count(struct sched *sched, uint32_t slot, struct bytes reason, struct bytes worker,
                   struct moment now);

/* --- sched_session.c -------------------------------------------------------------------------- */

static inline struct session *session_at(const struct sched *sched, uint32_t slot)
{
    return slab_at(&sched->sessions, slot);
}
/* The slot of the caller's number; SLAB_NONE. */
uint32_t session_find(const struct sched *sched, uint32_t number);
enum status session_hello(struct sched *sched, const struct event *event, struct effects *effects);
enum status session_credit(struct sched *sched, const struct event *event);
enum status session_goodbye(struct sched *sched, const struct event *event);
enum status session_disconnect(struct sched *sched, const struct event *event);
void session_seen(struct sched *sched, const struct event *event);
void session_pass_time(struct sched *sched, struct moment now, struct effects *effects);
/* It may hold leases from now on. */
void session_write(struct sched *sched, uint32_t slot);
/* One more of its leases was announced. */
void session_announced(struct sched *sched, uint32_t slot, struct moment now);
struct bytes session_name(const struct sched *sched, uint32_t slot);

/* --- sched_grant.c ---------------------------------------------------------------------------- */

void grant_ready(struct sched *sched, struct moment now, struct effects *effects);
enum status take_begin(struct sched *sched, const struct event *event, struct effects *effects);
void take_pass_time(struct sched *sched, struct moment now, struct effects *effects);
void take_drop_session(struct sched *sched, uint32_t session);
bool take_exists(const struct queue *queue);

/* --- sched_report.c --------------------------------------------------------------------------- */

enum status report_step(struct sched *sched, const struct event *event);

/* --- sched_change.c --------------------------------------------------------------------------- */

enum status change_put(struct sched *sched, const struct event *event);
enum status change_remove(struct sched *sched, const struct event *event, struct effects *effects);
enum status change_run_now(struct sched *sched, const struct event *event);
enum status change_kick(struct sched *sched, const struct event *event);
enum status change_kick_all(struct sched *sched, const struct event *event,
                            struct effects *effects);
void change_kick_slice(struct sched *sched, struct queue *queue, uint32_t *budget,
                       struct moment now, struct effects *effects);
enum status change_pause(struct sched *sched, const struct event *event, bool is_paused);
enum status change_drain(struct sched *sched, const struct event *event, struct effects *effects);
/* Its answers are not waited for any more. */
void change_drop_session(struct sched *sched, uint32_t number);
enum status change_undrain(struct sched *sched);
void drain_pass_time(struct sched *sched, struct moment now, struct effects *effects);

/* The status of a put's fields, before anything is changed. */
enum status put_check(const struct sched *sched, const struct put *put);
/* `fields` with what the put gives in place. `is_full`: payload, every, rank, group and once that
 * it does not give are cleared; its memo does not count. */
void put_overlay(const struct put *put, bool is_full, struct fields *fields);
/* A put on a record that is in no worker's hands. */
enum status put_change(struct sched *sched, uint32_t slot, const struct put *put, bool is_full,
                       struct moment now);
/* Removes a record wherever it is; room is reserved, effects too. */
void change_remove_slot(struct sched *sched, uint32_t slot, struct effects *effects);
/* Whether so much waits for the disk that no more changes are taken. */
bool change_is_backlogged(const struct sched *sched);
/* The due that a put names, absolute; TIME_US_NEVER: none. */
int64_t put_due(const struct put *put, struct moment now);

struct pending *pending_find(const struct sched *sched, uint32_t slot);
/* Merges a put (or NULL) or run-now into what is pending. */
enum status pending_add(struct sched *sched, uint32_t slot, const struct put *put, bool is_full,
                        struct moment now);
/* The pending put, borrowed until pending_drop; false: there is none. */
bool pending_put(const struct pending *pending, struct put *put);
void pending_drop(struct sched *sched, uint32_t slot);
enum status pending_load(struct sched *sched, uint32_t slot, const uint8_t *bytes, uint32_t count);

/* Applies what is pending to a record in PLACE_NOWHERE whose lease was lost, under a fresh number,
 * and schedules it. False: nothing was pending. */
bool pending_apply_lost(struct sched *sched, uint32_t slot, struct moment now);

/* --- sched_sync.c ----------------------------------------------------------------------------- */

enum status sync_begin(struct sched *sched, const struct event *event, struct effects *effects);
enum status sync_item(struct sched *sched, const struct event *event);
enum status sync_commit(struct sched *sched, const struct event *event, struct effects *effects);
enum status sync_abort(struct sched *sched, const struct event *event);
void sync_drop_session(struct sched *sched, uint32_t number);
void sync_slice(struct sched *sched, struct queue *queue, uint32_t *budget, struct moment now,
                struct effects *effects);
bool sync_has_work(const struct queue *queue);
/* Its work goes on when the disk has taken what it did so far. */
bool sync_waits(const struct sched *sched, const struct queue *queue);
enum status sync_load_row(struct sched *sched, const struct store_row *row, const uint8_t *bytes);
enum status sync_load_end(struct sched *sched, struct moment now);
void sync_destroy(struct sched *sched, struct queue *queue);

/* --- sched_load.c ----------------------------------------------------------------------------- */

enum { META_NUMBERS = 1 };
/* By its number, while loading: slots are in the order of numbers then. SLAB_NONE. */
uint32_t record_find_number(const struct sched *sched, uint64_t number);
void load_let_go(struct sched *sched, uint32_t *budget, struct moment now);
void load_session_is_back(struct sched *sched, const uint8_t *uid);
bool load_uid_is_known(const struct sched *sched, const uint8_t *uid);
void load_end_grace(struct sched *sched, struct moment now);
enum status queue_write_row(struct sched *sched, const struct queue *queue,
                            struct store_batch *batch);
enum status meta_write_row(struct sched *sched, struct store_batch *batch);

#endif
