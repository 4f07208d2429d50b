#include "handler.h"

#include "clock.h"
#include "exit_map.h"
#include "log.h"
#include "moment.h"
#include "pipe_child.h"
#include "quantity.h"
#include "result_json.h"
#include "task_json.h"
#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>

enum { NOT_FOUND_STARTS = 3, LINE_BEGIN_BYTES = 80 };

/* A task that the child has, or will have once its pipe has room. */
struct sent {
    struct claim claim; /* task NULL: a free place */
    uint64_t lease;
    int64_t sent_mono_us;
    int64_t deadline_mono_us;
    uint64_t begin; /* of its line, in bytes from the child's start */
};

struct pipe {
    struct handler *handler;
    struct pipe_child child;
    struct sent *window;
    size_t sent_count;
    struct claim held; /* has the same lease number as another broker's task that is out */
    struct result_json answer;
    struct text line;
    bool is_cautious; /* the last child died: one task at a time until this one answers */
    bool has_hinted;  /* this child was told about buffered output */
    bool has_logged_member;
    unsigned not_found_count; /* children in a row that ended with 126 or 127 and no answer */
    uint64_t junk_count;      /* lines that are no JSON object */
    uint64_t stray_count;     /* results for leases that are not out */
};

static struct sent *find_sent(struct pipe *pipe, uint64_t lease)
{
    for (size_t i = 0; i < pipe->handler->options->window; i++) {
        if (pipe->window[i].claim.task && pipe->window[i].lease == lease)
            return &pipe->window[i];
    }
    return NULL;
}

static void end_sent(struct pipe *pipe, struct sent *sent)
{
    sent->claim.task = NULL;
    pipe->sent_count--;
}

/* --- results ---------------------------------------------------------------------------------- */

static void log_beginning(const char *what, const char *line, size_t count)
{
    char begin[LINE_BEGIN_BYTES];

    utf8_first_line(begin, sizeof begin, line, count);
    log_line(LOG_WARNING, what, "line", begin, NULL);
}

static void touch(struct pipe *pipe, struct sent *sent)
{
    int64_t until_us = clock_now().mono_us + pipe->answer.touch_us;
    int64_t touch_ms = pipe->answer.touch_us / US_PER_MS;

    everdue_worker_touch(sent->claim.worker, sent->claim.task,
                         (uint32_t)(touch_ms < LEASE_MS_MAX ? touch_ms : LEASE_MS_MAX));
    if (until_us > sent->deadline_mono_us)
        sent->deadline_mono_us = until_us;
}

static void report(struct pipe *pipe, struct sent *sent)
{
    struct result_json *answer = &pipe->answer;
    struct claim claim = sent->claim;

    if (answer->error[0]) {
        everdue_result_init(&answer->result);
        answer->result.outcome = EVERDUE_RETRY;
        answer->result.cause = EVERDUE_CAUSE_FAILED;
        answer->result.error = everdue_text(answer->error);
    }
    if (answer->unknown[0] && !pipe->has_logged_member) {
        pipe->has_logged_member = true;
        log_line(LOG_WARNING, "a result has a member that is not known; it is ignored", "member",
                 answer->unknown, NULL);
    }
    end_sent(pipe, sent);
    handler_report(pipe->handler, &claim, &answer->result);
}

static void take_line(const char *line, size_t count, bool is_whole, void *user)
{
    struct pipe *pipe = user;

    if (!is_whole || !result_json_read(&pipe->answer, line, count)) {
        if (pipe->junk_count++ == 0)
            log_beginning("a line of the child is no JSON object; such lines are skipped", line,
                          count);
        return;
    }
    struct sent *sent = pipe->answer.has_lease ? find_sent(pipe, pipe->answer.lease) : NULL;
    if (sent == NULL) {
        if (pipe->stray_count++ == 0)
            log_beginning("a result names no lease that is out; such results are ignored", line,
                          count);
        return;
    }
    pipe->child.has_answered = true;
    pipe->is_cautious = false;
    pipe->not_found_count = 0;
    if (pipe->answer.touch_us != EVERDUE_ABSENT && pipe->answer.error[0] == '\0')
        touch(pipe, sent);
    else
        report(pipe, sent);
}

/* --- tasks ------------------------------------------------------------------------------------ */

static size_t places(const struct pipe *pipe)
{
    size_t most = pipe->is_cautious ? 1 : pipe->handler->options->window;

    if (!pipe_child_listens(&pipe->child) || pipe->sent_count >= most)
        return 0;
    return most - pipe->sent_count;
}

static struct sent *find_place(struct pipe *pipe)
{
    size_t i = 0;

    /* Ends: `places` has said that there is one. */
    while (pipe->window[i].claim.task)
        i++;
    return &pipe->window[i];
}

