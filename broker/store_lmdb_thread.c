/* store_lmdb_thread.c - the store thread: waits for batches, commits them in groups, folds the
 * journal when there is time, and knows what to do about each kind of failure.
 *
 *   full disk     the group waits, is tried again at once without the reserve file, then each
 * second anything else final: the group, and all that wait behind it, come back with IO or CORRUPT
 *
 * After a failed fsync the kernel may have dropped what was to be written, so nothing may be tried
 * again. LMDB reports a short write (a full disk) and a failed fsync both as EIO. A descriptor that
 * was opened before tells them apart: the kernel reports a failed write-back once to each
 * descriptor, so an fdatasync of ours that succeeds says that no write-back failed.
 */
#include "store_lmdb.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

enum {
    TOGETHER_BATCHES_MAX = 64,
    TOGETHER_BYTES_MAX = 8 << 20,
    RETRY_US = US_PER_S,
    RESERVE_US = 10 * US_PER_S,
    WORST_US = 30 * US_PER_S, /* two of these are looked back on */
};

/* --- lists ----------------------------------------------------------------------------------- */

void store_lmdb_list_append(struct store_lmdb_list *list, struct store_batch *batch)
{
    batch->next = NULL;
    if (list->last)
        list->last->next = batch;
    else
        list->first = batch;
    list->last = batch;
}

struct store_batch *store_lmdb_list_take(struct store_lmdb_list *list)
{
    struct store_batch *batch = list->first;
    if (!batch)
        return NULL;
    list->first = batch->next;
    if (!list->first)
        list->last = NULL;
    batch->next = NULL;
    return batch;
}

/* --- results --------------------------------------------------------------------------------- */

