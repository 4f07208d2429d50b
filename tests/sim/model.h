/* model.h - what the documents promise, written a second time: naive, O(n), sharing nothing with
 * the core.
 *
 * It is stepped beside the core with the same events. Where the documents leave no choice
 * (statuses, fields, which report counts, what survives a crash) it predicts; where they leave one
 * (who gets a record, the jitter of a back-off, when a slice of long work reaches a record) it
 * checks that what the core did is allowed and takes it over. Records live in a fixed grid of
 * queues and keys: queue "q2", key "k17". Payload, memo and group are numbers: "p5", "m5", "g5"; 0
 * is none.
 */
#ifndef EVERDUE_MODEL_H
#define EVERDUE_MODEL_H

#include "core.h"

enum {
    MODEL_QUEUES = 3,
    MODEL_KEYS = 64,
    MODEL_SESSIONS = 96, /* numbers of sessions, as the caller draws them */
    MODEL_KNOWN = 512,
    MODEL_TAKES = 1024,
    MODEL_REMOVED = 256,
    MODEL_TOUCHED = 512,
    MODEL_ACCEPTED = 1 << 16,
    MODEL_ACCEPTING = 4096,
};

#define MODEL_DETACHED UINT32_MAX
#define MODEL_SLACK_US 1000000 /* of what may be a turn late */

struct model_fields {
    int64_t every_us, rank;
    uint32_t payload, memo, group;
    bool once;
};

/* What a put gives. */
struct model_put {
    bool is_given; /* there is one */
    bool has_due, has_every, has_rank, has_payload, has_memo, has_group, has_once;
    int64_t due_us;
    struct model_fields fields;
};

/* What is looked at with every event stands together, in one line of the cache. */
struct model_record {
    /* durable */
    bool exists, is_parked, run_now;
    /* lost with the process */
    bool is_take;        /* its lease was taken, not streamed: no credit is used */
    bool is_held;        /* due before the restart, in its grace */
    bool is_unconfirmed; /* its session came back and has not announced the lease yet */
    bool was_grantable;  /* when time passed last */
    uint64_t lease;      /* 0: none */
    int64_t lease_end_mono_us;
    uint32_t session;
    uint64_t changed_seal;  /* the batch that carries its last change */
    uint64_t numbered_seal; /* the batch that carries its state number */
    int64_t due_us;         /* durable, like all that follows but what is said to be lost */
    uint32_t failures, crashes;
    uint64_t state;
    uint64_t life;                        /* drawn when it is created: it differs after a removal */
    int64_t lease_us;                     /* lost */
    uint64_t delivered, delivered_before; /* lost: highest of this run, and without the last */
    struct model_fields fields;
    struct model_put pending;
    struct model_put alternative; /* if a commit under way had reached it before the last put */
};

struct model_session {
    bool is_there;
    uint8_t uid;
    bool works_on[MODEL_QUEUES];
    uint32_t queues[MODEL_QUEUES], queue_count;
    uint32_t credit, resume_left;
    int64_t lease_us, heartbeat_us, seen_mono_us;
    int64_t lost_mono_us;       /* TIME_US_NEVER: connected */
    int64_t resume_end_mono_us; /* what is not announced by then is given up */
    int64_t expired_mono_us[3]; /* the last leases that ran out, a second apart; 0: none */
    uint64_t known_seal;        /* the batch that makes it known; 0: none yet */
};

/* The lease of a record that was removed: it counts against its session's credit until it ends. */
struct model_removed {
    uint64_t lease; /* 0: none */
    uint32_t session, queue, key;
    int64_t end_mono_us;
    bool is_take, is_unconfirmed;
};

struct model_take {
    uint64_t request; /* 0: none */
    uint32_t session, queue, max, granted;
    int64_t deadline_mono_us, lease_us;
    bool detached;
};

