#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "clock.h"
#include "everdue/worker.h"
#include "lease_text.h"
#include "bounds.h"
#include "quantity.h"
#include "result_json.h"
#include "status.h"
#include "task_json.h"

enum { US_IN_MS = 1000, NAME_WIDTH = 10 };

/* --- take ------------------------------------------------------------------------------------- */

struct take_input {
    struct context *context;
    uint32_t max;
    int64_t wait_us;
    int64_t lease_us;
};

/* Prints the tasks of an answer. */
struct take_printer {
    const struct context *context;
    struct output_list list;
    uint64_t count;
};

enum { OPTION_WAIT = 0x100, OPTION_LEASE };

static const struct argp_option take_options[] = {
    {"wait", OPTION_WAIT, "DURATION", 0, "Wait so long for the first record (0)", 0},
    {"lease", OPTION_LEASE, "DURATION", 0, "How long the leases last (60s)", 0},
    {0},
};

static error_t parse_take(int key, char *argument, struct argp_state *state)
{
    struct take_input *input = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        context_give(state, input->context);
        return 0;
    case OPTION_WAIT:
        input->wait_us = context_duration(state, "--wait", argument);
        if (input->wait_us / US_IN_MS > INT32_MAX)
            argp_error(state, "--wait %s: 24 days at most", argument);
        return 0;
    case OPTION_LEASE:
        input->lease_us = context_duration(state, "--lease", argument);
        if (input->lease_us / US_IN_MS < LEASE_MS_MIN || input->lease_us / US_IN_MS > LEASE_MS_MAX)
            argp_error(state, "--lease %s: from 100ms to 24h", argument);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            argp_error(state, "one N only; \"%s\" is too many", argument);
        input->max = (uint32_t)context_whole(state, "N", argument, 1, CREDIT_MAX);
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static void print_task(const struct everdue_task *task, const struct text *lease, uint64_t before)
{
    char text[QUANTITY_TEXT_BYTES];
    if (before > 0)
        putchar('\n');
    output_value(NAME_WIDTH, "key", task->key);
    printf("%-*s %s\n", NAME_WIDTH, "lease", lease->data);
    printf("%-*s %s\n", NAME_WIDTH, "due", time_format(task->due_us, 6, text));
    printf("%-*s %s\n", NAME_WIDTH, "lateness", span_format(task->lateness_us, text));
    if (task->failures || task->crashes)
        printf("%-*s %u, crashes %u\n", NAME_WIDTH, "failures", task->failures, task->crashes);
    output_value(NAME_WIDTH, "payload", task->payload);
    output_value(NAME_WIDTH, "memo", task->memo);
    output_value(NAME_WIDTH, "group", task->group);
    if (task->every_us > 0)
        printf("%-*s %s\n", NAME_WIDTH, "every", duration_format(task->every_us, text));
}

static bool visit_task(const struct everdue_task *task, void *user)
{
    struct take_printer *printer = user;
    const char *queue = context_queue(printer->context);
    struct text lease, object;
    text_init(&lease);
    text_init(&object);
    lease_text_write(&lease, queue, task->key, task->lease, task->state);
    if (printer->context->format == OUTPUT_TEXT) {
        print_task(task, &lease, printer->count);
    } else {
        task_json_write_taken(&object, task, lease.data, clock_now().mono_us);
        output_list_add(&printer->list, &object);
    }
    printer->count++;
    text_release(&lease);
    text_release(&object);
    return true;
}

int command_take(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {take_options,
                                     parse_take,
                                     "[N]",
                                     "Take up to N (1) records that are due. Each has a lease, "
                                     "which ends by `everdue report LEASE` "
                                     "or when its time is over, not with this command.",
                                     context_queue_children,
                                     NULL,
                                     NULL};
    struct take_input input = {
        .context = context, .max = 1, .lease_us = (int64_t)LEASE_MS_DEFAULT * US_IN_MS};
    struct take_printer printer = {.context = context};
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    const char *queues[] = {context_queue(context), NULL};
    int code = context_open(context, queues);
    if (code == 0)
        code = context_meet(context);
    if (code)
        return code;
    if (context->format != OUTPUT_TEXT)
        output_list_begin(&printer.list, context->format);
    int status =
        everdue_take(context->client, queues[0], input.max, (uint32_t)(input.wait_us / US_IN_MS),
                     (uint32_t)(input.lease_us / US_IN_MS), true, visit_task, &printer);
    if (context->format != OUTPUT_TEXT)
        output_list_end(&printer.list);
    if (status < 0 && status != STATUS_TIMED_OUT)
        return context_fail(context, status, "take");
    if (printer.count > 0)
        return 0;
    context_say("nothing is due in queue \"%s\"", queues[0]);
    return input.wait_us > 0 ? EX_TEMPFAIL : EXIT_NO;
}

/* --- report ----------------------------------------------------------------------------------- */

struct report_input {
    struct context *context;
    struct lease_text lease;
    const char *result;
};

static error_t parse_report(int key, char *argument, struct argp_state *state)
{
    struct report_input *input = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        context_give(state, input->context);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num == 0 && !lease_text_read(&input->lease, argument))
            argp_failure(state, EX_DATAERR, 0,
                         "\"%.24s%s\" is no lease, or not all of one; give it as take printed it",
                         argument, strlen(argument) > 24 ? "..." : "");
        if (state->arg_num == 1)
            input->result = argument;
        if (state->arg_num > 1)
            argp_error(state, "one LEASE and one RESULT; \"%s\" is too many", argument);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "LEASE is missing");
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

/* The result's text: the argument, or standard input for "-". Returns 0 or an exit code. */
static int read_result(const char *argument, struct text *text)
{
    if (strcmp(argument, "-") == 0)
        return context_read_stdin(text, MESSAGE_BYTES_MAX);
    text_add_string(text, argument);
    if (!text->failed)
        return 0;
    context_say("out of memory");
    return EX_SOFTWARE;
}

static int send_report(struct report_input *input, const struct everdue_result *result)
{
    struct context *context = input->context;
    const char *queues[] = {input->lease.queue, NULL};
    struct everdue_bytes key = {input->lease.key, input->lease.key_count};
    int code = context_open(context, queues);
    if (code)
        return code;
    int status = everdue_report(context->client, input->lease.queue, key, input->lease.lease,
                                input->lease.state, result);
    if (status < 0) {
        char what[KEY_BYTES_MAX + 1];
        snprintf(what, sizeof(what), "%.*s", (int)key.count, (const char *)key.data);
        return context_fail(context, status, what);
    }
    if (context->format == OUTPUT_TEXT)
        printf("%s %.*s\n", everdue_status_name(status), (int)key.count, (const char *)key.data);
    else
        printf("{\"status\":\"%s\"}\n", everdue_status_name(status));
    return 0;
}

int command_report(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        NULL,
        parse_report,
        "LEASE [RESULT]",
        "Report a record that was taken. RESULT is an object of JSON, or - for standard input: "
        "outcome (ok, retry, park, remove), next or in, memo, rank, payload, note, error. Without "
        "it: ok.",
        context_children,
        NULL,
        NULL};
    struct report_input input = {.context = context, .result = "{}"};
    struct result_json reader;
    struct text text;
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    text_init(&text);
    result_json_init(&reader);
    int code = read_result(input.result, &text);
    if (code == 0 && result_json_read_strictly(&reader, text.data, text.count)) {
        code = send_report(&input, &reader.result);
    } else if (code == 0) {
        context_say("RESULT: %s", reader.error);
        code = EX_DATAERR;
    }
    result_json_release(&reader);
    text_release(&text);
    return code;
}
