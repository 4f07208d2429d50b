#include "oracle.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

bool oracle_run(const struct oracle_life *life, bool preload, char *const arguments[])
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        if (preload) {
            setenv("EVERDUE_RECORD_DIR", life->directory, 1);
            setenv("EVERDUE_RECORD_LOG", life->log, 1);
            setenv("LD_PRELOAD", RECORDER, 1);
        }
        execv(arguments[0], arguments);
        _exit(127);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}