static void send_task(struct pipe *pipe, struct claim claim)
{
    struct sent *sent = find_place(pipe);
    int64_t now_us = clock_now().mono_us;

    text_clear(&pipe->line);
    task_json_write(&pipe->line, claim.task, now_us);
    uint64_t begin = pipe_child_queue(&pipe->child, &pipe->line);
    if (begin == UINT64_MAX) {
        handler_fault(pipe->handler, EX_OSERR, "no memory for a task", everdue_text(NULL));
        handler_give_back(pipe->handler, &claim, false);
        return;
    }
    *sent = (struct sent){
        .claim = claim,
        .lease = claim.task->lease,
        .sent_mono_us = now_us,
        .deadline_mono_us = now_us + (int64_t)pipe->handler->options->timeout_ms * US_PER_MS,
        .begin = begin,
    };
    pipe->sent_count++;
}

/* Results come by lease alone, and the numbers of two brokers may meet: then the later task waits.
 */
static bool next_claim(struct pipe *pipe, struct claim *claim)
{
    if (pipe->held.task == NULL && !handler_next(pipe->handler, &pipe->held))
        return false;
    if (find_sent(pipe, pipe->held.task->lease))
        return false;
    *claim = pipe->held;
    pipe->held.task = NULL;
    return true;
}

static void send_tasks(struct pipe *pipe)
{
    struct claim claim;
    bool is_running = pipe->handler->phase == HANDLER_RUNNING;

    if (!is_running && pipe->held.task)
        handler_give_back(pipe->handler, &pipe->held, false);
    /* Ends when the window is full or no task is there. */
    while (pipe->handler->phase == HANDLER_RUNNING && places(pipe) && next_claim(pipe, &claim))
        send_task(pipe, claim);
    pipe_child_flush(&pipe->child);
    handler_want_tasks(pipe->handler, is_running && places(pipe) && pipe->held.task == NULL);
}

/* --- the child -------------------------------------------------------------------------------- */

/* Return what the child leaves behind: a crash where it may have seen the line, unless the child
 * never came to life. */
static void give_back_all(struct pipe *pipe, bool counts)
{
    for (size_t i = 0; i < pipe->handler->options->window; i++) {
        struct sent *sent = &pipe->window[i];
        if (sent->claim.task == NULL)
            continue;
        bool begun = sent->begin < pipe->child.written_bytes;
        handler_give_back(pipe->handler, &sent->claim, begun && counts);
        end_sent(pipe, sent);
    }
}

static void start_child(struct pipe *pipe, int64_t now_us)
{
    char what[512];
    int error = pipe_child_start(&pipe->child, now_us);

    pipe->has_hinted = false;
    if (error == 0)
        return;
    snprintf(what, sizeof what, "cannot execute %.256s: %s", pipe->child.command.arguments[0],
             strerror(error));
    handler_fault(pipe->handler, command_error_passes(error) ? EX_IOERR : EX_CONFIG, what,
                  everdue_text(NULL));
}

static void child_ended(struct pipe *pipe, int wait_status)
{
    char what[64];
    pid_t pid = pipe->child.pid;
    bool is_wanted = pipe->handler->phase == HANDLER_RUNNING;

    pipe_child_ended(&pipe->child, take_line, pipe, clock_now().mono_us);
    bool never_lived = exit_map_verdict(EXIT_MAP_SYSEXITS, wait_status) == VERDICT_NOT_FOUND &&
                       !pipe->child.has_answered;
    if (is_wanted || pipe->sent_count)
        log_line(LOG_WARNING, "the child has ended", "child", log_i64(pid), "how",
                 exit_map_describe(wait_status, what, sizeof what), "unanswered",
                 log_u64(pipe->sent_count), NULL);
    pipe->is_cautious = true;
    if (never_lived && ++pipe->not_found_count == NOT_FOUND_STARTS)
        handler_fault(pipe->handler, EX_CONFIG,
                      "the child ended with 126 or 127 three times in a row: its command is not "
                      "there, or may not be executed",
                      everdue_text(NULL));
    give_back_all(pipe, !never_lived);
}

static void reap(struct pipe *pipe)
{
    int wait_status;
    pid_t pid;

    pipe->handler->child_ended = false;
    /* Ends when no ended child is left. */
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        if (pid == pipe->child.pid)
            child_ended(pipe, wait_status);
    }
}

/* --- time ------------------------------------------------------------------------------------- */

static void time_out(struct pipe *pipe, struct sent *sent, int64_t now_us)
{
    char why[QUANTITY_TEXT_BYTES + 16];
    char timeout[QUANTITY_TEXT_BYTES];
    struct everdue_result result;
    struct claim claim = sent->claim;

    duration_format((int64_t)pipe->handler->options->timeout_ms * US_PER_MS, timeout);
    snprintf(why, sizeof why, "timed out after %s", timeout);
    everdue_result_init(&result);
    result.outcome = EVERDUE_RETRY;
    result.cause = EVERDUE_CAUSE_TIMED_OUT;
    result.error = everdue_text(why);
    end_sent(pipe, sent);
    handler_report(pipe->handler, &claim, &result);
    if (!pipe->child.is_terminated)
        pipe_child_end(&pipe->child, now_us);
}

