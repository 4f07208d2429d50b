#include <stdlib.h>
#include <string.h>

#include "sched_sync.h"

/* --- the plan: who is absent ------------------------------------------------------------------ */

enum status sync_add_prune(struct sync *sync, uint64_t number, uint32_t slot)
{
    if (sync->prune_count == sync->prune_room) {
        uint32_t room = sync->prune_room ? sync->prune_room * 2 : 1024;
        struct prune *list = realloc(sync->prunes_list, room * sizeof(*list));
        if (!list)
            return STATUS_NO_MEMORY;
        sync->prunes_list = list;
        sync->prune_room = room;
    }
    sync->prunes_list[sync->prune_count++] = (struct prune){number, slot};
    return STATUS_OK;
}

static enum status plan_slot(struct sched *sched, struct queue *queue, uint32_t slot)
{
    struct sync *sync = queue->sync;
    const struct record *record = record_at(sched, slot);
    if (!record_is_visible(record) || record->queue != queue->id || sync_has_matched(sync, slot))
        return STATUS_OK;
    if (sync_has_touched(sync, body_key(record_body(sched, record))))
        return STATUS_OK;
    sync->counts.absent++;
    return sync->prunes ? sync_add_prune(sync, record->number, slot) : STATUS_OK;
}

static enum status write_prunes(struct sched *sched, struct sync *sync)
{
    enum { NUMBERS = SYNC_PART_BYTES / sizeof(uint64_t) };
    uint64_t numbers[NUMBERS];
    for (uint32_t i = 0; i < sync->prune_count; i += NUMBERS) {
        uint32_t count = sync->prune_count - i < NUMBERS ? sync->prune_count - i : NUMBERS;
        for (uint32_t k = 0; k < count; k++)
            numbers[k] = sync->prunes_list[i + k].number;
        enum status status = sched_write_row(sched, STORE_SYNCS, sync->generation,
                                             SYNC_PRUNES + sync->parts[PARTS_PRUNES], numbers,
                                             count * sizeof(numbers[0]));
        if (status)
            return status;
        sync->parts[PARTS_PRUNES]++;
    }
    return STATUS_OK;
}

static bool is_above_guard(const struct sync *sync)
{
    unsigned __int128 pruned = (unsigned __int128)sync->prune_count * 1000000;
    return pruned > (unsigned __int128)sync->records_before * sync->prune_max_ppm;
}

/* The walk is over: refuse, count only, or make the commit durable. */
static void decide(struct sched *sched, struct queue *queue)
{
    struct sync *sync = queue->sync;
    sync->phase = SYNC_DROP;
    sync->status = STATUS_OK;
    if (is_above_guard(sync)) {
        sync->status = STATUS_PRUNE_GUARD;
        return;
    }
    if (sync->dry_run) {
        sync->counts.pruned = sync->prune_count;
        return;
    }
    sync->status = sync_flush_part(sched, sync);
    if (!sync->status)
        sync->status = write_prunes(sched, sync);
    if (!sync->status)
        sync->status = sync_write_marker(sched, queue, sync);
    if (sync->status)
        return;
    sync->has_marker = true;
    sync->phase = SYNC_APPLY;
}

static void plan(struct sched *sched, struct queue *queue, uint32_t *budget)
{
    struct sync *sync = queue->sync;
    /* A look at a record costs a twentieth of a change. */
    uint32_t looks = *budget * 16;
    for (; sync->plan_cursor < sched->records.used_end; sync->plan_cursor++) {
        if (looks-- == 0) {
            *budget = 0;
            return;
        }
        enum status status = plan_slot(sched, queue, sync->plan_cursor);
        if (status) {
            sync->phase = SYNC_DROP;
            sync->status = status;
            return;
        }
    }
    decide(sched, queue);
}

/* --- carrying out ----------------------------------------------------------------------------- */

/* The slot may have been given to another record since: to one of another sync, too. */
static bool is_staged(const struct sched *sched, const struct queue *queue, uint32_t slot)
{
    const struct record *record = record_at(sched, slot);
    return record->where == PLACE_STAGED && record->queue == queue->id;
}

static bool apply_staged(struct sched *sched, struct queue *queue, struct moment now)
{
    struct sync *sync = queue->sync;
    uint32_t slot = sync_staged_slot(sync);
    struct record *record = record_at(sched, slot);
    if (is_staged(sched, queue, slot)) { /* else it was put meanwhile, and is a record already */
        uint64_t state = record_reserve(sched, 1) ? sched_draw(sched) : 0;
        if (!state)
            return false;
        record_begin(sched, slot, state);
        record_schedule(sched, slot, (int64_t)record->due_us, now);
    }
    sync_pass_staged(sync);
    return true;
}

static bool apply_prune(struct sched *sched, struct sync *sync, struct effects *effects)
{
    const struct prune *prune = &sync->prunes_list[sync->prune_done];
    const struct record *record = record_at(sched, prune->slot);
    bool is_there = record_is_visible(record) && record->number == prune->number;
    if (is_there && !sync_has_touched(sync, body_key(record_body(sched, record)))) {
        if (!record_reserve(sched, 1) || !effects_reserve(effects, 1))
            return false;
        change_remove_slot(sched, prune->slot, effects);
        sync->counts.pruned++;
    }
    sync->prune_done++;
    return true;
}

