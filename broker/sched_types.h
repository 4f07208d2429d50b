/* sched_types.h - what the core keeps: records, leases, sessions, queues. Only the files of the
 * core include it, through sched_internal.h.
 */
#ifndef EVERDUE_SCHED_TYPES_H
#define EVERDUE_SCHED_TYPES_H

#include <assert.h>

#include "bodies.h"
#include "body.h"
#include "heap.h"
#include "sched.h"
#include "slab.h"
#include "stats.h"
#include "table.h"

enum {
    PROMOTIONS_MAX = 4096,    /* records that come due in one step */
    PROMOTIONS_GROUP = 32,    /* of which so many are fetched from memory together */
    DIRTY_AHEAD = 16,         /* changed records asked for before they are looked at */
    ENDINGS_MAX = 4096,       /* leases, sessions, takes that end in one step */
    GRANTS_MAX = 8192,        /* tasks handed out in one step */
    NUMBER_BLOCK = 1 << 24,   /* numbers reserved at once */
    PARK_WINDOW_US = 5000000, /* parks by count are counted for so long together, ... */
    PARK_WINDOWS = 13,        /* ... and at least a minute long */
    STALL_US = 100000,        /* a wake-up so late is a stall: read before any lease is ended */
    STALL_HOLD_US = 500000,   /* for how long */
    PUT_OFF_US = 100000,      /* what needs a number or memory, and there is none */
    WORK_PAUSE_US = 10000,    /* long work that can do nothing now */
    DIRTY_ROOM_LEAST = 1 << SEGMENT_BITS_OR(10, 2), /* changed records that always have room */
    SUSPECT_EXPIRIES = 3,                           /* leases that ran out, to be suspect, ... */
    SUSPECT_APART_US =
        1000000,             /* ... each so long after the one before: together they count once */
    RESUME_US_MIN = 1000000, /* for announcements, without a grace too: they follow the hello */
};

/* --- records ---------------------------------------------------------------------------------- */

enum place {
    PLACE_NOWHERE, /* being made, or free */
    PLACE_WAITING, /* in the waiting heap */
    PLACE_READY,   /* in its queue's ready heap; or, with FLAG_AWAIT, on its way there */
    PLACE_LEASED,  /* `place` is the lease */
    PLACE_PARKED,  /* in its queue's parked heap */
    PLACE_HELD,    /* held back while somebody who held it before a restart may come back */
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
    FLAG_RANKED =
        128, /* its body has a rank other than 0: to know that costs no look at the body */
};

#define MASK_BITS(bits) (((uint64_t)1 << (bits)) - 1)

/* Tens of millions of them are what a broker holds. Its link is in `keys`. */
struct record {
    uint64_t state : 53;
    uint64_t where : 3; /* enum place */
    uint64_t flags : 8;
    uint64_t number : 40;
    uint64_t queue : 10;
    uint64_t failures : 14;
    uint64_t due_us : 52;
    uint64_t crashes : 12;
    uint32_t body;  /* in `bodies` */
    uint32_t place; /* in a heap, or its lease: see slab.h */
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
    uint64_t delivered_before : 53; /* the highest, of this run, before it; 0: none */
    bool unconfirmed : 1;           /* its session came back and has not announced it yet */
    bool counts_lateness : 1;
    bool is_taken : 1;   /* by a take, so it uses no credit */
    bool is_in_line : 1; /* of ends, not in their heap */
    int64_t lateness_us;
    int64_t lease_us;
    int64_t end_mono_us;
    uint32_t record;        /* SLAB_NONE: removed meanwhile */
    uint32_t session;       /* slot in `sessions`; SLAB_NONE: detached, or ended */
    uint32_t before, after; /* in the session's list */
    uint32_t sooner, later; /* in the line of ends */
};
_Static_assert(sizeof(struct lease) == 64, "a lease is a cache line");

/* Leases in the order of their ends (sched_ends.c). */
struct lease_line {
    uint32_t first, last;
    uint32_t count;
    int64_t end_mono_us; /* what ends before it does not stand in the line */
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
    uint32_t held;  /* leases, without detached ones */
    uint32_t taken; /* of those, by takes */
    uint32_t first_lease;
    uint32_t resume_left;       /* leases that are still to be announced */
    int64_t resume_end_mono_us; /* those are given up then; TIME_US_NEVER: there are none */
    int64_t lease_us;
    int64_t heartbeat_us;
    int64_t seen_mono_us;
    int64_t began_mono_us;
    int64_t lost_mono_us; /* disconnected: when it is lost; TIME_US_NEVER: connected */
    int64_t expired_mono_us[SUSPECT_EXPIRIES]; /* the last leases that ran out; 0: none */
    bool known;
    bool is_stored;
    uint64_t stored_seal; /* is_stored: the batch that its row is in */
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
    uint32_t subscriber_count, subscriber_room;
    uint32_t next_subscriber;
    uint32_t *subscribers; /* slots in `sessions` */
    uint32_t first_take, last_take;
    struct sched_totals totals;
    struct stats lateness;
    struct stats start_lateness;
    int64_t parked_windows[PARK_WINDOWS]; /* which one each place counts */
    uint64_t parked_in_window[PARK_WINDOWS];
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
    struct bodies bodies;
    uint32_t tidied; /* no body of a slot below is in a chunk that shall be left */
    struct table keys;
    struct chunks chunks; /* of all heaps: what leaves one goes to another */
    struct heap waiting;
    struct slab leases;
    struct table live;  /* by number */
    struct table ended; /* by record */
    struct lease_line lease_line;
    struct heap lease_ends; /* of leases that are not in the line */
    struct slab sessions;
    struct table uids;       /* sessions by uid */
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
    uint64_t first_number; /* lower ones were drawn before the restart */
    uint64_t reserved_end; /* numbers below are reserved durably */
    uint64_t next_record;
    uint64_t next_generation;
    int64_t
        sync_look_mono_us; /* when one may have been idle too long; TIME_US_NEVER: none is open */
    uint64_t body_bytes;

    uint32_t *dirty[2];
    uint32_t dirty_count[2], dirty_room[2];
    unsigned parity; /* of the batch that fills */
    uint64_t seals;  /* batches sealed */
    uint64_t durable_seals;
    bool is_meta_dirty;
    struct store_batch *rows; /* rows for the next seal */

    bool is_loading;
    uint32_t unindexed; /* while loading: the last records that are not in `keys` yet */
    bool is_draining;
    bool has_put_off_takes;
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
    int64_t work_mono_us; /* long work could do nothing: not before; 0: at once */
};

#endif
