#include <string.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <zmq.h>

#include <linux/tcp.h>

#include "received.h"
#include "server_internal.h"

enum {
    LOOK_US = 250000,      /* between two rounds over all connections, */
    LOOK_OPEN = 1024,      /* longer by as much for so many of them, */
    LOOK_NEXT_US = 20000,  /* and between the parts of a round, */
    LOOK_FDS = 512,        /* which have so many descriptors */
    CUT_DELAY_US = 100000, /* for the refusal to arrive */
    STRANGERS_FREE = 256,  /* connections that may stay without HELLO */
    STRANGER_US = 5000000, /* beyond them: for so long */
};
enum {
    UNFINISHED_MAX = 16 << 20, /* bytes of a message that is not whole, of one connection, */
    UNFINISHED_ALL = 64 << 20, /* of all together: beyond that the limit of each falls, */
    HALVINGS_MAX = 3,          /* a whole message stays allowed */
    UNREAD_TIMES = 4, /* and rises while there are whole messages that have not been read */
};

/* --- cutting ---------------------------------------------------------------------------------- */

/* The descriptor may have been closed and be another connection's by now. What libzmq closes it has
 * told the monitor before, and has taken away the way to that peer: so a peer that can still be
 * written to is the one behind the descriptor that came with its message. */
static void cut_now(struct server *server, struct bytes identity, int fd)
{
    int events;
    size_t size = sizeof(events);
    socket_read_monitor(server);
    zmq_getsockopt(server->router, ZMQ_EVENTS, &events, &size); /* lets libzmq take notice */
    server->may_have_input = true;
    bool is_there = socket_ping(server, identity) || zmq_errno() == EAGAIN;
    if (is_there && fd >= 0 && connections_find(&server->connections, fd)) {
        shutdown(fd, SHUT_RDWR); /* never close: it is libzmq's */
        server->counts.cut_connections++;
    }
}

/* The one with this descriptor, or a new one; NULL: there is no room. */
static struct cut *find_cut(struct server *server, int fd)
{
    for (uint32_t i = 0; i < server->cut_count; i++)
        if (server->cuts[i].fd == fd)
            return &server->cuts[i];
    if (server->cut_count == CUTS_MAX)
        return NULL;
    struct cut *cut = &server->cuts[server->cut_count++];
    *cut = (struct cut){.fd = fd};
    return cut;
}

/* One that waits for the same descriptor was for a connection that is gone, unless it is for the
 * same peer. */
void guard_cut(struct server *server, struct bytes identity, int fd)
{
    if (identity.count > IDENTITY_BYTES_MAX)
        return;
    struct cut *cut = find_cut(server, fd);
    if (!cut) {
        cut_now(server, identity, fd);
        return;
    }
    if (bytes_equal((struct bytes){cut->identity, cut->identity_bytes}, identity))
        return;
    *cut = (struct cut){.identity_bytes = (uint8_t)identity.count,
                        .fd = fd,
                        .at_mono_us = server->now.mono_us + CUT_DELAY_US};
    memcpy(cut->identity, identity.data, identity.count);
}

void guard_end_session(struct server *server, uint32_t number)
{
    struct event event = {.kind = EVENT_DISCONNECT, .now = server->now, .session = number};
    server_step(server, &event);
    workers_remove(&server->workers, number);
}

/* A session that could come back would keep its peer from its penalty. */
static void carry_out(struct server *server, const struct cut *cut)
{
    struct bytes identity = {cut->identity, cut->identity_bytes};
    uint32_t number = workers_find(&server->workers, identity);
    cut_now(server, identity, cut->fd);
    if (number != SLAB_NONE &&
        penalty_holds(&server->penalties, workers_at(&server->workers, number)->who,
                      server->now.mono_us))
        guard_end_session(server, number);
}

static void carry_out_cuts(struct server *server)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < server->cut_count; i++) {
        struct cut cut = server->cuts[i];
        if (cut.at_mono_us <= server->now.mono_us)
            carry_out(server, &cut);
        else
            server->cuts[kept++] = cut;
    }
    server->cut_count = kept;
}

