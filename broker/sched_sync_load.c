#include <string.h>

#include "sched_sync.h"

/* --- the marker ------------------------------------------------------------------------------- */

/* Queue, options, how many parts there are; then the counts that the parts do not tell. */
enum { MARKER_FIELDS = 9 };

enum status sync_write_marker(struct sched *sched, const struct queue *queue,
                              const struct sync *sync)
{
    struct wire_buffer row;
    wire_buffer_init(&row);
    wire_write_array(&row, MARKER_FIELDS);
    wire_write_uint(&row, queue->id);
    wire_write_bool(&row, sync->due_take);
    wire_write_uint(&row, sync->parts[PARTS_ITEMS]);
    wire_write_uint(&row, sync->parts[PARTS_PRUNES]);
    wire_write_uint(&row, sync->counts.unchanged);
    wire_write_uint(&row, sync->counts.absent);
    wire_write_uint(&row, sync->counts.rejected);
    wire_write_uint(&row, sync->counts.kept - sync->displaced);
    wire_write_uint(&row, sync->counts.due_now);
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
    struct sync_counts counts = {.created = 0};
    counts.unchanged = wire_read_uint(&reader);
    counts.absent = wire_read_uint(&reader);
    counts.rejected = wire_read_uint(&reader);
    counts.kept = wire_read_uint(&reader);
    counts.due_now = wire_read_uint(&reader);
    wire_skip_rest(&reader, fields, MARKER_FIELDS);
    if (reader.status || id >= sched->queue_count || sched->queues[id]->sync ||
        items > UINT32_MAX || prunes > UINT32_MAX)
        return STATUS_CORRUPT;
    struct sync *sync = sync_new(row->a);
    if (!sync)
        return STATUS_NO_MEMORY;
    sync->phase = SYNC_APPLY;
    sync->has_marker = sync->is_asked = true;
    sync->due_take = due_take;
    sync->parts[PARTS_ITEMS] = (uint32_t)items;
    sync->parts[PARTS_PRUNES] = (uint32_t)prunes;
    sync->counts = counts;
    sched->queues[id]->sync = sync;
    return STATUS_OK;
}

/* --- the parts -------------------------------------------------------------------------------- */

/* An item is staged again unless it was carried out, or its key was put or removed. */
static enum status load_item(struct sched *sched, struct queue *queue, const struct put *put,
                             bool is_new)
{
    struct sync *sync = queue->sync;
    struct sync_counts counts = sync->counts;
    struct moment then = {0, 0}; /* the due of an item is absolute */
    enum status status = STATUS_OK;
    if (sync_has_touched(sync, put->key)) {
        sync->counts.kept++;
        return STATUS_OK;
    }
    if (is_new == (record_find(sched, queue, put->key) == SLAB_NONE))
        status = sync_stage(sched, queue, put, false, then);
    if (status < 0)
        return status == STATUS_NO_MEMORY ? status : STATUS_CORRUPT;
    sync->counts = counts; /* as it was counted when it came, not as it compares now */
    if (is_new)
        sync->counts.created++;
    else
        sync->counts.changed++;
    return STATUS_OK;
}

static enum status load_items(struct sched *sched, struct queue *queue, const struct store_row *row,
                              const uint8_t *bytes)
{
    struct wire_reader reader;
    wire_reader_init(&reader, bytes, row->count);
    while (reader.at != reader.end) {
        struct put put;
        bool is_new = wire_read_bool(&reader);
        put_read(&reader, &put);
        if (reader.status)
            return STATUS_CORRUPT;
        enum status status = load_item(sched, queue, &put, is_new);
        if (status)
            return status;
    }
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

static enum status load_touched(struct sync *sync, struct bytes key)
{
    if (sync_has_touched(sync, key))
        return STATUS_OK;
    if (!bytes_are_key(key))
        return STATUS_CORRUPT;
    if (!sync_reserve_touch(sync, key.count))
        return STATUS_NO_MEMORY;
    sync_add_touched(sync, key, false);
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
        return part < queue->sync->parts[PARTS_ITEMS] ? load_items(sched, queue, row, bytes)
                                                      : STATUS_CORRUPT;
    case SYNC_PRUNES >> 32:
        return load_prunes(sched, queue->sync, row, bytes);
    case SYNC_TOUCHED >> 32:
        if (part >= queue->sync->parts[PARTS_TOUCHED])
            queue->sync->parts[PARTS_TOUCHED] = part + 1;
        return load_touched(queue->sync, (struct bytes){bytes, row->count});
    default:
        return STATUS_CORRUPT;
    }
}