/* Under the mutex. A write of 8 bytes to an eventfd fails only at 2^64 - 1. */
static void deliver(struct store_lmdb *store, struct store_lmdb_list *from, enum status status)
{
    uint64_t one = 1;
    struct store_batch *batch = store_lmdb_list_take(from);
    bool any = batch != NULL;
    while (batch) {
        if (status)
            batch->status = status;
        store_lmdb_list_append(&store->done, batch);
        batch = store_lmdb_list_take(from);
    }
    if (any && write(store->event_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
        return;
}

static void fail(struct store_lmdb *store, enum status status)
{
    pthread_mutex_lock(&store->mutex);
    store->failed = status;
    deliver(store, &store->group, status);
    deliver(store, &store->waiting, status);
    pthread_mutex_unlock(&store->mutex);
}

static void note_commit(struct store_lmdb *store, int64_t began_us, int64_t ended_us)
{
    uint64_t took_us = (uint64_t)(ended_us - began_us);
    if (ended_us - store->worst_since_mono_us > WORST_US) {
        store->worst_before_us = store->worst_now_us;
        store->worst_now_us = 0;
        store->worst_since_mono_us = ended_us;
    }
    if (took_us > store->worst_now_us)
        store->worst_now_us = took_us;
    struct store_health *health = &store->health;
    health->commits_total++;
    health->commit_us_total += took_us;
    health->commit_us_max =
        store->worst_now_us > store->worst_before_us ? store->worst_now_us : store->worst_before_us;
}

/* After a transaction that did well. */
static void succeed(struct store_lmdb *store, int64_t began_us)
{
    int64_t now_us = clock_now().mono_us;
    pthread_mutex_lock(&store->mutex);
    if (store->group.first)
        note_commit(store, began_us, now_us);
    store->health.journal_bytes = store->journal_bytes;
    store->health.full = false;
    deliver(store, &store->group, STATUS_OK);
    pthread_mutex_unlock(&store->mutex);
    store->retry_mono_us = 0;
}

/* OK: done. NO_SPACE: may be tried again. Else final, with the text. */
static enum status judge(struct store_lmdb *store, int error)
{
    if (!error)
        return STATUS_OK;
    if (error == MDB_MAP_FULL || error == ENOMEM)
        return STATUS_NO_SPACE;
    bool may_be_full =
        store_lmdb_lacks_space(error) || error == EFBIG || (error == EIO && store->space_low);
    if (may_be_full && fdatasync(store->data_fd) == 0)
        return STATUS_NO_SPACE;
    if (error == MDB_CORRUPTED && store->store.why[0])
        return STATUS_CORRUPT;
    store_lmdb_say(store->store.why,
                   "cannot write %s/data.mdb: %s. Nothing more is written; look at the disk, then "
                   "start again",
                   store->directory, mdb_strerror(error));
    return error == MDB_CORRUPTED || error == MDB_PAGE_NOTFOUND ? STATUS_CORRUPT : STATUS_IO;
}

/* --- turns ----------------------------------------------------------------------------------- */

/* The reserve is given up at the first failure and made again when there is room. */
static void keep_reserve(struct store_lmdb *store, int64_t now_us)
{
    if (store->reserve_there || now_us < store->reserve_mono_us)
        return;
    store->reserve_there = store_lmdb_reserve_make(store->directory, store->reserve_bytes);
    store->reserve_mono_us = now_us + RESERVE_US;
}

static enum status try_commit(struct store_lmdb *store, bool with_slice)
{
    return judge(store, store_lmdb_commit(store, with_slice));
}

/* A slice of the pass without the batches: it may still fit, and in the end it frees pages. */
static enum status try_slice_alone(struct store_lmdb *store)
{
    struct store_lmdb_list group = store->group;
    store->group = (struct store_lmdb_list){0};
    enum status status = try_commit(store, true);
    store->group = group;
    return status;
}

/* The disk is full. OK: the group could be written without the reserve. */
static enum status commit_full(struct store_lmdb *store)
{
    enum status status = STATUS_NO_SPACE;
    if (store->group.first && store_lmdb_reserve_drop(store->directory)) {
        store->reserve_there = false;
        status = try_commit(store, false);
    }
    int64_t now_us = clock_now().mono_us;
    store->reserve_mono_us = now_us + RESERVE_US;
    if (status != STATUS_NO_SPACE)
        return status;
    store->retry_mono_us = now_us + RETRY_US;
    pthread_mutex_lock(&store->mutex);
    store->health.full = store->group.first != NULL;
    pthread_mutex_unlock(&store->mutex);
    if (!store->group.first || !store_lmdb_pass_has_slice(store))
        return status;
    status = try_slice_alone(store);
    return status ? status : STATUS_NO_SPACE;
}

static void turn(struct store_lmdb *store)
{
    int64_t began_us = clock_now().mono_us;
    bool was_full = store->retry_mono_us != 0 && store->group.first;
    bool with_slice = !was_full && store_lmdb_pass_has_slice(store);
    enum status status = try_commit(store, with_slice);
    if (status == STATUS_NO_SPACE && with_slice && store->group.first)
        status = try_commit(store, false);
    if (status == STATUS_NO_SPACE)
        status = commit_full(store);
    if (status == STATUS_OK) {
        succeed(store, began_us);
        store_lmdb_pass_begin(store);
        keep_reserve(store, began_us);
    } else if (status != STATUS_NO_SPACE) {
        fail(store, status);
    }
}

/* --- waiting --------------------------------------------------------------------------------- */

/* Under the mutex. Moves what fits one transaction. A batch that must go ahead in parts begins a
 * group. */
static void form_group(struct store_lmdb *store)
{
    size_t bytes = 0;
    int batches = 0;
    while (store->waiting.first && batches < TOGETHER_BATCHES_MAX && bytes < TOGETHER_BYTES_MAX) {
        if (batches && store->waiting.first->state_count / PART_STATES >= store->parts_at_once)
            break;
        struct store_batch *batch = store_lmdb_list_take(&store->waiting);
        bytes += batch->byte_count + batch->state_count * sizeof(batch->states[0]);
        batches++;
        store_lmdb_list_append(&store->group, batch);
    }
}

/* Under the mutex. */
static bool has_work(const struct store_lmdb *store)
{
    return store->waiting.first || store_lmdb_pass_has_slice(store) ||
           (store->pass.phase == PASS_GATHER && store->pass.gathered);
}

/* Under the mutex. Returns when there is something to do, or to stop. On a full disk a batch that
 * comes is tried at once unless others wait before it. */
static void wait_for_work(struct store_lmdb *store)
{
    while (!store->stop && store->retry_mono_us && (store->group.first || !store->waiting.first)) {
        int64_t until_us = store->retry_mono_us;
        struct timespec until = {.tv_sec = until_us / US_PER_S,
                                 .tv_nsec = until_us % US_PER_S * 1000};
        if (pthread_cond_timedwait(&store->wake, &store->mutex, &until) == ETIMEDOUT)
            return;
    }
    while (!store->stop && !store->retry_mono_us && !has_work(store))
        pthread_cond_wait(&store->wake, &store->mutex);
    while (!store->stop && store_lmdb_pass_is_behind(store))
        pthread_cond_wait(&store->wake, &store->mutex);
}

static void *run(void *argument)
{
    struct store_lmdb *store = argument;
    store_lmdb_pass_begin(store);
    pthread_mutex_lock(&store->mutex);
    for (;;) {
        wait_for_work(store);
        bool stop = store->stop;
        if (!store->group.first)
            form_group(store);
        if (store->failed || (stop && !store->group.first))
            break;
        pthread_mutex_unlock(&store->mutex);
        enum status status = store_lmdb_pass_take(store);
        if (status)
            fail(store, status);
        else
            turn(store);
        bool stuck = stop && store->retry_mono_us;
        pthread_mutex_lock(&store->mutex);
        /* Asked to stop with a full disk: tried once more, and nobody was told that it is done. */
        if (stuck || store->failed)
            break;
    }
    pthread_mutex_unlock(&store->mutex);
    store_lmdb_pass_drop(store);
    return NULL;
}

/* --- start and stop -------------------------------------------------------------------------- */

bool store_lmdb_thread_start(struct store_lmdb *store)
{
    /* All signals are the main thread's; and a write beyond `ulimit -f` must give EFBIG. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    store->thread_runs = pthread_create(&store->thread, NULL, run, store) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return store->thread_runs;
}

void store_lmdb_thread_stop(struct store_lmdb *store)
{
    if (!store->thread_runs)
        return;
    pthread_mutex_lock(&store->mutex);
    store->stop = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->mutex);
    pthread_join(store->thread, NULL);
    store->thread_runs = false;
}
