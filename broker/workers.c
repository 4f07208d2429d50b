#include "workers.h"

#include <string.h>
#include <sys/socket.h>

#include "hash.h"

static struct bytes identity_of(const struct worker *worker)
{
    return (struct bytes){worker->identity, worker->identity_bytes};
}

void workers_init(struct workers *workers)
{
    memset(workers, 0, sizeof(*workers));
    memset(workers->strangers, -1, sizeof(workers->strangers));
    slab_init(&workers->slab, sizeof(struct worker));
    table_init(&workers->by_identity, &workers->slab);
}

void workers_release(struct workers *workers)
{
    for (uint32_t id = workers_next(workers, 0); id != SLAB_NONE;
         id = workers_next(workers, id + 1)) {
        unread_destroy(&workers_at(workers, id)->unread);
        overflow_destroy(&workers->overflows, &workers_at(workers, id)->overflow);
        overflow_destroy(&workers->held, &workers_at(workers, id)->held);
    }
    overflows_release(&workers->overflows);
    overflows_release(&workers->held);
    table_release(&workers->by_identity);
    slab_release(&workers->slab);
}

struct bytes workers_identity(const struct workers *workers, uint32_t number)
{
    const struct worker *worker = workers_at(workers, number);
    return worker->is_here ? identity_of(worker) : (struct bytes){NULL, 0};
}

uint32_t workers_find(const struct workers *workers, struct bytes identity)
{
    uint32_t id = table_first(&workers->by_identity, hash_bytes(identity, 0));
    while (id != SLAB_NONE && !bytes_equal(identity_of(workers_at(workers, id)), identity))
        id = table_next(&workers->by_identity, id);
    return id;
}

uint32_t workers_next(const struct workers *workers, uint32_t number)
{
    for (; number < workers->slab.used_end; number++)
        if (workers_at(workers, number)->is_here)
            return number;
    return SLAB_NONE;
}

uint32_t workers_find_fullest(const struct workers *workers)
{
    uint32_t found = SLAB_NONE;
    uint64_t most = 0;
    for (uint32_t id = workers_next(workers, 0); id != SLAB_NONE;
         id = workers_next(workers, id + 1)) {
        const struct worker *worker = workers_at(workers, id);
        uint64_t bytes = worker->fd < 0 ? 0 : worker_unread(worker); /* else it is broken */
        if (bytes > most) {
            most = bytes;
            found = id;
        }
    }
    return found;
}

uint32_t workers_find_fd(const struct workers *workers, int fd)
{
    uint32_t id = workers_next(workers, 0);
    while (id != SLAB_NONE && workers_at(workers, id)->fd != fd)
        id = workers_next(workers, id + 1);
    return id;
}

void workers_note_stranger(struct workers *workers, int fd)
{
    workers->strangers[workers->next_stranger++ % STRANGERS] = fd;
}

void workers_forget_stranger(struct workers *workers, int fd)
{
    for (uint32_t i = 0; i < STRANGERS; i++)
        if (workers->strangers[i] == fd)
            workers->strangers[i] = -1;
}

bool workers_was_stranger(const struct workers *workers, int fd)
{
    for (uint32_t i = 0; i < STRANGERS; i++)
        if (workers->strangers[i] == fd)
            return true;
    return false;
}

static bool fd_is_ipc(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    return getsockname(fd, (struct sockaddr *)&address, &length) == 0 &&
           address.ss_family == AF_UNIX;
}

uint32_t workers_add(struct workers *workers, struct bytes identity, int fd)
{
    if (identity.count == 0 || identity.count > IDENTITY_BYTES_MAX ||
        !table_reserve(&workers->by_identity))
        return SLAB_NONE;
    uint32_t id = slab_take(&workers->slab);
    if (id == SLAB_NONE)
        return SLAB_NONE;
    struct worker *worker = workers_at(workers, id);
    worker->identity_bytes = (uint8_t)identity.count;
    memcpy(worker->identity, identity.data, identity.count);
    worker->fd = fd;
    worker->is_ipc = fd >= 0 && fd_is_ipc(fd);
    worker->is_here = true;
    table_put(&workers->by_identity, id, hash_bytes(identity, 0));
    return id;
}

void workers_remove(struct workers *workers, uint32_t number)
{
    struct worker *worker = workers_at(workers, number);
    if (worker->probes_left)
        workers->suspect_count--;
    table_remove(&workers->by_identity, number);
    unread_destroy(&worker->unread);
    overflow_destroy(&workers->overflows, &worker->overflow);
    overflow_destroy(&workers->held, &worker->held);
    worker->is_here = false;
    slab_give(&workers->slab, number);
}
