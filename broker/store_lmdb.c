/* store_lmdb.c - the LMDB backend: opening, closing, and what the caller's thread asks of it. */
#include "store_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"

enum {
    RESERVE_BYTES_DEFAULT = 64 << 20,
    FULL_BYTES = 1 << 20, /* less is called full */
    PARTS_AT_ONCE_DEFAULT = 128,
    SPACE_US = 100 * US_PER_MS,
};

/* --- the caller's thread --------------------------------------------------------------------- */

static enum status lmdb_load(struct store *base, const struct store_visitor *visitor)
{
    struct store_lmdb *store = (struct store_lmdb *)base;
    return store_lmdb_load(&store->lmdb, visitor, base->why);
}

static enum status lmdb_submit(struct store *base, struct store_batch *batch)
{
    struct store_lmdb *store = (struct store_lmdb *)base;
    pthread_mutex_lock(&store->mutex);
    enum status status = store->failed;
    if (!status) {
        store_lmdb_list_append(&store->waiting, batch);
        pthread_cond_signal(&store->wake);
    }
    pthread_mutex_unlock(&store->mutex);
    return status;
}

static struct store_batch *lmdb_take_done(struct store *base)
{
    struct store_lmdb *store = (struct store_lmdb *)base;
    uint64_t count = 0;
    pthread_mutex_lock(&store->mutex);
    struct store_batch *batch = store_lmdb_list_take(&store->done);
    /* Nothing left: not readable any more. It is non-blocking, and may have been read before. */
    if (!store->done.first && read(store->event_fd, &count, sizeof(count)) < 0)
        count = 0;
    pthread_mutex_unlock(&store->mutex);
    return batch;
}

static int lmdb_fd(const struct store *base)
{
    return ((const struct store_lmdb *)base)->event_fd;
}

static void lmdb_health(struct store *base, struct store_health *health)
{
    struct store_lmdb *store = (struct store_lmdb *)base;
    int64_t now_us = clock_now().mono_us;
    struct stat found;
    pthread_mutex_lock(&store->mutex);
    if (now_us >= store->space_mono_us) {
        store->space_mono_us = now_us + SPACE_US;
        store->health.disk_free_bytes = store_lmdb_free_bytes(store->directory);
        if (fstat(store->data_fd, &found) == 0)
            store->health.disk_bytes =
                (uint64_t)found.st_blocks * 512 + store_lmdb_reserve_bytes(store->directory);
    }
    *health = store->health;
    pthread_mutex_unlock(&store->mutex);
}

static enum status lmdb_backup(struct store *base, const char *directory, char *why, size_t room)
{
    char text[STORE_WHY_BYTES] = "";
    enum status status = store_lmdb_backup(&((struct store_lmdb *)base)->lmdb, directory, text);
    snprintf(why, room, "%s", text);
    return status;
}

static void lmdb_destroy(struct store *base)
{
    struct store_lmdb *store = (struct store_lmdb *)base;
    struct store_lmdb_list *lists[] = {&store->group, &store->waiting, &store->done};
    store_lmdb_thread_stop(store);
    store_lmdb_env_close(&store->lmdb);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct store_batch *batch = store_lmdb_list_take(lists[i]);
        while (batch) {
            store_batch_destroy(&batch);
            batch = store_lmdb_list_take(lists[i]);
        }
    }
    int fds[] = {store->event_fd, store->data_fd, store->lock_fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    pthread_cond_destroy(&store->wake);
    pthread_mutex_destroy(&store->mutex);
    free(store);
}

static const struct store_backend lmdb_backend = {
    .name = "lmdb",
    .load = lmdb_load,
    .submit = lmdb_submit,
    .take_done = lmdb_take_done,
    .fd = lmdb_fd,
    .health = lmdb_health,
    .backup = lmdb_backup,
    .destroy = lmdb_destroy,
};

/* --- opening --------------------------------------------------------------------------------- */

