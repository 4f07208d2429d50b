#include <string.h>

#include "sched_internal.h"

enum { OLDEST_LOOKS = 65536 };

/* --- fetching ahead --------------------------------------------------------------------------- */

/* Always in line: gcc takes a function that does nothing else for one without effect. */
#define FETCH __attribute__((always_inline)) static inline

/* The end of the group that begins at `from`, in a list of `count`. */
static size_t group_end(size_t from, size_t count)
{
    return count < from + FETCH_MAX ? count : from + FETCH_MAX;
}

/* The record of a live lease; SLAB_NONE. */
static uint32_t leased_record(const struct sched *sched, uint64_t number)
{
    uint32_t id = lease_find(sched, number);
    return id == SLAB_NONE ? SLAB_NONE : lease_at(sched, id)->record;
}

/* Each step needs what the one before it asked for, so it comes a group later. */
FETCH void fetch_leases(const struct sched *sched, const uint64_t *numbers, size_t count,
                        size_t from)
{
    size_t end = group_end(from, count);
    for (size_t i = from; i < end; i++) {
        uint32_t id = table_head_first(&sched->live, numbers[i]);
        if (id != SLAB_NONE)
            __builtin_prefetch(lease_at(sched, id));
    }
}

FETCH void fetch_records(const struct sched *sched, const uint64_t *numbers, uint32_t *slots,
                         size_t count, size_t from)
{
    size_t end = group_end(from, count);
    for (size_t i = from; i < end; i++) {
        slots[i] = leased_record(sched, numbers[i]);
        if (slots[i] != SLAB_NONE)
            record_fetch(sched, slots[i]);
    }
}

/* Of a body a report needs the header and the key. */
FETCH void fetch_keys(const struct sched *sched, const uint32_t *slots, size_t count, size_t from)
{
    size_t end = group_end(from, count);
    for (size_t i = from; i < end; i++)
        if (slots[i] != SLAB_NONE)
            record_fetch_key(sched, slots[i]);
}

void sched_fetch_leases(const struct sched *sched, const uint64_t *numbers, uint32_t *slots,
                        uint32_t count, uint32_t at)
{
    if (at == 0) {
        fetch_leases(sched, numbers, count, 0);
        fetch_leases(sched, numbers, count, FETCH_MAX);
        fetch_records(sched, numbers, slots, count, 0);
    }
    fetch_leases(sched, numbers, count, at + 2 * FETCH_MAX);
    fetch_records(sched, numbers, slots, count, at + FETCH_MAX);
    fetch_keys(sched, slots, count, at);
}

FETCH void fetch_task_records(const struct sched *sched, const struct effects *effects, size_t from)
{
    size_t end = group_end(from, effects->count);
    for (size_t i = from; i < end; i++)
        if (effects->list[i].kind == EFFECT_TASK)
            record_fetch(sched, effects->list[i].record);
}

FETCH void fetch_task_bodies(const struct sched *sched, const struct effects *effects, size_t from)
{
    size_t end = group_end(from, effects->count);
    for (size_t i = from; i < end; i++) {
        const struct effect *effect = &effects->list[i];
        if (effect->kind != EFFECT_TASK || record_at(sched, effect->record)->where != PLACE_LEASED)
            continue;
        record_fetch_body(sched, effect->record);
        __builtin_prefetch(lease_at(sched, record_lease(sched, effect->record)));
    }
}

void sched_fetch_tasks(const struct sched *sched, const struct effects *effects, size_t at)
{
    if (at == 0)
        fetch_task_records(sched, effects, 0);
    fetch_task_records(sched, effects, at + FETCH_MAX);
    fetch_task_bodies(sched, effects, at);
}

void sched_fetch_keys(const struct sched *sched, const struct event *event,
                      const struct bytes *keys, uint32_t count)
{
    const struct table *table = &sched->keys;
    uint64_t hashes[FETCH_MAX];
    uint32_t slots[FETCH_MAX];
    uint32_t found = 0;
    const struct queue *queue = event->kind == EVENT_PUT
                                    ? queue_find(sched, event->put.queue)
                                    : sync_find_queue(sched, event->sync_item.generation);
    assert(count <= FETCH_MAX);
    if (!queue || !table->bucket_count)
        return;
    for (uint32_t i = 0; i < count; i++) {
        hashes[i] = key_hash(keys[i], queue->id);
        table_fetch_head(table, hashes[i]);
    }
    uint32_t next_split = table->bucket_count - table->level_buckets;
    for (uint32_t i = 0; i < count; i++) {
        table_fetch_link(table, table_bucket(table, (uint32_t)hashes[i]));
        if (next_split + i < table->level_buckets) /* as new keys are added */
            table_fetch_link(table, next_split + i);
    }
    for (uint32_t i = 0; i < count; i++) {
        slots[found] = table_first(table, hashes[i]);
        if (slots[found] != SLAB_NONE)
            record_fetch(sched, slots[found++]);
    }
    for (uint32_t i = 0; i < found; i++)
        record_fetch_body(sched, slots[i]);
}

