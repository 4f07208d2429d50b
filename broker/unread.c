#include "unread.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <zmq.h>

struct unread {
    _Atomic uint64_t bytes;
    _Atomic uint32_t holders; /* its connection, and each message on its way */
};

/* A message on its way, with its bytes behind it. */
struct parcel {
    struct unread *unread;
    size_t count;
    uint8_t data[];
};

/* Messages outlive the socket that they were sent on, so their sum belongs to nobody. */
static _Atomic uint64_t total;

static void let_go(struct unread *unread)
{
    if (atomic_fetch_sub(&unread->holders, 1) == 1)
        free(unread);
}

struct unread *unread_new(void)
{
    struct unread *unread = calloc(1, sizeof(*unread));
    if (unread)
        atomic_init(&unread->holders, 1);
    return unread;
}

void unread_destroy(struct unread **unread)
{
    if (*unread)
        let_go(*unread);
    *unread = NULL;
}

uint64_t unread_bytes(const struct unread *unread)
{
    return unread ? atomic_load(&unread->bytes) : 0;
}

uint64_t unread_total(void)
{
    return atomic_load(&total);
}

/* Called by libzmq's thread, or ours. The sum was added to after the parcel was filled, so who has
 * read it sees what is in the parcel, whichever way libzmq hands messages over. */
static void on_written(void *data, void *hint)
{
    struct parcel *parcel = hint;
    (void)data;
    (void)atomic_load(&total);
    atomic_fetch_sub(&parcel->unread->bytes, parcel->count);
    atomic_fetch_sub(&total, parcel->count);
    let_go(parcel->unread);
    free(parcel);
}

bool unread_send(struct unread *unread, void *socket, const void *data, size_t count)
{
    zmq_msg_t message;
    struct parcel *parcel = malloc(sizeof(*parcel) + count);
    if (!parcel)
        return false;
    *parcel = (struct parcel){.unread = unread, .count = count};
    memcpy(parcel->data, data, count);
    if (zmq_msg_init_data(&message, parcel->data, count, on_written, parcel)) {
        free(parcel);
        return false;
    }
    atomic_fetch_add(&unread->holders, 1);
    atomic_fetch_add(&unread->bytes, count);
    atomic_fetch_add(&total, count);
    if (zmq_msg_send(&message, socket, ZMQ_DONTWAIT) >= 0)
        return true;
    zmq_msg_close(&message); /* calls on_written */
    return false;
}
