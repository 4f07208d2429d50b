#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "clock.h"
#include "quantity.h"
#include "readable.h"
#include "record_json.h"
#include "status.h"

enum { PEEK_DEFAULT = 10, PEEK_MAX = 1000, BACKUP_WAIT_S = 3600 };

/* --- printing records ------------------------------------------------------------------------- */

static const struct output_column columns[] = {
    {"KEY", false},  {"STATE", false},   {"DUE", false},  {"IN", true},
    {"EVERY", true}, {"FAILURES", true}, {"NOTE", false},
};

/* Prints the records of a walk as they come. */
struct printer {
    const char *queue;
    enum output_format format;
    struct output_table *table; /* of text */
    struct output_list list;    /* of the others */
    struct text object;
    int64_t now_us;
    uint64_t count;
    bool is_export;
};

static void printer_begin(struct printer *printer, const struct context *context)
{
    *printer = (struct printer){
        .queue = context_queue(context), .format = context->format, .now_us = clock_now().wall_us};
    if (printer->format == OUTPUT_TEXT)
        printer->table = output_table_new(columns, sizeof(columns) / sizeof(columns[0]));
    else
        output_list_begin(&printer->list, printer->format);
}

static void printer_end(struct printer *printer)
{
    if (printer->format == OUTPUT_TEXT)
        output_table_destroy(&printer->table);
    else
        output_list_end(&printer->list);
    text_release(&printer->object);
}

static const char *colour_of(enum everdue_record_status status)
{
    if (status == EVERDUE_PARKED)
        return "red";
    if (status == EVERDUE_READY)
        return "yellow";
    return status == EVERDUE_LEASED ? "green" : NULL;
}

static void add_row(struct printer *printer, const struct everdue_record *record)
{
    char due[QUANTITY_TEXT_BYTES], left[QUANTITY_TEXT_BYTES + 1] = "", every[QUANTITY_TEXT_BYTES];
    char failures[32];
    struct text key, note;
    int64_t left_us = record->due_us - printer->now_us;
    text_init(&key);
    text_init(&note);
    readable_add(&key, record->key);
    readable_add(&note, record->park_reason.count > 0 ? record->park_reason : record->note);
    if (left_us < 0)
        left[0] = '-';
    span_format(left_us < 0 ? -left_us : left_us, left + (left_us < 0));
    snprintf(failures, sizeof(failures), "%u", record->failures);
    const char *cells[] = {
        key.data,
        record_json_state_name(record->status),
        time_format(record->due_us, 3, due),
        left,
        record->every_us > 0 ? duration_format(record->every_us, every) : "",
        failures,
        note.data,
    };
    output_table_add(printer->table, cells, colour_of(record->status), 1);
    text_release(&key);
    text_release(&note);
}

static bool print_one(const struct everdue_record *record, void *user)
{
    struct printer *printer = user;
    printer->count++;
    if (printer->format == OUTPUT_TEXT) {
        if (printer->table)
            add_row(printer, record);
        return output_is_open();
    }
    text_clear(&printer->object);
    if (printer->is_export)
        record_json_write(&printer->object, record);
    else
        record_json_write_view(&printer->object, printer->queue, record);
    if (!printer->object.failed)
        output_list_add(&printer->list, &printer->object);
    return !printer->object.failed && output_is_open();
}

static bool pass_over(const struct everdue_value *values, size_t count, void *user)
{
    (void)values;
    (void)count;
    (void)user;
    return true;
}

/* The exit code of a walk that found `count` records. A queue that is named and is none has none,
 * too: whoever mistyped it should not take an empty export for an empty queue. */
static int end_walk(struct context *context, uint64_t count)
{
    if (count > 0 || !context->queue ||
        everdue_stats(context->client, context->queue, pass_over, NULL) != STATUS_NOT_FOUND)
        return 0;
    context_say("there is no queue \"%s\". See: everdue queues", context->queue);
    return EXIT_NO;
}

/* --- list, export ----------------------------------------------------------------------------- */

struct walk_input {
    struct context *context;
    unsigned states; /* 0: none named */
    struct everdue_bytes prefix;
    bool is_export;
};

enum { OPTION_STATE = 0x100, OPTION_PREFIX };

static const struct argp_option walk_options[] = {
    {"state", OPTION_STATE, "STATE", 0,
     "Only waiting, ready, leased or parked ones; several with commas", 0},
    {"prefix", OPTION_PREFIX, "TEXT", 0, "Only keys that begin with this", 0},
    {0},
};

/* Adds the states of a list with commas. */
static void add_states(struct argp_state *state, const char *argument, unsigned *states)
{
    static const enum everdue_record_status all[] = {EVERDUE_WAITING, EVERDUE_READY, EVERDUE_LEASED,
                                                     EVERDUE_PARKED};
    while (*argument) {
        size_t count = strcspn(argument, ",");
        unsigned found = 0;
        for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
            const char *name = record_json_state_name(all[i]);
            if (strlen(name) == count && strncmp(name, argument, count) == 0)
                found = all[i];
        }
        if (!found)
            argp_error(state, "--state %s: write waiting, ready, leased or parked", argument);
        *states |= found;
        argument += count + (argument[count] == ',');
    }
}

