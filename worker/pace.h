/* pace.h - how much a session asks for: what its handlers finish in 20 ms, between two bounds.
 *
 * With little in hand a quick handler waits for the broker after every few records; with much in
 * hand a slow one lets records grow late that another worker could have begun. So the credit
 * follows what is really finished:
 *
 *   more    20 ms went by, idle time included, in which more was finished than there is credit:
 *           it becomes that much, but at most twice what it was
 *   less    40 ms were spent with something in hand, and less was finished than there is credit
 *           (it is worth 20 ms of work, so that is half of it): it becomes half of that, and what
 *           is held beyond it is to be given back
 *
 * A handler that hangs keeps no more than `least` after 40 to 80 ms; one that has nothing to do
 * keeps its credit, and wants no wake-ups. `least` is where it begins and the least it becomes;
 * with no more than that as `most` it never changes.
 *
 * Pure: time comes in. Monotonic microseconds.
 */
#ifndef EVERDUE_WORKER_PACE_H
#define EVERDUE_WORKER_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum { PACE_US = 20000, PACE_JUDGED_US = 40000 };

struct pace {
    uint32_t least;
    uint32_t most;
    uint32_t credit;
    int64_t began_us;  /* of a stretch of time */
    uint32_t finished; /* in it */
    int64_t worked_us; /* with something in hand, */
    uint32_t worked;   /* and finished meanwhile */
    int64_t passed_us;
    bool has_work;
};

/* Its credit is `least`. */
void pace_init(struct pace *pace, uint32_t least, uint32_t most);

/* A connection begins, and with it the credit: many workers that come back at once begin small. */
void pace_begin(struct pace *pace, int64_t now_us);

/* A record is done with. */
void pace_finish(struct pace *pace);

/* Let time pass; `has_work`: from now on something is in hand. Returns the credit. To be called
 * when the last record is done with, or the first has come, and at pace_wait_until. */
uint32_t pace_pass(struct pace *pace, int64_t now_us, bool has_work);

/* When pace_pass has something to say though nothing happens: INT64_MAX when it has not. */
int64_t pace_wait_until(const struct pace *pace);

#endif
