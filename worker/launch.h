/* launch.h - executes a program in a process of its own, again and again.
 *
 * As posix_spawnp does, but quicker where a run is short: PATH is searched once, not with an execve
 * for each of its folders, and the child changes only what a command must not inherit from us.
 * There is no shell. The process leads a group of its own, so that it can be ended with all that it
 * started; no signal is blocked or ignored in it that we block or ignore; of our descriptors it
 * has the three streams.
 */
#ifndef EVERDUE_WORKER_LAUNCH_H
#define EVERDUE_WORKER_LAUNCH_H

#include <sys/types.h>

struct launch {
    const char *program; /* as it was named */
    char *path;          /* where PATH had it; NULL: not looked for, or it is no name for PATH */
};

/* `program` is borrowed until launch_release. */
void launch_init(struct launch *launch, const char *program);
void launch_release(struct launch *launch);

/* Execute it with these for standard input, output and error; arguments and environment end with
 * NULL. When it is not any more where it was, PATH is searched anew. Returns 0 and `*pid`, or an
 * errno: it could not be executed at all, and `*pid` is as it was. (Under valgrind and
 * ThreadSanitizer, which share no memory with the child, that shows as exit status 127.) */
int launch_start(struct launch *launch, char *const *arguments, char *const *environment,
                 const int streams[3], pid_t *pid);

#endif
