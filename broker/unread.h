/* unread.h - bytes that a peer was sent and has not taken: those that lie in libzmq's queue.
 *
 * A peer that asks and does not read could make the broker hold 4,096 messages of 1 MiB for each of
 * its connections; libzmq counts messages, and tells nobody how many bytes they are. So a large
 * message is handed over with a function that libzmq calls when it has written it, from its own
 * thread. Small ones are not counted: 4,096 of them are 16 MiB.
 *
 * One counter for each connection, made when it is sent something large. It outlives its connection
 * until libzmq has let go of the last message.
 */
#ifndef EVERDUE_UNREAD_H
#define EVERDUE_UNREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    UNREAD_COUNTED = 4096, /* a message of so many bytes is counted */
    UNREAD_MAX = 16 << 20, /* of a connection: then nothing is looked up for it */
    UNREAD_ALL = 256 << 20 /* of all together: then the connection with the most is cut */
};

struct unread;

/* NULL when memory is out. */
struct unread *unread_new(void);
/* The connection is gone. NULL is allowed. */
void unread_destroy(struct unread **unread);

/* NULL: none. */
uint64_t unread_bytes(const struct unread *unread);

/* Of all connections, those that are gone included. */
uint64_t unread_total(void);

/* The last frame of a message, sent without blocking; the bytes are copied. False: it was not
 * sent. */
bool unread_send(struct unread *unread, void *socket, const void *data, size_t count);

#endif
