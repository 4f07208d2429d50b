#include "commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "clock.h"
#include "json.h"
#include "quantity.h"
#include "readable.h"
#include "row.h"
#include "sentences.h"
#include "status.h"

struct look_input {
    struct context *context;
    int64_t interval_us;
    int64_t times; /* 0: for ever */
    size_t arguments_max;
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct look_input *input = state->input;
    if (key == ARGP_KEY_INIT) {
        context_give(state, input->context);
        return 0;
    }
    if (key != ARGP_KEY_ARG)
        return ARGP_ERR_UNKNOWN;
    if (state->arg_num >= input->arguments_max)
        argp_error(state, "\"%s\" is too many", argument);
    if (state->arg_num == 1)
        input->times = context_whole(state, "COUNT", argument, 1, INT32_MAX);
    else if (strspn(argument, "0123456789") == strlen(argument))
        input->interval_us = context_whole(state, "SECONDS", argument, 1, 86400) * 1000000;
    else
        input->interval_us = context_duration(state, "SECONDS", argument);
    if (input->interval_us < 1000)
        argp_error(state, "SECONDS %s: 1ms at least", argument);
    return 0;
}

/* --- stats ------------------------------------------------------------------------------------ */

static bool print_stats(const struct everdue_value *values, size_t count, void *user)
{
    static const struct output_column columns[] = {{"NAME", false}, {"VALUE", true}};
    const struct context *context = user;
    struct text text;
    text_init(&text);
    if (context->format != OUTPUT_TEXT) {
        row_write_json(&text, &(struct row){values, count});
        output_line(&text);
        text_release(&text);
        return true;
    }
    struct output_table *table = output_table_new(columns, 2);
    for (size_t i = 0; table && i < count; i++) {
        text_clear(&text);
        row_add_readable(&text, &values[i]);
        struct text name;
        text_init(&name);
        readable_add(&name, values[i].name);
        output_table_add(table, (const char *const[]){name.data, text.data}, NULL, 0);
        text_release(&name);
    }
    output_table_destroy(&table);
    text_release(&text);
    return true;
}

int command_stats(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {NULL,
                                     parse,
                                     "",
                                     "Show all counters, of one queue with --queue.",
                                     context_queue_or_all_children,
                                     NULL,
                                     NULL};
    struct look_input input = {.context = context, .interval_us = 1000000};
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    int code = context_open(context, NULL);
    if (code)
        return code;
    int status = everdue_stats(context->client, context->queue, print_stats, context);
    return status < 0 ? context_fail(context, status, context->queue ? context->queue : "stats")
                      : 0;
}

/* --- stat ------------------------------------------------------------------------------------- */

enum { HEADER_EVERY = 20 };

static const char *const totals[] = {
    "dispatched_total", "reports_ok_total", "reports_failed_total",
    "expired_total",    "created_total",
};
enum { TOTALS = sizeof(totals) / sizeof(totals[0]) };

struct stat_printer {
    const struct context *context;
    int64_t before[TOTALS];
    int64_t before_us; /* monotonic; 0: there is no line before */
    uint64_t lines;
};

static void print_stat_line(struct stat_printer *printer, const struct row *row, int64_t now_us)
{
    char head[QUANTITY_TEXT_BYTES], high[QUANTITY_TEXT_BYTES];
    double seconds = (double)(now_us - printer->before_us) / 1e6;
    double rates[TOTALS];
    if (printer->lines++ % HEADER_EVERY == 0)
        printf("%10s %8s %7s %6s %4s  %8s %8s %7s %7s %7s  %9s %9s\n", "waiting", "ready", "leased",
               "parked", "work", "out/s", "ok/s", "fail/s", "exp/s", "new/s", "head", "p99");
    for (size_t i = 0; i < TOTALS; i++) {
        int64_t now = row_number(row, totals[i], 0);
        rates[i] = (double)(now - printer->before[i]) / seconds;
    }
    span_format(row_number(row, "head_lateness_us", 0), head);
    span_format(row_number(row, "lateness_p99_us", 0), high);
    printf("%10lld %8lld %7lld %6lld %4lld  %8.0f %8.0f %7.0f %7.0f %7.0f  %9s %9s\n",
           (long long)row_number(row, "waiting", 0), (long long)row_number(row, "ready", 0),
           (long long)row_number(row, "leased", 0), (long long)row_number(row, "parked", 0),
           (long long)row_number(row, "workers", 0), rates[0], rates[1], rates[2], rates[3],
           rates[4], head, high);
}

