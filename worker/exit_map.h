/* exit_map.h - what the end of a command says about its run: the table of --help. Pure. */
#ifndef EVERDUE_WORKER_EXIT_MAP_H
#define EVERDUE_WORKER_EXIT_MAP_H

#include "options.h"

enum exit_verdict {
    VERDICT_OK,
    VERDICT_RETRY,     /* 75 */
    VERDICT_PARK,      /* 65 */
    VERDICT_REMOVE,    /* 99 */
    VERDICT_FAILED,    /* any other code */
    VERDICT_NOT_FOUND, /* 126, 127: failed, or a shell that did not find the command */
    VERDICT_KILLED,    /* by a signal */
};

/* `wait_status` is waitpid's. */
enum exit_verdict exit_map_verdict(enum exit_map map, int wait_status);

/* "OK", "WARNING", "CRITICAL", "UNKNOWN" for 0 to 3, NULL for any other end. */
const char *exit_map_nagios_state(int wait_status);

/* "exit status 3", "killed by signal 9 (Killed)". Returns `text`. */
char *exit_map_describe(int wait_status, char *text, size_t room);

#endif
