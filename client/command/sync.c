#include "commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "clock.h"
#include "line_reader.h"
#include "places.h"
#include "progress.h"
#include "quantity.h"
#include "record_json.h"
#include "rejects.h"
#include "status.h"
#include "sync_summary.h"

enum {
    PRUNE_MAX_PPM = 200000,
    PPM_ALL = 1000000,
    COMMIT_WAIT_S = 600,
    PROGRESS_LINES = 256, /* the clock is read so often */
};

struct sync {
    struct context *context;
    const char *path;
    const char *name; /* of the source, for people */
    const char *rejects_path;
    bool prune;
    bool dry_run;
    bool skip_bad;
    uint32_t prune_max_ppm;
    int64_t every_us; /* or EVERDUE_ABSENT */
    struct everdue_sync_options options;

    struct line_reader lines;
    struct record_json reader;
    struct rejects rejects;
    struct places places;
    struct progress progress;
    FILE *spool; /* a copy of standard input: refused lines are read again from it */
    uint64_t sent;
};

/* --- arguments -------------------------------------------------------------------------------- */

enum {
    OPTION_PRUNE = 0x100,
    OPTION_PRUNE_MAX,
    OPTION_SPREAD,
    OPTION_EVERY,
    OPTION_DRY_RUN,
    OPTION_DUE,
    OPTION_REJECTS,
    OPTION_ON_BAD,
};

static const struct argp_option options[] = {
    {"prune", OPTION_PRUNE, NULL, 0, "Remove records that are not in the file", 0},
    {"prune-max", OPTION_PRUNE_MAX, "SHARE", 0,
     "Refuse when more than this share of the queue would be removed (20%)", 0},
    {"spread", OPTION_SPREAD, "DURATION", 0,
     "Spread new records without a due time over so long, by their keys", 0},
    {"every", OPTION_EVERY, "DURATION", 0, "The interval of lines that have none", 0},
    {"dry-run", OPTION_DRY_RUN, NULL, 0, "Count, and change nothing", 0},
    {"due", OPTION_DUE, "keep|take", 0, "Due times of known keys: keep them, or take the line's",
     0},
    {"rejects", OPTION_REJECTS, "FILE", 0, "Write bad lines to this file, with the reason", 0},
    {"on-bad", OPTION_ON_BAD, "stop|skip", 0,
     "At a bad line: change nothing, or apply the good ones and prune nothing", 0},
    {0},
};

/* Whether the argument is the second of two words; anything but the two is refused. */
static bool second_of(struct argp_state *state, const char *flag, const char *argument,
                      const char *first, const char *second)
{
    bool is_second = strcmp(argument, second) == 0;
    if (!is_second && strcmp(argument, first) != 0)
        argp_error(state, "%s %s: write %s or %s", flag, argument, first, second);
    return is_second;
}

static error_t parse_end(const struct sync *sync, struct argp_state *state)
{
    if (!sync->path)
        argp_error(state, "FILE is missing; - is standard input");
    return 0;
}

static error_t parse_file(struct sync *sync, char *argument, struct argp_state *state)
{
    if (sync->path)
        argp_error(state, "one FILE only; \"%s\" is too many", argument);
    sync->path = argument;
    sync->name = strcmp(argument, "-") == 0 ? "stdin" : argument;
    return 0;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct sync *sync = state->input;
    const char *error;
    switch (key) {
    case ARGP_KEY_INIT:
        context_give(state, sync->context);
        return 0;
    case OPTION_PRUNE:
        sync->prune = true;
        return 0;
    case OPTION_PRUNE_MAX:
        error = share_parse(argument, strlen(argument), &sync->prune_max_ppm);
        if (error)
            argp_error(state, "--prune-max %s: %s", argument, error);
        return 0;
    case OPTION_SPREAD:
        sync->options.spread_us = context_duration(state, "--spread", argument);
        return 0;
    case OPTION_EVERY:
        sync->every_us = context_duration(state, "--every", argument);
        return 0;
    case OPTION_DRY_RUN:
        sync->dry_run = true;
        return 0;
    case OPTION_DUE:
        sync->options.due_take = second_of(state, "--due", argument, "keep", "take");
        return 0;
    case OPTION_REJECTS:
        sync->rejects_path = argument;
        return 0;
    case OPTION_ON_BAD:
        sync->skip_bad = second_of(state, "--on-bad", argument, "stop", "skip");
        return 0;
    case ARGP_KEY_ARG:
        return parse_file(sync, argument, state);
    case ARGP_KEY_END:
        return parse_end(sync, state);
    }
    return ARGP_ERR_UNKNOWN;
}

/* --- reading and sending ---------------------------------------------------------------------- */

