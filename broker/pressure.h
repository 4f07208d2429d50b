/* pressure.h - how many puts go into one commit, so that a report beside a flood of them is not
 * late.
 *
 * What is accepted is answered when its commit is on disk, and the next commit begins when the one
 * before has ended. So an answer takes up to two commits, and how long a commit takes is decided by
 * what else is in it: without a limit a flood of puts makes commits of half a second.
 *
 *   puts ---- room ----> the batch that fills ----> the disk
 *     |                                               |
 *     +-- it is full: they wait (server_hold.c) <-----+ took too long: a smaller limit
 *
 * The limit is learned: a full batch that took longer than it may makes it smaller by a quarter,
 * one that did not makes it larger by an eighth. A batch may take PRESSURE_HURRY_US while somebody
 * else waits for the disk, too, or has within the last second, PRESSURE_CALM_US while nobody does,
 * and on a slow disk twice what one with next to nothing in it takes.
 *
 * Pure. Counted in units: a put is one, and one more for each PRESSURE_UNIT_BYTES of it.
 */
#ifndef EVERDUE_PRESSURE_H
#define EVERDUE_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PRESSURE_HURRY_US = 3000,
    PRESSURE_CALM_US = 12000,
    PRESSURE_UNIT_BYTES = 512,
    PRESSURE_LEAST = 256, /* units: a limit is never below, */
    PRESSURE_FIRST = 4096,
    PRESSURE_MOST = 65536, /* nor above */
};

struct pressure {
    uint32_t limits[2]; /* while nobody else waits, and while somebody does */
    uint32_t filling;   /* units in the batch that fills, */
    uint32_t sealed;    /* and in the one on its way, */
    bool was_hurry;     /* in which this was so */
    int64_t hurry_until_us;
    int64_t least_us; /* what a small batch took of late; 0: there was none */
};

void pressure_init(struct pressure *pressure);

/* A message of so many puts and bytes goes into the batch that fills. */
void pressure_add(struct pressure *pressure, uint32_t puts, uint64_t bytes);

/* Somebody else waits for the disk from now on: a report, a removal. */
void pressure_hurry(struct pressure *pressure, int64_t mono_us);

/* Whether what comes now is to wait for the next batch. The last message may go beyond the limit.
 */
bool pressure_is_full(const struct pressure *pressure, int64_t mono_us);

/* The batch that filled is on its way; the next one fills. */
void pressure_seal(struct pressure *pressure, int64_t mono_us);

/* It is on disk, `took_us` after it was sealed, with so many states in it. */
void pressure_done(struct pressure *pressure, uint64_t states, int64_t took_us);

#endif
