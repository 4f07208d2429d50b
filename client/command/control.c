#include "commands.h"

#include <stdio.h>
#include <sysexits.h>

#include "json.h"
#include "quantity.h"

enum { DRAIN_WAIT_S = 60, US_IN_MS = 1000 };

struct control_input {
    struct context *context;
    const char *queue; /* the argument */
    int64_t wait_us;
    bool needs_queue;
    bool takes_queue;
};

static error_t parse_queue(int key, char *argument, struct argp_state *state)
{
    struct control_input *input = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        context_give(state, input->context);
        return 0;
    case ARGP_KEY_ARG:
        if (input->queue || !input->takes_queue)
            argp_error(state, "\"%s\" is too many", argument);
        input->queue = context_queue_name(state, argument);
        return 0;
    case ARGP_KEY_END:
        if (input->needs_queue && !input->queue)
            argp_error(state, "QUEUE is missing");
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

/* The answer of a control command: a sentence, or an object. */
static void print_done(const struct context *context, const char *sentence, const char *queue)
{
    if (context->format != OUTPUT_TEXT)
        printf("{\"status\":\"ok\"}\n");
    else
        printf("%s%s%s\n", sentence, queue ? " " : "", queue ? queue : "");
}

int command_pause(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        NULL,
        parse_queue,
        "QUEUE",
        "Grant nothing more from a queue, until `everdue resume QUEUE`; "
        "over restarts too.",
        context_children,
        NULL,
        NULL};
    struct control_input input = {.context = context, .needs_queue = true, .takes_queue = true};
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    int code = context_open(context, NULL);
    if (code)
        return code;
    int status = everdue_pause(context->client, input.queue);
    if (status < 0)
        return context_fail(context, status, input.queue);
    print_done(context, "paused", input.queue);
    return 0;
}

int command_resume(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {NULL,
                                     parse_queue,
                                     "[QUEUE]",
                                     "End the pause of a queue; without QUEUE, end a drain.",
                                     context_children,
                                     NULL,
                                     NULL};
    struct control_input input = {.context = context, .takes_queue = true};
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    int code = context_open(context, NULL);
    if (code)
        return code;
    int status = everdue_unpause(context->client, input.queue);
    if (status < 0)
        return context_fail(context, status, input.queue ? input.queue : "resume");
    print_done(context, input.queue ? "resumed" : "resumed: records are granted again",
               input.queue);
    return 0;
}

/* --- drain ------------------------------------------------------------------------------------ */

enum { OPTION_WAIT = 0x100 };

static const struct argp_option drain_options[] = {
    {"wait", OPTION_WAIT, "DURATION", 0, "Wait so long for the leases to end (1m)", 0},
    {0},
};

static error_t parse_drain(int key, char *argument, struct argp_state *state)
{
    struct control_input *input = state->input;
    if (key != OPTION_WAIT)
        return parse_queue(key, argument, state);
    input->wait_us = context_duration(state, "--wait", argument);
    if (input->wait_us / US_IN_MS > INT32_MAX)
        argp_error(state, "--wait %s: 24 days at most", argument);
    return 0;
}

int command_drain(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        drain_options,
        parse_drain,
        "",
        "Grant nothing more, of any queue, and wait until no record is "
        "out at a worker. Lasts until `everdue resume`, or a restart.",
        context_children,
        NULL,
        NULL};
    struct control_input input = {.context = context, .wait_us = (int64_t)DRAIN_WAIT_S * 1000000};
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    int code = context_open(context, NULL);
    if (code == 0)
        code = context_meet(context);
    if (code)
        return code;
    int status = everdue_drain(context->client, (uint32_t)(input.wait_us / US_IN_MS));
    if (status < 0)
        return context_fail(context, status, "drain");
    print_done(context, "drained: nothing is out, and nothing is granted until `everdue resume`",
               NULL);
    return 0;
}

/* --- ping ------------------------------------------------------------------------------------- */

int command_ping(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        NULL, parse_queue, "", "Ask whether the broker is there.", context_children, NULL, NULL};
    struct control_input input = {.context = context};
    const char *version = "";
    int64_t round_trip_us = 0;
    struct text text;
    char span[QUANTITY_TEXT_BYTES];
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    int code = context_open(context, NULL);
    if (code)
        return code;
    int status = everdue_ping(context->client, &round_trip_us, &version);
    if (status < 0)
        return context_fail(context, status, "ping");
    text_init(&text);
    if (context->format == OUTPUT_TEXT) {
        text_add_format(&text, "pong from %s, version %s, in %s", context->endpoint, version,
                        span_format(round_trip_us, span));
    } else {
        text_add(&text, "{", 1);
        json_add_member(&text, "endpoint", everdue_text(context->endpoint));
        json_add_member(&text, "version", everdue_text(version));
        json_add_number(&text, "round_trip_us", round_trip_us);
        text_add(&text, "}", 1);
    }
    output_line(&text);
    text_release(&text);
    return 0;
}
