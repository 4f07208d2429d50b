/* supervisor.h - N processes of one kind: started, restarted, stopped together.
 *
 *              start                 it ends              back-off is over
 *   WAITING ----------> RUNNING ----------------> WAITING -----------------> ...
 *
 * The supervisor opens no socket and runs one thread. Each process is a fork and exec of a program,
 * so that nothing of a library's state is inherited; it is told its place and who its supervisor is
 * by the variable EVERDUE_WORKER_PROCESS. A process that ends is started again, after 0.1 s at
 * first, then twice as long each time, 5 s at most; one that has lived 10 s begins anew. One that
 * exits with 78 is not: its fault is everybody's, so all others are stopped and 78 is the answer.
 *
 * SIGTERM, SIGINT or SIGHUP ask all processes to stop (SIGTERM), a second one hurries them (SIGTERM
 * again). Those that are there some seconds after the stop time are killed.
 */
#ifndef EVERDUE_WORKER_SUPERVISOR_H
#define EVERDUE_WORKER_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

struct supervisor_options {
    unsigned count;
    const char *program;      /* path, e.g. /proc/self/exe */
    char *const *arguments;   /* argv of each */
    uint32_t stop_timeout_ms; /* in which they end by themselves */
    uint32_t stop_slack_ms;   /* and how much longer until they are killed */
};

/* Runs until all have ended. Returns 0; 75 when some had to be killed; 78, see above; 74 when it
 * could not be started. Signals are blocked when it returns. */
int supervisor_run(const struct supervisor_options *options);

/* How long to wait before a process is started again, that had to wait `before_ms` the last time
 * (0: never) and has lived `lived_ms` since. */
uint32_t supervisor_backoff_ms(uint32_t before_ms, int64_t lived_ms);

/* --- in the process --------------------------------------------------------------------------- */

/* Whether this is one of the processes: `*place` is its number, from 0. Takes the variable out of
 * the environment, and sees to it that this process gets SIGTERM when its supervisor dies. If it
 * has died already, `*is_orphan` is set. */
bool supervisor_is_above(unsigned *place, bool *is_orphan);

#endif
