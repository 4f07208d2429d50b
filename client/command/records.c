#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "clock.h"
#include "bounds.h"
#include "quantity.h"
#include "record_json.h"
#include "status.h"

enum { NAME_WIDTH = 12 };

/* --- answers ---------------------------------------------------------------------------------- */

static void print_status_json(struct output_list *list, struct everdue_bytes key, int status)
{
    struct text object;
    text_init(&object);
    text_add(&object, "{", 1);
    json_add_member(&object, "key", key);
    json_add_member(&object, "status", everdue_text(everdue_status_name(status)));
    if (status < 0)
        json_add_member(&object, "error", everdue_text(everdue_status_text(status)));
    text_add(&object, "}", 1);
    output_list_add(list, &object);
    text_release(&object);
}

/* One line for each key: what became of it. Returns the exit code: of the first that was refused.
 */
static int print_statuses(const struct context *context, const struct everdue_bytes *keys,
                          const int *statuses, size_t count)
{
    int code = 0;
    struct output_list list;
    if (context->format != OUTPUT_TEXT)
        output_list_begin(&list, context->format);
    for (size_t i = 0; i < count; i++) {
        if (statuses[i] < 0 && code == 0)
            code = context_exit_code(statuses[i]);
        if (context->format != OUTPUT_TEXT)
            print_status_json(&list, keys[i], statuses[i]);
        else if (statuses[i] < 0)
            context_say("%.*s: %s", (int)keys[i].count, (const char *)keys[i].data,
                        everdue_status_text(statuses[i]));
        else
            printf("%s %.*s\n", everdue_status_name(statuses[i]), (int)keys[i].count,
                   (const char *)keys[i].data);
    }
    if (context->format != OUTPUT_TEXT)
        output_list_end(&list);
    return code;
}

/* --- put -------------------------------------------------------------------------------------- */

struct put_input {
    struct context *context;
    struct everdue_put put;
    const char *payload;
};

enum { OPTION_IN = 0x100, OPTION_DUE, OPTION_EVERY, OPTION_RANK, OPTION_GROUP, OPTION_ONCE };

static const struct argp_option put_options[] = {
    {"in", OPTION_IN, "DURATION", 0, "Due so long from now, by the broker's clock", 0},
    {"due", OPTION_DUE, "TIME", 0, "Due at this time", 0},
    {"every", OPTION_EVERY, "DURATION", 0, "Come round again so often; 0: never by itself", 0},
    {"rank", OPTION_RANK, "N", 0, "Order among the records that are due, lower first", 0},
    {"group", OPTION_GROUP, "GROUP", 0, "A host or account", 0},
    {"once", OPTION_ONCE, NULL, 0, "Remove the record after its first success", 0},
    {0},
};

static error_t parse_put_argument(struct put_input *input, char *argument, struct argp_state *state)
{
    if (state->arg_num == 0)
        input->put.key = context_key(state, argument);
    else if (state->arg_num == 1)
        input->payload = argument;
    else
        argp_error(state, "one KEY and one PAYLOAD; \"%s\" is too many", argument);
    return 0;
}