static void refused(uint64_t place, int status, void *user)
{
    struct sync *sync = user;
    rejects_add_late(&sync->rejects, places_find(&sync->places, place), status);
}

static bool is_blank(const char *line, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!strchr(" \t\r", line[i]) || line[i] == '\0')
            return false;
    return true;
}

/* Nothing more is sent after the first bad line, unless bad lines are left out. */
static bool is_stopped(const struct sync *sync)
{
    return sync->rejects.count > 0 && !sync->skip_bad;
}

static int send_line(struct sync *sync, const char *line, size_t count)
{
    struct everdue_put put;
    uint64_t number = sync->lines.number;
    if (is_blank(line, count))
        return STATUS_OK;
    if (!record_json_read(&sync->reader, line, count, &put)) {
        rejects_add(&sync->rejects, number, sync->reader.error, line, count);
        return STATUS_OK;
    }
    if (is_stopped(sync))
        return STATUS_OK;
    if (put.every_us == EVERDUE_ABSENT)
        put.every_us = sync->every_us;
    if (!places_put(&sync->places, sync->sent, number))
        return STATUS_NO_MEMORY;
    sync->sent++;
    return everdue_sync_add(sync->context->client, &put);
}

static bool spool_line(struct sync *sync, const char *line, size_t count)
{
    if (!sync->spool)
        return true;
    return fwrite(line, 1, count, sync->spool) == count && putc('\n', sync->spool) != EOF;
}

/* Reads the source to its end, or to the last bad line that is worth naming. Returns an exit code.
 */
static int send_all(struct sync *sync)
{
    const char *line = "";
    size_t count = 0;
    while (!(is_stopped(sync) && sync->rejects.count >= REJECTS_NAMED_MAX)) {
        enum line_reader_event event = line_reader_next(&sync->lines, &line, &count);
        if (event == LINE_READER_END)
            return 0;
        if (event == LINE_READER_FAILED) {
            context_say("%s: %s; nothing was changed", sync->name, sync->lines.why);
            return EX_IOERR;
        }
        if (event == LINE_READER_TOO_LONG) {
            rejects_add(&sync->rejects, sync->lines.number, "the line is longer than 1 MiB", NULL,
                        0);
            count = 0;
        } else {
            int status = send_line(sync, line, count);
            if (status < 0)
                return context_fail(sync->context, status, sync->name);
        }
        if (!spool_line(sync, line, count)) {
            context_say("%s: %s", sync->name, strerror(errno));
            return EX_IOERR;
        }
        if (sync->lines.number % PROGRESS_LINES == 0)
            progress_show(&sync->progress, sync->lines.number, sync->rejects.count,
                          clock_now().mono_us);
    }
    return 0;
}

/* --- the end of the set ----------------------------------------------------------------------- */

/* Waits until the broker has answered for every item, where the library can, so that a line that
 * only the broker refuses is known before the commit. */

static int settle(struct sync *sync)
{
    if (sync->skip_bad || is_stopped(sync))
        return 0;
    int status = everdue_sync_flush(sync->context->client);
    return status < 0 ? context_fail(sync->context, status, sync->name) : 0;
}

static int refuse_bad_lines(struct sync *sync)
{
    everdue_sync_abort(sync->context->client);
    context_say(
        "%s: nothing was changed, because of bad lines; --on-bad skip applies the good ones",
        sync->name);
    return EX_DATAERR;
}

/* An empty file beside --prune is a failed query or a full disk far more often than a wish. */
static int refuse_empty(struct sync *sync)
{
    everdue_sync_abort(sync->context->client);
    context_say("%s: no records in it, and --prune would remove all of queue \"%s\"; nothing was "
                "changed. If that is meant: --prune-max 100%%",
                sync->name, context_queue(sync->context));
    return EX_DATAERR;
}

static int fail_commit(struct sync *sync, int status)
{
    const char *said = everdue_client_error(sync->context->client);
    if (status != STATUS_PRUNE_GUARD)
        return context_fail(sync->context, status, sync->name);
    context_say("%s: %s. If so many are meant to go, raise --prune-max (now %g%%)", sync->name,
                *said ? said : everdue_status_text(status), sync->prune_max_ppm / 1e4);
    return EXIT_NO;
}

static void warn(const struct sync *sync, const struct sync_summary *summary)
{
    char count[QUANTITY_TEXT_BYTES];
    uint64_t due_now = summary->counts.due_now;
    if (due_now > 0)
        context_say("warning: %s new record%s without \"due\" and \"every\" %s due at once; "
                    "--spread 1h spreads them",
                    count_format(due_now, count), due_now == 1 ? "" : "s",
                    due_now == 1 ? "is" : "are");
    if (summary->rejected > 0)
        context_say("warning: %s bad line%s left out%s%s%s", count_format(summary->rejected, count),
                    summary->rejected == 1 ? " was" : "s were", sync->rejects_path ? ", see " : "",
                    sync->rejects_path ? sync->rejects_path : "",
                    sync->prune ? "; nothing was pruned" : "");
}

