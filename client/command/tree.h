/* tree.h - a broker and its workers on one machine, as one process tree.
 *
 *   start: broker, wait until it answers, `prepare`, workers
 *   then:  whoever ends is started again with a back-off, unless its end is final
 *   stop:  SIGINT or SIGTERM: workers finish and report, then the broker ends; a second signal
 *          hurries the workers
 */
#ifndef EVERDUE_TREE_H
#define EVERDUE_TREE_H

#include "child.h"
#include "context.h"

struct tree {
    struct context *context;
    struct child broker;
    struct child worker; /* argv NULL: none */
    /* Called once, when the broker answers. Returns 0 or an exit code. May be NULL. */
    int (*prepare)(struct context *context);
};

/* Runs the tree until a signal or a final end. Returns the exit code: 0 after a signal. */
int tree_run(struct tree *tree);

#endif