static error_t parse_put(int key, char *argument, struct argp_state *state)
{
    struct put_input *input = state->input;
    struct everdue_put *put = &input->put;
    switch (key) {
    case ARGP_KEY_INIT:
        context_give(state, input->context);
        return 0;
    case OPTION_IN:
        put->in_us = context_duration(state, "--in", argument);
        return 0;
    case OPTION_DUE:
        put->due_us = context_time(state, "--due", argument);
        return 0;
    case OPTION_EVERY:
        put->every_us = context_duration(state, "--every", argument);
        return 0;
    case OPTION_RANK:
        put->has_rank = true;
        put->rank = context_whole(state, "--rank", argument, INT64_MIN, INT64_MAX);
        return 0;
    case OPTION_GROUP:
        put->group = everdue_text(argument);
        if (put->group.count > GROUP_BYTES_MAX)
            argp_error(state, "--group: it has %zu bytes; %d at most", put->group.count,
                       GROUP_BYTES_MAX);
        return 0;
    case OPTION_ONCE:
        put->has_once = put->once = true;
        return 0;
    case ARGP_KEY_ARG:
        return parse_put_argument(input, argument, state);
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "KEY is missing");
        return 0;
    case ARGP_KEY_END:
        if (put->in_us != EVERDUE_ABSENT && put->due_us != EVERDUE_ABSENT)
            argp_error(state, "--in and --due exclude each other");
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

int command_put(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {put_options,
                                     parse_put,
                                     "KEY [PAYLOAD]",
                                     "Add a record, or change one. What is not given is kept; a "
                                     "new record without --in and --due "
                                     "is due now.\vA PAYLOAD of - is read from standard input.",
                                     context_queue_children,
                                     NULL,
                                     NULL};
    struct put_input input = {.context = context};
    everdue_put_init(&input.put);
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    struct text payload;
    int code = 0;
    text_init(&payload);
    input.put.payload = everdue_text(input.payload);
    if (input.payload && strcmp(input.payload, "-") == 0) {
        /* One byte more than may be is read, so that the broker refuses it. */
        code = context_read_stdin(&payload, PAYLOAD_BYTES_MAX + 1);
        input.put.payload = (struct everdue_bytes){payload.data, payload.count};
    }
    int item = STATUS_OK;
    if (code == 0)
        code = context_open(context, NULL);
    if (code == 0) {
        int status =
            everdue_put_many(context->client, context_queue(context), &input.put, 1, &item);
        code = status < 0 ? context_fail(context, status, "put")
                          : print_statuses(context, &input.put.key, &item, 1);
    }
    text_release(&payload);
    return code;
}

/* --- commands on keys ------------------------------------------------------------------------- */

struct keys_input {
    struct context *context;
    struct everdue_bytes *keys; /* room for argc of them */
    size_t count;
    size_t count_max;
    bool may_be_empty;
};

static error_t parse_keys(int key, char *argument, struct argp_state *state)
{
    struct keys_input *input = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        context_give(state, input->context);
        return 0;
    case ARGP_KEY_ARG:
        if (input->count == input->count_max)
            argp_error(state, "one KEY only; \"%s\" is too many", argument);
        else
            input->keys[input->count++] = context_key(state, argument);
        return 0;
    case ARGP_KEY_NO_ARGS:
        if (!input->may_be_empty)
            argp_error(state, "KEY is missing");
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

typedef int keys_call(struct everdue_client *client, const char *queue,
                      const struct everdue_bytes *keys, size_t count, int *statuses);

/* Calls the broker for all keys and prints what became of each. */
static int call_keys(struct context *context, const struct keys_input *input, keys_call *call,
                     const char *what)
{
    int *statuses = calloc(input->count, sizeof(*statuses));
    if (!statuses) {
        context_say("out of memory");
        return EX_SOFTWARE;
    }
    int status = call(context->client, context_queue(context), input->keys, input->count, statuses);
    int code = status < 0 ? context_fail(context, status, what)
                          : print_statuses(context, input->keys, statuses, input->count);
    free(statuses);
    return code;
}

static int kick_all(struct context *context)
{
    uint64_t kicked = 0;
    char count[QUANTITY_TEXT_BYTES];
    int status = everdue_kick_all(context->client, context_queue(context), &kicked);
    if (status < 0)
        return context_fail(context, status, "kick");
    if (context->format == OUTPUT_TEXT)
        printf("kicked %s record%s\n", count_format(kicked, count), kicked == 1 ? "" : "s");
    else
        printf("{\"kicked\":%llu}\n", (unsigned long long)kicked);
    return 0;
}

/* A subcommand whose arguments are keys. `call` NULL: all parked ones where no key is given. */
static int run_keys(struct context *context, int argc, char **argv, const struct argp *argp,
                    keys_call *call, const char *what)
{
    struct keys_input input = {
        .context = context,
        .keys = calloc((size_t)argc, sizeof(*input.keys)),
        .count_max = (size_t)argc,
        .may_be_empty = call == everdue_kick,
    };
    if (!input.keys) {
        context_say("out of memory");
        return EX_SOFTWARE;
    }
    argp_parse(argp, argc, argv, 0, NULL, &input);
    int code = context_open(context, NULL);
    if (code == 0)
        code = input.count == 0 ? kick_all(context) : call_keys(context, &input, call, what);
    free(input.keys);
    return code;
}

int command_rm(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        NULL, parse_keys, "KEY...", "Remove records.", context_queue_children, NULL, NULL};
    return run_keys(context, argc, argv, &argp, everdue_remove, "rm");
}

int command_run_now(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        NULL,
        parse_keys,
        "KEY...",
        "Make records due now. One that is out at a worker is due again "
        "when its report comes.",
        context_queue_children,
        NULL,
        NULL};
    return run_keys(context, argc, argv, &argp, everdue_run_now, "run-now");
}

