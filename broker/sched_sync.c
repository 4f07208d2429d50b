#include "sched_sync.h"

#include <stdlib.h>
#include <string.h>

/* --- sets ------------------------------------------------------------------------------------- */

struct sync *sync_new(uint64_t generation)
{
    struct sync *sync = calloc(1, sizeof(*sync));
    if (!sync)
        return NULL;
    sync->generation = generation;
    slab_init(&sync->touches, sizeof(struct touched));
    table_init(&sync->touched, &sync->touches);
    wire_buffer_init(&sync->changed);
    wire_buffer_init(&sync->part);
    return sync;
}

void sync_destroy(struct sched *sched, struct queue *queue)
{
    struct sync *sync = queue->sync;
    (void)sched;
    if (!sync)
        return;
    for (uint32_t id = 0; id < sync->touches.used_end; id++)
        free(((struct touched *)slab_at(&sync->touches, id))->key);
    table_release(&sync->touched);
    slab_release(&sync->touches);
    wire_buffer_release(&sync->changed);
    wire_buffer_release(&sync->part);
    free(sync->later);
    free(sync->matched);
    for (uint32_t i = 0; i < sync->staged_room; i++)
        free(sync->staged[i]);
    free(sync->staged);
    free(sync->prunes_list);
    free(sync->spare_key);
    free(sync);
    queue->sync = NULL;
}

static struct touched *find_touched(const struct sync *sync, struct bytes key)
{
    uint32_t id = table_first(&sync->touched, key_hash(key, 0));
    for (; id != SLAB_NONE; id = table_next(&sync->touched, id)) {
        struct touched *touched = slab_at(&sync->touches, id);
        if (bytes_equal((struct bytes){touched->key, touched->key_bytes}, key))
            return touched;
    }
    return NULL;
}

bool sync_has_touched(const struct sync *sync, struct bytes key)
{
    return find_touched(sync, key) != NULL;
}

bool sync_reserve_touch(struct sync *sync, uint32_t key_bytes)
{
    uint8_t *spare = realloc(sync->spare_key, key_bytes);
    if (!spare)
        return false;
    sync->spare_key = spare;
    return table_reserve(&sync->touched) && slab_reserve(&sync->touches);
}

void sync_add_touched(struct sync *sync, struct bytes key, bool is_in_set)
{
    uint32_t id = slab_take(&sync->touches);
    struct touched *touched = slab_at(&sync->touches, id);
    touched->key = sync->spare_key;
    touched->key_bytes = key.count;
    touched->is_in_set = is_in_set;
    memcpy(touched->key, key.data, key.count);
    sync->spare_key = NULL;
    table_put(&sync->touched, id, key_hash(key, 0));
}

/* The sync that must be told of this key; NULL: none. */
static struct sync *find_listener(const struct queue *queue, struct bytes key)
{
    struct sync *sync = queue->sync;
    if (!sync || sync->phase == SYNC_DROP || sync->phase == SYNC_CLEAN)
        return NULL;
    return sync_has_touched(sync, key) ? NULL : sync;
}

enum status sync_reserve_touched(struct sched *sched, struct queue *queue, struct bytes key)
{
    struct sync *sync = find_listener(queue, key);
    if (!sync)
        return STATUS_OK;
    /* Looked up before its slot may become another's. */
    uint32_t slot = record_find(sched, queue, key);
    sync->spare_is_in_set = slot != SLAB_NONE && sync_has_matched(sync, slot);
    bool has_room = sync_reserve_touch(sync, key.count) && sched_reserve_rows(sched, 1, key.count);
    return has_room ? STATUS_OK : STATUS_NO_MEMORY;
}

void sync_note_touched(struct sched *sched, struct queue *queue, struct bytes key)
{
    struct sync *sync = find_listener(queue, key);
    if (!sync)
        return;
    sync_add_touched(sync, key, sync->spare_is_in_set);
    struct store_row row = {.table = STORE_SYNCS,
                            .a = sync->generation,
                            .b = SYNC_TOUCHED + sync->parts[PARTS_TOUCHED]++,
                            .count = key.count};
    sched_add_row(sched, &row, key.data);
}

bool sync_has_matched(const struct sync *sync, uint32_t slot)
{
    return slot < sync->matched_room && sync->matched[slot / 8] >> slot % 8 & 1;
}

bool sync_reserve_matched(struct sync *sync, uint32_t slot)
{
    if (slot < sync->matched_room)
        return true;
    uint32_t room = sync->matched_room ? sync->matched_room : 4096;
    while (room <= slot)
        room *= 2;
    uint8_t *matched = realloc(sync->matched, room / 8);
    if (!matched)
        return false;
    memset(matched + sync->matched_room / 8, 0, (room - sync->matched_room) / 8);
    sync->matched = matched;
    sync->matched_room = room;
    return true;
}

