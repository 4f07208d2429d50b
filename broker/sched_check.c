/* The invariants of the core, all of them, at a cost of O(records): for tests and the simulator. */
#include "sched_internal.h"

#define HOLDS(condition, text)                                                                     \
    if (!(condition)) {                                                                            \
        *what = text;                                                                              \
        return false;                                                                              \
    }

static bool check_record(const struct sched *sched, uint32_t slot, const char **what)
{
    const struct record *record = record_at(sched, slot);
    const struct queue *queue = queue_of(sched, record);
    bool has_lease = record->where == PLACE_LEASED;
    HOLDS(record->body || record->where == PLACE_REMOVED, "a record has no body");
    HOLDS(!(record->flags & FLAG_AWAIT) || record->where == PLACE_READY, "waits for nothing");
    HOLDS(!(record->flags & FLAG_AWAIT) || record->flags & FLAG_DIRTY, "waits, but is durable");
    HOLDS(record->where == PLACE_STAGED || record->number, "a record has no number");
    HOLDS(record->number < sched->next_record, "a number from the future");
    HOLDS(record->state < sched->next_number, "a state number from the future");
    if (record->where == PLACE_READY && !(record->flags & FLAG_AWAIT))
        HOLDS(!(record->flags & FLAG_DIRTY), "ready, but not durable");
    if (record->where != PLACE_REMOVED)
        HOLDS(record_find(sched, queue, body_key(record_body(sched, record))) == slot,
              "not found by its key");
    if (has_lease) {
        const struct lease *lease = lease_at(sched, record_lease(sched, slot));
        HOLDS(lease->record == slot, "its lease is another's");
        HOLDS(lease->number > record->state, "its lease is older than its state");
        HOLDS(lease_find(sched, lease->number) == record_lease(sched, slot),
              "its lease is not found");
    }
    if (record->flags & FLAG_ENDED)
        HOLDS(!has_lease && lease_find_ended(sched, slot) != SLAB_NONE, "no ended lease");
    if (record->flags & FLAG_PENDING)
        HOLDS(pending_find(sched, slot) && record_is_out(record), "pending, but not out");
    return true;
}

static bool check_sessions(const struct sched *sched, const char **what)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < sched->session_slot_room; i++) {
        if (sched->session_slots[i] == SLAB_NONE)
            continue;
        const struct session *session = session_at(sched, sched->session_slots[i]);
        uint32_t count = 0;
        for (uint32_t id = session->first_lease; id != SLAB_NONE; id = lease_at(sched, id)->after) {
            HOLDS(lease_at(sched, id)->session == sched->session_slots[i], "a lease of another's");
            count++;
        }
        HOLDS(count == session->held, "a session's leases are miscounted");
        held += count;
    }
    HOLDS(held <= sched->live.count, "more leases held than live");
    HOLDS(sched->uids.count == sched->sessions.count, "a session is not found by its uid");
    HOLDS(sched->live.count == ends_count(sched), "a lease without end");
    HOLDS(sched->live.count + sched->ended.count == sched->leases.count, "a lease is lost");
    return true;
}

/* What ends a lease, a session or a pending change must never want memory. */
static bool check_room(const struct sched *sched, const char **what)
{
    size_t ends = (size_t)sched->pendings.count + sched->expected_count;
    for (uint32_t i = 0; i < sched->session_slot_room; i++)
        if (sched->session_slots[i] != SLAB_NONE)
            ends += session_at(sched, sched->session_slots[i])->is_stored ? 1 : 2;
    HOLDS(sched->rows->row_count + ends <= sched->rows->row_room, "no room for the row of an end");
    for (unsigned parity = 0; parity < 2; parity++)
        HOLDS(sched->dirty_count[parity] + sched->live.count <= sched->dirty_room[parity],
              "no room for the end of a lease");
    return true;
}

static bool check_queue(const struct queue *queue, const uint64_t *counts, uint32_t *chunks,
                        const char **what)
{
    for (int where = PLACE_WAITING; where < PLACE_COUNT; where++)
        HOLDS(queue->counts[where] == counts[where], "a queue's records are miscounted");
    HOLDS(queue->ready.count <= queue->counts[PLACE_READY], "more ready than ready");
    HOLDS(queue->parked.count == queue->counts[PLACE_PARKED], "parked ones are miscounted");
    HOLDS(queue_records(queue) == queue->totals.created - queue->totals.removed,
          "records are not created - removed");
    return heap_check(&queue->ready, chunks, what) && heap_check(&queue->parked, chunks, what);
}

bool sched_check(const struct sched *sched, const char **what)
{
    uint64_t waiting = 0;
    uint32_t chunks = 0;
    for (uint32_t i = 0; i < sched->queue_count; i++) {
        uint64_t counts[PLACE_COUNT] = {0};
        for (uint32_t slot = 0; slot < sched->records.used_end; slot++) {
            const struct record *record = record_at(sched, slot);
            if (record->where == PLACE_NOWHERE || record->queue != i)
                continue;
            counts[record->where]++;
            if (!check_record(sched, slot, what))
                return false;
        }
        if (!check_queue(sched->queues[i], counts, &chunks, what))
            return false;
        waiting += counts[PLACE_WAITING];
    }
    HOLDS(waiting == sched->waiting.count, "waiting ones are miscounted");
    if (!heap_check(&sched->waiting, &chunks, what) ||
        !heap_check(&sched->session_ends, &chunks, what) ||
        !heap_check(&sched->take_ends, &chunks, what) || !ends_check(sched, &chunks, what))
        return false;
    HOLDS(chunks == sched->chunks.used_end - sched->chunks.free_count, "a chunk is lost");
    return check_sessions(sched, what) && check_room(sched, what) &&
           bodies_check(&sched->bodies, what);
}
