#include "exec_run.h"

#include "log.h"
#include "moment.h"
#include "quantity.h"
#include "task_json.h"
#include "utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void exec_run_init(struct exec_run *run)
{
    *run = (struct exec_run){0};
    streams_init(&run->streams);
    lines_init(&run->error_lines, EXEC_LINE_BYTES_MAX);
}

void exec_run_release(struct exec_run *run)
{
    streams_close_all(&run->streams);
    text_release(&run->input);
    text_release(&run->output);
    lines_release(&run->error_lines);
}

/* --- streams ---------------------------------------------------------------------------------- */

static void write_input(struct exec_run *run)
{
    size_t left = run->input.count - run->input_done;
    ssize_t count = write(run->streams.ours[0], run->input.data + run->input_done, left);

    if (count > 0)
        run->input_done += (size_t)count;
    /* A command that does not read its input is none of our business. */
    bool failed = count < 0 && errno != EAGAIN && errno != EINTR;
    if (failed || run->input_done == run->input.count)
        streams_close(&run->streams, 0);
}

static void log_error_line(const char *line, size_t count, bool is_whole, void *user)
{
    struct exec_run *run = user;
    char text[EXEC_LINE_BYTES_MAX + 1];
    char key[KEY_BYTES_MAX + 1];

    (void)is_whole;
    if (utf8_first_line(text, sizeof text, line, count) == 0)
        return;
    utf8_first_line(run->last_error, sizeof run->last_error, line, count);
    utf8_first_line(key, sizeof key, run->claim.task->key.data, run->claim.task->key.count);
    log_line(LOG_INFO, text, "key", key, NULL);
}

static void keep_output(struct exec_run *run, const char *data, size_t count)
{
    size_t room = EXEC_OUTPUT_BYTES_MAX - run->output.count;

    run->output_is_cut |= count > room;
    text_add(&run->output, data, count < room ? count : room);
}

/* Returns false when there is nothing more for now. */
static bool read_stream(struct exec_run *run, int stream)
{
    char data[16384];
    ssize_t count = read(run->streams.ours[stream], data, sizeof data);

    if (count > 0 && stream == 1)
        keep_output(run, data, (size_t)count);
    else if (count > 0)
        lines_feed(&run->error_lines, data, (size_t)count, log_error_line, run);
    else if (count == 0 || (errno != EAGAIN && errno != EINTR))
        streams_close(&run->streams, stream);
    return count == (ssize_t)sizeof data;
}

void exec_run_stream(struct exec_run *run, int stream)
{
    if (run->streams.ours[stream] < 0)
        return;
    if (stream == 0)
        write_input(run);
    else
        read_stream(run, stream);
}

/* --- start ------------------------------------------------------------------------------------ */

static void fill_input(struct exec_run *run, const struct options *options, int64_t now_us)
{
    const struct everdue_task *task = run->claim.task;

    text_clear(&run->input);
    run->input_done = 0;
    if (options->stdin_kind == STDIN_TASK)
        task_json_write(&run->input, task, now_us);
    else
        text_add(&run->input, task->payload.data, task->payload.count);
}

