#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "sched_internal.h"

/* --- queues ----------------------------------------------------------------------------------- */

struct queue *queue_find(const struct sched *sched, struct bytes name)
{
    for (uint32_t i = 0; i < sched->queue_count; i++) {
        struct queue *queue = sched->queues[i];
        if (queue->name_bytes == name.count && memcmp(queue->name, name.data, name.count) == 0)
            return queue;
    }
    return NULL;
}

enum status queue_require(struct sched *sched, struct bytes name, struct queue **found)
{
    struct queue *queue = queue_find(sched, name);
    if (!queue) {
        if (!bytes_are_queue_name(name))
            return STATUS_BAD_FIELD;
        uint32_t most = sched->is_loading ? QUEUES_MAX : sched->settings.limits.queues_max;
        if (sched->queue_count >= most || sched->queue_count >= QUEUES_MAX)
            return STATUS_TOO_MANY;
        queue = calloc(1, sizeof(*queue));
        if (!queue)
            return STATUS_NO_MEMORY;
        queue->id = (uint16_t)sched->queue_count;
        queue->name_bytes = (uint8_t)name.count;
        memcpy(queue->name, name.data, name.count);
        queue->first_take = queue->last_take = SLAB_NONE;
        heap_init(&queue->ready, &sched->records, &sched->chunks);
        heap_init(&queue->parked, &sched->records, &sched->chunks);
        sched->queues[sched->queue_count++] = queue;
        queue->is_dirty = true;
    }
    *found = queue;
    return STATUS_OK;
}

void queue_mark(struct queue *queue)
{
    queue->is_dirty = true;
}

const struct sched_policy *queue_policy(const struct sched *sched, const struct queue *queue)
{
    return queue->has_policy ? &queue->policy : &sched->settings.policy;
}

uint64_t queue_records(const struct queue *queue)
{
    return queue->counts[PLACE_WAITING] + queue->counts[PLACE_READY] + queue->counts[PLACE_LEASED] +
           queue->counts[PLACE_PARKED] + queue->counts[PLACE_HELD];
}

/* --- keys ------------------------------------------------------------------------------------- */

uint64_t key_hash(struct bytes key, uint64_t seed)
{
    return hash_bytes(key, seed);
}

uint64_t record_hash(const struct sched *sched, const struct record *record, uint64_t seed)
{
    return hash_bytes(body_key(record_body(sched, record)), seed);
}

uint32_t record_find(const struct sched *sched, const struct queue *queue, struct bytes key)
{
    uint64_t hash = key_hash(key, queue->id);
    uint32_t slot = table_first(&sched->keys, hash);
    for (; slot != SLAB_NONE; slot = table_next(&sched->keys, slot)) {
        const struct record *record = record_at(sched, slot);
        if (record->queue == queue->id && bytes_equal(body_key(record_body(sched, record)), key))
            break;
    }
    return slot;
}

/* --- what is written -------------------------------------------------------------------------- */

static bool reserve_dirty(struct sched *sched, unsigned parity, uint32_t more)
{
    uint32_t wanted = sched->dirty_count[parity] + more;
    if (wanted <= sched->dirty_room[parity])
        return true;
    uint32_t room = sched->dirty_room[parity] ? sched->dirty_room[parity] : DIRTY_ROOM_LEAST;
    while (room < wanted)
        room *= 2;
    uint32_t *dirty = realloc(sched->dirty[parity], room * sizeof(*dirty));
    if (!dirty)
        return false;
    sched->dirty[parity] = dirty;
    sched->dirty_room[parity] = room;
    return true;
}

bool record_make_room(struct sched *sched, uint32_t more)
{
    return reserve_dirty(sched, 0, more) && reserve_dirty(sched, 1, more);
}

void record_mark_cold(struct sched *sched, uint32_t slot)
{
    record_mark(sched, slot);
    record_set_flag(record_at(sched, slot), FLAG_COLD);
}

/* --- bodies ----------------------------------------------------------------------------------- */

void record_set_body(struct sched *sched, uint32_t slot, uint32_t body)
{
    struct record *record = record_at(sched, slot);
    struct queue *queue = queue_of(sched, record);
    uint64_t before = record->body ? body_bytes(record_body(sched, record)) : 0;
    uint64_t after = body_bytes(bodies_at(&sched->bodies, body));
    sched->body_bytes += after - before;
    queue->body_bytes += after - before;
    bodies_give(&sched->bodies, record->body);
    record->body = body;
    if (body_rank(record_body(sched, record)))
        record_set_flag(record, FLAG_RANKED);
    else
        record_clear_flag(record, FLAG_RANKED);
}

