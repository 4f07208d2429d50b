/* hello_limit.h - how often a session may begin anew: a process that comes and goes without end, or
 * a HELLO that is played again, costs others nothing.
 *
 * Remembers the last sessions in a table of fixed size; one that is crowded out counts from 0
 * again.
 */
#ifndef EVERDUE_HELLO_LIMIT_H
#define EVERDUE_HELLO_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "bounds.h"

enum { HELLO_PLACES = 4096, HELLOS_MAX = 50, HELLOS_US = 10000000 };

struct hello_limit {
    struct hello_place {
        uint8_t uid[SESSION_UID_BYTES];
        int64_t since_mono_us;
        uint32_t count;
    } places[HELLO_PLACES];
};

/* Whether this one may begin now: HELLOS_MAX in HELLOS_US. A table begins zeroed. */
bool hello_limit_allows(struct hello_limit *limit, const uint8_t uid[SESSION_UID_BYTES],
                        int64_t mono_us);

#endif
