/* child.h - one process of the tree that `run` and `dev` keep: started, started again with a
 * back-off, stopped.
 *
 *   IDLE --start--> RUNNING --exit--> (back-off) --start--> ...
 *
 * A child is in a process group of its own, so that Ctrl-C reaches the parent only, which stops
 * the tree in order; and it is told to stop when the parent dies.
 */
#ifndef EVERDUE_CHILD_H
#define EVERDUE_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    CHILD_BACK_OFF_MIN_US = 100000,
    CHILD_BACK_OFF_MAX_US = 5000000,
    CHILD_HEALTHY_US = 10000000, /* having run so long, the back-off begins anew */
};

struct child {
    const char *name;    /* for people, borrowed */
    char **argv;         /* borrowed, argv[0] is its path */
    pid_t pid;           /* 0: not running */
    int64_t started_us;  /* monotonic */
    int64_t start_at_us; /* when to start it again, while it is not running */
    int64_t back_off_us;
    int exit_code; /* of its last end; 128 + signal */
};

/* Starts it now. False: there is no process to be had; it is tried again after the back-off. */
bool child_start(struct child *child, int64_t now_us);

/* Whether it has ended since the last call; its exit code and the moment to start it again are set.
 */
bool child_has_ended(struct child *child, int64_t now_us);

/* Whether an end with this code is final: started again, it would end in the same way. */
bool child_end_is_final(int exit_code);

/* Sends a signal to the child, if it runs. */
void child_signal(const struct child *child, int signal_number);

#endif
