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
            setenv("LD_PRELOAD", life->fault ? RECORDER ":" FAILER : RECORDER, 1);
        }
        if (life->fault) {
            setenv("EVERDUE_FAIL_DIR", life->directory, 1);
            setenv("EVERDUE_FAIL", life->fault, 1);
            setenv("EVERDUE_FAIL_FIRED", life->fired, 1);
        }
        execv(arguments[0], arguments);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return false;
    if (!life->exit_status)
        return status == 0;
    *life->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
}
