#include <assert.h>
#include <stdlib.h>

#include "sched_sync.h"

enum {
    SOON_US = 250000,  /* a record due by then is changed later: most disks are back before */
    LATER_US = 500000, /* but all are by then, counted from the last of the others */
    LATER_LOOKS = 4,   /* looks at what was put off for each item of the budget */
    LATER_ROOM_LEAST = 1024,
};

/* --- one item --------------------------------------------------------------------------------- */

/* An item of `changed`, which we wrote, and what is behind it. */
static size_t read_item(const struct sync *sync, size_t at, struct put *put)
{
    struct wire_reader reader;
    wire_reader_init(&reader, sync->changed.data + at, sync->changed.count - at);
    put_read(&reader, put);
    assert(reader.status == STATUS_OK);
    return (size_t)(reader.at - sync->changed.data);
}

/* False: numbers or memory are out, nothing was changed. */
static bool change_item(struct sched *sched, struct queue *queue, const struct put *put,
                        uint32_t slot, struct moment now)
{
    struct sync *sync = queue->sync;
    enum status status = STATUS_OK;
    if (slot == SLAB_NONE || sync_has_touched(sync, put->key)) {
        sync->counts.kept++;
        sync->counts.changed--;
    } else if (record_is_out(record_at(sched, slot))) {
        status = pending_add(sched, slot, put, true, now);
    } else {
        status = put_change(sched, slot, put, true, now);
    }
    return status >= 0;
}

/* --- what comes due soon ---------------------------------------------------------------------- */

/* Whether this item would keep its record from somebody who waits for it. One that says when the
 * record is due decides that. */
static bool is_soon(const struct sched *sched, const struct put *put, uint32_t slot,
                    struct moment now)
{
    if (slot == SLAB_NONE || put->due_us != TIME_US_NEVER)
        return false;
    const struct record *record = record_at(sched, slot);
    bool is_queued = record->where == PLACE_WAITING || record->where == PLACE_READY;
    return is_queued && (int64_t)record->due_us - now.wall_us < SOON_US;
}

/* False: no memory. */
static bool put_off(struct sync *sync, size_t at)
{
    if (sync->later_count == sync->later_room) {
        uint32_t room = sync->later_room ? sync->later_room * 2 : LATER_ROOM_LEAST;
        size_t *later = realloc(sync->later, room * sizeof(*later));
        if (!later)
            return false;
        sync->later = later;
        sync->later_room = room;
    }
    sync->later[sync->later_count++] = at;
    return true;
}

/* --- slices ----------------------------------------------------------------------------------- */

bool sync_change_items(struct sched *sched, struct queue *queue, uint32_t *budget,
                       struct moment now)
{
    struct sync *sync = queue->sync;
    bool has_taker = grant_has_taker(sched, queue, now);
    for (; sync->changed_done < sync->changed.count; --*budget) {
        struct put put;
        if (!*budget || sync_batch_is_full(sched))
            return false;
        size_t end = read_item(sync, sync->changed_done, &put);
        uint32_t slot = record_find(sched, queue, put.key);
        bool is_later = has_taker && is_soon(sched, &put, slot, now);
        if (!(is_later && put_off(sync, sync->changed_done)) &&
            !change_item(sched, queue, &put, slot, now))
            return false;
        sync->changed_done = end;
    }
    return true;
}

/* A round that carries out nothing leaves the budget as it is: then WORK itself waits a while. */
bool sync_change_put_off(struct sched *sched, struct queue *queue, uint32_t *budget,
                         struct moment now)
{
    struct sync *sync = queue->sync;
    if (!sync->later_end_mono_us)
        sync->later_end_mono_us = now.mono_us + LATER_US;
    bool may_wait = now.mono_us < sync->later_end_mono_us && grant_has_taker(sched, queue, now);
    for (uint32_t looks = *budget * LATER_LOOKS; sync->later_count; looks--) {
        struct put put;
        if (!*budget || !looks || sync_batch_is_full(sched))
            return false;
        if (sync->later_next >= sync->later_count)
            sync->later_next = 0;
        size_t *at = &sync->later[sync->later_next];
        read_item(sync, *at, &put);
        uint32_t slot = record_find(sched, queue, put.key);
        if (may_wait && is_soon(sched, &put, slot, now)) {
            sync->later_next++;
            continue;
        }
        if (!change_item(sched, queue, &put, slot, now))
            return false;
        *at = sync->later[--sync->later_count];
        --*budget;
    }
    return true;
}
