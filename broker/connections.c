#include "connections.h"

#include <stdlib.h>
#include <string.h>

#include "hello_limit.h"

enum { FD_MAX = 1 << 20 }; /* the most that Linux gives a process by default */

void connections_release(struct connections *connections)
{
    free(connections->list);
    memset(connections, 0, sizeof(*connections));
}

static bool make_room(struct connections *connections, int fd)
{
    int room = connections->room ? connections->room : 256;
    if (fd < 0 || fd >= FD_MAX)
        return false;
    while (room <= fd) /* ends below 2 x FD_MAX */
        room *= 2;
    if (room == connections->room)
        return true;
    struct connection *list = realloc(connections->list, (size_t)room * sizeof(*list));
    if (!list)
        return false;
    memset(list + connections->room, 0, (size_t)(room - connections->room) * sizeof(*list));
    connections->list = list;
    connections->room = room;
    return true;
}

void connections_open(struct connections *connections, int fd, int64_t mono_us)
{
    connections_close(connections, fd);
    if (!make_room(connections, fd))
        return;
    connections->list[fd] = (struct connection){.since_mono_us = mono_us, .is_open = true};
    connections->open_count++;
    connections->stranger_count++;
}

void connections_close(struct connections *connections, int fd)
{
    struct connection *connection = connections_find(connections, fd);
    if (!connection)
        return;
    connections->open_count--;
    connections->stranger_count -= !connection->has_session;
    connection->is_open = false;
}

struct connection *connections_find(const struct connections *connections, int fd)
{
    bool is_known = fd >= 0 && fd < connections->room && connections->list[fd].is_open;
    return is_known ? &connections->list[fd] : NULL;
}

void connections_set_session(struct connections *connections, int fd, bool has_session)
{
    struct connection *connection = connections_find(connections, fd);
    if (!connection || connection->has_session == has_session)
        return;
    connection->has_session = has_session;
    connections->stranger_count += has_session ? -1 : 1;
}

uint64_t connection_taken(uint64_t received, uint64_t unread)
{
    return received > unread ? received - unread : 0;
}

uint64_t connection_unfinished(struct connection *connection, uint64_t taken_bytes)
{
    if (connection->has_spoken)
        connection->taken_bytes = taken_bytes;
    connection->has_spoken = false;
    return taken_bytes > connection->taken_bytes ? taken_bytes - connection->taken_bytes : 0;
}

bool connection_may_greet(struct connection *connection, int64_t mono_us)
{
    if (mono_us - connection->greeted_mono_us >= HELLOS_US) {
        connection->greeted_mono_us = mono_us;
        connection->greetings = 0;
    }
    return connection->greetings++ < HELLOS_MAX;
}
