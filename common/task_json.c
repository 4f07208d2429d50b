#include "task_json.h"

#include <inttypes.h>
#include <string.h>

#include "json.h"
#include "moment.h"
#include "quantity.h"

static struct everdue_bytes bytes_in(const char *text)
{
    return (struct everdue_bytes){text, strlen(text)};
}

static void add_every(struct text *text, int64_t every_us)
{
    json_add_number(text, "every_ms", every_us / US_PER_MS);
    if (every_us % US_PER_MS)
        text_add_format(text, ".%03" PRId64, every_us % US_PER_MS);
}

/* What follows the lease. */
static void add_rest(struct text *text, const struct everdue_task *task, int64_t mono_us)
{
    char due[QUANTITY_TEXT_BYTES];
    int64_t left_us = task->deadline_mono_us - mono_us;
    json_add_member(text, "due", bytes_in(time_format(task->due_us, 6, due)));
    json_add_number(text, "lateness_ms", task->lateness_us / US_PER_MS);
    json_add_number(text, "failures", task->failures);
    json_add_number(text, "crashes", task->crashes);
    json_add_value(text, "payload", task->payload);
    json_add_value(text, "memo", task->memo);
    if (task->group.data && task->group.count > 0)
        json_add_member(text, "group", task->group);
    add_every(text, task->every_us);
    json_add_number(text, "deadline_ms", left_us > 0 ? left_us / US_PER_MS : 0);
    text_add_string(text, "}");
}

static void add_names(struct text *text, const struct everdue_task *task)
{
    text_add_string(text, "{");
    json_add_member(text, "key", task->key);
    json_add_member(text, "queue", bytes_in(task->queue));
}

void task_json_write(struct text *text, const struct everdue_task *task, int64_t mono_us)
{
    add_names(text, task);
    json_add_number(text, "lease", (long long)task->lease);
    add_rest(text, task, mono_us);
    text_add_string(text, "\n");
}

void task_json_write_taken(struct text *text, const struct everdue_task *task, const char *lease,
                           int64_t mono_us)
{
    add_names(text, task);
    json_add_member(text, "lease", bytes_in(lease));
    add_rest(text, task, mono_us);
}
