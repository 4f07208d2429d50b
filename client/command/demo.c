#include "demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "commands.h"
#include "json.h"
#include "quantity.h"

/* --- the records ------------------------------------------------------------------------------ */

static const struct {
    const char *key;
    int64_t every_us;
} records[] = {
    {"demo/every-second", 1000000},
    {"demo/every-2-seconds", 2000000},
    {"demo/every-3-seconds", 3000000},
    {"demo/every-5-seconds", 5000000},
    {"demo/every-10-seconds", 10000000},
    {"demo/every-minute", 60000000},
    {"demo/once", 0},
};

enum { RECORD_COUNT = sizeof(records) / sizeof(records[0]), STEP_US = 250000 };

int demo_put(struct context *context)
{
    struct everdue_put puts[RECORD_COUNT];
    int statuses[RECORD_COUNT];
    for (size_t i = 0; i < RECORD_COUNT; i++) {
        everdue_put_init(&puts[i]);
        puts[i].key = everdue_text(records[i].key);
        puts[i].in_us = (int64_t)(i + 1) * STEP_US;
        puts[i].every_us = records[i].every_us;
        puts[i].has_once = true;
        puts[i].once = records[i].every_us == 0;
        puts[i].payload = everdue_text("{\"demo\":true}");
    }
    int status =
        everdue_put_many(context->client, context_queue(context), puts, RECORD_COUNT, statuses);
    for (size_t i = 0; status >= 0 && i < RECORD_COUNT; i++)
        status = statuses[i] < 0 ? statuses[i] : status;
    if (status < 0)
        return context_fail(context, status, "demo records");
    fprintf(stderr,
            "everdue: broker at %s; look at it in another terminal: everdue list, everdue "
            "stat 1. Ctrl-C ends\n",
            context->endpoint);
    return 0;
}

/* --- the handler ------------------------------------------------------------------------------ */

/* The memo counts the runs: {"runs":3}. */
static int64_t runs_of(const struct json_object *task)
{
    struct json_object memo;
    struct json_value value;
    char why[JSON_WHY_BYTES];
    int64_t runs = 0;
    json_object_init(&memo);
    if (json_object_find(task, "memo", &value) &&
        !json_object_read(&memo, value.data, value.count, why) &&
        json_object_find(&memo, "runs", &value) &&
        number_parse(value.data, value.count, 0, INT32_MAX, &runs))
        runs = 0;
    json_object_release(&memo);
    return runs;
}

static void print_task(struct text *printed, struct everdue_bytes key, int64_t due_us,
                       int64_t now_us, int64_t runs)
{
    char time[QUANTITY_TEXT_BYTES], late[QUANTITY_TEXT_BYTES];
    time_format(now_us, 3, time);
    text_add_format(printed, "%s  %-24.*s run %-5lld %s late\n", time, (int)key.count,
                    (const char *)key.data, (long long)runs,
                    span_format(now_us > due_us ? now_us - due_us : 0, late));
}

bool demo_handle(const char *line, size_t count, int64_t now_us, struct text *printed,
                 struct text *result)
{
    struct json_object object;
    struct json_value name, lease, due;
    struct text scratch;
    struct everdue_bytes key;
    char why[JSON_WHY_BYTES];
    int64_t due_us;
    bool is_whole;
    json_object_init(&object);
    text_init(&scratch);
    bool is_task = !json_object_read(&object, line, count, why) && text_reserve(&scratch, count) &&
                   json_object_find(&object, "key", &name) &&
                   json_object_find(&object, "lease", &lease) &&
                   json_object_find(&object, "due", &due) &&
                   json_value_text(&name, &scratch, &key, &is_whole) &&
                   time_parse(due.data, due.count, &due_us) == NULL;
    if (is_task) {
        int64_t runs = runs_of(&object) + 1;
        print_task(printed, key, due_us, now_us, runs);
        text_add_format(result, "{\"lease\":%.*s,\"memo\":{\"runs\":%lld}}\n", (int)lease.count,
                        lease.data, (long long)runs);
    }
    text_release(&scratch);
    json_object_release(&object);
    return is_task;
}

int command_dev_handler(struct context *context, int argc, char **argv)
{
    struct text printed, result;
    char *line = NULL;
    size_t room = 0;
    ssize_t count;
    const char *path = getenv(DEMO_OUTPUT_VARIABLE);
    FILE *output = path ? fopen(path, "ae") : NULL;
    (void)context;
    (void)argc;
    (void)argv;
    text_init(&printed);
    text_init(&result);
    /* Ends when the worker closes our standard input. */
    while ((count = getline(&line, &room, stdin)) > 0) {
        text_clear(&printed);
        text_clear(&result);
        if (!demo_handle(line, (size_t)count, clock_now().wall_us, &printed, &result))
            continue;
        fwrite(printed.data, 1, printed.count, output ? output : stderr);
        fflush(output ? output : stderr);
        output_text(&result);
        fflush(stdout);
    }
    text_release(&printed);
    text_release(&result);
    free(line);
    if (output)
        fclose(output);
    return 0;
}
