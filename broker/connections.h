/* connections.h - what is known of each connection by its descriptor, from its beginning on.
 *
 * A connection has an entry here before it has said anything; what has said HELLO has one among the
 * workers, too. Pure: descriptors are numbers here.
 */
#ifndef EVERDUE_CONNECTIONS_H
#define EVERDUE_CONNECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connection {
    int64_t since_mono_us;
    uint64_t taken_bytes; /* had come in when it was looked at after its last message, */
    uint64_t seen_bytes;  /* and when it was looked at last */
    uint8_t mistakes;     /* malformed messages */
    bool is_open;
    bool has_session;
    bool has_spoken;    /* a whole message came since it was looked at last */
    bool is_watched;    /* its next bytes wake the broker up */
    uint32_t greetings; /* HELLOs since this moment */
    int64_t greeted_mono_us;
};

struct connections {
    struct connection *list; /* by descriptor */
    int room;
    int open_count;
    int stranger_count; /* open, without a session */
};

void connections_release(struct connections *connections);

/* Without memory for it a connection has no entry: nothing is counted against it. */
void connections_open(struct connections *connections, int fd, int64_t mono_us);
void connections_close(struct connections *connections, int fd);

/* NULL: not known. */
struct connection *connections_find(const struct connections *connections, int fd);

/* How many bytes were taken in, when the kernel first told that `received` came and then that
 * `unread` of them wait. What arrives between its two answers is in the second only: the result is
 * less than the truth by it, and 0 where nothing had been taken. */
uint64_t connection_taken(uint64_t received, uint64_t unread);

/* A look at a connection of which so many bytes have been taken in: how many of them are of a
 * message that is not whole. `taken_bytes` may be less than at the look before (connection_taken),
 * by a receive buffer at most: then it is none. */
uint64_t connection_unfinished(struct connection *connection, uint64_t taken_bytes);

/* Whether another HELLO may come over it: HELLOS_MAX in HELLOS_US, as of one session
 * (hello_limit.h); else fresh sessions over one connection would have no limit. */
bool connection_may_greet(struct connection *connection, int64_t mono_us);

void connections_set_session(struct connections *connections, int fd, bool has_session);

#endif
