#include "context.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "bounds.h"
#include "certificate.h"
#include "moment.h"
#include "quantity.h"
#include "status.h"
#include "bytes.h"

enum { TIMEOUT_MS = 3000, SAID_BYTES = 80 };

void context_init(struct context *context)
{
    const char *endpoint = getenv("EVERDUE_ENDPOINT");
    *context = (struct context){
        .endpoint = endpoint && *endpoint ? endpoint : EVERDUE_ENDPOINT,
        .curve_server_key = getenv("EVERDUE_CURVE_SERVER"),
        .curve_key_file = getenv("EVERDUE_CURVE_KEY"),
        .format = OUTPUT_TEXT,
    };
}

void context_release(struct context *context)
{
    everdue_client_destroy(&context->client);
}

const char *context_queue(const struct context *context)
{
    return context->queue ? context->queue : "default";
}

/* --- flags ------------------------------------------------------------------------------------ */

enum {
    OPTION_CURVE_KEY = 0x200,
    OPTION_CURVE_SERVER,
    OPTION_BROKER, /* the worker's name for the broker: refused with a hint */
};

static const struct argp_option options[] = {
    {"endpoint", 'e', "ENDPOINT", 0,
     "Where the broker listens ($EVERDUE_ENDPOINT, else " EVERDUE_ENDPOINT ")", 0},
    {"output", 'o', "FORMAT", 0, "text, json or jsonl (JSON lines)", 0},
    {"curve-key", OPTION_CURVE_KEY, "FILE", 0, "This side's key pair ($EVERDUE_CURVE_KEY)", 0},
    {"curve-server", OPTION_CURVE_SERVER, "KEY", 0,
     "The broker's public key, or its file FILE.pub ($EVERDUE_CURVE_SERVER)", 0},
    {"broker", OPTION_BROKER, "ENDPOINT", OPTION_HIDDEN, NULL, 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct context *context = state->input;
    switch (key) {
    case 'e':
        context->endpoint = argument;
        return 0;
    case 'o':
        if (!output_format_parse(argument, &context->format))
            argp_error(state, "--output %s: write text, json or jsonl", argument);
        return 0;
    case OPTION_CURVE_KEY:
        context->curve_key_file = argument;
        return 0;
    case OPTION_CURVE_SERVER:
        context->curve_server_key = argument;
        return 0;
    case OPTION_BROKER:
        argp_error(state, "the broker is named by --endpoint %s here", argument);
        return EINVAL;
    }
    return ARGP_ERR_UNKNOWN;
}

static const struct argp_option queue_options[] = {
    {"queue", 'q', "QUEUE", 0, "The queue (default)", 0},
    {0},
};

static const struct argp_option queue_or_all_options[] = {
    {"queue", 'q', "QUEUE", 0, "Of this queue only (all)", 0},
    {0},
};

static error_t parse_queue(int key, char *argument, struct argp_state *state)
{
    struct context *context = state->input;
    if (key != 'q')
        return ARGP_ERR_UNKNOWN;
    context->queue = context_queue_name(state, argument);
    return 0;
}

const struct argp context_argp = {options, parse, NULL, NULL, NULL, NULL, NULL};
static const struct argp queue_argp = {queue_options, parse_queue, NULL, NULL, NULL, NULL, NULL};
static const struct argp queue_or_all_argp = {
    queue_or_all_options, parse_queue, NULL, NULL, NULL, NULL, NULL};
const struct argp_child context_children[] = {{&context_argp, 0, "Everywhere:", 10}, {0}};
const struct argp_child context_queue_children[] = {
    {&queue_argp, 0, NULL, 0}, {&context_argp, 0, "Everywhere:", 10}, {0}};
const struct argp_child context_queue_or_all_children[] = {
    {&queue_or_all_argp, 0, NULL, 0}, {&context_argp, 0, "Everywhere:", 10}, {0}};

void context_give(struct argp_state *state, struct context *context)
{
    const struct argp_child *children = state->root_argp->children;
    for (size_t i = 0; children && children[i].argp; i++)
        state->child_inputs[i] = context;
}

int64_t context_duration(struct argp_state *state, const char *what, const char *text)
{
    int64_t us = 0;
    const char *error = duration_parse(text, strlen(text), &us);
    if (error)
        argp_error(state, "%s %s: %s", what, text, error);
    return us;
}

int64_t context_time(struct argp_state *state, const char *what, const char *text)
{
    int64_t us = 0;
    const char *error = time_parse(text, strlen(text), &us);
    if (error)
        argp_error(state, "%s %s: %s", what, text, error);
    return us;
}

int64_t context_whole(struct argp_state *state, const char *what, const char *text, int64_t least,
                      int64_t most)
{
    int64_t number = 0;
    const char *error = number_parse(text, strlen(text), least, most, &number);
    if (error)
        argp_error(state, "%s %s: %s", what, text, error);
    return number;
}

const char *context_queue_name(struct argp_state *state, const char *text)
{
    if (!bytes_are_queue_name(bytes_of(text)))
        argp_error(state, "\"%s\" is no name of a queue: 1 to 64 letters, digits, '.', '_', '-'",
                   text);
    return text;
}

struct everdue_bytes context_key(struct argp_state *state, const char *text)
{
    if (!bytes_are_key(bytes_of(text)))
        argp_error(state,
                   "\"%.*s%s\" is no key: 1 to 1,024 bytes of UTF-8 without control characters",
                   SAID_BYTES, text, strlen(text) > SAID_BYTES ? "..." : "");
    return everdue_text(text);
}

/* --- the broker ------------------------------------------------------------------------------- */

int context_fail_key(const char *file, int status)
{
    context_say("%s: %s", file,
                status == STATUS_IO       ? strerror(errno)
                : status == STATUS_DENIED ? "others than its owner can read it: the secret in it "
                                            "is none. Make another key, or chmod 600"
                                          : "holds no pair of keys; everdue keygen makes one");
    return status == STATUS_IO ? EX_NOINPUT : status == STATUS_DENIED ? EX_NOPERM : EX_DATAERR;
}

/* 0, or the exit code, having said which of the keys is none. */
static int check_keys(const struct context *context)
{
    uint8_t key[CURVE_KEY_BYTES];
    struct certificate own;
    if (context->curve_server_key && !certificate_public_key(key, context->curve_server_key)) {
        context_say("--curve-server %s: neither a key of forty characters nor a file that begins "
                    "with one (FILE.pub)",
                    context->curve_server_key);
        return EX_USAGE;
    }
    if (!context->curve_key_file)
        return 0;
    enum status status = certificate_read(&own, context->curve_key_file);
    explicit_bzero(&own, sizeof(own));
    return status ? context_fail_key(context->curve_key_file, status) : 0;
}

int context_open(struct context *context, const char *const *queues)
{
    struct everdue_client_options client_options = {
        .endpoint = context->endpoint,
        .queues = queues,
        .timeout_ms = TIMEOUT_MS,
        .curve_server_key = context->curve_server_key,
        .curve_key_file = context->curve_key_file,
    };
    const char *why = NULL;
    int code = check_keys(context);
    if (code)
        return code;
    context->client = everdue_client_new(&client_options, &why);
    if (context->client)
        return 0;
    context_say("%s: %s", context->endpoint, why ? why : "cannot be used");
    return EX_USAGE;
}

int context_meet(struct context *context)
{
    int status = everdue_ping(context->client, NULL, NULL);
    return status < 0 ? context_fail(context, status, context->endpoint) : 0;
}

void context_set_wait(struct context *context, int64_t wait_us)
{
    int64_t ms = wait_us / US_PER_MS + TIMEOUT_MS;
    everdue_client_set_timeout(context->client, ms < INT32_MAX ? (uint32_t)ms : INT32_MAX);
}

int context_exit_code(int status)
{
    if (status >= 0)
        return 0;
    switch ((enum status)status) {
    case STATUS_TOO_LARGE:
    case STATUS_BAD_KEY:
    case STATUS_BAD_TIME:
    case STATUS_BAD_FIELD:
    case STATUS_NO_NEXT:
        return EX_DATAERR;
    case STATUS_UNREACHABLE:
    case STATUS_NO_SESSION:
        return EX_UNAVAILABLE;
    case STATUS_MALFORMED:
    case STATUS_UNKNOWN_TYPE:
    case STATUS_VERSION:
        return EX_PROTOCOL;
    case STATUS_DENIED:
        return EX_NOPERM;
    case STATUS_NO_SPACE:
    case STATUS_IO:
    case STATUS_CORRUPT:
        return EX_IOERR;
    case STATUS_BUSY:
    case STATUS_DRAINING:
    case STATUS_TIMED_OUT:
    case STATUS_INTERRUPTED:
        return EX_TEMPFAIL;
    case STATUS_NO_MEMORY:
        return EX_SOFTWARE;
    default:
        return EXIT_NO;
    }
}

int context_fail(struct context *context, int status, const char *what)
{
    const char *said = everdue_client_error(context->client);
    if (status == STATUS_UNREACHABLE)
        context_say("no broker at %s after %d s. Is it running? Try: everdue-broker, or: everdue "
                    "dev",
                    context->endpoint, TIMEOUT_MS / 1000);
    else if (status == STATUS_TIMED_OUT && !*said)
        context_say("%s: the broker at %s did not answer in time", what, context->endpoint);
    else
        context_say("%s: %s", what, *said ? said : everdue_status_text(status));
    return context_exit_code(status);
}

int context_read_stdin(struct text *text, size_t bytes_max)
{
    char *room = text_add_room(text, bytes_max);
    if (!room) {
        context_say("out of memory");
        return EX_SOFTWARE;
    }
    text->count = fread(room, 1, bytes_max, stdin);
    if (!ferror(stdin))
        return 0;
    context_say("standard input cannot be read");
    return EX_NOINPUT;
}

void context_say(const char *format, ...)
{
    va_list arguments;
    fflush(stdout);
    fputs("everdue: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}
