/* penalty.h - who broke the protocol is let into no new session for a minute.
 *
 * A connection that sends three malformed messages is cut. That alone would let its peer try again
 * at once, as often as it can connect. So whoever it was is remembered for PENALTY_US, by a number;
 * what is done to him is the caller's.
 *
 * Remembers the last ones in a table of fixed size; one that is crowded out is forgotten. Pure.
 */
#ifndef EVERDUE_PENALTY_H
#define EVERDUE_PENALTY_H

#include <stdbool.h>
#include <stdint.h>

enum { PENALTY_PLACES = 1024, PENALTY_US = 60000000 };

/* Begins zeroed. */
struct penalties {
    struct penalty {
        uint64_t who; /* 0: nobody */
        int64_t until_us;
    } places[PENALTY_PLACES];
};

/* A number for a peer: its key and the address that it comes from, so that a key which many hosts
 * share is one peer on each of them; over ipc:// its user. Without a key the address alone, and
 * none for an address of loopback, which is everybody's on this host: 0. NULL: not known. */
uint64_t penalty_who(const char *user, const char *address);

/* From now on; one that is under way begins anew. Nobody is 0, and gets none. */
void penalty_begin(struct penalties *penalties, uint64_t who, int64_t mono_us);

/* Whether one is under way. */
bool penalty_holds(const struct penalties *penalties, uint64_t who, int64_t mono_us);

#endif
