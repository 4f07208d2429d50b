/* store_memory.c - the backend that keeps nothing: batches are done as they are submitted. It
 * checks the fence as the others do, so that a caller that numbers its batches wrongly is found in
 * any test.
 */
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct store_memory {
    struct store store; /* first */
    struct store_fence last;
    struct store_batch *done_first;
    struct store_batch *done_last;
    uint64_t commits_total;
};

static enum status memory_load(struct store *store, const struct store_visitor *visitor)
{
    (void)store;
    (void)visitor;
    return STATUS_OK;
}

static enum status memory_submit(struct store *store, struct store_batch *batch)
{
    struct store_memory *memory = (struct store_memory *)store;
    const struct store_fence *fence = &batch->fence;
    bool follows = memcmp(fence->owner, memory->last.owner, sizeof(fence->owner)) == 0 &&
                   fence->epoch == memory->last.epoch &&
                   fence->sequence == memory->last.sequence + 1;
    batch->status = follows ? STATUS_OK : STATUS_LOCKED;
    if (follows) {
        memory->last = *fence;
        memory->commits_total++;
    }
    batch->next = NULL;
    if (memory->done_last)
        memory->done_last->next = batch;
    else
        memory->done_first = batch;
    memory->done_last = batch;
    return STATUS_OK;
}

static struct store_batch *memory_take_done(struct store *store)
{
    struct store_memory *memory = (struct store_memory *)store;
    struct store_batch *batch = memory->done_first;
    if (!batch)
        return NULL;
    memory->done_first = batch->next;
    if (!memory->done_first)
        memory->done_last = NULL;
    batch->next = NULL;
    return batch;
}

static int memory_fd(const struct store *store)
{
    (void)store;
    return -1;
}

static void memory_health(struct store *store, struct store_health *health)
{
    const struct store_memory *memory = (const struct store_memory *)store;
    health->commits_total = memory->commits_total;
    health->disk_free_bytes = UINT64_MAX;
}

static enum status memory_backup(struct store *store, const char *directory, char *why, size_t room)
{
    (void)store;
    (void)directory;
    snprintf(why, room,
             "the records are kept in memory; there is nothing on disk to copy. Start the "
             "broker with --store lmdb:DIR");
    return STATUS_BAD_FIELD;
}

static void memory_destroy(struct store *store)
{
    struct store_memory *memory = (struct store_memory *)store;
    struct store_batch *batch = memory_take_done(store);
    while (batch) {
        store_batch_destroy(&batch);
        batch = memory_take_done(store);
    }
    free(memory);
}

static const struct store_backend memory_backend = {
    .name = "memory",
    .load = memory_load,
    .submit = memory_submit,
    .take_done = memory_take_done,
    .fd = memory_fd,
    .health = memory_health,
    .backup = memory_backup,
    .destroy = memory_destroy,
};

enum status store_open_memory(struct store **store)
{
    struct store_memory *memory = calloc(1, sizeof(*memory));
    if (!memory)
        return STATUS_NO_MEMORY;
    memory->store.backend = &memory_backend;
    memory->store.drops_batches = true;
    memory->store.fence.epoch = 1;
    if (getrandom(memory->store.id, sizeof(memory->store.id), 0) !=
            (ssize_t)sizeof(memory->store.id) ||
        getrandom(memory->store.fence.owner, sizeof(memory->store.fence.owner), 0) !=
            (ssize_t)sizeof(memory->store.fence.owner)) {
        free(memory);
        return STATUS_IO;
    }
    memory->last = memory->store.fence;
    *store = &memory->store;
    return STATUS_OK;
}
