#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_NOT_EXECUTED = 127 };

void launch_init(struct launch *launch, const char *program)
{
    *launch = (struct launch){.program = program};
}

void launch_release(struct launch *launch)
{
    free(launch->path);
    launch->path = NULL;
}

/* --- where it is ------------------------------------------------------------------------------ */

/* Returns 0, or why it cannot be executed. */
static int look_at(const char *path)
{
    struct stat about;

    if (stat(path, &about))
        return errno;
    return S_ISREG(about.st_mode) && access(path, X_OK) == 0 ? 0 : EACCES;
}

/* An empty folder is the current one. A file that may not be executed is passed over, and told of
 * when there is no other. */
static int find(struct launch *launch)
{
    const char *folders = getenv("PATH");
    int error = ENOENT;

    launch_release(launch);
    if (strchr(launch->program, '/'))
        return 0;
    if (folders == NULL)
        folders = "/bin:/usr/bin";
    size_t room = strlen(folders) + strlen(launch->program) + 2;
    launch->path = malloc(room);
    if (launch->path == NULL)
        return ENOMEM;
    for (;;) { /* ends with the list at the latest */
        size_t count = strcspn(folders, ":");
        snprintf(launch->path, room, "%.*s%s%s", (int)count, folders, count ? "/" : "",
                 launch->program);
        int here = look_at(launch->path);
        if (here == 0)
            return 0;
        if (here == EACCES)
            error = here;
        if (folders[count] == '\0')
            break;
        folders += count + 1;
    }
    launch_release(launch);
    return error;
}

/* --- the child -------------------------------------------------------------------------------- */

struct order {
    const char *path;
    char *const *arguments;
    char *const *environment;
    const int *streams;
};

static bool place_streams(const int streams[3])
{
    for (int i = 0; i < 3; i++) {
        /* Where it is in its place already, it must only stay open. */
        int done = streams[i] == i ? fcntl(i, F_SETFD, 0) : dup2(streams[i], i);
        if (done < 0)
            return false;
    }
    return true;
}

/* It runs in our memory, on our stack: system calls and nothing else. Where the kernel cannot close
 * a range, what is ours closes on exec all the same. */
_Noreturn static void become(const struct order *order, volatile int *error)
{
    const struct sigaction as_ever = {.sa_handler = SIG_DFL};
    sigset_t none;

    sigemptyset(&none);
    if (setpgid(0, 0) == 0 && sigaction(SIGPIPE, &as_ever, NULL) == 0 &&
        place_streams(order->streams)) {
        close_range(3, ~0u, 0);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execve(order->path, order->arguments, order->environment);
    }
    *error = errno;
    _exit(EXIT_NOT_EXECUTED);
}

/* Our thread stands still until the child has executed the program or failed to, so they can share
 * the memory; no signal may come in between and run a handler of ours there. */
static int start(const struct order *order, pid_t *pid)
{
    volatile int error = 0;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t child = vfork();
    if (child == 0)
        become(order, &error);
    int fork_error = child < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (fork_error)
        return fork_error;
    if (error)
        waitpid(child, NULL, 0);
    else
        *pid = child;
    return error;
}

static bool may_have_moved(int error)
{
    return error == ENOENT || error == ENOTDIR || error == EACCES;
}

int launch_start(struct launch *launch, char *const *arguments, char *const *environment,
                 const int streams[3], pid_t *pid)
{
    struct order order = {launch->path, arguments, environment, streams};
    int error = ENOENT;

    if (order.path)
        error = start(&order, pid);
    if (!may_have_moved(error))
        return error;
    error = find(launch);
    if (error)
        return error;
    order.path = launch->path ? launch->path : launch->program;
    return start(&order, pid);
}
