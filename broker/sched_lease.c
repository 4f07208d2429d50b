#include <string.h>

#include "sched_internal.h"

enum { BACKOFF_DOUBLINGS_MAX = 40 };

/* --- found ------------------------------------------------------------------------------------ */

uint32_t lease_find_ended(const struct sched *sched, uint32_t slot)
{
    if (!(record_at(sched, slot)->flags & FLAG_ENDED))
        return SLAB_NONE;
    uint32_t id = table_first(&sched->ended, slot);
    while (id != SLAB_NONE && lease_at(sched, id)->record != slot)
        id = table_next(&sched->ended, id);
    assert(id != SLAB_NONE);
    return id;
}

void lease_forget_ended(struct sched *sched, uint32_t slot)
{
    uint32_t id = lease_find_ended(sched, slot);
    if (id == SLAB_NONE)
        return;
    table_remove(&sched->ended, id);
    slab_give(&sched->leases, id);
    record_clear_flag(record_at(sched, slot), FLAG_ENDED);
}

/* --- begun and ended -------------------------------------------------------------------------- */

bool lease_reserve(struct sched *sched, uint32_t count)
{
    /* Tables that had room for one take more: their chains grow longer then. */
    return slab_reserve(&sched->leases) && table_reserve(&sched->live) &&
           table_reserve(&sched->ended) && ends_reserve(sched, count) &&
           record_reserve(sched, count);
}

static void list_add(struct sched *sched, uint32_t id, uint32_t session)
{
    struct lease *lease = lease_at(sched, id);
    lease->session = session;
    lease->before = lease->after = SLAB_NONE;
    if (session == SLAB_NONE)
        return;
    struct session *owner = session_at(sched, session);
    lease->after = owner->first_lease;
    if (owner->first_lease != SLAB_NONE)
        lease_at(sched, owner->first_lease)->before = id;
    owner->first_lease = id;
    owner->held++;
    owner->taken += lease->is_taken;
}

static void list_remove(struct sched *sched, uint32_t id)
{
    struct lease *lease = lease_at(sched, id);
    if (lease->session == SLAB_NONE)
        return;
    struct session *owner = session_at(sched, lease->session);
    if (lease->before == SLAB_NONE)
        owner->first_lease = lease->after;
    else
        lease_at(sched, lease->before)->after = lease->after;
    if (lease->after != SLAB_NONE)
        lease_at(sched, lease->after)->before = lease->before;
    owner->held--;
    owner->taken -= lease->is_taken;
    lease->session = SLAB_NONE;
}

/* The number of the lease that is remembered of the record, and is not any more; 0: there is none.
 */
static uint64_t forget_before(struct sched *sched, uint32_t slot)
{
    if (!(record_at(sched, slot)->flags & FLAG_ENDED))
        return 0;
    uint64_t number = lease_at(sched, lease_find_ended(sched, slot))->number;
    lease_forget_ended(sched, slot);
    return number;
}

uint32_t lease_new(struct sched *sched, uint32_t slot, uint64_t number, uint32_t session,
                   int64_t lease_us, struct moment now)
{
    uint32_t id = slab_take(&sched->leases);
    assert(id != SLAB_NONE);
    uint64_t before = forget_before(sched, slot);
    struct lease *lease = lease_at(sched, id);
    struct record *record = record_at(sched, slot);
    lease->number = number;
    lease->delivered_before = before & MASK_BITS(53);
    lease->record = slot;
    lease->lease_us = lease_us;
    lease->lateness_us = now.wall_us - (int64_t)record->due_us;
    lease->counts_lateness = !(record->flags & FLAG_OVERDUE);
    list_add(sched, id, session);
    table_put(&sched->live, id, number);
    ends_add(sched, id, now.mono_us + lease_us);
    record_move_to(sched, slot, PLACE_LEASED);
    *slab_place(&sched->records, slot) = id;
    return id;
}

void lease_set_taken(struct sched *sched, uint32_t id)
{
    struct lease *lease = lease_at(sched, id);
    lease->is_taken = true;
    if (lease->session != SLAB_NONE)
        session_at(sched, lease->session)->taken++;
}

void lease_move(struct sched *sched, uint32_t id, uint32_t session)
{
    list_remove(sched, id);
    list_add(sched, id, session);
}

