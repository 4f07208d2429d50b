#include <string.h>

#include "sched_internal.h"

enum {
    QUANTUM = 16, /* tasks for one session before another ready queue has its turn */
    GROUP = 32,   /* records fetched from memory together */
};

/* --- one task --------------------------------------------------------------------------------- */

/* Whom a grant goes to: a session's stream, or a take. */
struct grantee {
    uint32_t session; /* slot */
    uint32_t owner;   /* of the lease: the session, or SLAB_NONE (detached) */
    uint64_t request; /* of the take; 0: streamed */
    int64_t lease_us;
};

/* What is the same for all grants to one grantee in one step. */
struct grant {
    const struct grantee *grantee;
    struct moment now;
    struct effects *effects;
};

static void count_lateness(struct queue *queue, const struct lease *lease, struct moment now)
{
    queue->totals.dispatched++;
    if (lease->counts_lateness)
        stats_add(&queue->lateness, now.mono_us, lease->lateness_us);
}

/* Room for so many tasks, and for the end of a take. */
static bool reserve_tasks(struct sched *sched, uint32_t count, const struct grant *grant)
{
    return lease_reserve(sched, count) && effects_reserve(grant->effects, count + 1);
}

/* A record that was taken from the ready heap; its room is reserved, but for the lease itself.
 * False: memory or numbers are out; nothing was changed. */
static bool grant_slot(struct sched *sched, struct queue *queue, uint32_t slot,
                       const struct grant *grant)
{
    if (!slab_reserve(&sched->leases))
        return false;
    uint64_t number = sched_draw(sched);
    if (!number)
        return false;
    const struct grantee *grantee = grant->grantee;
    uint32_t id = lease_new(sched, slot, number, grantee->owner, grantee->lease_us, grant->now);
    if (grantee->request)
        lease_set_taken(sched, id);
    count_lateness(queue, lease_at(sched, id), grant->now);
    effects_add(grant->effects, &(struct effect){
                                    .kind = EFFECT_TASK,
                                    .session = session_at(sched, grantee->session)->number,
                                    .record = slot,
                                    .request = grantee->request,
                                    .number = number,
                                });
    return true;
}

/* Whether the first ready record is due. One that is due no more, for the wall clock was set back
 * since, waits again. */
static bool has_due(struct sched *sched, struct queue *queue, struct moment now)
{
    while (queue->ready.count) { /* ends: each round takes one out of the heap */
        int64_t due_us = heap_first_time(&queue->ready);
        if (due_us <= now.wall_us)
            return true;
        uint32_t slot = heap_first(&queue->ready);
        record_displace(sched, slot);
        record_schedule(sched, slot, due_us, now);
    }
    return false;
}

/* The first ready record, if it is due; SLAB_NONE. */
static uint32_t pop_due(struct sched *sched, struct queue *queue, struct moment now)
{
    uint32_t slot = heap_pop_until(&queue->ready, now.wall_us);
    if (slot == SLAB_NONE && has_due(sched, queue, now))
        slot = heap_pop(&queue->ready);
    return slot;
}

/* The first ready records, at most GROUP of them, fetched from memory together. Returns how many
 * were granted. */
static uint32_t grant_group(struct sched *sched, struct queue *queue, uint32_t max,
                            const struct grant *grant)
{
    uint32_t slots[GROUP];
    uint32_t count = 0, granted = 0;
    while (count < GROUP && count < max) {
        uint32_t slot = pop_due(sched, queue, grant->now);
        if (slot == SLAB_NONE)
            break;
        slots[count++] = slot;
        record_fetch(sched, slot);
    }
    bool has_room = count && reserve_tasks(sched, count, grant);
    for (uint32_t i = 0; i < count; i++) {
        bool has_its = granted == i && (has_room || reserve_tasks(sched, 1, grant));
        if (has_its && grant_slot(sched, queue, slots[i], grant)) {
            granted++;
            continue;
        }
        record_move_to(sched, slots[i], PLACE_NOWHERE);
        record_make_ready(sched, slots[i]);
    }
    return granted;
}

