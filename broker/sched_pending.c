#include <stdlib.h>
#include <string.h>

#include "sched_internal.h"

/* --- pending ---------------------------------------------------------------------------------- */

static uint32_t find_pending(const struct sched *sched, uint32_t slot)
{
    if (!(record_at(sched, slot)->flags & FLAG_PENDING))
        return SLAB_NONE;
    uint32_t id = table_first(&sched->pending_of, slot);
    while (((struct pending *)slab_at(&sched->pendings, id))->record != slot)
        id = table_next(&sched->pending_of, id);
    return id;
}

struct pending *pending_find(const struct sched *sched, uint32_t slot)
{
    uint32_t id = find_pending(sched, slot);
    return id == SLAB_NONE ? NULL : slab_at(&sched->pendings, id);
}

bool pending_put(const struct pending *pending, struct put *put)
{
    if (!pending->has_put)
        return false;
    struct wire_reader reader;
    wire_reader_init(&reader, pending->put, pending->put_bytes);
    put_read(&reader, put);
    assert(reader.status == STATUS_OK); /* we wrote it, or checked it when it was loaded */
    return true;
}

void pending_drop(struct sched *sched, uint32_t slot)
{
    uint32_t id = find_pending(sched, slot);
    struct pending *pending = slab_at(&sched->pendings, id);
    struct store_row row = {
        .table = STORE_PENDING, .a = record_at(sched, slot)->number, .remove = true};
    sched_add_row(sched, &row, NULL);
    table_remove(&sched->pending_of, id);
    free(pending->put);
    pending->put = NULL;
    slab_give(&sched->pendings, id);
    record_clear_flag(record_at(sched, slot), FLAG_PENDING);
}

static struct pending *require_pending(struct sched *sched, uint32_t slot)
{
    struct pending *pending = pending_find(sched, slot);
    if (pending)
        return pending;
    if (!table_reserve(&sched->pending_of))
        return NULL;
    uint32_t id = slab_take(&sched->pendings);
    if (id == SLAB_NONE)
        return NULL;
    if (!sched_reserve_rows(sched, 0, 0)) { /* for its end */
        slab_give(&sched->pendings, id);
        return NULL;
    }
    pending = slab_at(&sched->pendings, id);
    pending->record = slot;
    table_put(&sched->pending_of, id, slot);
    record_set_flag(record_at(sched, slot), FLAG_PENDING);
    return pending;
}

/* What `put` says on top of what was pending before. */
static void merge(const struct pending *pending, bool is_full, struct put *put)
{
    struct put before;
    if (!pending || !pending_put(pending, &before))
        return;
    if (put->due_us == TIME_US_NEVER)
        put->due_us = before.due_us;
    if (!put->memo.data) /* a full set says nothing of it */
        put->memo = before.memo;
    if (is_full)
        return;
    if (put->every_us == TIME_US_NEVER)
        put->every_us = before.every_us;
    if (!put->has_rank) {
        put->has_rank = before.has_rank;
        put->rank = before.rank;
    }
    if (!put->group.data)
        put->group = before.group;
    if (!put->has_once) {
        put->has_once = before.has_once;
        put->once = before.once;
    }
    if (!put->payload.data)
        put->payload = before.payload;
}

enum { PENDING_RUN_NOW = 1, PENDING_HAS_PUT = 2, PENDING_IS_FULL = 4 };

/* One byte of flags, then the put: the row of a pending change. */
static bool encode_pending(unsigned flags, const struct put *put, struct wire_buffer *row)
{
    uint8_t byte = (uint8_t)(flags | (put ? PENDING_HAS_PUT : 0u));
    wire_write_raw(row, &byte, 1);
    if (put)
        put_write(row, put);
    return !row->failed;
}

static unsigned flags_of(const struct pending *pending)
{
    unsigned flags = 0;
    if (pending && pending->run_now)
        flags |= PENDING_RUN_NOW;
    if (pending && pending->is_full)
        flags |= PENDING_IS_FULL;
    return flags;
}

static enum status decode_pending(struct pending *pending, const uint8_t *bytes, size_t count)
{
    uint8_t *put = NULL;
    if (count > 1) {
        put = malloc(count - 1);
        if (!put)
            return STATUS_NO_MEMORY;
        memcpy(put, bytes + 1, count - 1);
    }
    free(pending->put);
    pending->put = put;
    pending->put_bytes = (uint32_t)(count - 1);
    pending->run_now = bytes[0] & PENDING_RUN_NOW;
    pending->has_put = put != NULL;
    pending->is_full = bytes[0] & PENDING_IS_FULL;
    return STATUS_OK;
}