static void unlink_lease(struct sched *sched, uint32_t id)
{
    struct lease *lease = lease_at(sched, id);
    list_remove(sched, id);
    ends_remove(sched, id);
    table_remove(&sched->live, id);
    if (lease->record != SLAB_NONE)
        record_move_to(sched, lease->record, PLACE_NOWHERE);
}

void lease_end(struct sched *sched, uint32_t id)
{
    unlink_lease(sched, id);
    slab_give(&sched->leases, id);
}

/* Keeps what a late report is measured against: the lease, or (it was never delivered) the one
 * before. */
static void end_but_remember(struct sched *sched, uint32_t id, uint64_t number)
{
    uint32_t slot = lease_at(sched, id)->record;
    unlink_lease(sched, id);
    lease_at(sched, id)->number = number;
    table_put(&sched->ended, id, slot);
    record_set_flag(record_at(sched, slot), FLAG_ENDED);
}

/* --- lost ------------------------------------------------------------------------------------- */

static int64_t backoff_us(const struct sched *sched, const struct record *record, uint32_t count)
{
    const struct sched_policy *policy = queue_policy(sched, queue_of(sched, record));
    int64_t every_us = body_every_us(record_body(sched, record));
    int64_t most_us = policy->backoff_max_us > every_us ? policy->backoff_max_us : every_us;
    int64_t delay_us = policy->backoff_first_us;
    for (uint32_t i = 1; i < count && i < BACKOFF_DOUBLINGS_MAX && delay_us < most_us; i++)
        delay_us *= 2;
    if (delay_us > most_us)
        delay_us = most_us;
    /* Half of it by hash, so that a poison record parts from those that were in its batch. */
    uint64_t share = record_hash(sched, record, count) >> 32;
    return delay_us / 2 + (int64_t)((unsigned __int128)(uint64_t)(delay_us / 2) * share >> 32);
}

int64_t backoff_due_us(const struct sched *sched, const struct record *record, uint32_t count,
                       struct moment now)
{
    int64_t due_us = now.wall_us + backoff_us(sched, record, count);
    return due_us < TIME_US_END ? due_us : TIME_US_END - 1;
}

/* The windows that lie within the last minute, and the one that began before it. */
static uint64_t parked_lately(const struct queue *queue, int64_t window)
{
    uint64_t count = 0;
    for (int i = 0; i < PARK_WINDOWS; i++)
        if (window - queue->parked_windows[i] < PARK_WINDOWS)
            count += queue->parked_in_window[i];
    return count;
}

bool park_is_allowed(const struct sched *sched, const struct queue *queue, struct moment now)
{
    const struct sched_policy *policy = queue_policy(sched, queue);
    uint64_t share = queue_records(queue) * policy->parks_per_minute_ppm / 1000000;
    uint64_t most = share > policy->parks_per_minute_least ? share : policy->parks_per_minute_least;
    return parked_lately(queue, now.mono_us / PARK_WINDOW_US) < most;
}

void park_by_count(struct sched *sched, uint32_t slot, struct moment now)
{
    struct queue *queue = queue_of(sched, record_at(sched, slot));
    int64_t window = now.mono_us / PARK_WINDOW_US;
    if (queue->parked_windows[window % PARK_WINDOWS] != window) {
        queue->parked_windows[window % PARK_WINDOWS] = window;
        queue->parked_in_window[window % PARK_WINDOWS] = 0;
    }
    queue->parked_in_window[window % PARK_WINDOWS]++;
    queue->totals.parked_by_count++;
    record_park(sched, slot, now);
}

void lease_place_uncounted(struct sched *sched, uint32_t slot, int64_t due_us, struct moment now)
{
    int64_t own_us = (int64_t)record_at(sched, slot)->due_us;
    if (due_us == TIME_US_NEVER && own_us <= now.wall_us)
        record_make_ready(sched, slot);
    else /* it was resumed out of its back-off, or the wall clock was set back: not early */
        record_schedule(sched, slot, due_us == TIME_US_NEVER ? own_us : due_us, now);
}

/* What the loss of a lease does to its record, decided before anything is changed. */
struct loss {
    bool counted;
    bool parks;
    bool waits;     /* is held until the grace is over, and what is pending stays so */
    int64_t due_us; /* named by a pending change, or TIME_US_NEVER */
};

