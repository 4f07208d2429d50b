/* What changed since the last batch, for the store. */
#include <stdlib.h>
#include <string.h>

#include "sched_internal.h"

/* --- rows ------------------------------------------------------------------------------------- */

/* Once written, once removed. */
enum { SESSION_ROWS = 2 };

/* The rows of what has yet to end, and their bytes. */
static size_t rows_of_ends(const struct sched *sched)
{
    return (size_t)sched->sessions.count * SESSION_ROWS + sched->pendings.count +
           sched->expected_count;
}

static size_t bytes_of_ends(const struct sched *sched)
{
    return (size_t)sched->sessions.count * SESSION_NAME_BYTES_MAX;
}

bool sched_reserve_rows(struct sched *sched, uint32_t rows, size_t bytes)
{
    return store_batch_reserve(sched->rows, rows + rows_of_ends(sched),
                               bytes + bytes_of_ends(sched));
}

void sched_add_row(struct sched *sched, const struct store_row *row, const void *bytes)
{
    bool has_room = store_batch_add_row(sched->rows, row, bytes);
    assert(has_room);
}

enum status sched_write_row(struct sched *sched, enum store_table table, uint64_t a, uint64_t b,
                            const void *bytes, size_t count)
{
    if (!sched_reserve_rows(sched, 1, count))
        return STATUS_NO_MEMORY;
    struct store_row row = {.table = table, .a = a, .b = b, .count = (uint32_t)count};
    sched_add_row(sched, &row, bytes);
    return STATUS_OK;
}

enum status sched_remove_row(struct sched *sched, enum store_table table, uint64_t a, uint64_t b)
{
    if (!sched_reserve_rows(sched, 1, 0))
        return STATUS_NO_MEMORY;
    sched_add_row(sched, &(struct store_row){.table = table, .a = a, .b = b, .remove = true}, NULL);
    return STATUS_OK;
}

bool sched_is_dirty(const struct sched *sched)
{
    if (sched->dirty_count[sched->parity] || sched->rows->row_count || sched->is_meta_dirty)
        return true;
    return sched_reserve_wanted(sched) != 0;
}

/* Marks that a burst of changes needed; those of leases and whatever ends have theirs. */
static void shrink_dirty(struct sched *sched, unsigned parity)
{
    uint32_t wanted = sched->dirty_count[parity] + sched->live.count + DIRTY_ROOM_LEAST;
    if (sched->dirty_room[parity] / 4 < wanted)
        return;
    uint32_t *dirty = realloc(sched->dirty[parity], wanted * 2 * sizeof(*dirty));
    if (!dirty)
        return;
    sched->dirty[parity] = dirty;
    sched->dirty_room[parity] = wanted * 2;
}

void sched_rest(struct sched *sched)
{
    if (!sched->rows->row_count)
        store_batch_trim(sched->rows, rows_of_ends(sched), bytes_of_ends(sched));
    shrink_dirty(sched, 0);
    shrink_dirty(sched, 1);
    if (sched->leases.count == 0) {
        slab_release(&sched->leases);
        table_release(&sched->live);
        table_release(&sched->ended);
    }
}

/* A stored record: its queue, then its body. */
static bool seal_body(const struct sched *sched, struct store_batch *batch,
                      const struct record *record)
{
    uint32_t queue = record->queue;
    const uint8_t *body = record_body(sched, record);
    uint32_t count = body_stored_bytes(body);
    struct store_row row = {
        .table = STORE_RECORDS, .a = record->number, .count = count + (uint32_t)sizeof(queue)};
    uint8_t small[512];
    uint8_t *bytes = row.count <= sizeof(small) ? small : malloc(row.count);
    if (!bytes)
        return false;
    memcpy(bytes, &queue, sizeof(queue));
    body_store(body, bytes + sizeof(queue));
    bool is_added = store_batch_add_row(batch, &row, bytes);
    if (bytes != small)
        free(bytes);
    return is_added;
}

static bool seal_record(const struct sched *sched, struct store_batch *batch,
                        const struct record *record)
{
    struct store_state state = {.number = record->number};
    if (record->where == PLACE_REMOVED) {
        struct store_row row = {.table = STORE_RECORDS, .a = record->number, .remove = true};
        return store_batch_add_state(batch, &state) && store_batch_add_row(batch, &row, NULL);
    }
    state.state = record->state;
    state.due_us = (int64_t)record->due_us;
    state.failures = record->failures;
    state.crashes = record->crashes;
    state.flags = STATE_PRESENT;
    if (record->where == PLACE_PARKED)
        state.flags |= STATE_PARKED;
    if (!store_batch_add_state(batch, &state))
        return false;
    return !(record->flags & FLAG_COLD) || seal_body(sched, batch, record);
}

static bool seal_rows(struct sched *sched, struct store_batch *batch)
{
    for (size_t i = 0; i < sched->rows->row_count; i++) {
        const struct store_row *row = &sched->rows->rows[i];
        const uint8_t *bytes = row->count ? sched->rows->bytes + row->offset : NULL;
        if (!store_batch_add_row(batch, row, bytes))
            return false;
    }
    for (uint32_t i = 0; i < sched->queue_count; i++)
        if (sched->queues[i]->is_dirty && queue_write_row(sched->queues[i], batch))
            return false;
    return !meta_write_row(sched, batch);
}

/* A batch that drops needs none of it: bodies stay marked as changed then, which nobody asks. */
static bool seal_records(struct sched *sched, struct store_batch *batch)
{
    unsigned parity = sched->parity;
    for (uint32_t i = 0; i < sched->dirty_count[parity]; i++) {
        sched_fetch_dirty(sched, parity, i);
        if (!seal_record(sched, batch, record_at(sched, sched->dirty[parity][i])))
            return false;
    }
    return true;
}

static void clear_cold(struct sched *sched)
{
    unsigned parity = sched->parity;
    for (uint32_t i = 0; i < sched->dirty_count[parity]; i++)
        record_clear_flag(record_at(sched, sched->dirty[parity][i]), FLAG_COLD);
}

enum status sched_seal(struct sched *sched, struct store_batch *batch)
{
    assert(sched->dirty_count[sched->parity ^ 1] == 0);
    if (!batch->drops && !seal_records(sched, batch))
        return STATUS_NO_MEMORY;
    if (!seal_rows(sched, batch))
        return STATUS_NO_MEMORY;
    if (!batch->drops)
        clear_cold(sched);
    for (uint32_t i = 0; i < sched->queue_count; i++)
        sched->queues[i]->is_dirty = false;
    store_batch_trim(sched->rows, rows_of_ends(sched), bytes_of_ends(sched));
    sched->is_meta_dirty = false;
    sched->parity ^= 1;
    sched->seals++;
    return STATUS_OK;
}
