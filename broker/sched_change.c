#include <string.h>

#include "sched_internal.h"

/* --- what a put says -------------------------------------------------------------------------- */

static bool is_interval(int64_t us)
{
    return us == TIME_US_NEVER || (us >= 0 && us < TIME_US_END);
}

enum status put_check(const struct sched *sched, const struct put *put)
{
    /* What was taken once is loaded, though the limit is lower now. */
    uint32_t most =
        sched->is_loading ? PAYLOAD_BYTES_MAX : sched->settings.limits.payload_bytes_max;
    if (!bytes_are_key(put->key))
        return STATUS_BAD_KEY;
    if (put->payload.count > most || put->memo.count > most)
        return STATUS_TOO_LARGE;
    if (!is_interval(put->due_us) || !is_interval(put->in_us) || !is_interval(put->every_us))
        return STATUS_BAD_TIME;
    return put->group.count > GROUP_BYTES_MAX ? STATUS_BAD_FIELD : STATUS_OK;
}

enum status put_check_room(const struct sched *sched, uint32_t slot, const struct put *put)
{
    struct body_fields fields;
    if (sched->is_loading || sched->body_bytes < sched->settings.limits.bytes_max)
        return STATUS_OK;
    body_view(record_body(sched, record_at(sched, slot)), &fields);
    bool grows = put->payload.count > fields.payload.count || put->memo.count > fields.memo.count ||
                 put->group.count > fields.group.count;
    return grows ? STATUS_NO_SPACE : STATUS_OK;
}

int64_t put_due(const struct put *put, struct moment now)
{
    int64_t due_us = put->due_us;
    if (due_us == TIME_US_NEVER && put->in_us != TIME_US_NEVER)
        due_us = now.wall_us + put->in_us;
    return due_us == TIME_US_NEVER || due_us < TIME_US_END ? due_us : TIME_US_END - 1;
}

void put_overlay(const struct put *put, bool is_full, struct body_fields *fields)
{
    if (put->every_us != TIME_US_NEVER || is_full)
        fields->every_us = put->every_us == TIME_US_NEVER ? 0 : put->every_us;
    if (put->has_rank || is_full)
        fields->rank = put->has_rank ? put->rank : 0;
    if (put->group.data || is_full)
        fields->group = put->group.count ? put->group : (struct bytes){NULL, 0};
    if (put->has_once || is_full)
        fields->once = put->has_once && put->once;
    if (put->payload.data || is_full)
        fields->payload = put->payload;
    if (put->memo.data)
        fields->memo = put->memo;
}

bool change_is_backlogged(const struct sched *sched)
{
    uint64_t backlog = (uint64_t)sched->dirty_count[0] + sched->dirty_count[1];
    return backlog >= sched->settings.limits.backlog_max;
}

/* --- put -------------------------------------------------------------------------------------- */

static void fields_of(const struct put *put, struct body_fields *fields)
{
    memset(fields, 0, sizeof(*fields));
    fields->key = put->key;
    put_overlay(put, false, fields);
}

static enum status put_new(struct sched *sched, struct queue *queue, uint32_t staged,
                           const struct put *put, struct moment now)
{
    struct body_fields fields;
    fields_of(put, &fields);
    uint64_t state = sched_draw(sched);
    if (!state)
        return STATUS_BUSY;
    uint32_t slot = staged;
    enum status status;
    if (staged == SLAB_NONE) /* else a sync brought the same key, and is not committed yet */
        status = record_new(sched, queue, &fields, &slot);
    else if (record_reserve(sched, 1))
        status = record_repack(sched, slot, &fields);
    else
        status = STATUS_NO_MEMORY;
    if (status)
        return status;
    if (staged != SLAB_NONE)
        sync_give_up_staged(queue);
    record_begin(sched, slot, state);
    int64_t due_us = put_due(put, now);
    record_schedule(sched, slot, due_us == TIME_US_NEVER ? now.wall_us : due_us, now);
    return STATUS_CREATED;
}

enum status put_change(struct sched *sched, uint32_t slot, const struct put *put, bool is_full,
                       struct moment now)
{
    struct record *record = record_at(sched, slot);
    struct body_fields fields;
    body_view(record_body(sched, record), &fields);
    put_overlay(put, is_full, &fields);
    uint64_t state = sched_draw(sched);
    if (!state)
        return STATUS_BUSY;
    if (!record_reserve(sched, 1))
        return STATUS_NO_MEMORY;
    enum status status = record_repack(sched, slot, &fields);
    if (status)
        return status;
    lease_forget_ended(sched, slot);
    record_set_state(record, state);
    record_mark(sched, slot);
    int64_t due_us = put_due(put, now);
    if (record->where == PLACE_PARKED) {
        if (due_us != TIME_US_NEVER)
            record_set_due(record, due_us);
    } else if (due_us != TIME_US_NEVER) {
        record_displace(sched, slot);
        record_schedule(sched, slot, due_us, now);
    } else if (record->where == PLACE_READY) {
        record_displace(sched, slot);
        record_make_ready(sched, slot); /* as soon as this change is durable */
    }
    return STATUS_CHANGED;
}