static int commit(struct sync *sync)
{
    struct sync_summary summary = {.is_dry_run = sync->dry_run,
                                   .is_prune = sync->prune && sync->rejects.count == 0};
    struct text text;
    context_set_wait(sync->context, (int64_t)COMMIT_WAIT_S * 1000000);
    int status = everdue_sync_commit(sync->context->client, summary.is_prune, sync->prune_max_ppm,
                                     sync->dry_run, &summary.counts);
    int64_t now_us = clock_now().mono_us;
    progress_end(&sync->progress, sync->lines.number, sync->rejects.count, now_us);
    if (status < 0)
        return fail_commit(sync, status);
    summary.took_us = now_us - sync->progress.begin_us;
    summary.rejected = sync->rejects.count;
    summary.records = sync->sent - summary.counts.rejected;
    summary.is_prune = summary.is_prune && sync->rejects.count == 0;
    text_init(&text);
    if (sync->context->format == OUTPUT_TEXT)
        sync_summary_write(&text, &summary);
    else
        sync_summary_write_json(&text, &summary);
    output_line(&text);
    text_release(&text);
    warn(sync, &summary);
    return is_stopped(sync) ? EX_DATAERR : 0;
}

/* --- the command ------------------------------------------------------------------------------ */

static int begin(struct sync *sync)
{
    if (!rejects_open(&sync->rejects, sync->name, sync->rejects_path)) {
        context_say("%s: %s", sync->rejects_path, strerror(errno));
        return EX_IOERR;
    }
    bool is_stdin = strcmp(sync->path, "-") == 0;
    if (is_stdin && sync->rejects_path) {
        sync->spool = tmpfile();
        if (!sync->spool) {
            context_say("%s: a temporary copy: %s", sync->name, strerror(errno));
            return EX_IOERR;
        }
    }
    bool is_shown = isatty(STDERR_FILENO) && sync->context->format == OUTPUT_TEXT;
    progress_begin(&sync->progress, sync->name, is_shown ? line_reader_count(sync->path) : 0,
                   clock_now().mono_us, is_shown);
    int status = everdue_sync_begin(sync->context->client, context_queue(sync->context),
                                    &sync->options, refused, sync);
    return status < 0 ? context_fail(sync->context, status, sync->name) : 0;
}

static int run(struct sync *sync)
{
    int code = begin(sync);
    if (code == 0) {
        code = send_all(sync);
        if (code == 0)
            code = settle(sync);
        if (code)
            everdue_sync_abort(sync->context->client);
    }
    if (code == 0 && is_stopped(sync))
        code = refuse_bad_lines(sync);
    else if (code == 0 && sync->sent == 0 && sync->rejects.count == 0 && sync->prune &&
             sync->prune_max_ppm < PPM_ALL)
        code = refuse_empty(sync);
    else if (code == 0)
        code = commit(sync);
    progress_end(&sync->progress, sync->lines.number, sync->rejects.count, clock_now().mono_us);
    return code;
}

/* Writes what the broker refused, and closes the file of rejects. */
static int end_rejects(struct sync *sync, int code)
{
    char path[32];
    if (sync->spool && fflush(sync->spool) == 0) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fileno(sync->spool));
        rejects_fetch(&sync->rejects, path);
    } else {
        rejects_fetch(&sync->rejects, sync->path);
    }
    if (sync->spool)
        fclose(sync->spool);
    if (rejects_close(&sync->rejects))
        return code;
    context_say("%s: not all bad lines could be written", sync->rejects_path);
    return code ? code : EX_IOERR;
}

int command_sync(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        options,
        parse,
        "FILE",
        "Make a queue equal to a file of JSON lines (.gz too; - is standard input): all of it, or "
        "nothing. Known keys keep their due times, memos and leases.",
        context_queue_children,
        NULL,
        NULL};
    struct sync sync = {
        .context = context, .prune_max_ppm = PRUNE_MAX_PPM, .every_us = EVERDUE_ABSENT};
    argp_parse(&argp, argc, argv, 0, NULL, &sync);
    if (!line_reader_open(&sync.lines, sync.path)) {
        context_say("%s: %s", sync.name, sync.lines.why);
        return EX_NOINPUT;
    }
    record_json_init(&sync.reader);
    places_init(&sync.places);
    int code = context_open(context, NULL);
    if (code == 0)
        code = end_rejects(&sync, run(&sync));
    places_release(&sync.places);
    record_json_release(&sync.reader);
    line_reader_close(&sync.lines);
    return code;
}