int command_kick(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        NULL,
        parse_keys,
        "[KEY...]",
        "Bring parked records back: due now, their failures and crashes "
        "forgotten. Without KEY: all of the queue.",
        context_queue_children,
        NULL,
        NULL};
    return run_keys(context, argc, argv, &argp, everdue_kick, "kick");
}

/* --- get -------------------------------------------------------------------------------------- */

static void print_pair(const char *name, const char *value)
{
    printf("%-*s %s\n", NAME_WIDTH, name, value);
}

static void print_due(const struct everdue_record *record)
{
    char time[QUANTITY_TEXT_BYTES], span[QUANTITY_TEXT_BYTES];
    int64_t left_us = record->due_us - clock_now().wall_us;
    time_format(record->due_us, 6, time);
    if (record->status == EVERDUE_WAITING && left_us >= 0)
        printf("%-*s %s (in %s)\n", NAME_WIDTH, "due", time, span_format(left_us, span));
    else if (record->status == EVERDUE_READY && left_us < 0)
        printf("%-*s %s (%s ago)\n", NAME_WIDTH, "due", time, span_format(-left_us, span));
    else
        print_pair("due", time);
}

static void print_record(const char *queue, const struct everdue_record *record)
{
    char text[QUANTITY_TEXT_BYTES];
    output_value(NAME_WIDTH, "key", record->key);
    print_pair("queue", queue);
    print_pair("state", record_json_state_name(record->status));
    print_due(record);
    if (record->every_us > 0)
        print_pair("every", duration_format(record->every_us, text));
    output_value(NAME_WIDTH, "group", record->group);
    if (record->rank != 0)
        printf("%-*s %lld\n", NAME_WIDTH, "rank", (long long)record->rank);
    if (record->once)
        print_pair("once", "true");
    printf("%-*s %u\n%-*s %u\n", NAME_WIDTH, "failures", record->failures, NAME_WIDTH, "crashes",
           record->crashes);
    output_value(NAME_WIDTH, "payload", record->payload);
    output_value(NAME_WIDTH, "memo", record->memo);
    output_value(NAME_WIDTH, "note", record->note);
    output_value(NAME_WIDTH, "error", record->error);
    output_value(NAME_WIDTH, "park_reason", record->park_reason);
    if (record->parked_us > 0)
        print_pair("parked", time_format(record->parked_us, 6, text));
    output_value(NAME_WIDTH, "last_worker", record->last_worker);
}

int command_get(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        NULL, parse_keys, "KEY", "Show a record.", context_queue_children, NULL, NULL};
    struct everdue_bytes key;
    struct keys_input input = {.context = context, .keys = &key, .count_max = 1};
    struct everdue_record record;
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    int code = context_open(context, NULL);
    if (code)
        return code;
    const char *queue = context_queue(context);
    int status = everdue_get(context->client, queue, key, &record);
    if (status == STATUS_NOT_FOUND) {
        context_say("no record \"%.*s\" in queue \"%s\"", (int)key.count, (const char *)key.data,
                    queue);
        return EXIT_NO;
    }
    if (status < 0)
        return context_fail(context, status, "get");
    if (context->format == OUTPUT_TEXT) {
        print_record(queue, &record);
        return 0;
    }
    struct text object;
    text_init(&object);
    record_json_write_view(&object, queue, &record);
    output_line(&object);
    text_release(&object);
    return 0;
}