enum status record_repack(struct sched *sched, uint32_t slot, const struct body_fields *fields)
{
    struct record *record = record_at(sched, slot);
    uint32_t body = bodies_put(&sched->bodies, fields);
    if (!body)
        return STATUS_NO_MEMORY;
    const uint8_t *old = record_body(sched, record), *new = bodies_at(&sched->bodies, body);
    uint32_t count = body_bytes(new);
    if (count == body_bytes(old) && memcmp(new, old, count) == 0) {
        bodies_give(&sched->bodies, body);
        return STATUS_OK;
    }
    record_set_body(sched, slot, body);
    record_mark_cold(sched, slot);
    return STATUS_OK;
}

bool record_has_tidying(const struct sched *sched)
{
    return sched->bodies.leaving || bodies_are_sparse(&sched->bodies);
}

void record_tidy(struct sched *sched, uint32_t *budget)
{
    if (!sched->bodies.leaving) {
        if (!bodies_are_sparse(&sched->bodies))
            return;
        bodies_begin_leaving(&sched->bodies);
        sched->tidied = 0;
    }
    for (; *budget && sched->bodies.leaving; sched->tidied++, --*budget) {
        assert(sched->tidied < sched->records.used_end); /* whose body is in none of the others */
        struct record *record = record_at(sched, sched->tidied);
        if (!record->body || !bodies_leaves(&sched->bodies, record->body))
            continue;
        uint32_t moved = bodies_move(&sched->bodies, record->body);
        if (!moved)
            return;
        record->body = moved;
    }
}

/* --- made ------------------------------------------------------------------------------------- */

enum status record_check_room(const struct sched *sched)
{
    if (sched->is_loading) /* what is stored is loaded, though a limit is lower now */
        return STATUS_OK;
    if (sched->records.count >= sched->settings.limits.records_max)
        return STATUS_TOO_MANY;
    return sched->body_bytes < sched->settings.limits.bytes_max ? STATUS_OK : STATUS_NO_SPACE;
}

enum status record_make(struct sched *sched, struct queue *queue, const struct body_fields *fields,
                        uint32_t *made)
{
    if (!heap_reserve(&sched->waiting, sched->records.count + 1) || !record_reserve(sched, 1))
        return STATUS_NO_MEMORY;
    uint32_t body = bodies_put(&sched->bodies, fields);
    uint32_t slot = body ? slab_take(&sched->records) : SLAB_NONE;
    if (slot == SLAB_NONE) {
        bodies_give(&sched->bodies, body);
        return STATUS_NO_MEMORY;
    }
    struct record *record = record_at(sched, slot);
    record->queue = queue->id & MASK_BITS(10);
    record_set_body(sched, slot, body);
    queue->counts[PLACE_NOWHERE]++;
    *made = slot;
    return STATUS_OK;
}

enum status record_new(struct sched *sched, struct queue *queue, const struct body_fields *fields,
                       uint32_t *made)
{
    enum status status = record_check_room(sched);
    if (!status && !table_reserve(&sched->keys))
        status = STATUS_NO_MEMORY;
    if (!status)
        status = record_make(sched, queue, fields, made);
    if (!status)
        table_put(&sched->keys, *made, key_hash(fields->key, queue->id));
    return status;
}

void record_begin(struct sched *sched, uint32_t slot, uint64_t state)
{
    struct record *record = record_at(sched, slot);
    assert(record->number == 0);
    record->number = sched->next_record++ & MASK_BITS(40);
    sched->is_meta_dirty = true;
    record_set_state(record, state);
    record_move_to(sched, slot, PLACE_NOWHERE);
    record_mark_cold(sched, slot);
    queue_of(sched, record)->totals.created++;
}

/* --- places ----------------------------------------------------------------------------------- */

void record_displace(struct sched *sched, uint32_t slot)
{
    struct record *record = record_at(sched, slot);
    struct queue *queue = queue_of(sched, record);
    if (record->where == PLACE_WAITING)
        heap_remove(&sched->waiting, slot);
    else if (record->where == PLACE_PARKED)
        heap_remove(&queue->parked, slot);
    else if (record->where == PLACE_READY && !(record->flags & FLAG_AWAIT))
        heap_remove(&queue->ready, slot);
    assert(record->where != PLACE_LEASED);
    record_clear_flag(record, FLAG_AWAIT);
    record_move_to(sched, slot, PLACE_NOWHERE);
}