/* Up to `max`; returns how many. */
static uint32_t grant_some(struct sched *sched, struct queue *queue, uint32_t max,
                           const struct grant *grant)
{
    uint32_t count = 0;
    while (count < max) { /* ends: each group grants something, or is the last */
        uint32_t granted = grant_group(sched, queue, max - count, grant);
        count += granted;
        if (granted < GROUP)
            break;
    }
    if (count)
        queue_mark(queue);
    return count;
}

/* --- takes ------------------------------------------------------------------------------------ */

bool take_exists(const struct queue *queue)
{
    return queue->first_take != SLAB_NONE;
}

static struct take_wait *take_at(const struct sched *sched, uint32_t id)
{
    return slab_at(&sched->takes, id);
}

static void take_unlink(struct sched *sched, uint32_t id)
{
    struct take_wait *take = take_at(sched, id);
    struct queue *queue = sched->queues[take->queue];
    uint32_t before = SLAB_NONE;
    for (uint32_t i = queue->first_take; i != id; i = take_at(sched, i)->after)
        before = i;
    if (before == SLAB_NONE)
        queue->first_take = take->after;
    else
        take_at(sched, before)->after = take->after;
    if (queue->last_take == id)
        queue->last_take = before;
    heap_remove(&sched->take_ends, id);
    slab_give(&sched->takes, id);
}

static void take_answer(struct sched *sched, uint32_t id, uint32_t count, struct effects *effects)
{
    struct take_wait *take = take_at(sched, id);
    effects_add(effects, &(struct effect){
                             .kind = EFFECT_TAKEN,
                             .session = session_at(sched, take->session)->number,
                             .request = take->request,
                             .count = count,
                         });
    take_unlink(sched, id);
}

enum status take_begin(struct sched *sched, const struct event *event, struct effects *effects)
{
    const struct take *wanted = event->take;
    uint32_t session = session_find(sched, event->session);
    if (session == SLAB_NONE)
        return STATUS_NO_SESSION;
    struct session *owner = session_at(sched, session);
    if (wanted->queue >= owner->queue_count || wanted->max < 1 || wanted->max > CREDIT_MAX)
        return STATUS_BAD_FIELD;
    if (wanted->lease_ms && (wanted->lease_ms < LEASE_MS_MIN || wanted->lease_ms > LEASE_MS_MAX))
        return STATUS_BAD_TIME;
    if (sched->takes.count >= CREDIT_MAX)
        return STATUS_TOO_MANY;
    if (!heap_reserve(&sched->take_ends, sched->take_ends.count + 1) ||
        !effects_reserve(effects, 1))
        return STATUS_NO_MEMORY;
    uint32_t id = slab_take(&sched->takes);
    if (id == SLAB_NONE)
        return STATUS_NO_MEMORY;
    struct queue *queue = sched->queues[owner->queues[wanted->queue]];
    *take_at(sched, id) = (struct take_wait){
        .session = session,
        .after = SLAB_NONE,
        .max = wanted->max,
        .request = event->request,
        .lease_us = wanted->lease_ms ? (int64_t)wanted->lease_ms * US_PER_MS : owner->lease_us,
        .deadline_mono_us = event->now.mono_us + (int64_t)wanted->wait_ms * US_PER_MS,
        .queue = queue->id,
        .detached = wanted->detached,
    };
    if (queue->last_take == SLAB_NONE)
        queue->first_take = id;
    else
        take_at(sched, queue->last_take)->after = id;
    queue->last_take = id;
    heap_push(&sched->take_ends, id, take_at(sched, id)->deadline_mono_us);
    if (!wanted->detached)
        session_write(sched, session);
    return STATUS_OK;
}

/* A take whose wait is over is answered after a last look at what is ready, so that one that does
 * not wait at all gets what there is. */
static bool take_serve(struct sched *sched, struct queue *queue, uint32_t id, uint32_t share,
                       struct moment now, struct effects *effects)
{
    struct take_wait *take = take_at(sched, id);
    struct grantee grantee = {
        .session = take->session,
        .owner = take->detached ? SLAB_NONE : take->session,
        .request = take->request,
        .lease_us = take->lease_us,
    };
    uint32_t max = take->max < share ? take->max : share;
    if (!effects_reserve(effects, 1))
        return false;
    struct grant grant = {&grantee, now, effects};
    uint32_t count = grant_some(sched, queue, max, &grant);
    if (count)
        take_answer(sched, id, count, effects);
    return count > 0;
}

