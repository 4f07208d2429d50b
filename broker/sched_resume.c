#include "sched_internal.h"

/* The record has no live lease: it becomes leased again, under the number that the worker names. */
static enum status resume_idle(struct sched *sched, uint32_t slot, uint32_t session,
                               const struct event *event)
{
    struct record *record = record_at(sched, slot);
    uint64_t number = event->resume->name.lease;
    uint32_t ended = lease_find_ended(sched, slot);
    if (ended != SLAB_NONE && lease_at(sched, ended)->number > number)
        return STATUS_STALE;
    if (number >= sched->next_number || number <= record->state)
        return STATUS_STALE;
    bool was_parked = record->where == PLACE_PARKED;
    /* What is parked no more is written, and so is what the end of the lease will change. */
    if (!lease_reserve(sched, 1) || !record_reserve(sched, was_parked ? 2 : 1))
        return STATUS_NO_MEMORY;
    record_displace(sched, slot);
    uint32_t id =
        lease_new(sched, slot, number, session, session_at(sched, session)->lease_us, event->now);
    lease_at(sched, id)->counts_lateness = false; /* it was dispatched before */
    if (was_parked)                               /* no more, and not after a restart either */
        record_mark(sched, slot);
    return STATUS_OK;
}

/* The record has a live lease: the higher number holds it. */
static enum status resume_leased(struct sched *sched, uint32_t slot, uint32_t session,
                                 const struct event *event, struct effects *effects)
{
    uint32_t id = record_lease(sched, slot);
    struct lease *lease = lease_at(sched, id);
    uint64_t number = event->resume->name.lease;
    if (lease->number > number || number >= sched->next_number)
        return STATUS_STALE;
    if (lease->number == number) {
        lease_move(sched, id, session);
        lease->unconfirmed = false;
        ends_move(sched, id, event->now.mono_us + lease->lease_us);
        return STATUS_OK;
    }
    if (!lease_reserve(sched, 1) || !effects_reserve(effects, 1))
        return STATUS_NO_MEMORY;
    if (lease->session != SLAB_NONE)
        effects_add(effects, &(struct effect){
                                 .kind = EFFECT_CANCEL,
                                 .session = session_at(sched, lease->session)->number,
                                 .number = lease->number,
                             });
    lease_end(sched, id);
    id = lease_new(sched, slot, number, session, session_at(sched, session)->lease_us, event->now);
    lease_at(sched, id)->counts_lateness = false;
    return STATUS_OK;
}

static enum status resume_one(struct sched *sched, uint32_t session, const struct event *event,
                              struct effects *effects)
{
    const struct resume *resume = event->resume;
    const struct session *owner = session_at(sched, session);
    if (resume->name.queue >= owner->queue_count)
        return STATUS_BAD_FIELD;
    struct queue *queue = sched->queues[owner->queues[resume->name.queue]];
    uint32_t slot = record_find(sched, queue, resume->name.key);
    if (slot == SLAB_NONE || !record_is_visible(record_at(sched, slot)))
        return STATUS_GONE;
    const struct record *record = record_at(sched, slot);
    if (record->state == resume->name.lease)
        return STATUS_OK; /* its report was accepted; it will be answered so again */
    if (record->state != resume->state)
        return STATUS_STALE;
    if (record->where == PLACE_LEASED)
        return resume_leased(sched, slot, session, event, effects);
    return resume_idle(sched, slot, session, event);
}

enum status lease_resume(struct sched *sched, const struct event *event, struct effects *effects)
{
    uint32_t session = session_find(sched, event->session);
    if (session == SLAB_NONE)
        return STATUS_NO_SESSION;
    enum status status = resume_one(sched, session, event, effects);
    if (status == STATUS_OK)
        session_write(sched, session);
    if (status != STATUS_NO_MEMORY)
        session_announced(sched, session, event->now);
    return status;
}
