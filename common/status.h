/* status.h - the one list of outcomes.
 *
 * Every function that can fail returns an `enum status`: 0 is success, a negative value an error.
 * The same numbers travel on the wire (docs/protocol.md, "Status codes"), so they never change and
 * are never reused. Positive values are successes that say a little more; only items of an answer
 * carry them.
 */
#ifndef EVERDUE_STATUS_H
#define EVERDUE_STATUS_H

#include <stdbool.h>

enum status {
    STATUS_OK = 0,
    STATUS_CREATED = 1,   /* put, sync: the key was not there */
    STATUS_CHANGED = 2,   /* put, sync: the record differs from what was stored */
    STATUS_UNCHANGED = 3, /* sync: stored already, to the byte */
    STATUS_PENDING = 4,   /* the record is out at a worker; applied when its lease ends */

    STATUS_STALE = -1,         /* the lease or the state is not the record's any more */
    STATUS_GONE = -2,          /* the record does not exist any more */
    STATUS_NOT_FOUND = -3,     /* no such key or queue */
    STATUS_BUSY = -4,          /* over a limit of work in hand; try again a little later */
    STATUS_NO_SPACE = -5,      /* the disk or the byte limit is full */
    STATUS_TOO_LARGE = -6,     /* payload, memo or message over its limit */
    STATUS_BAD_KEY = -7,       /* not 1 to 1,024 bytes of UTF-8 without control characters */
    STATUS_BAD_TIME = -8,      /* a time outside 1970 to 2112, or an interval outside its range */
    STATUS_BAD_FIELD = -9,     /* another field out of its range */
    STATUS_TOO_MANY = -10,     /* over the limit of records, queues, sessions or items */
    STATUS_CONFLICT = -11,     /* another sync of this queue is under way */
    STATUS_MISMATCH = -12,     /* count or checksum of a sync differ: nothing was changed */
    STATUS_PRUNE_GUARD = -13,  /* the prune is above the allowed share: nothing was changed */
    STATUS_DUPLICATE = -14,    /* the key came before in this sync */
    STATUS_LEASED = -15,       /* refused while the record is out at a worker */
    STATUS_NOT_PARKED = -16,   /* kick: the record is not parked */
    STATUS_PARKED = -17,       /* run-now: the record is parked, kick it */
    STATUS_DRAINING = -18,     /* the broker drains or stops; nothing is granted */
    STATUS_TIMED_OUT = -19,    /* the wait ended first */
    STATUS_NO_SESSION = -20,   /* say hello first (after a reconnect: new socket, hello, resume) */
    STATUS_NO_NEXT = -21,      /* a report with no next time from anywhere: the handler's mistake */
    STATUS_MALFORMED = -22,    /* not a message of this protocol */
    STATUS_UNKNOWN_TYPE = -23, /* a message type that this version does not know */
    STATUS_VERSION = -24,      /* a protocol version that this side does not speak */
    STATUS_DENIED = -25,       /* not allowed for this peer */
    STATUS_IO = -26,           /* a disk or socket failed */
    STATUS_CORRUPT = -27,      /* the store holds what was never written */
    STATUS_NO_MEMORY = -28,    /* an allocation failed; nothing was changed */
    STATUS_LOCKED = -29,       /* another process owns it */
    STATUS_UNREACHABLE = -30,  /* nobody answers at the endpoint */
    STATUS_INTERRUPTED = -31,  /* the caller asked to stop */
};

/* "stale", "gone": lower case with hyphens, for logs, `-o json` and error texts. Never NULL; an
 * unknown number gives "unknown". */
const char *status_name(enum status status);

/* One sentence for people, without full stop: "the record is out at a worker". Never NULL. */
const char *status_text(enum status status);

/* Whether `number`, read from a peer, is one of the list. */
bool status_is_known(int number);

#endif