void sync_set_matched(struct sync *sync, uint32_t slot)
{
    sync->matched[slot / 8] |= (uint8_t)(1u << slot % 8);
}

void sync_give_up_staged(struct queue *queue)
{
    queue->sync->counts.created--;
    queue->sync->counts.kept++;
    queue->sync->displaced++;
}

/* --- items ------------------------------------------------------------------------------------ */

enum status sync_flush_part(struct sched *sched, struct sync *sync)
{
    if (!sync->part.count)
        return STATUS_OK;
    enum status status =
        sched_write_row(sched, STORE_SYNCS, sync->generation, SYNC_ITEMS + sync->parts[PARTS_ITEMS],
                        sync->part.data, sync->part.count);
    if (status)
        return status;
    sync->parts[PARTS_ITEMS]++;
    wire_buffer_clear(&sync->part);
    return STATUS_OK;
}

/* An item on its way to the store, with its due made absolute. On failure it is not on its way. */
static enum status spool(struct sched *sched, struct sync *sync, const struct put *put, bool is_new)
{
    size_t before = sync->part.count;
    wire_write_bool(&sync->part, is_new);
    put_write(&sync->part, put);
    enum status status = sync->part.failed ? STATUS_NO_MEMORY : STATUS_OK;
    if (!status && sync->part.count >= SYNC_PART_BYTES)
        status = sync_flush_part(sched, sync);
    if (status)
        wire_buffer_cut(&sync->part, before);
    return status;
}

/* The first due of a new record: named, else spread by a hash of its key over the window or over
 * its every, else now. */
static int64_t first_due(struct sync *sync, const struct put *put, struct moment now)
{
    int64_t due_us = put_due(put, now);
    if (due_us != TIME_US_NEVER)
        return due_us;
    bool has_every = put->every_us != TIME_US_NEVER && put->every_us > 0;
    int64_t window_us = sync->spread_us ? sync->spread_us : has_every ? put->every_us : 0;
    if (!window_us) {
        sync->counts.due_now++;
        return now.wall_us;
    }
    uint64_t share = key_hash(put->key, 0) >> 32;
    due_us = now.wall_us + (int64_t)((unsigned __int128)(uint64_t)window_us * share >> 32);
    return due_us < TIME_US_END ? due_us : TIME_US_END - 1;
}

enum { SEGMENT_SLOTS = 1 << SYNC_SEGMENT_BITS };

/* Room for one more. */
static bool reserve_staged(struct sync *sync)
{
    uint32_t i = sync->staged_count >> SYNC_SEGMENT_BITS;
    if (i == sync->staged_room) {
        uint32_t room = sync->staged_room ? sync->staged_room * 2 : 4;
        uint32_t **staged = realloc(sync->staged, room * sizeof(*staged));
        if (!staged)
            return false;
        memset(staged + sync->staged_room, 0, (room - sync->staged_room) * sizeof(*staged));
        sync->staged = staged;
        sync->staged_room = room;
    }
    if (!sync->staged[i])
        sync->staged[i] = malloc(SEGMENT_SLOTS * sizeof(**sync->staged));
    return sync->staged[i] != NULL;
}

uint32_t sync_staged_slot(const struct sync *sync)
{
    uint32_t i = sync->staged_done;
    return sync->staged[i >> SYNC_SEGMENT_BITS][i & (SEGMENT_SLOTS - 1)];
}

void sync_pass_staged(struct sync *sync)
{
    uint32_t **segment = &sync->staged[sync->staged_done++ >> SYNC_SEGMENT_BITS];
    if (sync->staged_done & (SEGMENT_SLOTS - 1))
        return;
    free(*segment);
    *segment = NULL;
}

static enum status stage_new(struct sched *sched, struct queue *queue, const struct put *put,
                             bool spools, struct moment now)
{
    struct sync *sync = queue->sync;
    if (!reserve_staged(sync))
        return STATUS_NO_MEMORY;
    struct put item = *put;
    struct body_fields fields = {.key = put->key};
    put_overlay(put, true, &fields);
    fields.memo = put->memo;
    uint32_t slot;
    enum status status = record_new(sched, queue, &fields, &slot);
    if (status)
        return status;
    uint64_t due_now = sync->counts.due_now;
    item.due_us = first_due(sync, put, now);
    item.in_us = TIME_US_NEVER;
    record_set_due(record_at(sched, slot), item.due_us);
    record_move_to(sched, slot, PLACE_STAGED);
    if (!sync_reserve_matched(sync, slot))
        status = STATUS_NO_MEMORY;
    if (!status && spools)
        status = spool(sched, sync, &item, true);
    if (status) {
        sync->counts.due_now = due_now;
        record_drop(sched, slot);
        return status;
    }
    sync_set_matched(sync, slot);
    uint32_t place = sync->staged_count++;
    sync->staged[place >> SYNC_SEGMENT_BITS][place & (SEGMENT_SLOTS - 1)] = slot;
    sync->counts.created++;
    return STATUS_CREATED;
}