static struct store_lmdb *make(const struct store_options *options)
{
    struct store_lmdb *store = calloc(1, sizeof(*store));
    pthread_condattr_t attributes;
    if (!store)
        return NULL;
    store->store.backend = &lmdb_backend;
    store->lock_fd = -1;
    store->data_fd = -1;
    store->event_fd = -1;
    store->journal_bytes_max = options->journal_bytes_max;
    store->parts_at_once = options->parts_at_once ? options->parts_at_once : PARTS_AT_ONCE_DEFAULT;
    store->reserve_bytes = options->reserve_bytes ? options->reserve_bytes : RESERVE_BYTES_DEFAULT;
    snprintf(store->directory, sizeof(store->directory), "%s", options->directory);
    pthread_mutex_init(&store->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&store->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    return store;
}

/* The file is verified before LMDB sees it. */
static enum status open_env(struct store_lmdb *store, const struct store_options *options)
{
    char path[STORE_LMDB_PATH_BYTES + 16];
    struct store_lmdb_pages pages;
    struct stat found;
    char *why = store->store.why;
    struct store_lmdb_env_options env_options = {
        .path = store->directory,
        .flags = options->sync == STORE_SYNC_NEVER ? MDB_NOSYNC : 0,
        .map_bytes = options->map_bytes,
    };
    enum status status = store_lmdb_env_make(store->directory, why);
    if (!status)
        status = store_lmdb_pages_check(store->directory, &pages, why);
    if (!status)
        status = store_lmdb_env_open(&store->lmdb, &env_options, why);
    if (status)
        return status;
    snprintf(path, sizeof(path), "%s/data.mdb", store->directory);
    store->data_fd = open(path, O_RDWR | O_CLOEXEC);
    store->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (store->data_fd < 0 || store->event_fd < 0 || fstat(store->data_fd, &found)) {
        store_lmdb_say(why, "cannot open %s: %s", path, strerror(errno));
        return STATUS_IO;
    }
    store->allocated_end = (uint64_t)found.st_size;
    store->page_bytes = pages.page_bytes;
    return STATUS_OK;
}

static int last_key(const struct store_lmdb *store, MDB_txn *txn, unsigned table, uint64_t *last)
{
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val value;
    uint64_t none = 0;
    int error = mdb_cursor_open(txn, store->lmdb.tables[table], &cursor);
    if (error)
        return error;
    error = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    if (!error && !store_lmdb_key_read(&key, table, last, &none))
        error = MDB_CORRUPTED;
    mdb_cursor_close(cursor);
    return error == MDB_NOTFOUND ? 0 : error;
}

/* Another owner, the next epoch: what an earlier process may still want to write is refused. */
static int raise_epoch(struct store_lmdb *store)
{
    struct store_lmdb_info *info = &store->info;
    MDB_txn *txn = NULL;
    int error = store_lmdb_drop_ahead(store);
    if (error)
        return error;
    *info = store->lmdb.info;
    if (getrandom(info->fence.owner, sizeof(info->fence.owner), 0) !=
        (ssize_t)sizeof(info->fence.owner))
        return EIO;
    info->fence.epoch++;
    error = mdb_txn_begin(store->lmdb.env, NULL, 0, &txn);
    if (error)
        return error;
    error = last_key(store, txn, STORE_RECORDS, &store->record_last);
    if (!error)
        error = last_key(store, txn, STORE_LMDB_HOT, &store->hot_last);
    if (!error)
        error = store_lmdb_env_put_info(&store->lmdb, txn, info);
    store->hot_bytes = store_lmdb_env_table_bytes(&store->lmdb, txn, STORE_LMDB_HOT);
    store->journal_bytes = store_lmdb_env_table_bytes(&store->lmdb, txn, STORE_LMDB_JOURNAL);
    if (error) {
        mdb_txn_abort(txn);
        return error;
    }
    return mdb_txn_commit(txn);
}

/* LMDB says EIO, too, when a write was cut short by a full disk; what tells it from a failed fsync
 * is said in store_lmdb_thread.c. */
static bool is_full(const struct store_lmdb *store, int error)
{
    bool may_be = store_lmdb_lacks_space(error) ||
                  (error == EIO && store_lmdb_free_bytes(store->directory) < FULL_BYTES);
    return error == MDB_MAP_FULL || (may_be && fdatasync(store->data_fd) == 0);
}

static enum status take_over(struct store_lmdb *store)
{
    int error = raise_epoch(store);
    if (is_full(store, error) && store_lmdb_reserve_drop(store->directory))
        error = raise_epoch(store);
    if (error) {
        store_lmdb_say(store->store.why, "cannot write %s/data.mdb: %s", store->directory,
                       mdb_strerror(error));
        if (error == MDB_CORRUPTED)
            return STATUS_CORRUPT;
        return is_full(store, error) ? STATUS_NO_SPACE : STATUS_IO;
    }
    memcpy(store->store.id, store->info.id, sizeof(store->store.id));
    store->store.fence = store->info.fence;
    store->health.journal_bytes = store->journal_bytes;
    return store_lmdb_pass_resume(store);
}

static enum status open_all(struct store_lmdb *store, const struct store_options *options)
{
    char *why = store->store.why;
    enum status status = store_lmdb_directory_make(options->directory, why);
    if (!status)
        status = store_lmdb_lock(options->directory, &store->lock_fd, why);
    if (!status)
        status = open_env(store, options);
    if (!status)
        status = take_over(store);
    if (status)
        return status;
    store->reserve_there = store_lmdb_reserve_make(store->directory, store->reserve_bytes);
    why[0] = '\0';
    store->worst_since_mono_us = clock_now().mono_us;
    if (!store_lmdb_thread_start(store)) {
        store_lmdb_say(why, "cannot start the store's thread");
        return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}

enum status store_open_lmdb(struct store **store, const struct store_options *options, char *why,
                            size_t room)
{
    struct store_lmdb *opened = make(options);
    if (!opened) {
        snprintf(why, room, "not enough memory");
        return STATUS_NO_MEMORY;
    }
    enum status status = open_all(opened, options);
    if (status) {
        snprintf(why, room, "%s", opened->store.why);
        lmdb_destroy(&opened->store);
        return status;
    }
    *store = &opened->store;
    return STATUS_OK;
}