/* Several may have been given the record before the restart, each when the one before had been
 * lost: while one may still come back with its lease the record is nobody else's. */
static bool may_have_other_holders(const struct sched *sched, const struct lease *lease)
{
    return sched->grace_end_mono_us != TIME_US_NEVER && lease->number < sched->first_number;
}

/* All that needs memory or a number. On false the record is as it was, but may name a reason for
 * parking that the next report clears. */
static bool prepare_loss(struct sched *sched, uint32_t slot, struct bytes worker, struct moment now,
                         struct loss *loss)
{
    struct record *record = record_at(sched, slot);
    struct queue *queue = queue_of(sched, record);
    bool is_too_often = record->crashes + 1u >= queue_policy(sched, queue)->crashes_max;
    loss->parks = loss->counted && is_too_often && park_is_allowed(sched, queue, now);
    if (loss->parks) {
        struct body_fields fields;
        body_view(record_body(sched, record), &fields);
        fields.park_reason = bytes_of("its lease was lost too often");
        fields.last_worker = worker;
        fields.parked_us = now.wall_us;
        if (!heap_reserve(&queue->parked, queue->parked.count + 1) ||
            record_repack(sched, slot, &fields))
            return false;
    }
    loss->due_us = TIME_US_NEVER;
    loss->waits = loss->waits && !loss->parks;
    return loss->waits || !(record->flags & FLAG_PENDING) ||
           pending_apply_lost(sched, slot, now, &loss->due_us);
}

static void place_lost(struct sched *sched, uint32_t slot, const struct loss *loss,
                       struct moment now)
{
    if (loss->waits)
        record_hold(sched, slot);
    else
        lease_place_uncounted(sched, slot, loss->due_us, now);
}

static void count_crash(struct sched *sched, uint32_t slot, const struct loss *loss,
                        struct moment now)
{
    struct record *record = record_at(sched, slot);
    bool is_too_often =
        record->crashes + 1u >= queue_policy(sched, queue_of(sched, record))->crashes_max;
    record_set_crashes(record, record->crashes + 1u);
    record_mark(sched, slot);
    if (loss->due_us != TIME_US_NEVER)
        record_set_due(record, loss->due_us);
    if (loss->parks) {
        park_by_count(sched, slot, now);
        return;
    }
    if ((record->crashes < 2 && !is_too_often) || loss->due_us != TIME_US_NEVER) {
        place_lost(sched, slot, loss, now);
        return;
    }
    uint32_t tries = is_too_often ? UINT32_MAX : record->crashes - 1u;
    int64_t due_us = backoff_due_us(sched, record, tries, now);
    if (!loss->waits) {
        record_schedule(sched, slot, due_us, now);
        return;
    }
    record_set_due(record, due_us);
    record_hold(sched, slot);
}

/* Nobody's, and to be lost a little later. */
static void put_aside(struct sched *sched, uint32_t id, bool counted, struct moment now)
{
    list_remove(sched, id);
    lease_at(sched, id)->unconfirmed = !counted;
    ends_move(sched, id, now.mono_us + PUT_OFF_US);
}

void lease_lose(struct sched *sched, uint32_t id, bool counted, struct moment now)
{
    struct lease *lease = lease_at(sched, id);
    uint32_t slot = lease->record;
    if (slot == SLAB_NONE) {
        lease_end(sched, id);
        return;
    }
    struct loss loss = {.counted = counted, .waits = may_have_other_holders(sched, lease)};
    bool was_pending = record_at(sched, slot)->flags & FLAG_PENDING;
    if (!prepare_loss(sched, slot, session_name(sched, lease->session), now, &loss)) {
        put_aside(sched, id, counted, now);
        return;
    }
    struct queue *queue = queue_of(sched, record_at(sched, slot));
    if (counted)
        queue->totals.lost++;
    else
        queue->totals.given_back++;
    if (was_pending && !loss.waits) /* its state is another now: a late report is stale */
        lease_end(sched, id);
    else
        end_but_remember(sched, id, lease->number);
    if (counted)
        count_crash(sched, slot, &loss, now);
    else
        place_lost(sched, slot, &loss, now);
}

