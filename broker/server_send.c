#include <errno.h>
#include <zmq.h>

#include "server_internal.h"

/* --- one attempt ------------------------------------------------------------------------------ */

/* The counter of a peer that is sent something large; NULL: it has no session, or memory is out. */
static struct unread *require_unread(struct server *server, struct bytes identity)
{
    uint32_t number = workers_find(&server->workers, identity);
    if (number == SLAB_NONE)
        return NULL;
    struct worker *worker = workers_at(&server->workers, number);
    if (!worker->unread)
        worker->unread = unread_new();
    return worker->unread;
}

/* False: nothing was sent. zmq_errno is EHOSTUNREACH when the connection is gone, and EAGAIN when
 * its queue is full. */
static bool try(struct server *server, struct bytes identity, const void *data, size_t count)
{
    struct unread *unread = count < UNREAD_COUNTED ? NULL : require_unread(server, identity);
    server->may_have_input = true;
    if (zmq_send(server->router, identity.data, identity.count, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return false;
    bool is_sent = unread ? unread_send(unread, server->router, data, count)
                          : zmq_send(server->router, data, count, ZMQ_DONTWAIT) >= 0;
    if (unread && socket_unread(server) > UNREAD_ALL)
        guard_unread(server);
    if (!is_sent)
        return false;
    server->counts.messages_out++;
    server->counts.bytes_out += count;
    return true;
}

/* --- what finds no room ----------------------------------------------------------------------- */

uint64_t socket_unread(const struct server *server)
{
    return unread_total() + server->workers.overflows.bytes;
}

static bool drop(struct server *server, size_t count)
{
    uint64_t held_back;
    server->counts.dropped++;
    if (log_limit_allows(&server->dropped_limit, server->now.mono_us, &held_back))
        log_line(LOG_WARNING, "an answer was dropped", "why", "what was sent before is not read",
                 "bytes", log_u64(count), "more", log_u64(held_back), NULL);
    return false;
}

/* Behind what waits for this connection already. */
static bool defer(struct server *server, uint32_t number, const void *data, size_t count)
{
    struct bytes message = {data, (uint32_t)count};
    if (number == SLAB_NONE ||
        !overflow_put(&server->workers.overflows, &workers_at(&server->workers, number)->overflow,
                      number, message))
        return drop(server, count);
    server->counts.deferred++;
    if (socket_unread(server) > UNREAD_ALL)
        guard_unread(server);
    return true;
}

bool socket_send_to(struct server *server, struct bytes identity, const void *data, size_t count)
{
    uint32_t number = SLAB_NONE;
    if (server->workers.overflows.count) { /* nobody overtakes what waits */
        number = workers_find(&server->workers, identity);
        if (number != SLAB_NONE && workers_at(&server->workers, number)->overflow)
            return defer(server, number, data, count);
    }
    if (try(server, identity, data, count))
        return true;
    return zmq_errno() == EAGAIN &&
           defer(server, workers_find(&server->workers, identity), data, count);
}

bool socket_send(struct server *server, uint32_t number, const void *data, size_t count)
{
    struct bytes identity = workers_identity(&server->workers, number);
    return identity.data && socket_send_to(server, identity, data, count);
}

bool socket_ping(struct server *server, struct bytes identity)
{
    wire_buffer_clear(&server->out);
    message_write_head(&server->out, MESSAGE_PING, 1);
    wire_write_uint(&server->out, 0);
    return identity.data && try(server, identity, server->out.data, server->out.count);
}

/* --- tried again ------------------------------------------------------------------------------ */

/* At most what libzmq's queue holds: a peer that reads meanwhile does not keep the turn. */
static void flush(struct server *server, uint32_t number)
{
    struct worker *worker = workers_at(&server->workers, number);
    struct bytes identity = workers_identity(&server->workers, number);
    for (int i = 0; i < HWM_MESSAGES && worker->overflow; i++) {
        struct bytes message = overflow_first(worker->overflow);
        if (try(server, identity, message.data, message.count))
            overflow_drop_first(&server->workers.overflows, &worker->overflow);
        else if (zmq_errno() == EHOSTUNREACH) /* the connection is gone: they are asked for again */
            overflow_destroy(&server->workers.overflows, &worker->overflow);
        else
            return;
    }
}

void socket_flush(struct server *server)
{
    int events;
    size_t size = sizeof(events);
    if (!server->workers.overflows.count)
        return;
    zmq_getsockopt(server->router, ZMQ_EVENTS, &events,
                   &size); /* lets libzmq take notice of room */
    server->may_have_input = true;
    for (uint32_t place = server->workers.overflows.count;
         place-- > 0;) /* another's may take its place */
        flush(server, overflows_owner(&server->workers.overflows, place));
}