static bool rows_are_full(const struct sched *sched)
{
    return sched->rows->row_count >= SYNC_BATCH_ROWS;
}

bool sync_batch_is_full(const struct sched *sched)
{
    return sched->dirty_count[sched->parity] >= SYNC_BATCH_RECORDS || rows_are_full(sched);
}

/* The new records. False: see sync_change_items; and so on. */
static bool apply_all_staged(struct sched *sched, struct queue *queue, uint32_t *budget,
                             struct moment now)
{
    const struct sync *sync = queue->sync;
    for (; sync->staged_done < sync->staged_count; --*budget)
        if (!*budget || sync_batch_is_full(sched) || !apply_staged(sched, queue, now))
            return false;
    return true;
}

static bool apply_prunes(struct sched *sched, struct sync *sync, uint32_t *budget,
                         struct effects *effects)
{
    for (; sync->prune_done < sync->prune_count; --*budget)
        if (!*budget || sync_batch_is_full(sched) || !apply_prune(sched, sync, effects))
            return false;
    return true;
}

/* What a repeated COMMIT is answered. */
static void remember(struct queue *queue)
{
    queue->synced_generation = queue->sync->generation;
    queue->synced_status = queue->sync->status;
    queue->synced_counts = queue->sync->counts;
    queue->is_dirty = true;
}

static void apply(struct sched *sched, struct queue *queue, uint32_t *budget, struct moment now,
                  struct effects *effects)
{
    struct sync *sync = queue->sync;
    bool is_applied = apply_all_staged(sched, queue, budget, now) &&
                      sync_change_items(sched, queue, budget, now) &&
                      apply_prunes(sched, sync, budget, effects) &&
                      sync_change_put_off(sched, queue, budget, now);
    if (!is_applied || sched_remove_row(sched, STORE_SYNCS, sync->generation, SYNC_MARKER))
        return;
    sync->status = STATUS_OK;
    sync->phase = SYNC_CLEAN;
    remember(queue); /* in the batch in which the marker goes */
}

/* --- leaving ---------------------------------------------------------------------------------- */

/* Removes the rows that were spooled; they mean nothing without a marker. Returns true when done.
 */
static bool clean_rows(struct sched *sched, struct sync *sync, uint32_t *budget)
{
    static const uint64_t kinds[PARTS_END] = {
        [PARTS_TOUCHED] = SYNC_TOUCHED,
        [PARTS_ITEMS] = SYNC_ITEMS,
        [PARTS_PRUNES] = SYNC_PRUNES,
    };
    while (*budget && sync->clean_kind < PARTS_END && !rows_are_full(sched)) {
        if (sync->clean_kind == 0 || sync->clean_part >= sync->parts[sync->clean_kind]) {
            sync->clean_kind++;
            sync->clean_part = 0;
            continue;
        }
        if (sched_remove_row(sched, STORE_SYNCS, sync->generation,
                             kinds[sync->clean_kind] + sync->clean_part))
            return false;
        sync->clean_part++;
        --*budget;
    }
    return sync->clean_kind == PARTS_END;
}

static void drop_staged(struct sched *sched, struct queue *queue, uint32_t *budget)
{
    struct sync *sync = queue->sync;
    for (; *budget && sync->staged_done < sync->staged_count; --*budget) {
        uint32_t slot = sync_staged_slot(sync);
        sync_pass_staged(sync);
        if (is_staged(sched, queue, slot))
            record_drop(sched, slot);
    }
}

static void leave(struct sched *sched, struct queue *queue, uint32_t *budget,
                  struct effects *effects)
{
    struct sync *sync = queue->sync;
    if (sync->phase == SYNC_DROP)
        drop_staged(sched, queue, budget);
    if (!clean_rows(sched, sync, budget) || sync->staged_done < sync->staged_count ||
        !effects_reserve(effects, 1))
        return;
    if (sync->phase == SYNC_DROP && sync->is_asked)
        remember(queue);
    if (sync->has_request)
        effects_add(effects, &(struct effect){
                                 .kind = EFFECT_SYNC_DONE,
                                 .status = sync->status,
                                 .session = sync->session,
                                 .request = sync->request,
                                 .number = sync->generation,
                             });
    sync_destroy(sched, queue);
    sched->is_meta_dirty = true;
}

bool sync_has_work(const struct queue *queue)
{
    return queue->sync && queue->sync->phase != SYNC_OPEN;
}

bool sync_waits(const struct sched *sched, const struct queue *queue)
{
    return queue->sync->phase == SYNC_APPLY ? sync_batch_is_full(sched) : rows_are_full(sched);
}

void sync_slice(struct sched *sched, struct queue *queue, uint32_t *budget, struct moment now,
                struct effects *effects)
{
    if (sync_has_work(queue) && queue->sync->phase == SYNC_PLAN && *budget && !rows_are_full(sched))
        plan(sched, queue, budget);
    if (sync_has_work(queue) && queue->sync->phase == SYNC_APPLY && *budget &&
        !sync_batch_is_full(sched))
        apply(sched, queue, budget, now, effects);
    if (sync_has_work(queue) && *budget &&
        (queue->sync->phase == SYNC_CLEAN || queue->sync->phase == SYNC_DROP))
        leave(sched, queue, budget, effects);
}
