/* core.h - the core as the simulation sees it: itself, or with a bug planted between it and the
 * oracles.
 *
 * An oracle that was never seen to speak proves nothing. Each planted bug corrupts one answer,
 * effect or call in the way a real bug would; a simulation with it must fail.
 */
#ifndef EVERDUE_CORE_H
#define EVERDUE_CORE_H

#include "disk.h"
#include "sched.h"

enum bug {
    BUG_NONE,
    BUG_REPEATED_LEASE,   /* now and then a task carries the number of an earlier lease */
    BUG_FORGOTTEN_RECORD, /* a record is not loaded at a restart */
    BUG_STALE_ACCEPTED,   /* a stale report is answered with ok */
    BUG_FORGOTTEN_PUT,    /* a put is answered and not carried out */
    BUG_EARLY,            /* the core is told a time 2 s ahead */
    BUG_UNPAUSED,         /* a pause is answered and not carried out */
    BUG_UNWRITTEN_STATES, /* a batch is said to be durable whose states were not written */
    BUG_UNRESERVED,       /* numbers are used whose reservation was not written */
    BUG_COUNTED_RETURN,   /* what is given back as not begun is given back as begun */
    BUG_LOST_TASK,        /* ready records are no longer handed out from some moment on */
    BUG_FORGOTTEN_PRUNE,  /* the prune of a sync is not carried out */
    BUG_DOUBLE_GRANT,     /* a task is shown to two sessions */
    BUG_HALF_DONE,        /* a put is answered with no-memory and carried out */
    BUG_EARLY_CANCEL,     /* the end of a lease is told before it is on disk */
};
enum { BUG_COUNT = BUG_EARLY_CANCEL + 1 };

/* "repeated-lease". */
const char *bug_name(enum bug bug);
/* BUG_COUNT: there is no such bug. */
enum bug bug_find(const char *name);

struct core {
    struct sched *sched;
    enum bug bug;
    uint64_t steps;
    uint64_t last_lease;
    uint32_t countdown; /* chances that pass before the bug shows */
    /* What the next call asks of memory: this allocation fails (from 1, 0: none), and those after
     * it, if it lasts. */
    uint32_t failing;
    bool fails_on;
    bool is_short; /* one has failed in the last call */
};

void core_init(struct core *core, const struct sched_settings *settings, enum bug bug);
void core_release(struct core *core);
/* The next call of core_load, core_step or core_seal meets a lack of memory. */
void core_fail_memory(struct core *core, uint32_t failing, bool fails_on);
enum status core_load(struct core *core, const struct disk *disk, struct moment now);
enum status core_step(struct core *core, const struct event *event, struct effects *effects);
enum status core_seal(struct core *core, struct store_batch *batch);
/* What the disk gets of a batch. */
void core_write(struct core *core, struct disk *disk, struct store_batch *batch);

#endif
