#include "exit_map.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

const char *exit_map_nagios_state(int wait_status)
{
    static const char *const states[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};

    return WIFEXITED(wait_status) && WEXITSTATUS(wait_status) < 4 ? states[WEXITSTATUS(wait_status)]
                                                                  : NULL;
}

enum exit_verdict exit_map_verdict(enum exit_map map, int wait_status)
{
    if (!WIFEXITED(wait_status))
        return VERDICT_KILLED;
    if (map == EXIT_MAP_NAGIOS && exit_map_nagios_state(wait_status))
        return VERDICT_OK;
    switch (WEXITSTATUS(wait_status)) {
    case 0:
        return VERDICT_OK;
    case 75:
        return VERDICT_RETRY;
    case 65:
        return VERDICT_PARK;
    case 99:
        return VERDICT_REMOVE;
    case 126:
    case 127:
        return VERDICT_NOT_FOUND;
    }
    return VERDICT_FAILED;
}

char *exit_map_describe(int wait_status, char *text, size_t room)
{
    if (WIFEXITED(wait_status))
        snprintf(text, room, "exit status %d", WEXITSTATUS(wait_status));
    else
        snprintf(text, room, "killed by signal %d (%s)", WTERMSIG(wait_status),
                 strsignal(WTERMSIG(wait_status)));
    return text;
}