static error_t parse_walk(int key, char *argument, struct argp_state *state)
{
    struct walk_input *input = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        context_give(state, input->context);
        return 0;
    case OPTION_STATE:
        add_states(state, argument, &input->states);
        return 0;
    case OPTION_PREFIX:
        input->prefix = everdue_text(argument);
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "\"%s\" is too many; --queue names the queue", argument);
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static int walk(const struct walk_input *input)
{
    struct context *context = input->context;
    struct printer printer;
    int code = context_open(context, NULL);
    if (code)
        return code;
    printer_begin(&printer, context);
    printer.is_export = input->is_export;
    int status = everdue_list(context->client, context_queue(context),
                              input->states ? input->states : EVERDUE_ANY, input->prefix, print_one,
                              &printer);
    bool failed = printer.object.failed;
    printer_end(&printer);
    if (failed) {
        context_say("out of memory");
        return EX_SOFTWARE;
    }
    return status < 0 ? context_fail(context, status, input->is_export ? "export" : "list")
                      : end_walk(context, printer.count);
}

int command_list(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {walk_options,
                                     parse_walk,
                                     "",
                                     "List the records of a queue, in the order of the store.",
                                     context_queue_children,
                                     NULL,
                                     NULL};
    struct walk_input input = {.context = context};
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    return walk(&input);
}

int command_export(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        walk_options,
        parse_walk,
        "",
        "Write the records of a queue as the lines of JSON that sync reads, memos included.",
        context_queue_children,
        NULL,
        NULL};
    struct walk_input input = {.context = context, .is_export = true};
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    if (context->format == OUTPUT_TEXT)
        context->format = OUTPUT_JSONL;
    return walk(&input);
}

/* --- peek ------------------------------------------------------------------------------------- */

struct peek_input {
    struct context *context;
    uint32_t max;
};

static error_t parse_peek(int key, char *argument, struct argp_state *state)
{
    struct peek_input *input = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        context_give(state, input->context);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            argp_error(state, "one N only; \"%s\" is too many", argument);
        input->max = (uint32_t)context_whole(state, "N", argument, 1, PEEK_MAX);
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

int command_peek(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {NULL,
                                     parse_peek,
                                     "[N]",
                                     "Show the N (10) records of a queue that are due next.",
                                     context_queue_children,
                                     NULL,
                                     NULL};
    struct peek_input input = {.context = context, .max = PEEK_DEFAULT};
    struct printer printer;
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    int code = context_open(context, NULL);
    if (code)
        return code;
    printer_begin(&printer, context);
    int status =
        everdue_peek(context->client, context_queue(context), input.max, print_one, &printer);
    printer_end(&printer);
    return status < 0 ? context_fail(context, status, "peek") : end_walk(context, printer.count);
}

/* --- backup ----------------------------------------------------------------------------------- */

struct backup_input {
    struct context *context;
    const char *directory;
};

static error_t parse_backup(int key, char *argument, struct argp_state *state)
{
    struct backup_input *input = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        context_give(state, input->context);
        return 0;
    case ARGP_KEY_ARG:
        if (input->directory)
            argp_error(state, "one DIR only; \"%s\" is too many", argument);
        input->directory = argument;
        return 0;
    case ARGP_KEY_END:
        if (!input->directory)
            argp_error(state, "DIR is missing");
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

/* The broker has a working directory of its own: a relative path means ours. */
static char *absolute_path(const char *path)
{
    char *here = *path == '/' ? strdup("") : realpath(".", NULL);
    char *absolute = NULL;
    if (here && asprintf(&absolute, "%s%s%s", here, *here ? "/" : "", path) < 0)
        absolute = NULL;
    free(here);
    return absolute;
}

int command_backup(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        NULL,
        parse_backup,
        "DIR",
        "Copy the store while the broker runs. DIR is on the broker's host, new or empty.",
        context_children,
        NULL,
        NULL};
    struct backup_input input = {.context = context};
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    char *directory = absolute_path(input.directory);
    if (!directory) {
        context_say("%s: out of memory", input.directory);
        return EX_SOFTWARE;
    }
    int code = context_open(context, NULL);
    if (code == 0)
        code = context_meet(context);
    if (code == 0) {
        context_set_wait(context, (int64_t)BACKUP_WAIT_S * 1000000);
        int status = everdue_backup(context->client, directory);
        if (status < 0)
            code = context_fail(context, status, directory);
        else if (context->format == OUTPUT_TEXT)
            printf("copied to %s\n", directory);
        else
            printf("{\"status\":\"ok\"}\n");
    }
    free(directory);
    return code;
}
