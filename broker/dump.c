#include "dump.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "body.h"
#include "message.h"
#include "quantity.h"
#include "record_json.h"
#include "sched.h"
#include "sched_sync.h"

void dump_init(struct dump *dump, FILE *stream, const char *only)
{
    memset(dump, 0, sizeof(*dump));
    dump->stream = stream;
    dump->only = only;
    text_init(&dump->line);
}

void dump_release(struct dump *dump)
{
    free(dump->queues);
    dump->queues = NULL;
    text_release(&dump->line);
}

static struct everdue_bytes shown(struct bytes bytes)
{
    return (struct everdue_bytes){bytes.data, bytes.count};
}

static enum status refuse(struct dump *dump, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum status refuse(struct dump *dump, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(dump->why, sizeof(dump->why), format, arguments);
    va_end(arguments);
    return STATUS_CORRUPT;
}

static enum status print_line(struct dump *dump)
{
    text_add(&dump->line, "\n", 1);
    if (dump->line.failed)
        return STATUS_NO_MEMORY;
    size_t written = fwrite(dump->line.data, 1, dump->line.count, dump->stream);
    return written == dump->line.count ? STATUS_OK : STATUS_IO;
}

/* --- queues ----------------------------------------------------------------------------------- */

const struct dump_queue *dump_find_queue(const struct dump *dump, const char *name)
{
    for (uint32_t i = 0; i < dump->queue_count; i++)
        if (strcmp(dump->queues[i].name, name) == 0)
            return &dump->queues[i];
    return NULL;
}

static struct dump_queue *require_queue(struct dump *dump, uint32_t id)
{
    if (id >= dump->queue_count) {
        struct dump_queue *grown = realloc(dump->queues, (id + 1) * sizeof(*grown));
        if (!grown)
            return NULL;
        dump->queues = grown;
        for (uint32_t i = dump->queue_count; i <= id; i++) {
            grown[i] = (struct dump_queue){.records = 0};
            snprintf(grown[i].name, sizeof(grown[i].name), "queue-%" PRIu32, i);
        }
        dump->queue_count = id + 1;
    }
    return &dump->queues[id];
}

static void add_totals(struct text *text, const struct sched_queue_row *row)
{
    const struct sched_totals *totals = &row->totals;
    json_add_true_or_false(text, "paused", row->is_paused);
    json_add_number(text, "records", (long long)(totals->created - totals->removed));
    for (uint32_t i = 0; i < SCHED_TOTALS; i++)
        json_add_number(text, sched_total_list[i].name, (long long)sched_total_get(totals, i));
}

static enum status take_queue(struct dump *dump, const struct store_row *row, struct bytes bytes)
{
    struct sched_queue_row stored;
    if (sched_read_queue(bytes, &stored) || row->a >= QUEUES_MAX)
        return refuse(dump, "table queues, key %" PRIu64 ": no queue", row->a);
    struct dump_queue *queue = require_queue(dump, (uint32_t)row->a);
    if (!queue)
        return STATUS_NO_MEMORY;
    memcpy(queue->name, stored.name.data, stored.name.count);
    queue->name[stored.name.count] = '\0';
    queue->is_stored = true;
    queue->records_stored = stored.totals.created - stored.totals.removed;
    json_add_member(&dump->line, "queue", shown(stored.name));
    add_totals(&dump->line, &stored);
    return STATUS_OK;
}

/* --- other rows ------------------------------------------------------------------------------- */

static void add_time(struct text *text, const char *name, int64_t us)
{
    char time[QUANTITY_TEXT_BYTES];
    if (us == TIME_US_NEVER)
        return;
    json_add_name(text, name);
    text_add_format(text, "\"%s\"", time_format(us, 6, time));
}

static void add_change(struct text *text, const struct put *put)
{
    json_add_name(text, "change");
    text_add(text, "{", 1);
    json_add_member(text, "key", shown(put->key));
    add_time(text, "due", put->due_us);
    if (put->every_us != TIME_US_NEVER)
        json_add_number(text, "every_us", put->every_us);
    if (put->has_rank)
        json_add_number(text, "rank", put->rank);
    if (put->group.data)
        json_add_member(text, "group", shown(put->group));
    if (put->has_once)
        json_add_true_or_false(text, "once", put->once);
    json_add_bytes(text, "payload", shown(put->payload));
    json_add_bytes(text, "memo", shown(put->memo));
    text_add(text, "}", 1);
}

static enum status add_pending(struct dump *dump, const struct store_row *row, struct bytes bytes)
{
    struct sched_pending_row pending;
    if (sched_read_pending(bytes, &pending))
        return refuse(dump, "table pending, key %" PRIu64 ": no change", row->a);
    json_add_number(&dump->line, "record", (long long)row->a);
    json_add_true_or_false(&dump->line, "run_now", pending.run_now);
    if (pending.has_put)
        add_change(&dump->line, &pending.put);
    return STATUS_OK;
}

static void add_session(struct text *text, const struct store_row *row, struct bytes bytes)
{
    const uint64_t uid[2] = {row->a, row->b};
    const uint8_t *at = (const uint8_t *)uid;
    json_add_name(text, "uid");
    text_add(text, "\"", 1);
    for (size_t i = 0; i < sizeof(uid); i++)
        text_add_format(text, "%02x", at[i]);
    text_add(text, "\"", 1);
    json_add_member(text, "name", shown(bytes));
}

static void add_sync(struct text *text, const struct store_row *row)
{
    uint32_t part = (uint32_t)row->b;
    uint64_t kind = row->b - part;
    const char *name = kind == SYNC_ITEMS     ? "items"
                       : kind == SYNC_PRUNES  ? "prunes"
                       : kind == SYNC_TOUCHED ? "touched"
                                              : "marker";
    json_add_number(text, "generation", (long long)row->a);
    json_add_name(text, "part");
    text_add_format(text, "\"%s %" PRIu32 "\"", name, part);
    json_add_number(text, "bytes", row->count);
}

static enum status add_numbers(struct dump *dump, const struct store_row *row, struct bytes bytes)
{
    uint64_t numbers[SCHED_META_NUMBERS];
    if (row->a != META_NUMBERS)
        return STATUS_OK; /* a later version's */
    if (sched_read_meta(bytes, numbers))
        return refuse(dump, "table meta, key %" PRIu64 ": no numbers", row->a);
    json_add_number(&dump->line, "leases_reserved", (long long)numbers[0]);
    json_add_number(&dump->line, "next_record", (long long)numbers[1]);
    json_add_number(&dump->line, "next_generation", (long long)numbers[2]);
    return STATUS_OK;
}

enum status dump_row(const struct store_row *row, const uint8_t *data, void *user)
{
    static const char *const names[STORE_TABLE_COUNT] = {
        [STORE_META] = "meta",   [STORE_QUEUES] = "queues",   [STORE_SESSIONS] = "sessions",
        [STORE_SYNCS] = "syncs", [STORE_PENDING] = "pending", [STORE_RECORDS] = "records",
    };
    struct dump *dump = user;
    struct bytes bytes = {data, row->count};
    enum status status = STATUS_OK;
    text_clear(&dump->line);
    text_add_format(&dump->line, "{\"table\":\"%s\"", names[row->table]);
    switch (row->table) {
    case STORE_META:
        status = add_numbers(dump, row, bytes);
        break;
    case STORE_QUEUES:
        status = take_queue(dump, row, bytes);
        break;
    case STORE_SESSIONS:
        add_session(&dump->line, row, bytes);
        break;
    case STORE_SYNCS:
        add_sync(&dump->line, row);
        break;
    case STORE_PENDING:
        status = add_pending(dump, row, bytes);
        break;
    case STORE_RECORDS:
        return STATUS_CORRUPT;
    }
    text_add(&dump->line, "}", 1);
    bool is_shown = dump->stream && !dump->only && !dump->without_state;
    return status || !is_shown ? status : print_line(dump);
}

/* --- records ---------------------------------------------------------------------------------- */

static struct everdue_record view(const struct store_state *state, const struct body_fields *fields)
{
    return (struct everdue_record){
        .key = shown(fields->key),
        .status = state->flags & STATE_PARKED ? EVERDUE_PARKED : EVERDUE_WAITING,
        .due_us = state->state ? state->due_us : EVERDUE_ABSENT,
        .every_us = fields->every_us,
        .rank = fields->rank,
        .group = shown(fields->group),
        .once = fields->once,
        .failures = state->failures,
        .crashes = state->crashes,
        .payload = shown(fields->payload),
        .memo = shown(fields->memo),
        .note = shown(fields->note),
        .error = shown(fields->error),
        .park_reason = shown(fields->park_reason),
        .parked_us = fields->parked_us,
        .last_worker = shown(fields->last_worker),
    };
}

enum status dump_record(const struct store_state *state, const uint8_t *body, uint32_t count,
                        void *user)
{
    struct dump *dump = user;
    uint32_t id = 0;
    struct body_fields fields;
    if (count >= sizeof(id))
        memcpy(&id, body, sizeof(id));
    if (count < sizeof(id) || id >= QUEUES_MAX ||
        !body_is_valid(body + sizeof(id), count - (uint32_t)sizeof(id)))
        return refuse(dump, "table records, key %" PRIu64 ": no record", state->number);
    struct dump_queue *queue = require_queue(dump, id);
    if (!queue)
        return STATUS_NO_MEMORY;
    queue->records++;
    if (!dump->stream || (dump->only && strcmp(dump->only, queue->name) != 0))
        return STATUS_OK;
    body_view_stored(body + sizeof(id), &fields);
    const struct everdue_record record = view(state, &fields);
    dump->printed++;
    text_clear(&dump->line);
    if (dump->only || dump->without_state)
        record_json_write(&dump->line, &record);
    else
        record_json_write_view(&dump->line, queue->name, &record);
    return print_line(dump);
}