struct model_sync {
    uint64_t generation; /* 0: none under way */
    uint32_t session;
    bool is_committed, is_dry, prune, due_take, is_leaving, broke_guard, is_mismatch;
    bool any_applied, was_short; /* memory was, in one of its slices */
    int64_t spread_us;
    int64_t heard_mono_us;
    int64_t wall_low_us, wall_high_us; /* seen since it began */
    uint32_t rejected, lines;
    uint32_t prune_max_ppm;
    uint64_t request; /* of the commit, 0: none that waits for its answer */
    struct model_put staged[MODEL_KEYS];
    enum status item_status[MODEL_KEYS]; /* created, changed or unchanged */
    bool is_touched[MODEL_KEYS], is_applied[MODEL_KEYS];
    struct sync_counts counts; /* as they would be now */
};

/* What is durable or on its way to be. */
struct model_image {
    struct model_record records[MODEL_KEYS][MODEL_QUEUES];
    bool is_paused[MODEL_QUEUES];
    bool is_known[256]; /* uids of sessions that work on queues */
    struct model_sync syncs[MODEL_QUEUES];
    uint64_t created, removed;
};

struct model {
    struct core *core; /* borrowed */
    struct sched_settings settings;
    uint32_t keys; /* that are used: what is behind them is never looked at */
    struct model_image now, sealed, durable;
    uint64_t seal, durable_seal;
    int64_t durable_mono_us; /* when a batch became durable last */
    struct model_session sessions[MODEL_SESSIONS];
    struct model_take takes[MODEL_TAKES];
    struct model_removed removed[MODEL_REMOVED];
    int take_end, removed_end; /* behind the last that is used */
    bool is_expected[256], is_back[256];
    bool is_draining, in_grace, has_held;
    int64_t grace_end_mono_us, hold_mono_us;
    int64_t time_wall_us;                   /* of the last EVENT_TIME */
    uint64_t number_max, number_max_before; /* ever seen; before the event at hand */
    uint64_t number_max_restart;            /* when the core started */
    uint64_t kick_request[MODEL_QUEUES];
    struct {
        int64_t mono_us;
        uint32_t queue;
    } parks[64]; /* the last ones by count */
    uint32_t park_count;
    bool is_unparked[MODEL_QUEUES];    /* in this event one at its limit was not parked */
    uint64_t accepted[MODEL_ACCEPTED]; /* leases whose report was accepted durably, a hash set */
    struct {
        uint64_t lease, seal;
    } accepting[MODEL_ACCEPTING]; /* accepted and not yet durable, with their batch */
    uint32_t accepting_count;
    struct model_record *touched[MODEL_TOUCHED];
    uint32_t touched_count;
    uint64_t events, accepted_count, late_count, stale_count;
    bool is_short;        /* memory was, in this event */
    bool is_short_lately; /* or since time passed last: what is due may wait where it should not */
    bool is_work_put_off; /* long work had no memory: it is not asked for until then */
    int64_t work_mono_us;
    char fault[512]; /* the first violation; empty: none */
};

void model_init(struct model *model, const struct sched_settings *settings, uint32_t keys);

/* The core was made anew and has loaded what is durable. */
void model_restart(struct model *model, struct core *core, struct moment now);

/* After the core's step: its answer and effects. */
void model_step(struct model *model, const struct event *event, enum status status,
                const struct effect *effects, size_t effect_count);

/* The core has sealed a batch. EVENT_DURABLE says that it is on disk. */
void model_seal(struct model *model);

/* Every record against the core's. */
void model_compare_all(struct model *model, struct moment now);

/* No record was due at `now` and still waits or is out: what a quiet end must come to. */
void model_check_rest(struct model *model, struct moment now);

/* --- among the files of the model --------------------------------------------------------------
 */

struct model_step {
    struct model *model;
    const struct event *event;
    enum status status;
    const struct effect *effects;
    size_t effect_count;
    struct moment now;
};

void model_fail(struct model *model, const char *format, ...) __attribute__((format(printf, 2, 3)));
void model_expect(const struct model_step *step, enum status expected, const char *what);
bool model_has_effect(const struct model_step *step, enum effect_kind kind, uint64_t number);
bool model_lost_session(const struct model_step *step, uint32_t session);

static inline struct model_record *model_first(struct model *model)
{
    return &model->now.records[0][0];
}

