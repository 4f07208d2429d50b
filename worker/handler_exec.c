#include "handler.h"

#include "clock.h"
#include "command.h"
#include "exec_run.h"
#include "log.h"
#include "moment.h"
#include "utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>

enum {
    RUNS_MAX = 256,     /* processes at a time; further credit waits in the library */
    NOT_FOUND_KEYS = 3, /* so many different ones in a row are the deploy's fault */
};

struct exec {
    struct handler *handler;
    struct command command;
    struct exec_run *runs;
    size_t run_count; /* places */
    size_t busy_count;
    struct result_json answer;
    struct log_limit unknown_limit;
    int64_t check_mono_us; /* when to ask again whether leases are cancelled */
    char not_found_keys[NOT_FOUND_KEYS][KEY_BYTES_MAX + 1];
    size_t not_found_count;
};

static void end_run(struct exec *exec, struct exec_run *run)
{
    run->pid = 0;
    exec->busy_count--;
}

/* --- starting --------------------------------------------------------------------------------- */

static void refuse_key(struct exec *exec, struct claim *claim)
{
    struct everdue_result result;

    everdue_result_init(&result);
    result.outcome = EVERDUE_PARK;
    result.cause = EVERDUE_CAUSE_FAILED;
    result.error =
        everdue_text("the key begins with \"-\" and could be taken for an option: put -- "
                     "before {key} in the worker's command");
    handler_report(exec->handler, claim, &result);
}

/* The command cannot be executed: not the record's fault, whatever it is. */
static void fail_start(struct exec *exec, struct claim *claim, int error)
{
    char what[512];
    bool passes = command_error_passes(error);

    snprintf(what, sizeof what, "cannot execute %.256s: %s%s", exec->command.arguments[0],
             strerror(error), error == ENOEXEC ? " (a script begins with #! and its program)" : "");
    handler_fault(exec->handler, passes ? EX_IOERR : EX_CONFIG, what, everdue_text(NULL));
    handler_give_back(exec->handler, claim, false);
}

static struct exec_run *find_idle(struct exec *exec)
{
    for (size_t i = 0; i < exec->run_count; i++) {
        if (exec->runs[i].pid == 0)
            return &exec->runs[i];
    }
    return NULL;
}

static void watch_streams(struct exec *exec, struct exec_run *run)
{
    uint64_t id = HANDLER_EVENT_OWN + (uint64_t)(run - exec->runs) * STREAMS_COUNT;

    for (unsigned i = 0; i < STREAMS_COUNT; i++) {
        if (run->streams.ours[i] >= 0)
            handler_watch(exec->handler, run->streams.ours[i], i == 0 ? EPOLLOUT : EPOLLIN, id + i);
    }
}

static void start_runs(struct exec *exec)
{
    struct handler *handler = exec->handler;
    struct claim claim;

    /* Ends when all places are taken, no task is there, or the worker stops. */
    while (exec->busy_count < exec->run_count && handler_next(handler, &claim)) {
        if (command_refuses(&exec->command, claim.task->key)) {
            refuse_key(exec, &claim);
            continue;
        }
        struct exec_run *run = find_idle(exec);
        int error =
            exec_run_start(run, &exec->command, handler->options, claim, clock_now().mono_us);
        if (error) {
            fail_start(exec, &claim, error);
            continue;
        }
        exec->busy_count++;
        watch_streams(exec, run);
    }
    handler_want_tasks(handler,
                       handler->phase == HANDLER_RUNNING && exec->busy_count < exec->run_count);
}

/* --- ending ----------------------------------------------------------------------------------- */

/* Returns whether this key makes it too many different ones in a row. */
static bool count_not_found(struct exec *exec, struct everdue_bytes key)
{
    char text[KEY_BYTES_MAX + 1];

    utf8_first_line(text, sizeof text, key.data, key.count);
    for (size_t i = 0; i < exec->not_found_count; i++) {
        if (strcmp(text, exec->not_found_keys[i]) == 0)
            return false;
    }
    memcpy(exec->not_found_keys[exec->not_found_count++], text, sizeof text);
    return exec->not_found_count == NOT_FOUND_KEYS;
}

static void log_unknown_member(struct exec *exec)
{
    uint64_t held_back;

    if (exec->answer.unknown[0] == '\0' ||
        !log_limit_allows(&exec->unknown_limit, clock_now().mono_us, &held_back))
        return;
    /* Once is enough: all results of a handler look alike. */
    exec->unknown_limit.next_mono_us = TIME_US_NEVER;
    log_line(LOG_WARNING, "a result has a member that is not known; it is ignored", "member",
             exec->answer.unknown, NULL);
}