/* What it has not read goes with it, when the cut is carried out: so long nothing else is cut. */
void guard_unread(struct server *server)
{
    uint64_t held_back;
    if (server->now.mono_us < server->next_unread_mono_us)
        return;
    server->next_unread_mono_us = server->now.mono_us + 2 * CUT_DELAY_US;
    uint32_t number = workers_find_fullest(&server->workers);
    if (number == SLAB_NONE)
        return;
    const struct worker *worker = workers_at(&server->workers, number);
    guard_cut(server, workers_identity(&server->workers, number), worker->fd);
    if (log_limit_allows(&server->guard_limit, server->now.mono_us, &held_back))
        log_line(LOG_WARNING, "a connection was cut", "why", "what it was sent is not read",
                 "bytes", log_u64(worker_unread(worker)), "more", log_u64(held_back), NULL);
}

/* --- watching --------------------------------------------------------------------------------- */

/* A broker that nobody talks to sleeps. When all connections were looked at and nothing new had
 * come in, the rounds end; the first bytes on any connection begin them again. */

/* False: it is not of TCP. */
static bool tcp_received(int fd, uint64_t *bytes)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);
    memset(&info, 0, sizeof(info));
    bool is_tcp = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0;
    *bytes = info.tcpi_bytes_received;
    return is_tcp;
}

/* Bytes that libzmq has taken in: the kernel's count of TCP, else our own. False: the connection is
 * gone. */
static bool bytes_taken(int fd, uint64_t *bytes)
{
    int unread = 0;
    bool is_tcp = tcp_received(fd, bytes);
    if (ioctl(fd, FIONREAD, &unread))
        return false;
    *bytes = is_tcp ? connection_taken(*bytes, (uint64_t)unread) : received_bytes(fd);
    return true;
}

static bool watch(struct server *server, int fd, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = fd};
    return epoll_ctl(server->watch_fd, operation, fd, &event) == 0;
}

/* What a connection of TCP received before it was noticed here counts, too; our own count goes on
 * when a descriptor is used again. */
void guard_begin(struct server *server, int fd)
{
    struct connection *connection = connections_find(&server->connections, fd);
    uint64_t bytes;
    if (connection) {
        connection->taken_bytes = tcp_received(fd, &bytes) ? 0 : received_bytes(fd);
        connection->seen_bytes = connection->taken_bytes;
        connection->is_watched = watch(server, fd, EPOLL_CTL_ADD);
    }
    if (server->next_look_mono_us == TIME_US_NEVER)
        server->next_look_mono_us = server->now.mono_us + LOOK_US;
}

int guard_fd(const struct server *server)
{
    return server->next_look_mono_us == TIME_US_NEVER ? server->watch_fd : -1;
}

static void rest(struct server *server)
{
    server->next_look_mono_us = TIME_US_NEVER;
    server->rest_mono_us = server->now.mono_us;
}

void guard_stir(struct server *server)
{
    struct epoll_event events[64];
    int count = epoll_wait(server->watch_fd, events, 64, 0);
    for (int i = 0; i < count; i++) {
        struct connection *connection = connections_find(&server->connections, events[i].data.fd);
        if (connection)
            connection->is_watched = false;
    }
    server->stirred_count = count > 0 ? count : 0;
    server->stir_mono_us = server->now.mono_us;
    server->next_look_mono_us = server->now.mono_us + LOOK_US;
}

/* One message, all of it read, after a long rest: as heartbeats are. Nothing else has stirred, so
 * the rest goes on. (Another that did is watched by its own event, which is still to be read.) */
static void rest_again(struct server *server, int fd, struct connection *connection)
{
    if (connection->is_watched || server->next_look_fd > 0 ||
        server->stir_mono_us - server->rest_mono_us < LOOK_US ||
        !bytes_taken(fd, &connection->seen_bytes) || !watch(server, fd, EPOLL_CTL_MOD))
        return;
    connection->taken_bytes = connection->seen_bytes;
    connection->has_spoken = false;
    connection->is_watched = true;
    if (--server->stirred_count == 0)
        rest(server);
}

/* --- messages --------------------------------------------------------------------------------- */

void guard_message(struct server *server, const struct request *request)
{
    struct connection *connection = connections_find(&server->connections, request->fd);
    if (!connection)
        return;
    connection->has_spoken = true;
    if (server->stirred_count)
        rest_again(server, request->fd, connection);
}

uint64_t guard_who(const struct server *server, const struct request *request)
{
    if (request->worker != SLAB_NONE)
        return workers_at(&server->workers, request->worker)->who;
    if (!request->frame || (server->allow && !request->peer))
        return 0;
    return penalty_who(request->peer ? request->peer->user : NULL,
                       zmq_msg_gets(request->frame, "Peer-Address"));
}

