#include "link_watch.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <czmq.h>

enum {
    EVENT_BYTES = 8,    /* of what libzmq tells, the rest is not looked at */
    BROKEN_OFF_MAX = 3, /* one may be a broker that stops; so many: one that wants it otherwise */
};

/* --- any socket of libzmq --------------------------------------------------------------------- */

bool link_socket_set(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof(value)) == 0;
}

int link_socket_fd(void *socket)
{
    int fd = -1;
    size_t bytes = sizeof(fd);
    return socket && zmq_getsockopt(socket, ZMQ_FD, &fd, &bytes) == 0 ? fd : -1;
}

bool link_socket_has_input(void *socket)
{
    int events = 0, error = socket ? EINTR : ENOTSOCK;
    size_t bytes = sizeof(events);
    while (error == EINTR) /* ends: a signal interrupts once in a great while */
        error = zmq_getsockopt(socket, ZMQ_EVENTS, &events, &bytes) ? errno : 0;
    return !error && (events & ZMQ_POLLIN);
}

/* --- open and closed -------------------------------------------------------------------------- */

bool link_watch_open(struct link_watch *watch, void *context, void *socket)
{
    /* Names of inproc are the context's, which all links share. */
    static atomic_uint number;
    char name[48];
    snprintf(name, sizeof(name), "inproc://everdue-link-%u", atomic_fetch_add(&number, 1));
    *watch = (struct link_watch){.is_encrypted = watch->is_encrypted, .is_told = true};
    if (zmq_socket_monitor(socket, name,
                           ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                               ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                               ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL))
        return false;
    void *listener = zmq_socket(context, ZMQ_PAIR);
    /* No limit: libzmq's own thread would wait for room, and with it all sockets of the process. */
    if (listener && (!link_socket_set(listener, ZMQ_LINGER, 0) ||
                     !link_socket_set(listener, ZMQ_RCVHWM, 0) || zmq_connect(listener, name))) {
        zmq_close(listener);
        listener = NULL;
    }
    watch->socket = listener;
    return listener != NULL;
}

void link_watch_close(struct link_watch *watch, void *socket)
{
    zmq_socket_monitor(socket, NULL, 0);
    if (watch->socket)
        zmq_close(watch->socket);
    watch->socket = NULL;
}

/* --- what is told ----------------------------------------------------------------------------- */

/* A part of it; its bytes, -1: there is none. */
static int take_part(const struct link_watch *watch, uint8_t part[EVENT_BYTES])
{
    int count;
    do /* ends as above */
        count = zmq_recv(watch->socket, part, EVENT_BYTES, ZMQ_DONTWAIT);
    while (count < 0 && errno == EINTR);
    return count;
}

/* libzmq does not try again with a socket that was refused. */
static void take_event(struct link_watch *watch, const uint8_t *event)
{
    uint16_t kind;
    memcpy(&kind, event, sizeof(kind));
    watch->broken_off += kind == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL;
    if (kind == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
        watch->refusal = "the broker does not know this key";
    else if (kind == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL || watch->broken_off == BROKEN_OFF_MAX)
        watch->refusal = watch->is_encrypted
                             ? "the broker speaks plain text, or --curve-server is the key "
                               "of another"
                             : "the broker wants keys: give --curve-key and --curve-server";
    watch->has_broken |= kind != ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL || watch->refusal;
}

static void take_events(struct link_watch *watch)
{
    uint8_t event[EVENT_BYTES], address[EVENT_BYTES];
    bool is_told = watch->is_told;
    watch->is_told = false;
    /* Ends: a connection breaks a few times a second. */
    while (is_told && watch->socket && take_part(watch, event) >= 0) {
        take_part(watch, address);
        take_event(watch, event);
    }
}

bool link_watch_take_broken(struct link_watch *watch)
{
    take_events(watch);
    bool has_broken = watch->has_broken;
    watch->has_broken = false;
    return has_broken;
}

const char *link_watch_take_refusal(struct link_watch *watch)
{
    take_events(watch);
    const char *refusal = watch->refusal;
    watch->refusal = NULL;
    return refusal;
}

bool link_watch_has_input(struct link_watch *watch)
{
    watch->is_told = watch->is_told && link_socket_has_input(watch->socket);
    return watch->is_told;
}
