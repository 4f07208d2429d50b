/* workers.h - who is connected: routing identity <-> session number.
 *
 * A connection has an entry from its HELLO on. The number is the session's in the core; it is
 * used again after the entry is gone. Identities are bytes of libzmq's, never shown to anybody.
 */
#ifndef EVERDUE_WORKERS_H
#define EVERDUE_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "allow.h"
#include "overflow.h"
#include "slab.h"
#include "table.h"
#include "unread.h"
#include "wire.h"

enum { IDENTITY_BYTES_MAX = 32, STRANGERS = 64 };

struct worker {
    uint8_t identity_bytes;
    uint8_t identity[IDENTITY_BYTES_MAX];
    int fd; /* libzmq's, for recognising it in monitor events; -1 unknown. Never closed here */
    bool is_ipc;
    bool is_here;        /* the entry is in use */
    bool is_streamed_to; /* had credit at some time: its work comes without being asked for */
    uint8_t probes_left; /* the connection seems broken: looks that are still to be taken */
    const struct allow_entry *peer; /* who it is; NULL: no list is in force */
    uint64_t who;                   /* the same for penalties (penalty.h) */
    struct unread *unread;          /* of what it was sent; NULL: nothing large so far */
    struct overflow *overflow;      /* what found no room; NULL: nothing waits */
    struct overflow *held;          /* what it sent and is not looked at yet; NULL: nothing */
};

struct workers {
    struct slab slab;
    struct table by_identity;
    struct overflows overflows; /* to peers, */
    struct overflows held;      /* and from them */
    uint32_t suspect_count;     /* workers with probes left */
    /* Connections that broke before their HELLO was read, the last ones. */
    int strangers[STRANGERS];
    uint32_t next_stranger;
};

void workers_init(struct workers *workers);
void workers_release(struct workers *workers);

static inline struct worker *workers_at(const struct workers *workers, uint32_t number)
{
    return slab_at(&workers->slab, number);
}

/* SLAB_NONE: not connected. */
uint32_t workers_find(const struct workers *workers, struct bytes identity);
uint32_t workers_find_fd(const struct workers *workers, int fd);

/* A connection that nobody is known by broke. Its descriptor is remembered until it is another
 * connection's. */
void workers_note_stranger(struct workers *workers, int fd);
void workers_forget_stranger(struct workers *workers, int fd);
bool workers_was_stranger(const struct workers *workers, int fd);

/* SLAB_NONE when memory is out or the identity is none of libzmq's own. */
uint32_t workers_add(struct workers *workers, struct bytes identity, int fd);
void workers_remove(struct workers *workers, uint32_t number);

/* Where to send to; absent bytes when the entry is not in use. Borrowed until it is removed. */
struct bytes workers_identity(const struct workers *workers, uint32_t number);

/* Bytes that it was sent and has not taken: large messages, and what waits for room. */
static inline uint64_t worker_unread(const struct worker *worker)
{
    return unread_bytes(worker->unread) + overflow_bytes(worker->overflow);
}

/* The connection of which most bytes are unread; SLAB_NONE: all is read. O(n). */
uint32_t workers_find_fullest(const struct workers *workers);

/* The next one in use at or above `number`; SLAB_NONE. */
uint32_t workers_next(const struct workers *workers, uint32_t number);

#endif
