#include "supervisor.h"

#include "clock.h"
#include "log.h"
#include "moment.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { BACKOFF_MS_MIN = 100, BACKOFF_MS_MAX = 5000, STABLE_MS = 10000 };

static const char variable[] = "EVERDUE_WORKER_PROCESS";

struct process {
    pid_t pid;             /* 0: waiting */
    int64_t start_mono_us; /* when it was started, or is to be */
    uint32_t backoff_ms;
};

struct supervisor {
    const struct supervisor_options *options;
    struct process *processes;
    unsigned running_count;
    int signal_fd;
    bool is_stopping;
    int64_t kill_mono_us; /* when those that are left are killed */
    int exit_code;
};

uint32_t supervisor_backoff_ms(uint32_t before_ms, int64_t lived_ms)
{
    if (before_ms == 0 || lived_ms >= STABLE_MS)
        return BACKOFF_MS_MIN;
    return before_ms < BACKOFF_MS_MAX / 2 ? 2 * before_ms : BACKOFF_MS_MAX;
}

/* --- in the process --------------------------------------------------------------------------- */

bool supervisor_is_above(unsigned *place, bool *is_orphan)
{
    const char *value = getenv(variable);
    int parent = 0;

    if (value == NULL || sscanf(value, "%u:%d", place, &parent) != 2)
        return false;
    unsetenv(variable);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    /* Executed as /proc/self/exe, it would be listed as "exe". */
    prctl(PR_SET_NAME, program_invocation_short_name);
    /* It may have died before that call. */
    *is_orphan = getppid() != parent;
    return true;
}

/* --- processes -------------------------------------------------------------------------------- */

/* The signals that we block must reach the process. */
static int spawn(const struct supervisor_options *options, char **environment, pid_t *pid)
{
    posix_spawnattr_t attributes;
    sigset_t none;

    int error = posix_spawnattr_init(&attributes);
    if (error)
        return error;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    error = posix_spawn(pid, options->program, NULL, &attributes, options->arguments, environment);
    posix_spawnattr_destroy(&attributes);
    return error;
}

static int spawn_with_place(const struct supervisor_options *options, unsigned place, pid_t *pid)
{
    char entry[64];
    size_t count = 0;

    while (environ[count])
        count++;
    char **environment = calloc(count + 2, sizeof *environment);
    if (environment == NULL)
        return ENOMEM;
    memcpy(environment, environ, count * sizeof *environment);
    snprintf(entry, sizeof entry, "%s=%u:%d", variable, place, (int)getpid());
    environment[count] = entry;
    int error = spawn(options, environment, pid);
    free(environment);
    return error;
}

static void set_restart(struct process *process, int64_t now_us)
{
    process->backoff_ms =
        supervisor_backoff_ms(process->backoff_ms, (now_us - process->start_mono_us) / US_PER_MS);
    process->start_mono_us = now_us + (int64_t)process->backoff_ms * US_PER_MS;
}

static void start_process(struct supervisor *supervisor, unsigned place, int64_t now_us)
{
    struct process *process = &supervisor->processes[place];

    process->start_mono_us = now_us;
    int error = spawn_with_place(supervisor->options, place, &process->pid);
    if (error == 0) {
        supervisor->running_count++;
        return;
    }
    process->pid = 0;
    log_line(LOG_ERR, "cannot start a worker process", "why", strerror(error), NULL);
    set_restart(process, now_us);
}

static void start_due(struct supervisor *supervisor, int64_t now_us)
{
    for (unsigned i = 0; i < supervisor->options->count && !supervisor->is_stopping; i++) {
        const struct process *process = &supervisor->processes[i];
        if (process->pid == 0 && process->start_mono_us <= now_us)
            start_process(supervisor, i, now_us);
    }
}