/* --- tasks and records ------------------------------------------------------------------------ */

static uint32_t queue_index(const struct session *session, uint32_t queue)
{
    uint32_t i = 0;
    while (i < session->queue_count && session->queues[i] != queue)
        i++;
    return i;
}

/* The live lease of an effect; SLAB_NONE when it has ended. */
static uint32_t lease_of(const struct sched *sched, const struct effect *effect)
{
    if (record_at(sched, effect->record)->where != PLACE_LEASED)
        return SLAB_NONE;
    uint32_t id = record_lease(sched, effect->record);
    return lease_at(sched, id)->number == effect->number ? id : SLAB_NONE;
}

/* What a body rarely has. */
static void view_body_rest(const uint8_t *body, struct task *task)
{
    struct body_fields fields;
    body_view(body, &fields);
    task->memo = fields.memo;
    task->group = fields.group;
    task->every_us = fields.every_us;
    task->rank = fields.rank;
}

static void view_body(const uint8_t *body, struct task *task)
{
    const struct bytes absent = {NULL, 0};
    task->name.key = body_key(body);
    task->payload = body_payload(body);
    task->once = body_has(body, BODY_ONCE);
    task->memo = absent; /* one by one: a copy of what was just written waits for it */
    task->group = absent;
    task->every_us = task->rank = 0;
    if (body_has(body, ~(unsigned)(BODY_PAYLOAD | BODY_ONCE)))
        view_body_rest(body, task);
}

bool sched_view_task(const struct sched *sched, const struct effect *effect, struct moment now,
                     struct task *task)
{
    uint32_t id = lease_of(sched, effect);
    uint32_t session = session_find(sched, effect->session);
    if (id == SLAB_NONE || session == SLAB_NONE)
        return false;
    const struct record *record = record_at(sched, effect->record);
    int64_t lateness_us = now.wall_us - (int64_t)record->due_us;
    task->name.queue = queue_index(session_at(sched, session), record->queue);
    task->name.lease = effect->number;
    task->state = record->state;
    task->due_us = (int64_t)record->due_us;
    task->lateness_us = lateness_us > 0 ? lateness_us : 0;
    task->failures = record->failures;
    task->crashes = record->crashes;
    task->lease_ms = (uint32_t)(lease_at(sched, id)->lease_us / US_PER_MS);
    view_body(record_body(sched, record), task);
    return true;
}

static enum record_status status_of(const struct record *record)
{
    switch ((enum place)record->where) {
    case PLACE_WAITING:
        return RECORD_WAITING;
    case PLACE_READY:
        return RECORD_READY;
    case PLACE_PARKED:
        return RECORD_PARKED;
    case PLACE_LEASED:
    case PLACE_HELD:
    case PLACE_NOWHERE:
    case PLACE_STAGED:
    case PLACE_REMOVED:
        break;
    }
    return RECORD_LEASED;
}

void sched_view_slot(const struct sched *sched, uint32_t slot, struct record_view *view)
{
    const struct record *record = record_at(sched, slot);
    struct body_fields fields;
    body_view(record_body(sched, record), &fields);
    *view = (struct record_view){
        .key = fields.key,
        .status = status_of(record),
        .due_us = (int64_t)record->due_us,
        .every_us = fields.every_us,
        .rank = fields.rank,
        .group = fields.group,
        .once = fields.once,
        .failures = record->failures,
        .crashes = record->crashes,
        .state = record->state,
        .payload = fields.payload,
        .memo = fields.memo,
        .note = fields.note,
        .error = fields.error,
        .park_reason = fields.park_reason,
        .parked_us = fields.parked_us,
        .last_worker = fields.last_worker,
    };
}

enum status sched_view_record(const struct sched *sched, struct bytes name, struct bytes key,
                              struct record_view *view)
{
    struct queue *queue = queue_find(sched, name);
    uint32_t slot = queue ? record_find(sched, queue, key) : SLAB_NONE;
    if (slot == SLAB_NONE || !record_is_visible(record_at(sched, slot)))
        return STATUS_NOT_FOUND;
    sched_view_slot(sched, slot, view);
    return STATUS_OK;
}

