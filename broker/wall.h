/* wall.h - the wall clock as the core is told it: one that was set far ahead counts a little later.
 *
 * A clock that jumps ahead by a minute or more (a wrong RTC, a wrong time server, a machine that
 * was asleep) makes due whatever lies in between. For 10 s the time before goes on, so that a clock
 * which is put right at once has done nothing, and whoever watches has been told before all comes.
 * A clock that is set back counts at once: it makes nothing early.
 *
 *      read  ----------+             set ahead
 *      told  ------------------------+   = read - held_us, until the 10 s are over
 */
#ifndef EVERDUE_WALL_H
#define EVERDUE_WALL_H

#include <stdbool.h>
#include <stdint.h>

#include "moment.h"

#define WALL_AHEAD_US ((int64_t)60 * US_PER_S)
#define WALL_HOLD_US ((int64_t)10 * US_PER_S)

struct wall {
    int64_t gap_us;         /* wall minus monotonic, as read last */
    int64_t held_us;        /* how far the clock is ahead of what is told; 0: it is told as it is */
    int64_t end_mono_us;    /* of the hold */
    int64_t step_us;        /* how far it was set in the last look; 0: it was not */
    int64_t steps_least_us; /* shorter ones are drift */
};

void wall_init(struct wall *wall, struct moment read, int64_t steps_least_us);

/* What the core is told of clocks that were read so. */
struct moment wall_tell(struct wall *wall, struct moment read);

/* When the clock will show what is told then as `wall_us`: for a timer. */
int64_t wall_timer_us(const struct wall *wall, int64_t wall_us);

/* When the hold is over; TIME_US_NEVER: there is none. */
int64_t wall_end_mono_us(const struct wall *wall);

#endif
