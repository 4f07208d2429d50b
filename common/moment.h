/* moment.h - the two clocks, read together.
 *
 * Due times are wall time (microseconds since the Unix epoch, UTC), waits and leases are monotonic.
 * A moment is read once a turn, at the edge (clock.h), and handed down; nothing below reads a
 * clock.
 */
#ifndef EVERDUE_MOMENT_H
#define EVERDUE_MOMENT_H

#include <stdint.h>

struct moment {
    int64_t wall_us; /* CLOCK_REALTIME */
    int64_t mono_us; /* CLOCK_MONOTONIC */
};

enum { US_PER_MS = 1000, US_PER_S = 1000000 };

/* Times and intervals are at least 0 and below this: 2^52 us, in the year 2112. */
#define TIME_US_END ((int64_t)1 << 52)

/* "Never", for a wait or a due time that does not exist. */
#define TIME_US_NEVER INT64_MAX

#endif