bool sched_list_next(const struct sched *sched, struct bytes name, unsigned statuses,
                     struct bytes prefix, uint64_t *cursor, uint32_t *budget,
                     struct record_view *view)
{
    struct queue *queue = queue_find(sched, name);
    while (queue && *cursor < sched->records.used_end) {
        if (*budget == 0)
            return false;
        --*budget;
        uint32_t slot = (uint32_t)(*cursor)++;
        const struct record *record = record_at(sched, slot);
        if (!record_is_visible(record) || record->queue != queue->id ||
            !(statuses & status_of(record)))
            continue;
        struct bytes key = body_key(record_body(sched, record));
        if (key.count < prefix.count ||
            (prefix.count && memcmp(key.data, prefix.data, prefix.count)))
            continue;
        sched_view_slot(sched, slot, view);
        return true;
    }
    *cursor = 0;
    return false;
}

/* The ready ones in their order; then the waiting heap, which all queues share: looked at ever
 * deeper until it has shown enough of this queue. */
uint32_t sched_peek(const struct sched *sched, struct bytes name, uint32_t *slots, uint32_t max)
{
    struct queue *queue = queue_find(sched, name);
    if (!queue)
        return 0;
    uint32_t found = heap_peek(&queue->ready, slots, max);
    struct heap_walk walk;
    if (found == max || !heap_walk_begin(&walk, &sched->waiting))
        return found;
    uint64_t left = queue->counts[PLACE_WAITING];
    while (found < max && left) {
        uint32_t slot = heap_walk_next(&walk);
        if (slot == SLAB_NONE)
            break;
        if (record_at(sched, slot)->queue != queue->id)
            continue;
        slots[found++] = slot;
        left--;
    }
    heap_walk_end(&walk);
    return found;
}

/* --- numbers ---------------------------------------------------------------------------------- */

static void add_totals(struct sched_totals *sum, const struct sched_totals *totals)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)totals;
    for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
        to[i] += from[i];
}

static uint64_t queue_leased(const struct queue *queue)
{
    return queue->counts[PLACE_LEASED] + queue->counts[PLACE_HELD];
}

