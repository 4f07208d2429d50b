#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { EXIT_NOT_STARTED = 127, SIGNAL_CODE = 128 };

static void back_off(struct child *child, int64_t now_us)
{
    bool is_healthy = child->pid != 0 && now_us - child->started_us >= CHILD_HEALTHY_US;
    if (is_healthy || child->back_off_us == 0)
        child->back_off_us = CHILD_BACK_OFF_MIN_US;
    else if (child->back_off_us < CHILD_BACK_OFF_MAX_US)
        child->back_off_us *= 2;
    child->start_at_us = now_us + child->back_off_us;
}

/* Behind fork: only what is safe there. */
static void become(const struct child *child, pid_t parent)
{
    static const char text[] = ": cannot be executed\n";
    sigset_t none;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(EXIT_NOT_STARTED);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing >= 0)
        dup2(nothing, STDIN_FILENO);
    execv(child->argv[0], child->argv);
    if (write(STDERR_FILENO, child->argv[0], strlen(child->argv[0])) < 0 ||
        write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
        _exit(EXIT_NOT_STARTED);
    _exit(EXIT_NOT_STARTED);
}

bool child_start(struct child *child, int64_t now_us)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(child, parent);
    if (pid < 0) {
        back_off(child, now_us);
        return false;
    }
    child->pid = pid;
    child->started_us = now_us;
    return true;
}

bool child_has_ended(struct child *child, int64_t now_us)
{
    int status;
    if (child->pid == 0 || waitpid(child->pid, &status, WNOHANG) != child->pid)
        return false;
    child->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : SIGNAL_CODE + WTERMSIG(status);
    back_off(child, now_us);
    child->pid = 0;
    return true;
}

bool child_end_is_final(int exit_code)
{
    return exit_code == EX_USAGE || exit_code == EX_DATAERR || exit_code == EX_NOINPUT ||
           exit_code == EX_NOPERM || exit_code == EX_CONFIG || exit_code == EXIT_NOT_STARTED;
}

void child_signal(const struct child *child, int signal_number)
{
    if (child->pid > 0)
        kill(child->pid, signal_number);
}