static void finish_run(struct exec *exec, struct exec_run *run, int wait_status)
{
    struct everdue_result result;
    struct claim claim = run->claim;

    exec->answer.unknown[0] = '\0';
    enum exit_verdict verdict =
        exec_run_finish(run, wait_status, exec->handler->options, &exec->answer, &result);
    log_unknown_member(exec);
    if (run->end == EXEC_END_CANCELLED) {
        handler_give_back(exec->handler, &claim, true);
    } else if (verdict == VERDICT_NOT_FOUND && count_not_found(exec, claim.task->key)) {
        handler_fault(
            exec->handler, EX_CONFIG,
            "exit status 126 or 127 for three different keys in a row: the command is not "
            "there, or may not be executed",
            everdue_text(NULL));
        handler_give_back(exec->handler, &claim, false);
    } else {
        if (verdict == VERDICT_OK || verdict == VERDICT_REMOVE)
            exec->not_found_count = 0;
        handler_report(exec->handler, &claim, &result);
    }
    end_run(exec, run);
}

static void reap(struct exec *exec)
{
    int wait_status;
    pid_t pid;

    exec->handler->child_ended = false;
    /* Ends when no ended child is left. */
    while (exec->busy_count && (pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        for (size_t i = 0; i < exec->run_count; i++) {
            if (exec->runs[i].pid == pid)
                finish_run(exec, &exec->runs[i], wait_status);
        }
    }
}

/* --- time ------------------------------------------------------------------------------------- */

static void check_deadlines(struct exec *exec, int64_t now_us)
{
    bool check_cancelled = now_us >= exec->check_mono_us;

    if (check_cancelled)
        exec->check_mono_us = now_us + US_PER_S;
    for (size_t i = 0; i < exec->run_count && exec->busy_count; i++) {
        struct exec_run *run = &exec->runs[i];
        if (run->pid == 0)
            continue;
        if (now_us >= run->deadline_mono_us)
            exec_run_signal(run, EXEC_END_TIMED_OUT, now_us);
        else if (check_cancelled && !run->is_terminated &&
                 everdue_worker_is_cancelled(run->claim.worker, run->claim.task))
            exec_run_signal(run, EXEC_END_CANCELLED, now_us);
    }
}

static int64_t next_deadline(const struct exec *exec)
{
    int64_t next_us = TIME_US_NEVER;

    for (size_t i = 0; i < exec->run_count && exec->busy_count; i++) {
        if (exec->runs[i].pid && exec->runs[i].deadline_mono_us < next_us)
            next_us = exec->runs[i].deadline_mono_us;
    }
    return next_us;
}

/* What has not finished in time: end it first, so that it never runs twice at once. */
static void give_back_rest(struct exec *exec)
{
    for (size_t i = 0; i < exec->run_count; i++) {
        struct exec_run *run = &exec->runs[i];
        if (run->pid == 0)
            continue;
        exec_run_kill(run);
        waitpid(run->pid, NULL, 0);
        handler_give_back(exec->handler, &run->claim, true);
        end_run(exec, run);
    }
}

/* --- the loop --------------------------------------------------------------------------------- */

static void turn(struct exec *exec)
{
    struct epoll_event events[HANDLER_EVENTS_MAX];
    int count = handler_wait(exec->handler, next_deadline(exec), events);

    for (int i = 0; i < count; i++) {
        size_t place = (size_t)(events[i].data.u64 - HANDLER_EVENT_OWN);
        exec_run_stream(&exec->runs[place / STREAMS_COUNT], (int)(place % STREAMS_COUNT));
    }
    if (exec->handler->child_ended)
        reap(exec);
    check_deadlines(exec, clock_now().mono_us);
}

static void run(struct exec *exec)
{
    const struct handler *handler = exec->handler;

    while (handler->phase == HANDLER_RUNNING ||
           (handler->phase == HANDLER_DRAINING && exec->busy_count)) {
        start_runs(exec);
        turn(exec);
    }
    give_back_rest(exec);
}

int handler_exec_run(struct handler *handler)
{
    struct exec exec = {.handler = handler};
    uint32_t credit = handler->options->credit;

    exec.run_count = credit < RUNS_MAX ? credit : RUNS_MAX;
    if (!command_init(&exec.command, handler->options->arguments))
        return EX_OSERR;
    exec.runs = calloc(exec.run_count, sizeof *exec.runs);
    if (exec.runs == NULL) {
        command_release(&exec.command);
        return EX_OSERR;
    }
    result_json_init(&exec.answer);
    for (size_t i = 0; i < exec.run_count; i++)
        exec_run_init(&exec.runs[i]);
    if (handler_connect(handler))
        run(&exec);
    for (size_t i = 0; i < exec.run_count; i++)
        exec_run_release(&exec.runs[i]);
    free(exec.runs);
    result_json_release(&exec.answer);
    command_release(&exec.command);
    return handler->exit_code;
}