/* A detached lease outlives its session anyway. */
static bool may_serve(const struct sched *sched, const struct take_wait *take)
{
    return take->detached || session_may_hold(sched, session_at(sched, take->session));
}

/* What is held back may be let go, and a session becomes durable: takes wait for that. */
static bool must_wait(const struct sched *sched, const struct take_wait *take, bool can_serve)
{
    return sched->grace_end_mono_us != TIME_US_NEVER || sched->is_letting_go ||
           (can_serve && !may_serve(sched, take));
}

void take_look_again(struct sched *sched)
{
    if (!sched->has_put_off_takes)
        return;
    sched->has_put_off_takes = false;
    for (uint32_t i = 0; i < sched->queue_count; i++)
        for (uint32_t id = sched->queues[i]->first_take; id != SLAB_NONE;
             id = take_at(sched, id)->after)
            heap_move(&sched->take_ends, id, take_at(sched, id)->deadline_mono_us);
}

void take_pass_time(struct sched *sched, struct moment now, struct effects *effects)
{
    size_t end = effects->count + GRANTS_MAX;
    for (int i = 0; i < ENDINGS_MAX && heap_first_time(&sched->take_ends) <= now.mono_us; i++) {
        if (effects->count >= end) /* the others in the next turn, which follows at once */
            return;
        uint32_t id = heap_first(&sched->take_ends);
        struct queue *queue = sched->queues[take_at(sched, id)->queue];
        bool can_serve = queue->ready.count && !queue->is_paused && !sched->is_draining;
        if (must_wait(sched, take_at(sched, id),
                      can_serve)) { /* take_look_again puts its time right */
            heap_move(&sched->take_ends, id, TIME_US_END - 1);
            sched->has_put_off_takes = true;
            continue;
        }
        uint32_t room = (uint32_t)(end - effects->count);
        if (can_serve && take_serve(sched, queue, id, room, now, effects))
            continue;
        if (!effects_reserve(effects, 1))
            return;
        take_answer(sched, id, 0, effects);
    }
}

void take_drop_session(struct sched *sched, uint32_t session)
{
    for (uint32_t i = 0; i < sched->queue_count; i++) {
        uint32_t id = sched->queues[i]->first_take;
        while (id != SLAB_NONE) { /* ends with the list */
            uint32_t after = take_at(sched, id)->after;
            if (take_at(sched, id)->session == session)
                take_unlink(sched, id);
            id = after;
        }
    }
}

/* --- shares ----------------------------------------------------------------------------------- */

static uint32_t free_credit(const struct sched *sched, const struct session *session,
                            struct moment now)
{
    bool is_here = session->lost_mono_us == TIME_US_NEVER && session->resume_left == 0 &&
                   session_may_hold(sched, session);
    uint32_t used = session->held - session->taken;
    uint32_t credit = session->credit;
    if (credit > 1 && session_is_suspect(sched, session, now))
        credit = 1;
    return is_here && credit > used ? credit - used : 0;
}

/* A fair share of what is ready, so that nobody hoards: ceiling(ready / eligible). */
static uint32_t fair_share(const struct sched *sched, const struct queue *queue, struct moment now)
{
    uint32_t eligible = 0;
    for (uint32_t i = 0; i < queue->subscriber_count; i++)
        if (free_credit(sched, session_at(sched, queue->subscribers[i]), now))
            eligible++;
    for (uint32_t id = queue->first_take; id != SLAB_NONE; id = take_at(sched, id)->after)
        if (may_serve(sched, take_at(sched, id)))
            eligible++;
    return eligible ? (queue->ready.count + eligible - 1) / eligible : 0;
}

/* One look at a queue. */
struct round {
    uint32_t share; /* of each */
    struct moment now;
    struct effects *effects;
    size_t end; /* so many effects, and the step is over */
};

