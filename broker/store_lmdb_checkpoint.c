/* store_lmdb_checkpoint.c - a checkpoint pass: gather, fold in slices, trim in slices.
 *
 * A slice is small enough to ride with a batch: it adds little to a commit and no fsync. Without a
 * batch it is committed by itself.
 */
#include "store_lmdb.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum {
    FOLD_PAGES = 96,       /* hot pages in one slice, about 1 ms */
    TRIM_COMMITS = 64,     /* commits whose parts go in one slice */
    TRIM_PARTS = 1024,     /* but no more parts than this */
    JOURNAL_TIMES_MAX = 4, /* times that size, and commits wait for the gathering */
    JOURNAL_MIB_MAX = 64   /* by default a pass begins here, or at half the hot table */
};

/* --- begin ----------------------------------------------------------------------------------- */

/* In a thread of its own, beside commits: reads one snapshot, changes nothing. */
static void *gather(void *argument)
{
    struct store_lmdb *store = argument;
    struct store_lmdb_pass *pass = &store->pass;
    MDB_txn *txn = NULL;
    struct store_lmdb_info info;
    int error = mdb_txn_begin(store->lmdb.env, NULL, MDB_RDONLY, &txn);
    enum status status = STATUS_NO_MEMORY;
    if (!error) {
        status = store_lmdb_env_get_info(&store->lmdb, txn, &info, pass->why);
        if (!status)
            status = store_lmdb_gather(&store->lmdb, txn, info.folded, pass->upto, &pass->found,
                                       pass->why);
        mdb_txn_abort(txn);
    } else {
        store_lmdb_say(pass->why, "cannot read the journal: %s", mdb_strerror(error));
    }
    pthread_mutex_lock(&store->mutex);
    pass->gather_status = status;
    pass->gathered = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}

static uint64_t journal_bytes_limit(const struct store_lmdb *store)
{
    if (store->journal_bytes_max)
        return store->journal_bytes_max;
    uint64_t most = (uint64_t)JOURNAL_MIB_MAX << 20;
    return store->hot_bytes / 2 > most ? store->hot_bytes / 2 : most;
}

void store_lmdb_pass_begin(struct store_lmdb *store)
{
    struct store_lmdb_pass *pass = &store->pass;
    uint64_t limit = journal_bytes_limit(store);
    if (limit < pass->not_before_bytes)
        limit = pass->not_before_bytes;
    if (store->fenced_off || pass->phase != PASS_IDLE || store->journal_bytes <= limit ||
        store->info.fence.sequence <= store->info.folded)
        return;
    int dead = 0;
    mdb_reader_check(store->lmdb.env, &dead);
    pass->upto = store->info.fence.sequence;
    pass->done = 0;
    pass->next = 0;
    pass->gathered = false;
    if (pthread_create(&pass->thread, NULL, gather, store) == 0)
        pass->phase = PASS_GATHER;
    else
        pass->not_before_bytes = store->journal_bytes + store->journal_bytes / 4;
}

bool store_lmdb_pass_is_behind(const struct store_lmdb *store)
{
    return store->pass.phase == PASS_GATHER && !store->pass.gathered &&
           store->journal_bytes / JOURNAL_TIMES_MAX > journal_bytes_limit(store);
}

enum status store_lmdb_pass_take(struct store_lmdb *store)
{
    struct store_lmdb_pass *pass = &store->pass;
    if (pass->phase != PASS_GATHER)
        return STATUS_OK;
    pthread_mutex_lock(&store->mutex);
    bool gathered = pass->gathered;
    pthread_mutex_unlock(&store->mutex);
    if (!gathered)
        return STATUS_OK;
    pthread_join(pass->thread, NULL);
    pass->not_before_bytes = 0;
    pass->phase = pass->gather_status ? PASS_IDLE : PASS_FOLD;
    if (pass->gather_status == STATUS_NO_MEMORY) {
        pass->not_before_bytes = store->journal_bytes + store->journal_bytes / 4;
        return STATUS_OK;
    }
    if (pass->gather_status)
        memcpy(store->store.why, pass->why, sizeof(pass->why));
    return pass->gather_status;
}

void store_lmdb_pass_drop(struct store_lmdb *store)
{
    if (store->pass.phase == PASS_GATHER)
        pthread_join(store->pass.thread, NULL);
    store_lmdb_states_release(&store->pass.found);
    store->pass.phase = PASS_IDLE;
}

enum status store_lmdb_pass_resume(struct store_lmdb *store)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val value;
    uint64_t sequence = UINT64_MAX;
    uint64_t number = 0;
    int error = mdb_txn_begin(store->lmdb.env, NULL, MDB_RDONLY, &txn);
    if (error) {
        store_lmdb_say(store->store.why, "cannot read the journal: %s", mdb_strerror(error));
        return STATUS_IO;
    }
    error = mdb_cursor_open(txn, store->lmdb.tables[STORE_LMDB_JOURNAL], &cursor);
    if (!error)
        error = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    if (!error && !store_lmdb_key_read(&key, STORE_LMDB_JOURNAL, &sequence, &number))
        error = MDB_CORRUPTED;
    if (cursor)
        mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    if (error && error != MDB_NOTFOUND) {
        store_lmdb_say(store->store.why, "table journal: %s", mdb_strerror(error));
        return STATUS_CORRUPT;
    }
    if (sequence <= store->info.folded)
        store->pass.phase = PASS_TRIM;
    return STATUS_OK;
}

