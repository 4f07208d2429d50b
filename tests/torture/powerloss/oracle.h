/* oracle.h - who knows what a recorded life was promised: two kinds of life, one interface.
 *
 *   oracle_batches.c   a store by itself (life.c): batches, several openings, a backup
 *   oracle_keys.c      a real broker (record_broker.py): puts, removals and reports of keys
 */
#ifndef EVERDUE_ORACLE_H
#define EVERDUE_ORACLE_H

#include "record.h"
#include "trial.h"

struct oracle_life {
    const char *directory; /* what is recorded */
    const char *log;
    uint64_t seed;
    uint64_t batches;
    const char *sync;
    const char *fault; /* for fail.c, or NULL */
    const char *fired; /* its file */
    const char *patience_ms;
    int *exit_status; /* NULL: anything but 0 is a failure of ours */
};

struct oracle {
    const char *name;
    /* Runs the life, recorded. */
    bool (*record)(const struct oracle_life *life);
    /* NULL: no memory. */
    void *(*begin)(const struct oracle_life *life);
    void (*end)(void *self);
    /* In the order of the log. */
    void (*take_mark)(void *self, const char *text);
    void (*take_entry)(void *self, const struct record_entry *entry); /* may be NULL */
    /* A number that changes with what is promised. */
    uint64_t (*promise)(const void *self);
    /* In the trial's process; `user` is self. */
    enum trial_outcome (*look)(struct trial *trial, void *user);
};

extern const struct oracle oracle_batches;
extern const struct oracle oracle_keys;

/* Runs a program with the recorder preloaded, or (`preload` not set) as it is. Whether it ended
 * well. */
bool oracle_run(const struct oracle_life *life, bool preload, char *const arguments[]);

#endif
