/* overflow.h - messages that wait for room, in order for each connection.
 *
 * libzmq holds 4,096 messages for a connection and refuses more. An answer that is refused must not
 * be lost: whoever asked waits three heartbeats for it. That happens to peers that read as fast as
 * they can, too: while the disk stands still the answers of a commit add up, and then all of them
 * leave at once. So what is refused waits here, and so does everything that is sent to the same
 * connection later, until libzmq has taken what came before.
 *
 *   socket_send_to ---- room ----> libzmq's queue ----> the peer
 *          |                             ^
 *          +-- none, or others wait --> overflow, tried again in each turn
 *
 * In the other direction the same is done with puts that find their batch full (server_hold.c).
 *
 * What waits is bounded in bytes, its own administration included: OVERFLOW_MAX of a connection,
 * OVERFLOW_ALL of all together. It is not bounded in time: a peer that is silent for three
 * heartbeats loses its session, and with it what waits here; one that speaks and reads slowly gets
 * what it asked for.
 *
 * Pure. Who a connection is, is a number of the caller's.
 */
#ifndef EVERDUE_OVERFLOW_H
#define EVERDUE_OVERFLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

enum { OVERFLOW_MAX = 16 << 20, OVERFLOW_ALL = 256 << 20 };

/* Of one connection: never empty. */
struct overflow;

/* All that there are, in no order. Begins zeroed. */
struct overflows {
    struct overflow **list;
    uint32_t count, room;
    uint64_t bytes; /* of all together */
};

/* Each of them must have been destroyed. */
void overflows_release(struct overflows *all);

/* Whose the one at `place` is; `place` is below all->count. */
uint32_t overflows_owner(const struct overflows *all, uint32_t place);

/* A message behind the others of its connection; the bytes are copied. `*overflow` is made when it
 * is NULL, for `owner`. False: over a bound, or memory is out; nothing has changed then. */
bool overflow_put(struct overflows *all, struct overflow **overflow, uint32_t owner,
                  struct bytes message);

/* The message that has waited longest, borrowed until it is dropped. */
struct bytes overflow_first(const struct overflow *overflow);

/* It has left. With the last one the overflow goes, and `*overflow` is NULL: another one of `all`
 * takes its place then. */
void overflow_drop_first(struct overflows *all, struct overflow **overflow);

/* The same, but the message is lent out with the memory that is returned: the caller's, to be
 * freed. */
void *overflow_take_first(struct overflows *all, struct overflow **overflow, struct bytes *message);

/* All of them, when the connection is gone. NULL is allowed. */
void overflow_destroy(struct overflows *all, struct overflow **overflow);

/* What its messages take. NULL: 0. */
uint64_t overflow_bytes(const struct overflow *overflow);

#endif