/* --- slices ---------------------------------------------------------------------------------- */

bool store_lmdb_pass_has_slice(const struct store_lmdb *store)
{
    return !store->fenced_off && (store->pass.phase == PASS_FOLD || store->pass.phase == PASS_TRIM);
}

static int put_page(struct store_lmdb *store, MDB_txn *txn, uint64_t number,
                    struct store_lmdb_page *page)
{
    struct store_lmdb_key key_bytes;
    store_lmdb_key_write(&key_bytes, STORE_LMDB_HOT, number, 0);
    MDB_val key = store_lmdb_key_value(&key_bytes);
    MDB_dbi dbi = store->lmdb.tables[STORE_LMDB_HOT];
    bool present = false;
    for (size_t i = 0; i < PAGE_STATES && !present; i++)
        present = page->states[i].flags & STATE_PRESENT;
    if (!present) {
        int error = mdb_del(txn, dbi, &key, NULL);
        return error == MDB_NOTFOUND ? 0 : error;
    }
    page->checksum = store_lmdb_states_checksum(STORE_LMDB_HOT, number, 0, page, sizeof(*page));
    MDB_val value = {.mv_size = sizeof(*page), .mv_data = page};
    int error = mdb_put(txn, dbi, &key, &value, number > store->hot_last ? MDB_APPEND : 0);
    if (!error && number > store->hot_last)
        store->hot_last = number;
    return error;
}

static int fold_page(struct store_lmdb *store, MDB_txn *txn)
{
    struct store_lmdb_pass *pass = &store->pass;
    uint64_t number = (pass->found.states[pass->next].number - 1) / PAGE_STATES;
    struct store_lmdb_key key_bytes;
    store_lmdb_key_write(&key_bytes, STORE_LMDB_HOT, number, 0);
    MDB_val key = store_lmdb_key_value(&key_bytes);
    MDB_val value;
    struct store_lmdb_page page;
    int error = mdb_get(txn, store->lmdb.tables[STORE_LMDB_HOT], &key, &value);
    if (error == MDB_NOTFOUND) {
        memset(&page, 0, sizeof(page));
    } else if (error) {
        return error;
    } else if (!store_lmdb_page_read(&value, number, &page)) {
        store_lmdb_say(store->store.why, "table hot, key %" PRIu64 ": its checksum does not match",
                       number);
        return MDB_CORRUPTED;
    }
    const struct store_state *states = pass->found.states;
    for (;
         pass->next < pass->found.count && (states[pass->next].number - 1) / PAGE_STATES == number;
         pass->next++)
        page.states[(states[pass->next].number - 1) % PAGE_STATES] = states[pass->next];
    return put_page(store, txn, number, &page);
}

static int fold(struct store_lmdb *store, MDB_txn *txn, struct store_lmdb_info *info)
{
    struct store_lmdb_pass *pass = &store->pass;
    pass->next = pass->done;
    for (int pages = 0; pages < FOLD_PAGES && pass->next < pass->found.count; pages++) {
        int error = fold_page(store, txn);
        if (error)
            return error;
    }
    if (pass->next == pass->found.count)
        info->folded = pass->upto;
    return 0;
}

static int trim(struct store_lmdb *store, MDB_txn *txn, const struct store_lmdb_info *info)
{
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val value;
    uint64_t last = 0;
    int commits = 0;
    store->pass.trimmed = false;
    int error = mdb_cursor_open(txn, store->lmdb.tables[STORE_LMDB_JOURNAL], &cursor);
    for (int parts = 0; parts < TRIM_PARTS && !error; parts++) {
        uint64_t sequence = 0;
        uint64_t number = 0;
        error = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        if (error)
            break;
        if (!store_lmdb_key_read(&key, STORE_LMDB_JOURNAL, &sequence, &number))
            error = MDB_CORRUPTED;
        else if (sequence > info->folded)
            error = MDB_NOTFOUND;
        else if (sequence != last && ++commits > TRIM_COMMITS)
            break;
        else
            error = mdb_cursor_del(cursor, 0);
        last = sequence;
    }
    if (cursor)
        mdb_cursor_close(cursor);
    store->pass.trimmed = error == MDB_NOTFOUND;
    return error == MDB_NOTFOUND ? 0 : error;
}

int store_lmdb_pass_slice(struct store_lmdb *store, MDB_txn *txn, struct store_lmdb_info *info,
                          bool *changed)
{
    switch (store->pass.phase) {
    case PASS_IDLE:
    case PASS_GATHER:
        return 0;
    case PASS_FOLD:
        *changed = true;
        return fold(store, txn, info);
    case PASS_TRIM:
        *changed = true;
        return trim(store, txn, info);
    }
    return 0;
}

void store_lmdb_pass_advance(struct store_lmdb *store)
{
    struct store_lmdb_pass *pass = &store->pass;
    if (pass->phase == PASS_FOLD) {
        pass->done = pass->next;
        if (pass->done < pass->found.count)
            return;
        store_lmdb_states_release(&pass->found);
        pass->phase = PASS_TRIM;
    } else if (pass->phase == PASS_TRIM && pass->trimmed) {
        pass->phase = PASS_IDLE;
        pthread_mutex_lock(&store->mutex);
        store->health.checkpoints_total++;
        pthread_mutex_unlock(&store->mutex);
    }
}
