/* store_lmdb_commit.c - one transaction: fences, rows, states packed into journal parts. */
#include "store_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

enum { MIB = 1 << 20, ALLOCATE_BYTES_MAX = 32 * MIB };

/* --- rows and states ------------------------------------------------------------------------- */

static int put_row(struct store_lmdb *store, MDB_txn *txn, const struct store_batch *batch,
                   const struct store_row *row)
{
    struct store_lmdb_key key_bytes;
    store_lmdb_key_write(&key_bytes, row->table, row->a, row->b);
    MDB_val key = store_lmdb_key_value(&key_bytes);
    MDB_dbi dbi = store->lmdb.tables[row->table];
    if (row->remove) {
        int error = mdb_del(txn, dbi, &key, NULL);
        return error == MDB_NOTFOUND ? 0 : error;
    }
    const uint8_t *bytes = batch->bytes + row->offset;
    MDB_val value = {.mv_size = (size_t)row->count + ROW_CHECKSUM_BYTES};
    unsigned flags = MDB_RESERVE;
    if (row->table == STORE_RECORDS && row->a > store->record_last)
        flags |= MDB_APPEND;
    int error = mdb_put(txn, dbi, &key, &value, flags);
    if (error)
        return error;
    uint64_t checksum = store_lmdb_checksum(row->table, row->a, row->b, bytes, row->count);
    if (row->count)
        memcpy(value.mv_data, bytes, row->count);
    memcpy((uint8_t *)value.mv_data + row->count, &checksum, sizeof(checksum));
    if (row->table == STORE_RECORDS && row->a > store->record_last)
        store->record_last = row->a;
    return 0;
}

static size_t part_count_of(const struct store_batch *batch)
{
    return (batch->state_count + PART_STATES - 1) / PART_STATES;
}

/* Those from `first` on, up to `end`. */
static int put_parts(struct store_lmdb *store, MDB_txn *txn, const struct store_batch *batch,
                     size_t first, size_t end)
{
    struct store_lmdb_part part = {.part_count = (uint32_t)part_count_of(batch)};
    uint64_t sequence = batch->fence.sequence;
    for (size_t i = first; i < end; i++) {
        size_t done = i * PART_STATES;
        size_t count = batch->state_count - done;
        if (count > PART_STATES)
            count = PART_STATES;
        size_t bytes = offsetof(struct store_lmdb_part, states) + count * sizeof(part.states[0]);
        memcpy(part.states, batch->states + done, count * sizeof(part.states[0]));
        part.checksum = store_lmdb_states_checksum(STORE_LMDB_JOURNAL, sequence, i, &part, bytes);
        struct store_lmdb_key key_bytes;
        store_lmdb_key_write(&key_bytes, STORE_LMDB_JOURNAL, sequence, i);
        MDB_val key = store_lmdb_key_value(&key_bytes);
        MDB_val value = {.mv_size = bytes, .mv_data = &part};
        int error = mdb_put(txn, store->lmdb.tables[STORE_LMDB_JOURNAL], &key, &value, MDB_APPEND);
        if (error)
            return error;
    }
    return 0;
}

static bool fence_follows(const struct store_fence *last, const struct store_fence *fence)
{
    return memcmp(last->owner, fence->owner, sizeof(last->owner)) == 0 &&
           last->epoch == fence->epoch && last->sequence + 1 == fence->sequence;
}

static int put_batch(struct store_lmdb *store, MDB_txn *txn, struct store_lmdb_info *info,
                     struct store_batch *batch)
{
    batch->status = STATUS_LOCKED;
    if (!fence_follows(&info->fence, &batch->fence))
        return 0;
    size_t ahead = batch == store->group.first ? store->parts_ahead : 0;
    int error = put_parts(store, txn, batch, ahead, part_count_of(batch));
    for (size_t i = 0; i < batch->row_count && !error; i++)
        error = put_row(store, txn, batch, &batch->rows[i]);
    if (error)
        return error;
    batch->status = STATUS_OK;
    info->fence.sequence = batch->fence.sequence;
    return 0;
}