static inline struct model_record *model_end(struct model *model)
{
    return model_first(model) + MODEL_QUEUES * model->keys;
}

uint32_t model_index(struct bytes name); /* of "q2", "k17", "p5" */
struct model_record *model_record(struct model *model, uint32_t queue, uint32_t key);
/* It is compared with the core's after the event. */
void model_touch(struct model *model, struct model_record *record);
/* This session may hold leases: it is waited for after a restart, once that is durable, and is
 * given nothing before. */
void model_make_known(struct model *model, uint32_t session);
bool model_may_hold(const struct model *model, uint32_t session);
/* What it may be streamed: one at a time when it let three leases run out lately. */
uint32_t model_credit(const struct model_step *step, uint32_t session);
/* Something durable changed. */
void model_change(struct model *model, struct model_record *record);
/* The core drew a number for it: greater than all before. Taken over. */
void model_renumber(struct model *model, struct model_record *record);
bool model_view(struct model *model, const struct model_record *record, struct record_view *view);
uint32_t model_queue_of(const struct model *model, const struct model_record *record);
uint32_t model_key_of(const struct model *model, const struct model_record *record);

/* records */
void model_put(const struct model_step *step);
void model_remove(const struct model_step *step);
void model_run_now(const struct model_step *step);
void model_kick(const struct model_step *step);
void model_kick_slice(const struct model_step *step);
struct model_put model_read_put(const struct put *put, struct moment now);
void model_overlay(struct model_fields *fields, const struct model_put *put);
void model_merge(struct model_put *into, const struct model_put *put);
void model_drop_record(struct model *model, struct model_record *record);
/* A removed record's lease is over; 0: those of that session, or those that it has not announced.
 */
void model_forget_removed(struct model *model, uint64_t lease, uint32_t session, bool all);

/* work */
void model_report(const struct model_step *step);
void model_touch_lease(const struct model_step *step);
void model_give_back(const struct model_step *step);
void model_resume(const struct model_step *step);
void model_undelivered(const struct model_step *step);
/* The lease ends unreported. */
void model_lose(const struct model_step *step, struct model_record *record, bool is_counted);
/* When something at its limit was not parked, the budget must be used up. */
void model_check_parking(const struct model_step *step);
void model_accept_durable(struct model *model);

/* sessions, time, grants */
void model_hello(const struct model_step *step);
void model_goodbye(const struct model_step *step);
void model_disconnect(const struct model_step *step);
void model_take(const struct model_step *step);
void model_time(const struct model_step *step);
void model_grant(const struct model_step *step);
void model_work(const struct model_step *step);
void model_end_session(const struct model_step *step, uint32_t session, bool is_counted);
void model_let_go(const struct model_step *step);
/* Whether it may be handed out now. */
bool model_is_grantable(const struct model *model, const struct model_record *record,
                        struct moment now);
void model_check_tasks(const struct model_step *step);
/* With those that takes gave, or only those that use credit. */
uint32_t model_count_leases(struct model *model, uint32_t session, bool with_taken);
void model_announced(const struct model_step *step, uint32_t session);

/* full sets */
void model_sync_begin(const struct model_step *step);
void model_sync_item(const struct model_step *step);
void model_sync_commit(const struct model_step *step);
void model_sync_abort(const struct model_step *step);
void model_sync_slice(const struct model_step *step);
void model_sync_resolve(const struct model_step *step, struct model_record *record, bool is_lost);
/* Whether a commit may have given the record an every, which shows with its report only. */
bool model_sync_may_give_every(const struct model *model, const struct model_record *record);
/* No slice is to come: every key is as it shall be. */
void model_sync_finish(struct model *model, struct model_sync *sync);
/* Whether it was carried out shows when the leases end. */
void model_sync_doubt(struct model *model, const struct model_sync *sync);
void model_sync_touch(struct model *model, uint32_t queue, uint32_t key);
void model_sync_drop_session(struct model *model, uint32_t session);
void model_sync_idle(const struct model_step *step, bool may_wait);

#endif