/* A command that is given nothing reads the end of its input at once. */
static int open_input(struct exec_run *run)
{
    if (run->input.count > 0)
        return streams_open(&run->streams, 0);
    run->streams.theirs[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return run->streams.theirs[0] < 0 ? errno : 0;
}

static int open_streams(struct exec_run *run)
{
    int error = open_input(run);
    for (int i = 1; i < STREAMS_COUNT && !error; i++)
        error = streams_open(&run->streams, i);
    return error;
}

int exec_run_start(struct exec_run *run, struct command *command, const struct options *options,
                   struct claim claim, int64_t now_us)
{
    run->claim = claim;
    run->end = EXEC_END_ITSELF;
    run->is_terminated = false;
    run->output_is_cut = false;
    run->last_error[0] = '\0';
    text_clear(&run->output);
    lines_clear(&run->error_lines);
    fill_input(run, options, now_us);
    command_fill(command, claim.task, now_us);
    int error = run->input.failed ? ENOMEM : open_streams(run);
    if (!error)
        error = command_start(command, run->streams.theirs, &run->pid);
    streams_close_theirs(&run->streams);
    if (error) {
        streams_close_all(&run->streams);
        run->claim.task = NULL;
        return error;
    }
    run->deadline_mono_us = now_us + (int64_t)options->timeout_ms * US_PER_MS;
    run->kill_after_us = (int64_t)options->kill_after_ms * US_PER_MS;
    if (run->streams.ours[0] >= 0)
        write_input(run);
    return 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

void exec_run_signal(struct exec_run *run, enum exec_end why, int64_t now_us)
{
    if (run->is_terminated) {
        exec_run_kill(run);
        run->deadline_mono_us = TIME_US_NEVER;
        return;
    }
    run->end = why;
    run->is_terminated = true;
    run->deadline_mono_us = now_us + run->kill_after_us;
    kill(-run->pid, SIGTERM);
}

void exec_run_kill(struct exec_run *run)
{
    kill(-run->pid, SIGKILL);
}

/* What the process left in its pipes; bounded, for another one may go on writing. */
static void drain_streams(struct exec_run *run)
{
    for (int stream = 1; stream < 3; stream++) {
        int turns = 8 * EXEC_OUTPUT_BYTES_MAX / 16384;
        while (turns-- > 0 && run->streams.ours[stream] >= 0 && read_stream(run, stream))
            continue;
    }
    lines_end(&run->error_lines, log_error_line, run);
    streams_close_all(&run->streams);
}

/* The run failed: say why, unless the command itself has. */
static void fail(struct exec_run *run, struct everdue_result *result, enum everdue_cause cause,
                 const char *what)
{
    if (result->outcome != EVERDUE_PARK)
        result->outcome = EVERDUE_RETRY;
    result->cause = cause;
    if (result->error.count)
        return;
    char line[sizeof run->error];
    snprintf(line, sizeof line, "%s%s%s", what, run->last_error[0] ? ": " : "", run->last_error);
    size_t count = utf8_first_line(run->error, sizeof run->error, line, strlen(line));
    result->error = (struct everdue_bytes){run->error, count};
}

static void take_note(struct exec_run *run, struct everdue_result *result, const char *state)
{
    size_t used = 0;

    if (state)
        used =
            (size_t)snprintf(run->note, sizeof run->note, run->output.count ? "%s: " : "%s", state);
    used += utf8_first_line(run->note + used, sizeof run->note - used,
                            run->output.count ? run->output.data : "", run->output.count);
    if (used)
        result->note = (struct everdue_bytes){run->note, used};
}

/* Standard output as a result object or a note. Returns what is wrong with the object, or NULL. */
static const char *take_output(struct exec_run *run, const char *state, struct result_json *answer,
                               struct everdue_result *result)
{
    everdue_result_init(result);
    if (run->output.count == 0 || run->output.data[0] != '{') {
        take_note(run, result, state);
        return NULL;
    }
    if (run->output_is_cut || run->output.failed)
        return "the result object is longer than 64 KiB";
    bool is_object = result_json_read(answer, run->output.data, run->output.count);
    *result = answer->result;
    if (state && result->note.count == 0)
        result->note = everdue_text(state);
    return !is_object || answer->error[0] ? answer->error : NULL;
}

/* The exit code outranks the object's outcome, but for 0, which leaves the word to it. */
static void apply_verdict(struct exec_run *run, enum exit_verdict verdict, const char *what,
                          struct everdue_result *result)
{
    switch (verdict) {
    case VERDICT_OK:
        break;
    case VERDICT_REMOVE:
        result->outcome = EVERDUE_REMOVE;
        result->cause = EVERDUE_CAUSE_NONE;
        break;
    case VERDICT_PARK:
        result->outcome = EVERDUE_PARK;
        fail(run, result, EVERDUE_CAUSE_FAILED, what);
        break;
    case VERDICT_RETRY:
    case VERDICT_FAILED:
    case VERDICT_NOT_FOUND:
        result->outcome = EVERDUE_RETRY;
        fail(run, result, EVERDUE_CAUSE_FAILED, what);
        break;
    case VERDICT_KILLED:
        result->outcome = EVERDUE_RETRY;
        fail(run, result, EVERDUE_CAUSE_KILLED, what);
        break;
    }
}

enum exit_verdict exec_run_finish(struct exec_run *run, int wait_status,
                                  const struct options *options, struct result_json *answer,
                                  struct everdue_result *result)
{
    enum exit_verdict verdict = exit_map_verdict(options->exit_map, wait_status);
    bool is_nagios = options->exit_map == EXIT_MAP_NAGIOS;
    char what[QUANTITY_TEXT_BYTES + 32];
    char timeout[QUANTITY_TEXT_BYTES];

    drain_streams(run);
    const char *wrong =
        take_output(run, is_nagios ? exit_map_nagios_state(wait_status) : NULL, answer, result);
    if (run->end == EXEC_END_TIMED_OUT) {
        duration_format((int64_t)options->timeout_ms * US_PER_MS, timeout);
        snprintf(what, sizeof what, "timed out after %s", timeout);
        result->outcome = EVERDUE_RETRY;
        fail(run, result, EVERDUE_CAUSE_TIMED_OUT, what);
        return VERDICT_KILLED;
    }
    if (wrong && (verdict == VERDICT_OK || verdict == VERDICT_REMOVE)) {
        result->error = everdue_text(wrong);
        result->outcome = EVERDUE_RETRY;
        result->cause = EVERDUE_CAUSE_FAILED;
        return VERDICT_FAILED;
    }
    apply_verdict(run, verdict, exit_map_describe(wait_status, what, sizeof what), result);
    return verdict;
}