/* --- space ----------------------------------------------------------------------------------- */

/* More than the transaction can need, unless the tree is very deep: a leaf and its share of
 * branches for each row, but never more than a copy of all that there is and the new rows twice. */
static uint64_t bytes_needed(const struct store_lmdb *store, uint64_t used_end)
{
    uint64_t bytes = MIB, most = MIB + used_end;
    for (const struct store_batch *batch = store->group.first; batch; batch = batch->next) {
        bytes += 2 * (uint64_t)batch->byte_count;
        most += 2 * (uint64_t)(batch->byte_count + batch->state_count * sizeof(struct store_state));
        bytes += (2 * (uint64_t)batch->row_count + batch->state_count / PART_STATES + 8) *
                 store->page_bytes;
    }
    return bytes < most ? bytes : most;
}

static bool file_may_grow_to(uint64_t end)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) || limit.rlim_cur == RLIM_INFINITY ||
           limit.rlim_cur >= end;
}

/* LMDB answers a short write, which is how a disk becomes full, with EIO as for a broken disk. So
 * space is allocated before it is written; where that fails, an EIO that follows may mean either.
 * The file also grows in large pieces. LMDB may still find room in its free pages, so nothing fails
 * here. */
static void allocate_ahead(struct store_lmdb *store)
{
    MDB_envinfo info;
    mdb_env_info(store->lmdb.env, &info);
    uint64_t used_end = (info.me_last_pgno + 1) * store->page_bytes;
    uint64_t needed = bytes_needed(store, used_end);
    uint64_t end = used_end + needed;
    store->space_low = !file_may_grow_to(end);
    if (end <= store->allocated_end || store->space_low)
        return;
    uint64_t ahead = used_end / 16 < ALLOCATE_BYTES_MAX ? used_end / 16 : ALLOCATE_BYTES_MAX;
    uint64_t from = store->allocated_end;
    int error =
        fallocate(store->data_fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(end + ahead - from));
    if (!error) {
        store->allocated_end = end + ahead;
    } else if (store_lmdb_lacks_space(errno)) {
        error = fallocate(store->data_fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(end - from));
        store->space_low = error != 0;
        if (!error)
            store->allocated_end = end;
    } else {
        /* This file system cannot tell beforehand. */
        store->space_low = store_lmdb_free_bytes(store->directory) < 2 * needed;
    }
}

/* --- the transaction ------------------------------------------------------------------------- */

/* *changed: there is something to commit. */
static int fill(struct store_lmdb *store, MDB_txn *txn, struct store_lmdb_info *info,
                bool with_slice, bool *changed)
{
    for (struct store_batch *batch = store->group.first; batch; batch = batch->next) {
        int error = put_batch(store, txn, info, batch);
        if (error)
            return error;
        *changed |= batch->status == STATUS_OK;
    }
    int error = with_slice ? store_lmdb_pass_slice(store, txn, info, changed) : 0;
    if (error || !*changed)
        return error;
    store->hot_bytes_next = store_lmdb_env_table_bytes(&store->lmdb, txn, STORE_LMDB_HOT);
    store->journal_bytes_next = store_lmdb_env_table_bytes(&store->lmdb, txn, STORE_LMDB_JOURNAL);
    return store_lmdb_env_put_info(&store->lmdb, txn, info);
}

static bool is_ours(const struct store_lmdb *store, const struct store_fence *found)
{
    const struct store_fence *own = &store->store.fence;
    return memcmp(found->owner, own->owner, sizeof(own->owner)) == 0 && found->epoch == own->epoch;
}

/* The info is read anew each time: this is what fences off a process that another took the store
 * from. */