/* Whether an item differs from what is stored, with what is pending for it. */
static bool differs(const struct sched *sched, uint32_t slot, const struct put *put, bool due_take)
{
    const struct pending *pending = pending_find(sched, slot);
    struct body_fields stored;
    struct put before;
    body_view(record_body(sched, record_at(sched, slot)), &stored);
    if (pending && pending_put(pending, &before))
        put_overlay(&before, pending->is_full, &stored);
    struct body_fields wanted = stored;
    put_overlay(put, true, &wanted);
    if (due_take && put->due_us != TIME_US_NEVER &&
        put->due_us != (int64_t)record_at(sched, slot)->due_us)
        return true;
    return wanted.every_us != stored.every_us || wanted.rank != stored.rank ||
           wanted.once != stored.once || !bytes_equal(wanted.group, stored.group) ||
           !bytes_equal(wanted.payload, stored.payload);
}

static enum status stage_known(struct sched *sched, struct queue *queue, uint32_t slot,
                               const struct put *put, bool spools, struct moment now)
{
    struct sync *sync = queue->sync;
    if (sync_has_matched(sync, slot))
        return STATUS_DUPLICATE;
    struct put item = *put;
    item.due_us = sync->due_take ? put_due(put, now) : TIME_US_NEVER;
    item.in_us = TIME_US_NEVER;
    item.memo = (struct bytes){NULL, 0};
    enum status status = put_check_room(sched, slot, &item);
    if (!status && !sync_reserve_matched(sync, slot))
        status = STATUS_NO_MEMORY;
    if (status)
        return status;
    if (!differs(sched, slot, &item, sync->due_take)) {
        sync_set_matched(sync, slot);
        sync->counts.unchanged++;
        return STATUS_UNCHANGED;
    }
    size_t before = sync->changed.count;
    put_write(&sync->changed, &item);
    status = sync->changed.failed ? STATUS_NO_MEMORY : STATUS_OK;
    if (!status && spools)
        status = spool(sched, sync, &item, false);
    if (status) {
        wire_buffer_cut(&sync->changed, before);
        return status;
    }
    sync_set_matched(sync, slot);
    sync->counts.changed++;
    return STATUS_CHANGED;
}

enum status sync_stage(struct sched *sched, struct queue *queue, const struct put *put, bool spools,
                       struct moment now)
{
    struct sync *sync = queue->sync;
    enum status status = put_check(sched, put);
    if (status)
        return status;
    uint32_t slot = record_find(sched, queue, put->key);
    struct touched *touched = find_touched(sync, put->key);
    if (touched) { /* put or removed since BEGIN: it stays as it is */
        if (touched->is_in_set)
            return STATUS_DUPLICATE;
        touched->is_in_set = true;
        sync->counts.kept++;
        return STATUS_UNCHANGED;
    }
    if (slot == SLAB_NONE)
        return stage_new(sched, queue, put, spools, now);
    if (record_at(sched, slot)->where == PLACE_STAGED)
        return STATUS_DUPLICATE;
    return stage_known(sched, queue, slot, put, spools, now);
}

bool sched_sync_exists(const struct sched *sched, uint64_t generation)
{
    for (uint32_t i = 0; i < sched->queue_count; i++)
        if (sched->queues[i]->sync && sched->queues[i]->sync->generation == generation)
            return true;
    return false;
}

/* --- begin, item, commit, abort --------------------------------------------------------------- */

struct queue *sync_find_queue(const struct sched *sched, uint64_t generation)
{
    for (uint32_t i = 0; i < sched->queue_count; i++) {
        struct queue *queue = sched->queues[i];
        bool is_it = queue->sync && queue->sync->generation == generation;
        if (is_it || (generation && queue->synced_generation == generation))
            return queue;
    }
    return NULL;
}

struct bytes sched_sync_queue(const struct sched *sched, uint64_t generation)
{
    const struct queue *queue = sync_find_queue(sched, generation);
    return queue ? sched_queue_name(sched, queue->id) : (struct bytes){NULL, 0};
}

static void note_holder(const struct sched *sched, struct sync *sync, const struct event *event)
{
    struct bytes name = session_name(sched, session_find(sched, event->session));
    sync->holder_bytes = (uint8_t)name.count;
    if (name.count)
        memcpy(sync->holder, name.data, name.count);
    sync->began_mono_us = sync->heard_mono_us = event->now.mono_us;
}