static uint32_t least_of(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* The tasks that the step may still hand out. */
static uint32_t room_in(const struct round *round)
{
    size_t count = round->effects->count;
    return count < round->end ? (uint32_t)(round->end - count) : 0;
}

static uint32_t grant_takes(struct sched *sched, struct queue *queue, const struct round *round)
{
    uint32_t served = 0, id = queue->first_take;
    while (id != SLAB_NONE && queue->ready.count && room_in(round)) { /* ends with the list */
        uint32_t after = take_at(sched, id)->after;
        if (may_serve(sched, take_at(sched, id))) {
            uint32_t most = least_of(round->share, room_in(round));
            if (!take_serve(sched, queue, id, most, round->now, round->effects))
                break;
            served++;
        }
        id = after;
    }
    return served;
}

/* One round over the sessions of a queue. Returns how many tasks were granted. */
static uint32_t grant_streams(struct sched *sched, struct queue *queue, const struct round *round)
{
    uint32_t granted = 0;
    for (uint32_t i = 0; i < queue->subscriber_count && queue->ready.count; i++) {
        uint32_t most = least_of(round->share, room_in(round));
        if (!most)
            break;
        if (queue->next_subscriber >= queue->subscriber_count)
            queue->next_subscriber = 0;
        uint32_t slot = queue->subscribers[queue->next_subscriber++];
        const struct session *session = session_at(sched, slot);
        struct grantee grantee = {
            .session = slot,
            .owner = slot,
            .lease_us = session->lease_us,
        };
        struct grant grant = {&grantee, round->now, round->effects};
        most = least_of(most, free_credit(sched, session, round->now));
        granted += grant_some(sched, queue, most, &grant);
    }
    return granted;
}

bool grant_has_taker(const struct sched *sched, const struct queue *queue, struct moment now)
{
    if (sched->is_draining || queue->is_paused)
        return false;
    for (uint32_t i = 0; i < queue->subscriber_count; i++)
        if (free_credit(sched, session_at(sched, queue->subscribers[i]), now))
            return true;
    return queue->first_take != SLAB_NONE;
}

static bool can_grant(const struct queue *queue)
{
    return queue->ready.count && !queue->is_paused &&
           (queue->subscriber_count || queue->first_take != SLAB_NONE);
}

static uint32_t count_grantable(const struct sched *sched)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < sched->queue_count; i++)
        if (can_grant(sched->queues[i]))
            count++;
    return count;
}

/* One round over the queues, from behind the one that gave last, so that credit that comes one by
 * one is shared, too. With several of them ready, each gives a little in turn. */
static uint32_t grant_round(struct sched *sched, uint32_t grantable, struct round *round)
{
    uint32_t granted = 0;
    uint32_t first = sched->next_queue;
    for (uint32_t i = 0; i < sched->queue_count; i++) {
        uint32_t place = (first + i) % sched->queue_count;
        struct queue *queue = sched->queues[place];
        if (!can_grant(queue))
            continue;
        round->share = fair_share(sched, queue, round->now);
        if (!round->share)
            continue;
        uint32_t count = 0;
        if (sched->grace_end_mono_us == TIME_US_NEVER)
            count = grant_takes(sched, queue, round);
        if (grantable > 1)
            round->share = least_of(round->share, QUANTUM);
        count += grant_streams(sched, queue, round);
        if (count)
            sched->next_queue = place + 1;
        granted += count;
    }
    return granted;
}

void grant_ready(struct sched *sched, struct moment now, struct effects *effects)
{
    sched->has_more_grants = false;
    if (sched->is_draining)
        return;
    struct round round = {.now = now, .effects = effects, .end = effects->count + GRANTS_MAX};
    uint32_t grantable = count_grantable(sched);
    while (grantable && grant_round(sched, grantable, &round)) /* credit bounds it */
        if (!room_in(&round)) {
            sched->has_more_grants = true;
            return;
        }
}

/* What is left of a queue after granting finds nobody with credit, and its takers have none for
 * another queue either. */
bool sched_is_saturated(const struct sched *sched)
{
    for (uint32_t i = 0; i < sched->queue_count; i++) {
        const struct queue *queue = sched->queues[i];
        bool has_takers = queue->subscriber_count || queue->first_take != SLAB_NONE;
        if (has_takers && !queue->ready.count)
            return false;
    }
    return true;
}
