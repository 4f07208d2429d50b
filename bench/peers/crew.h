/* crew.h - some processes that do the same work for a fixed time, and what they did together.
 *
 *   static void work(struct crew_member *member, void *user)
 *   {
 *       ... connect ...
 *       while (crew_goes_on(member)) {
 *           ... one batch ...
 *           crew_count(member, batch);
 *       }
 *   }
 *
 *   crew_run(2, 3.0, work, NULL);    // prints {"cycles": 1234, "seconds": 3.001}
 *
 * What all peers share, so that none of them is measured differently: the clock starts when every
 * member is ready, a batch that was begun in time is finished and counted, and the seconds are
 * those until the last member has ended. A member that finds its books wrong calls crew_fail, and
 * the whole run fails.
 */
#ifndef EVERDUE_BENCH_CREW_H
#define EVERDUE_BENCH_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CREW_MAX = 64, CREW_BATCH_MAX = 4096 };

struct crew_shared;

struct crew_member {
    int number; /* from 0 */
    int workers;
    uint64_t cycles;
    uint64_t random;
    bool has_begun;
    struct crew_shared *shared;
};

typedef void crew_work(struct crew_member *member, void *user);

/* Fork `workers` processes that call `work`, wait for all, print one line of JSON. Returns the exit
 * status: 0, or 1 when a member failed. */
int crew_run(int workers, double seconds, crew_work *work, void *user);

/* What a driver of a server is asked to do, from its command line. */
struct crew_plan {
    const char *address; /* in the driver's own form */
    uint64_t records;
    size_t batch;
};

struct crew_driver {
    const char *usage;
    void (*load)(const struct crew_plan *plan);  /* put the records */
    void (*check)(const struct crew_plan *plan); /* all are there and none is out, or crew_fail */
    crew_work *work;                             /* its `user` is the plan */
};

/* The whole of a driver's main: ADDRESS load|check RECORDS, or ADDRESS cycle RECORDS WORKERS
 * SECONDS BATCH. Returns the exit status. */
int crew_main(int argc, char **argv, const struct crew_driver *driver);

/* Whether there is time for another batch. The first call waits for the other members. */
bool crew_goes_on(struct crew_member *member);

/* A batch is done: so many cycles, each of them confirmed by the server. */
void crew_count(struct crew_member *member, uint64_t cycles);

/* A new due time on a clock that ticks once for each cycle of the crew: up to two rounds through
 * all `records` away, so that it lands anywhere in the server's order. */
uint64_t crew_next_due(struct crew_member *member, uint64_t records);

/* Say what is wrong on stderr and end this process with status 1. */
_Noreturn void crew_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The monotonic clock, in seconds. */
double crew_now_s(void);

/* G. Marsaglia, "Xorshift RNGs", 2003; `*state` is not 0. */
uint64_t crew_random(uint64_t *state);

/* A whole number from a command line, from 1 to `most`; fails with the usage otherwise. */
long crew_number(const char *text, long most, const char *usage);

#endif