static void signal_all(const struct supervisor *supervisor, int number)
{
    for (unsigned i = 0; i < supervisor->options->count; i++) {
        if (supervisor->processes[i].pid)
            kill(supervisor->processes[i].pid, number);
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

static void stop(struct supervisor *supervisor)
{
    const struct supervisor_options *options = supervisor->options;
    int64_t left_ms = (int64_t)options->stop_timeout_ms + options->stop_slack_ms;

    signal_all(supervisor, SIGTERM);
    if (supervisor->is_stopping) {
        /* Hurried: only the slack is left. */
        left_ms = options->stop_slack_ms;
    }
    int64_t kill_us = clock_now().mono_us + left_ms * US_PER_MS;
    if (kill_us < supervisor->kill_mono_us)
        supervisor->kill_mono_us = kill_us;
    supervisor->is_stopping = true;
}

static void kill_rest(struct supervisor *supervisor)
{
    log_line(LOG_ERR, "worker processes have not ended in time and are killed", "processes",
             log_u64(supervisor->running_count), NULL);
    signal_all(supervisor, SIGKILL);
    supervisor->kill_mono_us = TIME_US_NEVER;
    if (supervisor->exit_code == 0)
        supervisor->exit_code = EX_TEMPFAIL;
}

static void describe_end(int wait_status, char *text, size_t room)
{
    if (WIFEXITED(wait_status))
        snprintf(text, room, "exit status %d", WEXITSTATUS(wait_status));
    else
        snprintf(text, room, "signal %d", WTERMSIG(wait_status));
}

static void process_ended(struct supervisor *supervisor, struct process *process, int wait_status)
{
    char how[32];
    pid_t pid = process->pid;

    process->pid = 0;
    supervisor->running_count--;
    describe_end(wait_status, how, sizeof how);
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EX_CONFIG) {
        supervisor->exit_code = EX_CONFIG;
        if (supervisor->is_stopping)
            return;
        log_line(LOG_ERR, "a worker process has given up; all are stopped", "pid", log_i64(pid),
                 "how", how, NULL);
        stop(supervisor);
        return;
    }
    if (supervisor->is_stopping)
        return;
    set_restart(process, clock_now().mono_us);
    log_line(LOG_WARNING, "a worker process has ended and is started again", "pid", log_i64(pid),
             "how", how, "wait_ms", log_u64(process->backoff_ms), NULL);
}

/* As process 1 of a container we inherit the orphans of others, too. */
static void reap(struct supervisor *supervisor)
{
    int wait_status;
    pid_t pid;

    /* Ends when no ended child is left. */
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        for (unsigned i = 0; i < supervisor->options->count; i++) {
            if (supervisor->processes[i].pid == pid)
                process_ended(supervisor, &supervisor->processes[i], wait_status);
        }
    }
}

/* --- the loop --------------------------------------------------------------------------------- */

static int wait_ms(const struct supervisor *supervisor)
{
    int64_t now_us = clock_now().mono_us;
    int64_t next_us = supervisor->kill_mono_us;

    for (unsigned i = 0; i < supervisor->options->count && !supervisor->is_stopping; i++) {
        const struct process *process = &supervisor->processes[i];
        if (process->pid == 0 && process->start_mono_us < next_us)
            next_us = process->start_mono_us;
    }
    if (next_us == TIME_US_NEVER)
        return -1;
    /* Rounded up: a wait that ends early is a turn for nothing. */
    int64_t left_ms = (next_us - now_us + US_PER_MS - 1) / US_PER_MS;
    return left_ms < 0 ? 0 : left_ms > 60000 ? 60000 : (int)left_ms;
}

static void turn(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;
    struct pollfd poll_signals = {.fd = supervisor->signal_fd, .events = POLLIN};
    bool stops = false;

    poll(&poll_signals, 1, wait_ms(supervisor));
    /* Ends when no signal is left: each is pending at most once. */
    while (read(supervisor->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        stops |= info.ssi_signo != SIGCHLD;
    if (stops)
        stop(supervisor);
    reap(supervisor);
    if (supervisor->running_count && clock_now().mono_us >= supervisor->kill_mono_us)
        kill_rest(supervisor);
}

static int open_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &signals, NULL))
        return -1;
    return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

int supervisor_run(const struct supervisor_options *options)
{
    struct supervisor supervisor = {.options = options, .kill_mono_us = TIME_US_NEVER};

    supervisor.processes = calloc(options->count, sizeof *supervisor.processes);
    supervisor.signal_fd = open_signals();
    if (supervisor.processes == NULL || supervisor.signal_fd < 0) {
        log_line(LOG_ERR, "cannot start", "why", strerror(errno), NULL);
        free(supervisor.processes);
        return EX_IOERR;
    }
    while (!supervisor.is_stopping || supervisor.running_count > 0) {
        start_due(&supervisor, clock_now().mono_us);
        turn(&supervisor);
    }
    close(supervisor.signal_fd);
    free(supervisor.processes);
    return supervisor.exit_code;
}
