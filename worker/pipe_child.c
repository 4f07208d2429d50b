#include "pipe_child.h"

#include "log.h"
#include "moment.h"
#include "utf8.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

bool pipe_child_init(struct pipe_child *child, struct handler *handler, char *const *arguments)
{
    *child = (struct pipe_child){.handler = handler, .signal_mono_us = TIME_US_NEVER};
    streams_init(&child->streams);
    lines_init(&child->lines, PIPE_LINE_BYTES_MAX);
    lines_init(&child->error_lines, PIPE_ERROR_BYTES_MAX);
    return command_init(&child->command, arguments);
}

void pipe_child_release(struct pipe_child *child)
{
    streams_close_all(&child->streams);
    text_release(&child->output);
    lines_release(&child->lines);
    lines_release(&child->error_lines);
    command_release(&child->command);
}

/* --- start ------------------------------------------------------------------------------------ */

static int open_streams(struct pipe_child *child)
{
    for (int i = 0; i < STREAMS_COUNT; i++) {
        int error = streams_open(&child->streams, i);
        if (error)
            return error;
        if (!handler_watch(child->handler, child->streams.ours[i], i == 0 ? 0 : EPOLLIN,
                           HANDLER_EVENT_OWN + (unsigned)i))
            return errno;
    }
    return 0;
}

static void reset(struct pipe_child *child, int64_t now_us)
{
    text_clear(&child->output);
    lines_clear(&child->lines);
    lines_clear(&child->error_lines);
    child->watches_input = child->is_finishing = false;
    child->is_terminated = child->has_answered = false;
    child->start_mono_us = child->heard_mono_us = now_us;
    child->signal_mono_us = TIME_US_NEVER;
    child->queued_bytes = child->written_bytes = 0;
}

int pipe_child_start(struct pipe_child *child, int64_t now_us)
{
    reset(child, now_us);
    int error = open_streams(child);
    if (!error)
        error = command_start(&child->command, child->streams.theirs, &child->pid);
    streams_close_theirs(&child->streams);
    if (error) {
        streams_close_all(&child->streams);
        child->pid = 0;
    }
    return error;
}

/* --- streams ---------------------------------------------------------------------------------- */

uint64_t pipe_child_queue(struct pipe_child *child, const struct text *line)
{
    uint64_t begin = child->queued_bytes;

    if (line->failed || !text_reserve(&child->output, line->count)) {
        child->output.failed = false;
        return UINT64_MAX;
    }
    text_add(&child->output, line->data, line->count);
    child->queued_bytes += line->count;
    return begin;
}

static void watch_input(struct pipe_child *child, bool watches)
{
    struct epoll_event event = {.events = watches ? EPOLLOUT : 0, .data.u64 = HANDLER_EVENT_OWN};

    if (watches == child->watches_input)
        return;
    child->watches_input = watches;
    epoll_ctl(child->handler->epoll_fd, EPOLL_CTL_MOD, child->streams.ours[0], &event);
}

/* It has closed its input, or has ended: then waitpid will tell. */
static void give_up_input(struct pipe_child *child)
{
    text_clear(&child->output);
    streams_close(&child->streams, 0);
}

void pipe_child_flush(struct pipe_child *child)
{
    if (child->streams.ours[0] < 0)
        return;
    ssize_t count = 0;
    if (child->output.count)
        count = write(child->streams.ours[0], child->output.data, child->output.count);
    if (count < 0 && errno != EAGAIN && errno != EINTR) {
        give_up_input(child);
        return;
    }
    if (count > 0) {
        child->written_bytes += (uint64_t)count;
        text_drop(&child->output, (size_t)count);
    }
    watch_input(child, child->output.count > 0);
    if (child->is_finishing && child->output.count == 0)
        streams_close(&child->streams, 0);
}

void pipe_child_write(struct pipe_child *child, uint32_t events)
{
    if (child->streams.ours[0] < 0)
        return;
    if (events & EPOLLERR)
        give_up_input(child);
    else
        pipe_child_flush(child);
}

bool pipe_child_listens(const struct pipe_child *child)
{
    return child->pid && child->streams.ours[0] >= 0 && child->streams.ours[1] >= 0 &&
           !child->is_finishing && !child->is_terminated;
}

static void log_error_line(const char *line, size_t count, bool is_whole, void *user)
{
    struct pipe_child *child = user;
    char text[PIPE_ERROR_BYTES_MAX + 1];

    (void)is_whole;
    if (utf8_first_line(text, sizeof text, line, count))
        log_line(LOG_INFO, text, "child", log_i64(child->pid), NULL);
}

/* Returns false when there is nothing more for now. */
static bool read_once(struct pipe_child *child, int stream, lines_visitor *visit, void *user)
{
    char data[16384];

    if (child->streams.ours[stream] < 0)
        return false;
    ssize_t count = read(child->streams.ours[stream], data, sizeof data);
    if (count > 0 && stream == 1)
        lines_feed(&child->lines, data, (size_t)count, visit, user);
    else if (count > 0)
        lines_feed(&child->error_lines, data, (size_t)count, log_error_line, child);
    else if (count == 0 || (errno != EAGAIN && errno != EINTR))
        streams_close(&child->streams, stream);
    return count > 0;
}

void pipe_child_read(struct pipe_child *child, int stream, lines_visitor *visit, void *user,
                     int64_t now_us)
{
    assert(stream == 1 || stream == 2);
    if (read_once(child, stream, visit, user) && stream == 1)
        child->heard_mono_us = now_us;
}

/* --- the end ---------------------------------------------------------------------------------- */

void pipe_child_finish(struct pipe_child *child)
{
    if (child->is_finishing)
        return;
    child->is_finishing = true;
    pipe_child_flush(child);
}

void pipe_child_kill(struct pipe_child *child)
{
    kill(-child->pid, SIGKILL);
    child->signal_mono_us = TIME_US_NEVER;
}

void pipe_child_end(struct pipe_child *child, int64_t now_us)
{
    if (child->is_terminated) {
        pipe_child_kill(child);
        return;
    }
    child->is_terminated = true;
    child->signal_mono_us = now_us + (int64_t)child->handler->options->kill_after_ms * US_PER_MS;
    kill(-child->pid, SIGTERM);
}

static void set_restart(struct pipe_child *child, int64_t now_us)
{
    bool was_stable = now_us - child->start_mono_us >= (int64_t)PIPE_STABLE_MS * US_PER_MS;

    if (was_stable || child->backoff_ms == 0)
        child->backoff_ms = PIPE_BACKOFF_MS_MIN;
    else if (child->backoff_ms * 2 < PIPE_BACKOFF_MS_MAX)
        child->backoff_ms *= 2;
    else
        child->backoff_ms = PIPE_BACKOFF_MS_MAX;
    child->restart_mono_us = now_us + (int64_t)child->backoff_ms * US_PER_MS;
}

void pipe_child_ended(struct pipe_child *child, lines_visitor *visit, void *user, int64_t now_us)
{
    /* Bounded: a process that it left behind may go on writing. */
    for (int turns = 0; turns < 64 && read_once(child, 1, visit, user); turns++)
        continue;
    for (int turns = 0; turns < 64 && read_once(child, 2, visit, user); turns++)
        continue;
    lines_end(&child->lines, visit, user);
    lines_end(&child->error_lines, log_error_line, child);
    streams_close_all(&child->streams);
    child->pid = 0;
    child->signal_mono_us = TIME_US_NEVER;
    set_restart(child, now_us);
}
