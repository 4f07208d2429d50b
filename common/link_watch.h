/* link_watch.h - what libzmq tells of one socket's connection: that it broke, that it was refused.
 *
 * A socket whose connection broke gets another one in the background and says nothing of it;
 * libzmq tells a second socket, if there is one. link.c alone includes this. Not thread-safe, like
 * the socket.
 */
#ifndef EVERDUE_LINK_WATCH_H
#define EVERDUE_LINK_WATCH_H

#include <stdbool.h>

struct link_watch {
    void *socket;        /* where libzmq tells; NULL: nowhere */
    bool is_encrypted;   /* the connection that is watched, as we want it */
    bool is_told;        /* there may be something to take */
    bool has_broken;     /* told, and not yet asked for */
    const char *refusal; /* the same */
    int broken_off;      /* connections that ended while they began */
};

/* Watches a socket that is not connected yet; what was told of another before is forgotten. False:
 * there are no descriptors or no memory left, nothing is watched. */
bool link_watch_open(struct link_watch *watch, void *context, void *socket);
/* Before the socket is closed, watched or not: libzmq's own thread, which all sockets of the
 * process share, would wait for ever to tell what nobody listens to. */
void link_watch_close(struct link_watch *watch, void *socket);

/* Whether the connection has broken; told once. */
bool link_watch_take_broken(struct link_watch *watch);
/* Why the peer did not let us in, or NULL; static text, told once. */
const char *link_watch_take_refusal(struct link_watch *watch);

/* Whether there is something to take; asks the socket unless it was found empty since. */
bool link_watch_has_input(struct link_watch *watch);

/* --- any socket of libzmq --------------------------------------------------------------------- */

bool link_socket_set(void *socket, int option, int value);
/* Readable when something has changed; -1: none. NULL is allowed. */
int link_socket_fd(void *socket);
/* NULL is allowed. */
bool link_socket_has_input(void *socket);

#endif