/* Without memory for the ready heap it waits in the other, and is tried again in the next turn. */
static void wait_instead(struct sched *sched, uint32_t slot)
{
    record_move_to(sched, slot, PLACE_WAITING);
    heap_push(&sched->waiting, slot, (int64_t)record_at(sched, slot)->due_us);
}

void record_make_ready(struct sched *sched, uint32_t slot)
{
    struct record *record = record_at(sched, slot);
    struct queue *queue = queue_of(sched, record);
    assert(record->where == PLACE_NOWHERE || record->where == PLACE_WAITING);
    if (record->flags & FLAG_DIRTY) {
        record_set_flag(record, FLAG_AWAIT);
        record_move_to(sched, slot, PLACE_READY);
        return;
    }
    int64_t rank = record->flags & FLAG_RANKED ? body_rank(record_body(sched, record)) : 0;
    if (!heap_reserve(&queue->ready, queue->ready.count + 1) ||
        (rank && !heap_use_ranks(&queue->ready))) {
        wait_instead(sched, slot);
        return;
    }
    record_move_to(sched, slot, PLACE_READY);
    heap_push_ranked(&queue->ready, slot, rank, (int64_t)record->due_us);
}

void record_schedule(struct sched *sched, uint32_t slot, int64_t due_us, struct moment now)
{
    struct record *record = record_at(sched, slot);
    record_set_due(record, due_us);
    record_clear_flag(record, FLAG_OVERDUE);
    if (due_us <= now.wall_us) {
        record_set_flag(record, FLAG_OVERDUE);
        record_make_ready(sched, slot);
        return;
    }
    record_move_to(sched, slot, PLACE_WAITING);
    heap_push(&sched->waiting, slot, due_us);
}

void record_hold(struct sched *sched, uint32_t slot)
{
    record_set_flag(record_at(sched, slot), FLAG_OVERDUE);
    record_move_to(sched, slot, PLACE_HELD);
}

void record_park(struct sched *sched, uint32_t slot, struct moment now)
{
    struct queue *queue = queue_of(sched, record_at(sched, slot));
    int64_t since_us = now.wall_us < 0 ? 0 : now.wall_us;
    assert(queue->parked.segment_count); /* reserved by whoever decided to park */
    record_move_to(sched, slot, PLACE_PARKED);
    heap_push(&queue->parked, slot, since_us < TIME_US_END ? since_us : TIME_US_END - 1);
}

/* --- gone ------------------------------------------------------------------------------------- */

/* With it go the key and the bytes that are counted. */
static void give_up_body(struct sched *sched, uint32_t slot)
{
    struct record *record = record_at(sched, slot);
    uint64_t bytes = body_bytes(record_body(sched, record));
    table_remove(&sched->keys, slot);
    sched->body_bytes -= bytes;
    queue_of(sched, record)->body_bytes -= bytes;
    bodies_give(&sched->bodies, record->body);
    record->body = BODIES_NONE;
}

void record_remove(struct sched *sched, uint32_t slot)
{
    struct record *record = record_at(sched, slot);
    struct queue *queue = queue_of(sched, record);
    if (record->flags & FLAG_ENDED)
        lease_forget_ended(sched, slot);
    if (record->flags & FLAG_PENDING)
        pending_drop(sched, slot);
    if (record->where != PLACE_NOWHERE)
        record_displace(sched, slot);
    give_up_body(sched, slot);
    record_mark(sched, slot);
    record_clear_flag(record, FLAG_COLD);
    record_move_to(sched, slot, PLACE_REMOVED);
    queue->totals.removed++;
}

void record_free(struct sched *sched, uint32_t slot)
{
    struct record *record = record_at(sched, slot);
    assert(!record->body);
    queue_of(sched, record)->counts[record->where]--;
    record->where = PLACE_NOWHERE;
    slab_give(&sched->records, slot);
}

void record_drop(struct sched *sched, uint32_t slot)
{
    struct record *record = record_at(sched, slot);
    assert(record->where == PLACE_STAGED || record->where == PLACE_NOWHERE);
    assert(!(record->flags & FLAG_DIRTY));
    give_up_body(sched, slot);
    record_free(sched, slot);
}
