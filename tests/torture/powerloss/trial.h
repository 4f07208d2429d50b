/* trial.h - one state of a disk, written down and looked at in a process of its own: what the store
 * makes of it may be the end of the process.
 */
#ifndef EVERDUE_TRIAL_H
#define EVERDUE_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "platter.h"

enum trial_outcome {
    TRIAL_SAME,    /* opens, and holds all that was acknowledged, or what was on its way as well */
    TRIAL_LOST,    /* opens, and holds an earlier moment than was acknowledged, or another store */
    TRIAL_REFUSED, /* does not open, and says why */
    TRIAL_WRONG,   /* opens, and holds what was never there */
    TRIAL_CRASHED, /* the process died, or gave no text */
    TRIAL_OUTCOMES,
};

extern const char *const trial_outcome_names[TRIAL_OUTCOMES];

enum { TRIAL_WHY_BYTES = 640 };

struct trial {
    const char *directory; /* for the state; made and emptied here */
    enum trial_outcome (*look)(struct trial *trial, void *user);
    void *user;
    uint64_t number; /* of the state; then what `look` found out besides */
    char why[TRIAL_WHY_BYTES];
};

/* Writes the state down and has `look` look at it. The directory keeps what it was given, and what
 * became of it, until the next. `why` and `number` come back from the process. */
enum trial_outcome trial_run(struct trial *trial, const struct platter_state *state);

/* Puts the place before what `why` says. */
void trial_say_where(struct trial *trial, const char *where);

/* A directory with all that is in it. */
bool trial_remove(const char *path);

/* For lives: a place in memory where there is one. `root` has TRIAL_ROOT_BYTES. */
enum { TRIAL_ROOT_BYTES = 64 };
bool trial_make_root(char root[TRIAL_ROOT_BYTES]);

#endif
