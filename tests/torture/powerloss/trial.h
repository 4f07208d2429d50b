/* trial.h - one state of a disk: is what was acknowledged there, and nothing else? */
#ifndef EVERDUE_TRIAL_H
#define EVERDUE_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "platter.h"
#include "test_store_help.h"

enum trial_outcome {
    TRIAL_SAME,    /* opens, and holds all of a batch that was acknowledged or submitted since */
    TRIAL_LOST,    /* opens, and holds an earlier moment than was acknowledged, or another store */
    TRIAL_REFUSED, /* does not open, and says why */
    TRIAL_WRONG,   /* opens, and holds what was never there */
    TRIAL_CRASHED, /* the process died, or gave no text */
    TRIAL_OUTCOMES,
};

extern const char *const trial_outcome_names[TRIAL_OUTCOMES];

/* What is promised at that moment. */
struct trial_promise {
    uint64_t acknowledged;
    uint64_t submitted;
    char id[2 * STORE_ID_BYTES + 1]; /* of the store that was opened, or empty */
    bool has_backup;
    uint64_t backup_from;
    uint64_t backup_upto;
};

struct trial {
    const char *directory;       /* for the state; made and emptied here */
    struct model *const *models; /* by sequence, up to the last submitted */
    bool goes_on;                /* commit to what was opened, and open it again */
    char why[STORE_WHY_BYTES + 128];
};

/* In a process of its own. The directory keeps what it was given, and what became of it, until the
 * next. */
enum trial_outcome trial_run(struct trial *trial, const struct platter_state *state,
                             const struct trial_promise *promise);

/* A directory with all that is in it. */
bool trial_remove(const char *path);

#endif