enum status change_put(struct sched *sched, const struct event *event)
{
    const struct put *put = event->put.put;
    struct queue *queue;
    enum status status = put_check(sched, put);
    if (!status && change_is_backlogged(sched))
        status = STATUS_BUSY;
    if (!status)
        status = queue_require(sched, event->put.queue, &queue);
    if (status)
        return status;
    uint32_t slot = record_find(sched, queue, put->key);
    bool is_new = slot == SLAB_NONE || record_at(sched, slot)->where == PLACE_STAGED;
    status = is_new ? record_check_room(sched) : put_check_room(sched, slot, put);
    if (!status)
        status = sync_reserve_touched(sched, queue, put->key);
    if (status)
        return status;
    if (is_new)
        status = put_new(sched, queue, slot, put, event->now);
    else if (!record_is_out(record_at(sched, slot)))
        status = put_change(sched, slot, put, false, event->now);
    else if ((status = pending_add(sched, slot, put, false, event->now)) == STATUS_OK)
        status = STATUS_PENDING;
    if (status > 0)
        sync_note_touched(sched, queue, put->key);
    return status;
}

/* --- the others ------------------------------------------------------------------------------- */

/* The visible record that an event names. */
static enum status find_named(struct sched *sched, const struct event *event, struct queue **queue,
                              uint32_t *slot)
{
    *queue = queue_find(sched, event->key.queue);
    if (!*queue)
        return STATUS_NOT_FOUND;
    *slot = record_find(sched, *queue, event->key.key);
    if (*slot == SLAB_NONE || !record_is_visible(record_at(sched, *slot)))
        return STATUS_NOT_FOUND;
    return record_reserve(sched, 1) ? STATUS_OK : STATUS_NO_MEMORY;
}

void change_remove_slot(struct sched *sched, uint32_t slot, struct effects *effects)
{
    struct record *record = record_at(sched, slot);
    if (record->where == PLACE_LEASED) {
        struct lease *lease = lease_at(sched, record_lease(sched, slot));
        if (lease->session != SLAB_NONE)
            effects_add(effects, &(struct effect){
                                     .kind = EFFECT_CANCEL,
                                     .session = session_at(sched, lease->session)->number,
                                     .number = lease->number,
                                 });
        lease->record = SLAB_NONE; /* it counts against its session's credit until it ends */
        record_move_to(sched, slot, PLACE_NOWHERE);
    }
    record_remove(sched, slot);
}

enum status change_remove(struct sched *sched, const struct event *event, struct effects *effects)
{
    struct queue *queue;
    uint32_t slot;
    enum status status = find_named(sched, event, &queue, &slot);
    if (!status && !effects_reserve(effects, 1))
        status = STATUS_NO_MEMORY;
    if (!status)
        status = sync_reserve_touched(sched, queue, event->key.key);
    if (status)
        return status;
    sync_note_touched(sched, queue, event->key.key);
    change_remove_slot(sched, slot, effects);
    return STATUS_OK;
}

enum status change_run_now(struct sched *sched, const struct event *event)
{
    struct queue *queue;
    uint32_t slot;
    enum status status = find_named(sched, event, &queue, &slot);
    if (status)
        return status;
    struct record *record = record_at(sched, slot);
    if (record->where == PLACE_PARKED)
        return STATUS_PARKED;
    if (record->where == PLACE_READY && (int64_t)record->due_us <= event->now.wall_us)
        return STATUS_OK;
    if (record_is_out(record)) {
        status = pending_add(sched, slot, NULL, false, event->now);
        return status ? status : STATUS_PENDING;
    }
    uint64_t state = sched_draw(sched);
    if (!state)
        return STATUS_BUSY;
    lease_forget_ended(sched, slot);
    record_set_state(record, state);
    record_mark(sched, slot);
    record_displace(sched, slot);
    record_schedule(sched, slot, event->now.wall_us, event->now);
    return STATUS_OK;
}

static enum status kick_slot(struct sched *sched, uint32_t slot, struct moment now)
{
    struct record *record = record_at(sched, slot);
    struct body_fields fields;
    body_view(record_body(sched, record), &fields);
    fields.park_reason = fields.last_worker = (struct bytes){NULL, 0};
    fields.parked_us = 0;
    uint64_t state = sched_draw(sched);
    if (!state)
        return STATUS_BUSY;
    enum status status = record_repack(sched, slot, &fields);
    if (status)
        return status;
    lease_forget_ended(sched, slot);
    record_set_state(record, state);
    record_set_failures(record, 0);
    record_set_crashes(record, 0);
    record_mark(sched, slot);
    record_displace(sched, slot);
    record_schedule(sched, slot, now.wall_us, now);
    return STATUS_OK;
}