/* Who has a penalty already makes no mistake more. */
void guard_mistake(struct server *server, const struct request *request, bool is_grave)
{
    struct connection *connection = connections_find(&server->connections, request->fd);
    if (!connection)
        return;
    uint64_t who = guard_who(server, request);
    connection->mistakes++;
    if (!is_grave && connection->mistakes < MISTAKES_MAX &&
        !penalty_holds(&server->penalties, who, server->now.mono_us))
        return;
    server->counts.penalties += who != 0;
    penalty_begin(&server->penalties, who, server->now.mono_us);
    guard_cut(server, request->identity, request->fd);
}

/* --- looking at all --------------------------------------------------------------------------- */

static void end_connection(struct server *server, int fd, const char *why, uint64_t bytes)
{
    uint64_t held_back;
    shutdown(fd, SHUT_RDWR); /* what the monitor says last is that it is open */
    connections_close(&server->connections, fd);
    server->counts.cut_connections++;
    if (log_limit_allows(&server->guard_limit, server->now.mono_us, &held_back))
        log_line(LOG_WARNING, "a connection was cut", "why", why, "bytes",
                 bytes ? log_u64(bytes) : NULL, "more", log_u64(held_back), NULL);
}

/* A message is handed on when it is whole. What comes of one that never ends lies in memory, and
 * libzmq has no limit for it; the bytes that came in since the last whole message tell. */
static void look_at_unfinished(struct server *server, int fd, struct connection *connection)
{
    uint64_t bytes;
    if (!bytes_taken(fd, &bytes))
        return;
    uint64_t unfinished = connection_unfinished(connection, bytes);
    if (!connection->is_watched && bytes == connection->seen_bytes)
        connection->is_watched = watch(server, fd, EPOLL_CTL_MOD);
    server->has_unwatched |= !connection->is_watched;
    connection->seen_bytes = bytes;
    server->unfinished_bytes += unfinished;
    uint64_t most = UNFINISHED_MAX >> server->unfinished_halved;
    if (unfinished > most * (server->has_read_all ? 1 : UNREAD_TIMES))
        end_connection(server, fd, "a message that does not end", unfinished);
}

static void look_at(struct server *server, int fd, struct connection *connection)
{
    int64_t age_us = server->now.mono_us - connection->since_mono_us;
    if (!connection->has_session && age_us > STRANGER_US &&
        server->connections.stranger_count > STRANGERS_FREE) {
        end_connection(server, fd, "too many connections without hello", 0);
        return;
    }
    look_at_unfinished(server, fd, connection);
}

/* Many that each stay below the limit are too much together: then the limit falls, and the rounds
 * go on, though nothing more may come in. */
static void end_round(struct server *server)
{
    bool is_much = server->unfinished_bytes > UNFINISHED_ALL;
    if (!is_much)
        server->unfinished_halved = 0;
    else if (server->unfinished_halved < HALVINGS_MAX)
        server->unfinished_halved++;
    server->unfinished_bytes = 0;
    server->has_read_all = false;
    server->next_look_fd = 0;
    if (!is_much && !server->has_unwatched &&
        server->connections.stranger_count <= STRANGERS_FREE) {
        rest(server);
    } else {
        int64_t times = 1 + server->connections.open_count / LOOK_OPEN;
        server->next_look_mono_us = server->now.mono_us + LOOK_US * times;
    }
    server->has_unwatched = false;
}

static void look_at_some(struct server *server)
{
    const struct connections *connections = &server->connections;
    int end = server->next_look_fd + LOOK_FDS;
    bool is_last = end >= connections->room;
    server->stirred_count = 0;
    socket_read_monitor(server); /* so that those which are open here are */
    for (int fd = server->next_look_fd; fd < (is_last ? connections->room : end); fd++) {
        struct connection *connection = connections_find(connections, fd);
        if (connection)
            look_at(server, fd, connection);
    }
    server->next_look_fd = end;
    server->next_look_mono_us = server->now.mono_us + LOOK_NEXT_US;
    if (is_last)
        end_round(server);
}

void guard_turn(struct server *server)
{
    if (server->cut_count)
        carry_out_cuts(server);
    if (server->connections.open_count && server->now.mono_us >= server->next_look_mono_us)
        look_at_some(server);
}

int64_t guard_next_mono_us(const struct server *server)
{
    int64_t next_us = server->connections.open_count ? server->next_look_mono_us : TIME_US_NEVER;
    for (uint32_t i = 0; i < server->cut_count; i++)
        if (server->cuts[i].at_mono_us < next_us)
            next_us = server->cuts[i].at_mono_us;
    return next_us;
}