static bool print_stat(const struct everdue_value *values, size_t count, void *user)
{
    struct stat_printer *printer = user;
    struct row row = {values, count};
    int64_t now_us = clock_now().mono_us;
    struct text text;
    if (printer->context->format != OUTPUT_TEXT) {
        text_init(&text);
        row_write_json(&text, &row);
        output_line(&text);
        text_release(&text);
    } else if (printer->before_us > 0 && now_us > printer->before_us) {
        print_stat_line(printer, &row, now_us);
    }
    for (size_t i = 0; i < TOTALS; i++)
        printer->before[i] = row_number(&row, totals[i], 0);
    printer->before_us = now_us;
    fflush(stdout);
    return true;
}

static void wait_until(int64_t mono_us)
{
    struct timespec until = {mono_us / 1000000, mono_us % 1000000 * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
}

int command_stat(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {NULL,
                                     parse,
                                     "[SECONDS [COUNT]]",
                                     "Print a line every SECONDS (1), with rates since the one "
                                     "before; COUNT of them, or until Ctrl-C.",
                                     context_queue_or_all_children,
                                     NULL,
                                     NULL};
    struct look_input input = {.context = context, .interval_us = 1000000, .arguments_max = 2};
    struct stat_printer printer = {.context = context};
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    int code = context_open(context, NULL);
    if (code)
        return code;
    int64_t next_us = clock_now().mono_us;
    /* A rate needs two readings, JSON none. */
    int64_t readings = input.times + (input.times > 0 && context->format == OUTPUT_TEXT);
    for (int64_t i = 0; (readings == 0 || i < readings) && output_is_open(); i++) {
        if (i > 0)
            wait_until(next_us);
        int status = everdue_stats(context->client, context->queue, print_stat, &printer);
        if (status < 0)
            return context_fail(context, status, "stat");
        next_us += input.interval_us;
    }
    return 0;
}

/* --- workers and queues ----------------------------------------------------------------------- */

/* A column of a table: a member of the broker's rows. A row without it leaves the cell empty, and
 * what is not named here is in JSON only: a broker of another version may add members. */
struct look_column {
    const char *member; /* NULL: behind the last */
    struct output_column head;
};

enum { COLUMNS_MAX = 18 };

static const struct look_column worker_columns[COLUMNS_MAX + 1] = {
    {"name", {"NAME", false}},
    {"queues", {"QUEUES", false}},
    {"credit", {"CREDIT", true}},
    {"in_flight", {"IN_FLIGHT", true}},
    {"announcing", {"ANNOUNCING", true}},
    {"suspect", {"SUSPECT", true}},
    {"seen_ms", {"SEEN", true}},
    {"connected_s", {"CONNECTED", true}},
    {"reports_ok_total", {"OK", true}},
    {"reports_failed_total", {"FAILED", true}},
};

static const struct look_column queue_columns[COLUMNS_MAX + 1] = {
    {"name", {"NAME", false}},
    {"paused", {"PAUSED", true}},
    {"records", {"RECORDS", true}},
    {"waiting", {"WAITING", true}},
    {"ready", {"READY", true}},
    {"leased", {"LEASED", true}},
    {"parked", {"PARKED", true}},
    {"workers", {"WORKERS", true}},
    {"credit", {"CREDIT", true}},
    {"head_lateness_us", {"HEAD", true}},
    {"lateness_p50_us", {"P50", true}},
    {"lateness_p99_us", {"P99", true}},
    {"lateness_max_us", {"MAX", true}},
    {"sync", {"SYNC", false}},
    {"sync_by", {"SYNC_BY", false}},
    {"sync_age_s", {"SYNC_AGE", true}},
    {"sync_idle_s", {"SYNC_IDLE", true}},
};

struct rows_printer {
    const struct context *context;
    const struct look_column *columns;
    struct output_list list;
    struct output_table *table; /* from the first row on: of none there is nothing to see */
    bool failed;
};

static size_t count_columns(const struct look_column *columns)
{
    size_t count = 0;
    while (columns[count].member)
        count++;
    return count;
}

static void begin_table(struct rows_printer *printer)
{
    struct output_column heads[COLUMNS_MAX];
    size_t count = count_columns(printer->columns);
    for (size_t i = 0; i < count; i++)
        heads[i] = printer->columns[i].head;
    printer->table = output_table_new(heads, count);
    printer->failed = !printer->table;
}

static void add_table_row(struct rows_printer *printer, const struct row *row)
{
    struct text cells[COLUMNS_MAX];
    const char *texts[COLUMNS_MAX] = {NULL};
    size_t count = count_columns(printer->columns);
    bool has_sync = row_has_text(row, "sync");
    for (size_t i = 0; i < count; i++) {
        const char *member = printer->columns[i].member;
        bool is_of_sync = strncmp(member, "sync_", strlen("sync_")) == 0;
        text_init(&cells[i]);
        if (has_sync || !is_of_sync)
            row_add_cell(row, member, &cells[i]);
        texts[i] = cells[i].data;
    }
    output_table_add(printer->table, texts, NULL, 0);
    for (size_t i = 0; i < count; i++)
        text_release(&cells[i]);
}

static bool print_row(const struct everdue_value *values, size_t count, void *user)
{
    struct rows_printer *printer = user;
    struct row row = {values, count};
    if (printer->context->format == OUTPUT_TEXT) {
        if (!printer->table)
            begin_table(printer);
        if (printer->table)
            add_table_row(printer, &row);
        return !printer->failed;
    }
    struct text object;
    text_init(&object);
    row_write_json(&object, &row);
    output_list_add(&printer->list, &object);
    text_release(&object);
    return true;
}

typedef int rows_call(struct everdue_client *client, everdue_row_visitor *visit, void *user);

static int run_rows(struct context *context, int argc, char **argv, const struct argp *argp,
                    rows_call *call, const struct look_column *columns)
{
    struct look_input input = {.context = context, .interval_us = 1000000};
    struct rows_printer printer = {.context = context, .columns = columns};
    argp_parse(argp, argc, argv, 0, NULL, &input);
    int code = context_open(context, NULL);
    if (code)
        return code;
    if (context->format != OUTPUT_TEXT)
        output_list_begin(&printer.list, context->format);
    int status = call(context->client, print_row, &printer);
    output_table_destroy(&printer.table);
    if (context->format != OUTPUT_TEXT)
        output_list_end(&printer.list);
    if (printer.failed) {
        context_say("out of memory");
        return EX_SOFTWARE;
    }
    return status < 0 ? context_fail(context, status, argv[0] + strlen("everdue ")) : 0;
}

int command_workers(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "", "Show who is connected.", context_children,
                                     NULL, NULL};
    return run_rows(context, argc, argv, &argp, everdue_workers, worker_columns);
}