static int begin(struct store_lmdb *store, MDB_txn **txn, struct store_lmdb_info *info)
{
    allocate_ahead(store);
    int error = mdb_txn_begin(store->lmdb.env, NULL, 0, txn);
    if (error)
        return error;
    if (store_lmdb_env_get_info(&store->lmdb, *txn, info, store->store.why)) {
        mdb_txn_abort(*txn);
        return MDB_CORRUPTED;
    }
    store->fenced_off = !is_ours(store, &info->fence);
    return 0;
}

/* The first parts of a batch that has too many for one transaction. A batch that will be refused is
 * left to the last. */
static int write_ahead(struct store_lmdb *store)
{
    const struct store_batch *batch = store->group.first;
    while (batch && part_count_of(batch) - store->parts_ahead > store->parts_at_once) {
        struct store_lmdb_info info;
        MDB_txn *txn = NULL;
        size_t end = store->parts_ahead + store->parts_at_once;
        int error = begin(store, &txn, &info);
        if (error)
            return error;
        bool is_next = fence_follows(&info.fence, &batch->fence);
        if (is_next)
            error = put_parts(store, txn, batch, store->parts_ahead, end);
        if (is_next && !error)
            error = store_lmdb_env_put_info(&store->lmdb, txn, &info);
        if (!is_next || error) {
            mdb_txn_abort(txn);
            return error;
        }
        error = mdb_txn_commit(txn);
        if (error)
            return error;
        store->parts_ahead = end;
    }
    return 0;
}

int store_lmdb_commit(struct store_lmdb *store, bool with_slice)
{
    struct store_lmdb_info info;
    MDB_txn *txn = NULL;
    bool changed = false;
    int error = write_ahead(store);
    if (!error)
        error = begin(store, &txn, &info);
    if (error)
        return error;
    with_slice = with_slice && !store->fenced_off;
    error = fill(store, txn, &info, with_slice, &changed);
    if (error || !changed) {
        mdb_txn_abort(txn);
        return error;
    }
    error = mdb_txn_commit(txn);
    if (error)
        return error;
    if (store->group.first)
        store->parts_ahead = 0;
    store->info = info;
    store->hot_bytes = store->hot_bytes_next;
    store->journal_bytes = store->journal_bytes_next;
    if (with_slice)
        store_lmdb_pass_advance(store);
    return 0;
}

/* --- what never came ------------------------------------------------------------------------- */

/* Some of the parts above the sequence; *count of them. */
static int drop_some(struct store_lmdb *store, MDB_txn *txn, uint64_t sequence, size_t *count)
{
    MDB_cursor *cursor = NULL;
    int error = mdb_cursor_open(txn, store->lmdb.tables[STORE_LMDB_JOURNAL], &cursor);
    for (*count = 0; !error && *count < store->parts_at_once; ++*count) {
        MDB_val key, value;
        uint64_t found = 0, number = 0;
        error = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
        if (error)
            break;
        if (!store_lmdb_key_read(&key, STORE_LMDB_JOURNAL, &found, &number))
            error = MDB_CORRUPTED;
        else if (found <= sequence)
            break;
        else
            error = mdb_cursor_del(cursor, 0);
    }
    if (cursor)
        mdb_cursor_close(cursor);
    return error == MDB_NOTFOUND ? 0 : error;
}

int store_lmdb_drop_ahead(struct store_lmdb *store)
{
    struct store_lmdb_info info = store->lmdb.info;
    for (;;) { /* ends: each round removes something, or is the last */
        MDB_txn *txn = NULL;
        size_t count = 0;
        int error = mdb_txn_begin(store->lmdb.env, NULL, 0, &txn);
        if (error)
            return error;
        error = drop_some(store, txn, info.fence.sequence, &count);
        if (!error && count)
            error = store_lmdb_env_put_info(&store->lmdb, txn, &info);
        if (error || !count) {
            mdb_txn_abort(txn);
            return error;
        }
        error = mdb_txn_commit(txn);
        if (error)
            return error;
    }
}