/* When the child will have been silent for half a lease with a task in hand. */
static int64_t hint_time(const struct pipe *pipe)
{
    const struct options *options = pipe->handler->options;
    int64_t lease_ms = options->lease_ms ? options->lease_ms : LEASE_MS_DEFAULT;
    int64_t oldest_us = TIME_US_NEVER;

    for (size_t i = 0; i < options->window; i++) {
        if (pipe->window[i].claim.task && pipe->window[i].sent_mono_us < oldest_us)
            oldest_us = pipe->window[i].sent_mono_us;
    }
    if (oldest_us == TIME_US_NEVER || pipe->has_hinted)
        return TIME_US_NEVER;
    int64_t heard_us = pipe->child.heard_mono_us;
    return (heard_us > oldest_us ? heard_us : oldest_us) + lease_ms * US_PER_MS / 2;
}

static void check_time(struct pipe *pipe, int64_t now_us)
{
    struct pipe_child *child = &pipe->child;

    for (size_t i = 0; i < pipe->handler->options->window; i++) {
        struct sent *sent = &pipe->window[i];
        if (sent->claim.task && now_us >= sent->deadline_mono_us)
            time_out(pipe, sent, now_us);
    }
    if (now_us >= hint_time(pipe)) {
        pipe->has_hinted = true;
        log_line(LOG_WARNING,
                 "the child has been silent for half a lease; if it does answer, its output is "
                 "buffered: flush after each line (python3 -u, stdbuf -oL)",
                 "child", log_i64(child->pid), NULL);
    }
    if (child->pid == 0)
        return;
    /* Without stdin it gets no task, without stdout it cannot answer: end it, to have another one.
     */
    bool is_deaf = child->streams.ours[0] < 0 && !child->is_finishing && pipe->sent_count == 0;
    if (!child->is_terminated && (is_deaf || child->streams.ours[1] < 0))
        pipe_child_end(child, now_us);
    if (now_us >= child->signal_mono_us)
        pipe_child_kill(child);
}

static int64_t next_time(const struct pipe *pipe)
{
    int64_t next_us = hint_time(pipe);

    for (size_t i = 0; i < pipe->handler->options->window; i++) {
        if (pipe->window[i].claim.task && pipe->window[i].deadline_mono_us < next_us)
            next_us = pipe->window[i].deadline_mono_us;
    }
    if (pipe->child.signal_mono_us < next_us)
        next_us = pipe->child.signal_mono_us;
    bool restarts = pipe->child.pid == 0 && pipe->handler->phase == HANDLER_RUNNING;
    if (restarts && pipe->child.restart_mono_us < next_us)
        next_us = pipe->child.restart_mono_us;
    return next_us;
}

/* --- the loop --------------------------------------------------------------------------------- */

static void turn(struct pipe *pipe)
{
    struct epoll_event events[HANDLER_EVENTS_MAX];
    int count = handler_wait(pipe->handler, next_time(pipe), events);
    int64_t now_us = clock_now().mono_us;

    for (int i = 0; i < count; i++) {
        int stream = (int)(events[i].data.u64 - HANDLER_EVENT_OWN);
        if (stream == 0)
            pipe_child_write(&pipe->child, events[i].events);
        else
            pipe_child_read(&pipe->child, stream, take_line, pipe, now_us);
    }
    if (pipe->handler->child_ended)
        reap(pipe);
    check_time(pipe, now_us);
}

static void run(struct pipe *pipe)
{
    struct handler *handler = pipe->handler;

    while (handler->phase == HANDLER_RUNNING ||
           (handler->phase == HANDLER_DRAINING && pipe->child.pid)) {
        int64_t now_us = clock_now().mono_us;
        if (handler->phase == HANDLER_RUNNING && pipe->child.pid == 0 &&
            now_us >= pipe->child.restart_mono_us)
            start_child(pipe, now_us);
        if (handler->phase == HANDLER_DRAINING && pipe->child.pid)
            pipe_child_finish(&pipe->child);
        send_tasks(pipe);
        turn(pipe);
    }
    if (pipe->held.task)
        handler_give_back(handler, &pipe->held, false);
    if (pipe->child.pid == 0)
        return;
    pipe_child_kill(&pipe->child);
    waitpid(pipe->child.pid, NULL, 0);
    give_back_all(pipe, true);
}

int handler_pipe_run(struct handler *handler)
{
    struct pipe pipe = {.handler = handler};

    pipe.window = calloc(handler->options->window, sizeof *pipe.window);
    if (pipe.window == NULL)
        return EX_OSERR;
    if (!pipe_child_init(&pipe.child, handler, handler->options->arguments)) {
        free(pipe.window);
        return EX_OSERR;
    }
    result_json_init(&pipe.answer);
    if (handler_connect(handler))
        run(&pipe);
    if (pipe.junk_count || pipe.stray_count)
        log_line(LOG_INFO, "lines of the child that were skipped", "no_json",
                 log_u64(pipe.junk_count), "no_lease", log_u64(pipe.stray_count), NULL);
    pipe_child_release(&pipe.child);
    result_json_release(&pipe.answer);
    text_release(&pipe.line);
    free(pipe.window);
    return handler->exit_code;
}
