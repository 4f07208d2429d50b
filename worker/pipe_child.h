/* pipe_child.h - the persistent child of --pipe: one process, its streams, its restarts.
 *
 *            start                    it ends                     restart_mono_us has come
 *   WAITING --------> RUNNING ---------------------> WAITING ---------------------------> ...
 *                        |  pipe_child_finish: EOF on its stdin, it finishes and exits
 *                        |  pipe_child_end: TERM, later KILL
 *
 * Lines for the child are queued here and written as its pipe has room. Bytes are counted from the
 * start of the process, so the caller knows which lines the child may have seen.
 */
#ifndef EVERDUE_WORKER_PIPE_CHILD_H
#define EVERDUE_WORKER_PIPE_CHILD_H

#include "command.h"
#include "handler.h"
#include "lines.h"
#include "streams.h"
#include "text.h"

enum {
    PIPE_LINE_BYTES_MAX = 1048576,
    PIPE_ERROR_BYTES_MAX = 1024,
    PIPE_BACKOFF_MS_MIN = 100,
    PIPE_BACKOFF_MS_MAX = 5000,
    PIPE_STABLE_MS = 10000, /* a child that lived so long begins anew with the back-off */
};

struct pipe_child {
    struct handler *handler;
    struct command command;
    pid_t pid; /* 0: waiting */
    struct streams streams;
    bool watches_input;
    bool is_finishing;
    bool is_terminated;
    bool has_answered; /* since its start */
    int64_t start_mono_us;
    int64_t heard_mono_us; /* last line on stdout, or the start */
    int64_t signal_mono_us;
    int64_t restart_mono_us;
    uint32_t backoff_ms;
    struct text output;    /* lines for the child */
    uint64_t queued_bytes; /* since its start */
    uint64_t written_bytes;
    struct lines lines;
    struct lines error_lines;
};

/* False: no memory. `arguments` is borrowed. */
bool pipe_child_init(struct pipe_child *child, struct handler *handler, char *const *arguments);
void pipe_child_release(struct pipe_child *child);

/* Returns 0, or an errno: it could not be executed. */
int pipe_child_start(struct pipe_child *child, int64_t now_us);

/* Queue a line. Returns where it begins, in bytes from the start; no memory: UINT64_MAX. */
uint64_t pipe_child_queue(struct pipe_child *child, const struct text *line);

/* Write what the pipe takes; watch for room when something is left. */
void pipe_child_flush(struct pipe_child *child);

/* Its stdin is ready as `events` of epoll say: write, or learn that it has closed it. */
void pipe_child_write(struct pipe_child *child, uint32_t events);

/* Whether tasks can be sent to it. */
bool pipe_child_listens(const struct pipe_child *child);

/* The stream (1 or 2) may be readable: at most one read. Lines of stdout go to `visit`. */
void pipe_child_read(struct pipe_child *child, int stream, lines_visitor *visit, void *user,
                     int64_t now_us);

/* No more tasks: close its stdin as soon as all is written. */
void pipe_child_finish(struct pipe_child *child);

/* TERM to its process group, the second time KILL. */
void pipe_child_end(struct pipe_child *child, int64_t now_us);
void pipe_child_kill(struct pipe_child *child);

/* waitpid returned it: take its last lines, close all, set the time of the restart. */
void pipe_child_ended(struct pipe_child *child, lines_visitor *visit, void *user, int64_t now_us);

#endif