uint64_t sched_leased(const struct sched *sched)
{
    uint64_t leased = 0;
    for (uint32_t i = 0; i < sched->queue_count; i++)
        leased += queue_leased(sched->queues[i]);
    return leased;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Percentiles of several queues: that of the worst. Exact for one queue, never too good for more.
 */
static void add_queue(const struct queue *queue, struct moment now, struct sched_numbers *numbers)
{
    numbers->waiting += queue->counts[PLACE_WAITING];
    numbers->ready += queue->counts[PLACE_READY];
    numbers->leased += queue_leased(queue);
    numbers->parked += queue->counts[PLACE_PARKED];
    numbers->records += queue_records(queue);
    numbers->body_bytes += queue->body_bytes;
    add_totals(&numbers->totals, &queue->totals);
    int64_t head_us = heap_first_time(&queue->ready);
    if (head_us != TIME_US_NEVER && !queue->ready.ranks)
        numbers->head_lateness_us = larger(numbers->head_lateness_us, now.wall_us - head_us);
    const struct stats *late = &queue->lateness;
    numbers->lateness_p50_us =
        larger(numbers->lateness_p50_us, stats_percentile(late, now.mono_us, 500000));
    numbers->lateness_p99_us =
        larger(numbers->lateness_p99_us, stats_percentile(late, now.mono_us, 990000));
    numbers->lateness_max_us = larger(numbers->lateness_max_us, stats_max(late, now.mono_us));
    numbers->start_lateness_p99_us =
        larger(numbers->start_lateness_p99_us,
               stats_percentile(&queue->start_lateness, now.mono_us, 990000));
}

static bool works_on(const struct session *session, const struct queue *queue)
{
    return queue_index(session, queue->id) < session->queue_count;
}

static void add_sessions(const struct sched *sched, const struct queue *queue,
                         struct sched_numbers *numbers)
{
    for (uint32_t i = 0; i < sched->session_slot_room; i++) {
        if (sched->session_slots[i] == SLAB_NONE)
            continue;
        const struct session *session = session_at(sched, sched->session_slots[i]);
        if (queue && !works_on(session, queue))
            continue;
        numbers->sessions++;
        numbers->credit += session->credit;
        numbers->workers += session->credit > 0;
    }
}

bool sched_get_numbers(const struct sched *sched, struct bytes name, struct moment now,
                       struct sched_numbers *numbers)
{
    struct queue *only = name.data ? queue_find(sched, name) : NULL;
    if (name.data && !only)
        return false;
    memset(numbers, 0, sizeof(*numbers));
    for (uint32_t i = 0; i < sched->queue_count; i++)
        if (!only || sched->queues[i] == only)
            add_queue(sched->queues[i], now, numbers);
    add_sessions(sched, only, numbers);
    numbers->hole_bytes = sched->bodies.hole_bytes;
    numbers->is_draining = sched->is_draining;
    numbers->is_in_grace = sched->grace_end_mono_us != TIME_US_NEVER;
    numbers->backlog = (uint64_t)sched->dirty_count[0] + sched->dirty_count[1];
    return true;
}

/* --- queues and sessions ---------------------------------------------------------------------- */

uint32_t sched_find_queue(const struct sched *sched, struct bytes name)
{
    const struct queue *queue = queue_find(sched, name);
    return queue ? queue->id : SLAB_NONE;
}

struct bytes sched_queue_name(const struct sched *sched, uint32_t place)
{
    if (place >= sched->queue_count)
        return (struct bytes){NULL, 0};
    const struct queue *queue = sched->queues[place];
    return (struct bytes){(const uint8_t *)queue->name, queue->name_bytes};
}

bool sched_queue_is_paused(const struct sched *sched, uint32_t place)
{
    return place < sched->queue_count && sched->queues[place]->is_paused;
}

bool sched_view_session(const struct sched *sched, uint32_t number, struct sched_session_view *view)
{
    uint32_t slot = session_find(sched, number);
    if (slot == SLAB_NONE)
        return false;
    const struct session *session = session_at(sched, slot);
    *view = (struct sched_session_view){
        .name = session_name(sched, slot),
        .credit = session->credit,
        .in_flight = session->held,
        .announcing = session->resume_left,
        .queue_count = session->queue_count,
        .seen_mono_us = session->seen_mono_us,
        .began_mono_us = session->began_mono_us,
        .reports_ok = session->reports_ok,
        .reports_failed = session->reports_failed,
    };
    for (uint32_t i = 0; i < session->queue_count; i++)
        view->queues[i] = sched_queue_name(sched, session->queues[i]);
    return true;
}

bool sched_is_suspect(const struct sched *sched, uint32_t number, struct moment now)
{
    uint32_t slot = session_find(sched, number);
    return slot != SLAB_NONE && session_is_suspect(sched, session_at(sched, slot), now);
}

/* Numbers grow, so that the lowest is the oldest. */
static const struct lease *older(const struct lease *one, const struct lease *other)
{
    if (other->record == SLAB_NONE)
        return one;
    return !one || other->number < one->number ? other : one;
}

int64_t sched_oldest_lease_us(const struct sched *sched, struct moment now)
{
    const struct lease *oldest = NULL;
    uint32_t left = OLDEST_LOOKS;
    for (uint32_t i = 0; i < sched->session_slot_room && left; i++) {
        if (sched->session_slots[i] == SLAB_NONE)
            continue;
        uint32_t id = session_at(sched, sched->session_slots[i])->first_lease;
        for (; id != SLAB_NONE && left; id = lease_at(sched, id)->after, left--)
            oldest = older(oldest, lease_at(sched, id));
    }
    if (!oldest)
        return 0;
    int64_t due_us = (int64_t)record_at(sched, oldest->record)->due_us;
    int64_t age_us = now.wall_us - due_us - oldest->lateness_us;
    return age_us > 0 ? age_us : 0; /* the wall clock may have been set back */
}

uint32_t sched_find_session(const struct sched *sched, const uint8_t uid[SESSION_UID_BYTES])
{
    uint32_t slot = session_find_uid(sched, uid);
    return slot == SLAB_NONE ? SLAB_NONE : session_at(sched, slot)->number;
}

bool sched_get_agreed(const struct sched *sched, uint32_t number, struct sched_agreed *agreed)
{
    uint32_t slot = session_find(sched, number);
    if (slot == SLAB_NONE)
        return false;
    const struct session *session = session_at(sched, slot);
    *agreed = (struct sched_agreed){
        .credit = session->credit,
        .lease_ms = (uint32_t)(session->lease_us / US_PER_MS),
        .heartbeat_ms = (uint32_t)(session->heartbeat_us / US_PER_MS),
        .is_known = session->known,
    };
    return true;
}

bool sched_sync_counts(const struct sched *sched, uint64_t generation, struct sync_counts *counts)
{
    for (uint32_t i = 0; i < sched->queue_count; i++)
        if (sched->queues[i]->synced_generation == generation) {
            *counts = sched->queues[i]->synced_counts;
            return true;
        }
    return false;
}