void lease_expire(struct sched *sched, struct moment now, struct effects *effects)
{
    for (int i = 0; i < ENDINGS_MAX; i++) {
        if (ends_first_mono_us(sched) > now.mono_us)
            return;
        if (!effects_reserve(effects, 1))
            return;
        uint32_t id = ends_first(sched);
        struct lease *lease = lease_at(sched, id);
        bool counted = !lease->unconfirmed;
        if (lease->session != SLAB_NONE)
            effects_add(effects, &(struct effect){
                                     .kind = EFFECT_CANCEL,
                                     .session = session_at(sched, lease->session)->number,
                                     .number = lease->number,
                                 });
        bool is_record_there = lease->record != SLAB_NONE;
        if (is_record_there && counted)
            queue_of(sched, record_at(sched, lease->record))->totals.expired++;
        if (is_record_there && counted && lease->session != SLAB_NONE)
            session_note_expired(session_at(sched, lease->session), now);
        lease_lose(sched, id, counted, now);
    }
}

/* --- what a session says of its leases -------------------------------------------------------- */

/* The live lease that a name means. STALE when it is not this record's, GONE when the record is no
 * more: then the lease, or SLAB_NONE where the number is not that record's but some other's. */
static enum status find_named(const struct sched *sched, uint32_t session,
                              const struct lease_name *name, uint32_t *found)
{
    uint32_t slot = session_find(sched, session);
    if (slot == SLAB_NONE)
        return STATUS_NO_SESSION;
    const struct session *owner = session_at(sched, slot);
    if (name->queue >= owner->queue_count)
        return STATUS_BAD_FIELD;
    struct queue *queue = sched->queues[owner->queues[name->queue]];
    *found = lease_find(sched, name->lease);
    if (*found != SLAB_NONE && lease_at(sched, *found)->record == SLAB_NONE)
        return STATUS_GONE;
    uint32_t record = record_find(sched, queue, name->key);
    if (*found != SLAB_NONE && lease_at(sched, *found)->record != record)
        *found = SLAB_NONE;
    if (record == SLAB_NONE || !record_is_visible(record_at(sched, record)))
        return STATUS_GONE;
    return *found == SLAB_NONE ? STATUS_STALE : STATUS_OK;
}

enum status lease_touch(struct sched *sched, const struct event *event)
{
    uint32_t id;
    enum status status = find_named(sched, event->session, event->touch.name, &id);
    if (status)
        return status;
    int64_t lease_us = session_at(sched, session_find(sched, event->session))->lease_us;
    if (event->touch.lease_ms) {
        if (event->touch.lease_ms < LEASE_MS_MIN || event->touch.lease_ms > LEASE_MS_MAX)
            return STATUS_BAD_TIME;
        lease_us = (int64_t)event->touch.lease_ms * US_PER_MS;
    }
    ends_move(sched, id, event->now.mono_us + lease_us);
    return STATUS_OK;
}

enum status lease_give_back(struct sched *sched, const struct event *event)
{
    uint32_t id;
    enum status status = find_named(sched, event->session, &event->give_back->name, &id);
    if (status == STATUS_GONE && id != SLAB_NONE)
        lease_end(sched, id);
    if (status)
        return status;
    lease_lose(sched, id, event->give_back->begun, event->now);
    return STATUS_OK;
}

enum status lease_undelivered(struct sched *sched, const struct event *event)
{
    uint32_t id = lease_find(sched, event->number);
    if (id == SLAB_NONE)
        return STATUS_STALE;
    struct lease *lease = lease_at(sched, id);
    uint32_t slot = lease->record;
    if (slot == SLAB_NONE) {
        lease_end(sched, id);
        return STATUS_OK;
    }
    struct loss loss = {.counted = false};
    queue_of(sched, record_at(sched, slot))->totals.dispatched--;
    if (!prepare_loss(sched, slot, (struct bytes){NULL, 0}, event->now, &loss)) {
        put_aside(sched, id, false, event->now);
        return STATUS_OK;
    }
    if (lease->delivered_before)
        end_but_remember(sched, id, lease->delivered_before);
    else
        lease_end(sched, id);
    lease_place_uncounted(sched, slot, loss.due_us, event->now);
    return STATUS_OK;
}