int command_queues(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "", "Show all queues.", context_children,
                                     NULL, NULL};
    return run_rows(context, argc, argv, &argp, everdue_queues, queue_columns);
}

/* --- status ----------------------------------------------------------------------------------- */

static bool count_queue(const struct everdue_value *values, size_t count, void *user)
{
    sentences_add_queue(user, &(struct row){values, count});
    return true;
}

/* The sentences, or the same as an object. */
struct status_printer {
    const struct context *context;
    const struct sentences_queues *queues;
    struct text text;
};

static bool print_status(const struct everdue_value *values, size_t count, void *user)
{
    struct status_printer *printer = user;
    struct text *text = &printer->text;
    struct row row = {values, count};
    if (printer->context->format == OUTPUT_TEXT) {
        sentences_write(text, &row, printer->queues);
        return true;
    }
    struct text said;
    text_init(&said);
    bool is_well = sentences_write(&said, &row, printer->queues);
    text_add(text, "{", 1);
    json_add_true_or_false(text, "well", is_well);
    json_add_member(text, "text", (struct everdue_bytes){said.data, said.count});
    text_add_string(text, "}\n");
    text_release(&said);
    return true;
}

int command_status(struct context *context, int argc, char **argv)
{
    static const struct argp argp = {
        NULL, parse, "", "Say how things are, in sentences.", context_children, NULL, NULL};
    struct look_input input = {.context = context, .interval_us = 1000000};
    struct sentences_queues queues;
    struct status_printer printer = {.context = context, .queues = &queues};
    argp_parse(&argp, argc, argv, 0, NULL, &input);
    int code = context_open(context, NULL);
    if (code)
        return code;
    sentences_queues_init(&queues);
    text_init(&printer.text);
    int status = everdue_queues(context->client, count_queue, &queues);
    if (status >= 0)
        status = everdue_stats(context->client, NULL, print_status, &printer);
    if (status < 0)
        code = context_fail(context, status, "status");
    else
        output_text(&printer.text);
    sentences_queues_release(&queues);
    text_release(&printer.text);
    return code;
}