enum status change_kick(struct sched *sched, const struct event *event)
{
    struct queue *queue;
    uint32_t slot;
    enum status status = find_named(sched, event, &queue, &slot);
    if (status)
        return status;
    if (record_is_out(record_at(sched, slot)))
        return STATUS_LEASED;
    if (record_at(sched, slot)->where != PLACE_PARKED)
        return STATUS_NOT_PARKED;
    return kick_slot(sched, slot, event->now);
}

/* Nobody, when its session has ended meanwhile. */
static void answer_kick(struct queue *queue, struct effects *effects)
{
    if (queue->kick_session == SLAB_NONE)
        return;
    effects_add(effects, &(struct effect){
                             .kind = EFFECT_KICKED,
                             .session = queue->kick_session,
                             .request = queue->kick_request,
                             .count = queue->kicked,
                         });
}

enum status change_kick_all(struct sched *sched, const struct event *event, struct effects *effects)
{
    struct queue *queue = queue_find(sched, event->key.queue);
    if (!queue)
        return STATUS_NOT_FOUND;
    if (queue->kick_left)
        return STATUS_CONFLICT;
    if (!effects_reserve(effects, 1))
        return STATUS_NO_MEMORY;
    queue->kick_session = event->session;
    queue->kick_request = event->request;
    queue->kick_left = queue->parked.count;
    queue->kicked = 0;
    if (!queue->kick_left)
        answer_kick(queue, effects);
    return STATUS_OK;
}

void change_kick_slice(struct sched *sched, struct queue *queue, uint32_t *budget,
                       struct moment now, struct effects *effects)
{
    if (!queue->kick_left || !effects_reserve(effects, 1))
        return;
    while (queue->kick_left && *budget && queue->parked.count) {
        if (!record_reserve(sched, 1) || kick_slot(sched, heap_first(&queue->parked), now))
            return; /* numbers or memory are out: goes on later */
        queue->kicked++;
        queue->kick_left--;
        --*budget;
    }
    if (!queue->parked.count)
        queue->kick_left = 0;
    if (!queue->kick_left)
        answer_kick(queue, effects);
}

/* --- pause and drain -------------------------------------------------------------------------- */

enum status change_pause(struct sched *sched, const struct event *event, bool is_paused)
{
    struct queue *queue = queue_find(sched, event->key.queue);
    if (!queue && !is_paused)
        return STATUS_NOT_FOUND;
    enum status status = queue_require(sched, event->key.queue, &queue);
    if (status)
        return status;
    queue->is_paused = is_paused;
    queue_mark(queue);
    sched->is_meta_dirty = true;
    return STATUS_OK;
}

enum status change_drain(struct sched *sched, const struct event *event, struct effects *effects)
{
    if (sched->drain_count == DRAIN_WAITS_MAX)
        return STATUS_TOO_MANY;
    if (!effects_reserve(effects, 1))
        return STATUS_NO_MEMORY;
    sched->is_draining = true;
    int64_t wait_us = event->wait_us < TIME_US_END ? event->wait_us : TIME_US_END - 1;
    sched->drains[sched->drain_count++] = (struct drain_wait){
        .session = event->session,
        .request = event->request,
        .deadline_mono_us = event->now.mono_us + wait_us,
    };
    drain_pass_time(sched, event->now, effects);
    return STATUS_OK;
}

void change_drop_session(struct sched *sched, uint32_t number)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < sched->drain_count; i++)
        if (sched->drains[i].session != number)
            sched->drains[kept++] = sched->drains[i];
    sched->drain_count = kept;
    for (uint32_t i = 0; i < sched->queue_count; i++)
        if (sched->queues[i]->kick_session == number)
            sched->queues[i]->kick_session = SLAB_NONE;
}

enum status change_undrain(struct sched *sched)
{
    sched->is_draining = false;
    return STATUS_OK;
}

void drain_pass_time(struct sched *sched, struct moment now, struct effects *effects)
{
    uint32_t kept = 0;
    /* What the grace holds may be reported still. */
    bool is_drained = sched->live.count == 0 && sched->grace_end_mono_us == TIME_US_NEVER;
    for (uint32_t i = 0; i < sched->drain_count; i++) {
        const struct drain_wait *wait = &sched->drains[i];
        bool is_over = is_drained || now.mono_us >= wait->deadline_mono_us;
        if (!is_over || !effects_reserve(effects, 1)) {
            sched->drains[kept++] = *wait;
            continue;
        }
        effects_add(effects, &(struct effect){
                                 .kind = EFFECT_DRAINED,
                                 .status = is_drained ? STATUS_OK : STATUS_TIMED_OUT,
                                 .session = wait->session,
                                 .request = wait->request,
                             });
    }
    sched->drain_count = kept;
}
