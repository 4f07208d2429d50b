#include <string.h>

#include "sched_sync.h"

/* --- the marker ------------------------------------------------------------------------------- */

enum status sync_write_marker(struct sched *sched, const struct queue *queue,
                              const struct sync *sync)
{
    struct wire_buffer row;
    wire_buffer_init(&row);
    wire_write_array(&row, 6);
    wire_write_uint(&row, queue->id);
    wire_write_bool(&row, sync->due_take);
    wire_write_uint(&row, sync->parts[1]);
    wire_write_uint(&row, sync->parts[2]);
    wire_write_uint(&row, sync->counts.unchanged);
    wire_write_uint(&row, sync->counts.absent);
    enum status status = STATUS_NO_MEMORY;
    if (!row.failed)
        status =
            sched_write_row(sched, STORE_SYNCS, sync->generation, SYNC_MARKER, row.data, row.count);
    wire_buffer_release(&row);
    return status;
}

static enum status load_marker(struct sched *sched, const struct store_row *row,
                               const uint8_t *bytes)
{
    struct wire_reader reader;
    wire_reader_init(&reader, bytes, row->count);
    uint32_t fields = wire_read_array(&reader, 16);
    uint64_t id = wire_read_uint(&reader);
    bool due_take = wire_read_bool(&reader);
    uint64_t items = wire_read_uint(&reader);
    uint64_t prunes = wire_read_uint(&reader);
    uint64_t unchanged = wire_read_uint(&reader);
    uint64_t absent = wire_read_uint(&reader);
    wire_skip_rest(&reader, fields, 6);
    if (reader.status || id >= sched->queue_count || sched->queues[id]->sync ||
        items > UINT32_MAX || prunes > UINT32_MAX)
        return STATUS_CORRUPT;
    struct sync *sync = sync_new(row->a);
    if (!sync)
        return STATUS_NO_MEMORY;
    sync->phase = SYNC_APPLY;
    sync->has_marker = true;
    sync->due_take = due_take;
    sync->parts[1] = (uint32_t)items;
    sync->parts[2] = (uint32_t)prunes;
    sync->counts.unchanged = unchanged;
    sync->counts.absent = absent;
    sched->queues[id]->sync = sync;
    return STATUS_OK;
}

/* --- the parts -------------------------------------------------------------------------------- */

static enum status load_items(struct sched *sched, struct queue *queue, const struct store_row *row,
                              const uint8_t *bytes)
{
    struct wire_reader reader;
    struct moment then = {0, 0}; /* the due of an item is absolute */
    wire_reader_init(&reader, bytes, row->count);
    uint64_t unchanged = queue->sync->counts.unchanged;
    while (reader.at != reader.end) {
        struct put put;
        put_read(&reader, &put);
        if (reader.status)
            return STATUS_CORRUPT;
        enum status status = sync_stage(sched, queue, &put, false, then);
        if (status == STATUS_NO_MEMORY)
            return status;
    }
    /* What was carried out before the crash compares equal now; it was no unchanged line. */
    uint64_t done = queue->sync->counts.unchanged - unchanged;
    queue->sync->counts.unchanged = unchanged;
    queue->sync->counts.changed += done;
    return STATUS_OK;
}

static enum status load_prunes(struct sched *sched, struct sync *sync, const struct store_row *row,
                               const uint8_t *bytes)
{
    if (row->count % sizeof(uint64_t))
        return STATUS_CORRUPT;
    for (uint32_t i = 0; i < row->count; i += sizeof(uint64_t)) {
        uint64_t number;
        memcpy(&number, bytes + i, sizeof(number));
        uint32_t slot = record_find_number(sched, number);
        if (slot == SLAB_NONE) {
            sync->counts.pruned++; /* carried out before the crash */
            continue;
        }
        enum status status = sync_add_prune(sync, number, slot);
        if (status)
            return status;
    }
    return STATUS_OK;
}

static struct queue *find_marked(const struct sched *sched, uint64_t generation)
{
    for (uint32_t i = 0; i < sched->queue_count; i++)
        if (sched->queues[i]->sync && sched->queues[i]->sync->generation == generation)
            return sched->queues[i];
    return NULL;
}

enum status sync_load_row(struct sched *sched, const struct store_row *row, const uint8_t *bytes)
{
    if (row->b == SYNC_MARKER)
        return load_marker(sched, row, bytes);
    struct queue *queue = find_marked(sched, row->a);
    if (!queue) /* never committed, or carried out: left over */
        return sched_remove_row(sched, STORE_SYNCS, row->a, row->b);
    uint32_t part = (uint32_t)row->b;
    switch (row->b >> 32) {
    case SYNC_ITEMS >> 32:
        return part < queue->sync->parts[1] ? load_items(sched, queue, row, bytes) : STATUS_CORRUPT;
    case SYNC_PRUNES >> 32:
        return load_prunes(sched, queue->sync, row, bytes);
    case SYNC_TOUCHED >> 32:
        if (part >= queue->sync->parts[3])
            queue->sync->parts[3] = part + 1;
        return sync_add_touched(sched, queue->sync, (struct bytes){bytes, row->count}, false);
    default:
        return STATUS_CORRUPT;
    }
}

/* Touched keys are loaded after the items, so what was staged for them is let go now. */
enum status sync_load_end(struct sched *sched, struct moment now)
{
    (void)now;
    for (uint32_t i = 0; i < sched->queue_count; i++) {
        struct sync *sync = sched->queues[i]->sync;
        for (uint32_t k = 0; sync && k < sync->staged_count; k++) {
            uint32_t slot = sync->staged[k];
            if (sync_has_touched(sync, body_key(record_at(sched, slot)->body))) {
                record_drop(sched, slot);
                sync->staged[k--] = sync->staged[--sync->staged_count];
                sync->counts.created--;
                sync->counts.kept++;
            }
        }
    }
    return STATUS_OK;
}