/* To memory and to the disk. */
static enum status pending_write(struct sched *sched, uint32_t slot,
                                 const struct wire_buffer *bytes)
{
    struct pending *before = pending_find(sched, slot);
    struct pending *pending = before ? before : require_pending(sched, slot);
    enum status status = STATUS_NO_MEMORY;
    /* The other row is the one that a set in progress may want behind it: sync_note_touched. */
    uint32_t key_bytes = body_key(record_body(sched, record_at(sched, slot))).count;
    if (pending && sched_reserve_rows(sched, 2, bytes->count + key_bytes))
        status = decode_pending(pending, bytes->data, bytes->count);
    if (status) {
        if (pending && !before)
            pending_drop(sched, slot);
        return status;
    }
    struct store_row row = {.table = STORE_PENDING,
                            .a = record_at(sched, slot)->number,
                            .count = (uint32_t)bytes->count};
    sched_add_row(sched, &row, bytes->data);
    return STATUS_OK;
}

enum status pending_add(struct sched *sched, uint32_t slot, const struct put *given, bool is_full,
                        struct moment now)
{
    struct pending *before = pending_find(sched, slot);
    unsigned flags = flags_of(before) | (is_full ? PENDING_IS_FULL : 0u);
    struct put put;
    bool has_put = true;
    if (given) {
        put = *given;
        put.due_us = put_due(given, now);
        put.in_us = TIME_US_NEVER;
        merge(before, is_full, &put);
    } else {
        flags |= PENDING_RUN_NOW;
        has_put = before && pending_put(before, &put);
        put.due_us = TIME_US_NEVER; /* of a put with a due and run-now the last counts */
    }
    struct wire_buffer bytes;
    wire_buffer_init(&bytes);
    enum status status = STATUS_NO_MEMORY;
    if (encode_pending(flags, has_put ? &put : NULL, &bytes))
        status = pending_write(sched, slot, &bytes);
    wire_buffer_release(&bytes);
    return status;
}

enum status sched_read_pending(struct bytes row, struct sched_pending_row *pending)
{
    struct wire_reader reader;
    if (row.count < 1)
        return STATUS_CORRUPT;
    pending->run_now = row.data[0] & PENDING_RUN_NOW;
    pending->has_put = row.data[0] & PENDING_HAS_PUT;
    if (!pending->has_put)
        return row.count == 1 ? STATUS_OK : STATUS_CORRUPT;
    wire_reader_init(&reader, row.data + 1, row.count - 1);
    put_read(&reader, &pending->put);
    return reader.status || reader.at != reader.end ? STATUS_CORRUPT : STATUS_OK;
}

enum status pending_load(struct sched *sched, uint32_t slot, const uint8_t *bytes, uint32_t count)
{
    struct sched_pending_row row;
    if (sched_read_pending((struct bytes){bytes, count}, &row) ||
        (row.has_put && put_check(sched, &row.put)))
        return STATUS_CORRUPT;
    struct pending *pending = require_pending(sched, slot);
    return pending ? decode_pending(pending, bytes, count) : STATUS_NO_MEMORY;
}

bool pending_apply_lost(struct sched *sched, uint32_t slot, struct moment now, int64_t *due_us)
{
    struct record *record = record_at(sched, slot);
    struct pending *pending = pending_find(sched, slot);
    struct body_fields fields;
    struct put put;
    if (!pending || !record_reserve(sched, 1))
        return false;
    bool has_put = pending_put(pending, &put);
    body_view(record_body(sched, record), &fields);
    if (has_put)
        put_overlay(&put, pending->is_full, &fields);
    uint64_t state = sched_draw(sched);
    if (!state || record_repack(sched, slot, &fields))
        return false;
    lease_forget_ended(sched, slot);
    record_set_state(record, state);
    record_mark(sched, slot);
    *due_us = has_put ? put.due_us : TIME_US_NEVER;
    if (*due_us == TIME_US_NEVER && pending->run_now)
        *due_us = now.wall_us;
    pending_drop(sched, slot);
    return true;
}