enum status sync_begin(struct sched *sched, const struct event *event, struct effects *effects)
{
    const struct sync_begin *begin = event->sync_begin;
    struct queue *queue;
    if (begin->spread_us < 0 || begin->spread_us >= TIME_US_END)
        return STATUS_BAD_TIME;
    enum status status = queue_require(sched, begin->queue, &queue);
    if (status)
        return status;
    if (queue->sync)
        return STATUS_CONFLICT;
    int64_t idle_end_us = event->now.mono_us + sched->settings.sync_idle_us;
    struct sync *sync = effects_reserve(effects, 1) ? sync_new(sched->next_generation) : NULL;
    if (!sync)
        return STATUS_NO_MEMORY;
    sched->next_generation++;
    sched->is_meta_dirty = true;
    sync->session = event->session;
    note_holder(sched, sync, event);
    if (idle_end_us < sched->sync_look_mono_us)
        sched->sync_look_mono_us = idle_end_us;
    sync->spread_us = begin->spread_us;
    sync->due_take = begin->due_take;
    queue->sync = sync;
    effects_add(effects, &(struct effect){
                             .kind = EFFECT_SYNC_BEGUN,
                             .session = event->session,
                             .request = event->request,
                             .number = sync->generation,
                         });
    return STATUS_OK;
}

enum status sync_item(struct sched *sched, const struct event *event)
{
    struct queue *queue = sync_find_queue(sched, event->sync_item.generation);
    if (!queue || !queue->sync || queue->sync->generation != event->sync_item.generation)
        return STATUS_NOT_FOUND;
    struct sync *sync = queue->sync;
    if (sync->phase == SYNC_DROP)
        return STATUS_NOT_FOUND;
    if (sync->phase != SYNC_OPEN || sync->session != event->session)
        return STATUS_CONFLICT;
    enum status status = sync_stage(sched, queue, event->sync_item.put, true, event->now);
    if (status < 0)
        sync->counts.rejected++;
    if (status != STATUS_NO_MEMORY)
        sync->heard_mono_us = event->now.mono_us;
    return status;
}

void sync_drop(struct sync *sync, enum status status)
{
    sync->phase = SYNC_DROP;
    sync->status = status;
}

enum status sync_commit(struct sched *sched, const struct event *event, struct effects *effects)
{
    const struct sync_commit *commit = event->sync_commit.commit;
    struct queue *queue = sync_find_queue(sched, commit->generation);
    if (!queue)
        return STATUS_NOT_FOUND;
    struct sync *sync = queue->sync;
    if (!effects_reserve(effects, 1))
        return STATUS_NO_MEMORY;
    if (!sync || sync->generation != commit->generation) { /* the same answer again */
        effects_add(effects, &(struct effect){
                                 .kind = EFFECT_SYNC_DONE,
                                 .status = queue->synced_status,
                                 .session = event->session,
                                 .request = event->request,
                                 .number = commit->generation,
                             });
        return STATUS_OK;
    }
    if (sync->phase == SYNC_OPEN && sync->session != event->session)
        return STATUS_CONFLICT;
    if (sync->phase == SYNC_DROP && !sync->is_asked)
        return STATUS_NOT_FOUND;
    sync->session = event->session;
    sync->request = event->request;
    sync->has_request = sync->is_asked = true;
    if (sync->phase != SYNC_OPEN)
        return STATUS_OK;
    if (commit->count != event->sync_commit.count ||
        commit->checksum != event->sync_commit.checksum) {
        sync_drop(sync, STATUS_MISMATCH);
        return STATUS_OK;
    }
    sync->prunes = commit->prune && sync->counts.rejected == 0;
    sync->prune_max_ppm = commit->prune_max_ppm;
    sync->dry_run = commit->dry_run;
    sync->records_before = queue_records(queue);
    sync->phase = SYNC_PLAN;
    return STATUS_OK;
}

enum status sync_abort(struct sched *sched, const struct event *event)
{
    struct queue *queue = sync_find_queue(sched, event->sync_item.generation);
    if (!queue || !queue->sync)
        return STATUS_NOT_FOUND;
    if (queue->sync->phase != SYNC_OPEN || queue->sync->session != event->session)
        return STATUS_CONFLICT;
    sync_drop(queue->sync, STATUS_OK);
    return STATUS_OK;
}

void sync_drop_session(struct sched *sched, uint32_t number)
{
    for (uint32_t i = 0; i < sched->queue_count; i++) {
        struct sync *sync = sched->queues[i]->sync;
        if (!sync || sync->session != number)
            continue;
        if (sync->phase == SYNC_OPEN)
            sync_drop(sync, STATUS_OK);
        sync->has_request = false;
    }
}
